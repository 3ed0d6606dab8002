"""`propensity_udf`: scoring as a function of columns, for SQL and DataFrame expressions."""

from __future__ import annotations

import os
from typing import Any

from pyspark.sql import functions

from fastprop.errors import InvalidInputError
from fastprop.spark.bootstrap import on_workers
from fastprop.spark.locate import active_session, local_directory, locate_model
from fastprop.spark.schema import output_types
from fastprop.spark.shipping import wheels_of
from fastprop.spark.source import ModelOptions, open_model
from fastprop.spark.task import Columns, Outputs, ScoringTask, Thresholds, label_thresholds

__all__ = ["propensity_udf"]


def propensity_udf(
    uri: str | os.PathLike[str],
    *,
    name: str | None = None,
    epoch: int | None = None,
    positiveIndex: int | None = 0,
    allowOperators: str = "documented",
    engine: str = "auto",
    topK: int | None = None,
    labelThresholds: Thresholds | None = None,
    handleInvalid: str = "error",
    numThreads: int = 0,
) -> Any:
    """Make a function of one column of rows, or of two columns, indices and values.

    Parameters
    ----------
    uri, name, epoch, positiveIndex, allowOperators, engine
        As for `PropensityModel.fromPath`.
    topK : int, optional
        Give the best labels, `array<struct<label:string,score:float>>`, instead of all scores.
    labelThresholds : float, list of float or dict of str to float, optional
        Give the labels that reach their threshold, `array<string>`, instead of all scores.
    handleInvalid : {"error", "keep"}
        Whether a row that cannot be scored ends the job or gives null. A function cannot skip.
    numThreads : int
        Threads of a Python worker; 0 for the cpus of its task.

    Returns
    -------
    function
        Takes and gives columns; `spark.udf.register("propensity", propensity_udf(...))` makes it
        an SQL function.

    Notes
    -----
    An Arrow UDF on Spark 4.1 and later. Before, a pandas UDF, which needs pandas on the executors,
    takes two arrays or a struct of them, and makes Python objects of `topK`'s structs. Spark may
    evaluate a function more than once a row; `PropensityModel` scores each row once and costs less.
    """
    if handleInvalid not in ("error", "keep"):
        raise InvalidInputError(
            f"handleInvalid is {handleInvalid!r}, and a function can take error or keep"
        )
    if topK is not None and labelThresholds is not None:
        raise InvalidInputError("topK or labelThresholds: a function gives one of them")
    if topK is not None and topK < 1:
        raise InvalidInputError(f"topK is {topK}, and at least 1 is needed")
    spark = active_session()
    options = ModelOptions(positiveIndex, allowOperators, engine)
    source = locate_model(uri, name, epoch, options=options)
    if labelThresholds is not None:
        label_thresholds(labelThresholds, open_model(source, local_directory(source)).labels)
    outputs = Outputs(
        probabilities=topK is None and labelThresholds is None,
        top_k=topK,
        thresholds=labelThresholds,
    )
    task = ScoringTask(
        models={"": source},
        columns=Columns(),
        outputs=outputs,
        handle_invalid=handleInvalid,
        threads=numThreads,
    )
    (kind,) = output_types(outputs)
    made: Any = functions  # which of the two it has depends on its version
    in_arrow = hasattr(made, "arrow_udf")
    scorer = on_workers(
        "fastprop.spark.columns_worker",
        "score_arrow" if in_arrow else "score_pandas",
        task,
        archives=wheels_of(spark),
    )
    if in_arrow:
        import pyarrow as pa

        scorer.__annotations__ = {"arguments": pa.Array, "return": pa.Array}
        return made.arrow_udf(scorer, kind)
    import pandas as pd

    scorer.__annotations__ = {"arguments": pd.Series, "return": pd.Series}
    return made.pandas_udf(scorer, kind)

"""`PropensityModel`: the Transformer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyspark.ml import Model
from pyspark.ml.util import MLReadable, MLReader, MLWritable, MLWriter
from pyspark.sql import DataFrame
from pyspark.sql.types import StringType, StructField, StructType

from fastprop.errors import InvalidInputError
from fastprop.spark.bootstrap import on_workers
from fastprop.spark.locate import local_directory, locate_model
from fastprop.spark.params import PropensityOptions, PropensityParams
from fastprop.spark.schema import check_inputs, check_outputs, column_of, field_type, output_types
from fastprop.spark.shipping import wheels_of
from fastprop.spark.source import ModelOptions, ModelSource, models_by_name, open_model
from fastprop.spark.task import ScoringTask, label_thresholds

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["PropensityModel"]


# A saved model names this class by its module: it stays here.
class PropensityModel(PropensityParams, Model, MLReadable["PropensityModel"], MLWritable):
    """Scores a DataFrame of sparse rows with a checkpoint, or each row with one of several.

    Make it with `fromPath` or `fromPaths`, or load one that was saved. Without `probabilityCol`,
    `topKCol` or `predictionCol` it makes a column `probability` of all scores.

    Notes
    -----
    Pure Python, with Arrow in and out: it stands in a `PipelineModel` beside JVM stages, and works
    on streaming DataFrames and on Spark Connect. A Python worker process opens a model once, and
    maps its large layer, so that all workers of a host share one copy.
    """

    def __init__(self) -> None:
        super().__init__()
        self._models: dict[str, ModelSource] = {}

    @classmethod
    def fromPath(
        cls,
        uri: str | os.PathLike[str],
        *,
        name: str | None = None,
        epoch: int | None = None,
        positiveIndex: int | None = 0,
        allowOperators: str = "documented",
        engine: str = "auto",
        **params: Unpack[PropensityOptions],
    ) -> PropensityModel:
        """Make a Transformer of one model.

        Parameters
        ----------
        uri : path
            A checkpoint directory or a compiled file, on a path that driver and executors have;
            what `ship_model` returned; `files:NAME` of what `SparkContext.addFile` has sent; or a
            URI of any Hadoop file system, from which it is shipped.
        name, epoch, positiveIndex, allowOperators
            As for `fastprop.load_model`.
        engine : str
            As for `Model.predictor`.
        **params
            The parameters: `featuresCol`, or `indicesCol` and `valuesCol`; `probabilityCol`,
            `topKCol`, `topK`, `predictionCol`, `labelThresholds`; `passthroughCols`,
            `handleInvalid`, `errorCol`, `numThreads`. `explainParams()` describes them.

        Raises
        ------
        ModelFormatError
            There is no such model; names what is there.
        """
        options = ModelOptions(positiveIndex, allowOperators, engine)
        model = cls().setParams(**params)
        if model.isSet(model.modelCol):
            raise InvalidInputError("modelCol is for several models: use fromPaths")
        model._models = {"": locate_model(uri, name, epoch, options=options)}
        return model

    @classmethod
    def fromPaths(
        cls,
        models: Mapping[str, str] | str | os.PathLike[str],
        *,
        positiveIndex: int | None = 0,
        allowOperators: str = "documented",
        engine: str = "auto",
        **params: Unpack[PropensityOptions],
    ) -> PropensityModel:
        """Make a Transformer that scores each row with the model that its `modelCol` names.

        Parameters
        ----------
        models : mapping of str to path, or path
            What `fromPath` takes, for each value of `modelCol`; or a local directory that holds for
            each a checkpoint directory of that name, or a compiled file, `NAME.fastprop`.
        positiveIndex, allowOperators, engine, **params
            As for `fromPath`; `modelCol` is needed.

        Notes
        -----
        A row whose model is unknown cannot be scored: `handleInvalid` says what becomes of it.
        """
        options = ModelOptions(positiveIndex, allowOperators, engine)
        model = cls().setParams(**params)
        if not model.isSet(model.modelCol):
            raise InvalidInputError("fromPaths needs modelCol")
        model._models = {
            key: locate_model(path, None, None, options=options)
            for key, path in models_by_name(models).items()
        }
        return model

    def setParams(self, **params: Unpack[PropensityOptions]) -> PropensityModel:
        """Set parameters by name."""
        for name in params:
            if not self.hasParam(name):
                raise TypeError(f"there is no parameter {name!r}; explainParams() lists them")
        self._set(**{name: value for name, value in params.items() if value is not None})
        return self

    @property
    def labels(self) -> list[str]:
        """Name of each score, in the order of `probabilityCol`; of the only model."""
        if len(self._models) != 1:
            raise InvalidInputError(f"labels are of one model, and there are {len(self._models)}")
        (source,) = self._models.values()
        return open_model(source, local_directory(source)).labels

    def _transform(self, dataset: DataFrame) -> DataFrame:
        columns = self._columns()
        kept = self._kept(dataset)
        named = (*kept, *columns.of_rows, columns.model)
        read = list(dict.fromkeys(name for name in named if name is not None))
        made, task = self._made(dataset, kept, read)
        fields = {field.name: field for field in dataset.schema.fields}
        schema = StructType([fields[name] for name in kept] + made)
        scorer = on_workers(
            "fastprop.spark.worker",
            "score_batches",
            task,
            archives=wheels_of(dataset.sparkSession),
        )
        chosen = dataset.select(
            *[column_of(dataset, name).alias(f"_{number}") for number, name in enumerate(read)]
        )
        return chosen.mapInArrow(scorer, schema)

    def _made(
        self, dataset: DataFrame, kept: list[str], read: list[str]
    ) -> tuple[list[StructField], ScoringTask]:
        """The columns that are added, and what workers are told, all of it checked here."""
        if not self._models:
            raise InvalidInputError("there is no model: use PropensityModel.fromPath or load")
        columns = self._columns()
        outputs, names = self._outputs()
        error = self._error_column()
        check_inputs(dataset.schema, columns)
        check_outputs(dataset.columns, names if error is None else [*names, error])
        if outputs.thresholds is not None and columns.model is None:
            label_thresholds(outputs.thresholds, self.labels)
        made = [StructField(name, kind) for name, kind in zip(names, output_types(outputs))]
        if error is not None:
            made.append(StructField(error, StringType()))
        task = ScoringTask(
            models=self._models,
            columns=columns,
            outputs=outputs,
            read=tuple(read),
            passthrough=tuple(kept),
            output_names=(*kept, *[field.name for field in made]),
            handle_invalid=self._invalid(),
            error_column=error is not None,
            threads=self._threads(),
        )
        return made, task

    def _kept(self, dataset: DataFrame) -> list[str]:
        if not self.isSet(self.passthroughCols):
            return list(dataset.columns)
        kept: list[str] = self.getOrDefault(self.passthroughCols)
        for name in kept:
            field_type(dataset.schema, name, "passthroughCols")
        return kept

    def write(self) -> MLWriter:
        """Return what saves the model, its files included, on any Hadoop file system."""
        from fastprop.spark.persistence import PropensityModelWriter

        return PropensityModelWriter(self)

    @classmethod
    def read(cls) -> MLReader[Any]:
        """Return what loads a saved model, and ships its files to the executors."""
        from fastprop.spark.persistence import PropensityModelReader

        return PropensityModelReader()

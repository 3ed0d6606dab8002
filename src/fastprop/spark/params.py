"""Parameters of `PropensityModel`, named and documented as Spark ML's own are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import (
    HasFeaturesCol,
    HasHandleInvalid,
    HasPredictionCol,
    HasProbabilityCol,
)

from fastprop.errors import DTypeError, InvalidInputError
from fastprop.spark.task import Columns, Outputs, Thresholds

__all__ = ["PropensityOptions", "PropensityParams"]

HANDLE_INVALID = ("error", "skip", "keep")
TOP_K = 20


def _string(name: str, doc: str) -> Param[str]:
    return Param(Params._dummy(), name, doc, typeConverter=TypeConverters.toString)


class PropensityOptions(TypedDict, total=False):
    """The parameters by name, as `fromPath` and `setParams` take them; None leaves one as it is."""

    featuresCol: str | None
    indicesCol: str | None
    valuesCol: str | None
    modelCol: str | None
    probabilityCol: str | None
    topKCol: str | None
    topK: int | None
    predictionCol: str | None
    labelThresholds: Thresholds | None
    passthroughCols: Sequence[str] | None
    handleInvalid: str | None
    errorCol: str | None
    numThreads: int | None


class PropensityParams(HasFeaturesCol, HasProbabilityCol, HasPredictionCol, HasHandleInvalid):
    """The columns read and made, and what becomes of rows that cannot be scored."""

    indicesCol = _string(
        "indicesCol",
        "column of the rows' column numbers, array<int> or array<bigint>; with valuesCol, in "
        "place of featuresCol",
    )
    valuesCol = _string(
        "valuesCol",
        "column of the rows' values, array<float> or array<double>; with indicesCol",
    )
    modelCol = _string(
        "modelCol",
        "column that names each row's model, where there are several",
    )
    topKCol = _string(
        "topKCol",
        "column for the best labels, array<struct<label:string,score:float>>, best first",
    )
    topK: Param[int] = Param(
        Params._dummy(),
        "topK",
        "most labels a row in topKCol, at least 1",
        typeConverter=TypeConverters.toInt,
    )
    labelThresholds: Param[Any] = Param(
        Params._dummy(),
        "labelThresholds",
        "least score at which a label is in predictionCol: one number, one a label in the "
        "model's order, or a dict by label (labels that it leaves out are never predicted)",
        typeConverter=lambda value: to_thresholds(value),
    )
    passthroughCols: Param[list[str]] = Param(
        Params._dummy(),
        "passthroughCols",
        "columns of the input to keep; all of them by default. Columns that are not kept are not "
        "sent back from the workers",
        typeConverter=TypeConverters.toListString,
    )
    errorCol = _string(
        "errorCol",
        'column for what is wrong with a row, null where nothing is; with handleInvalid "keep"',
    )
    numThreads: Param[int] = Param(
        Params._dummy(),
        "numThreads",
        "threads of a Python worker; 0 for the cpus of its task (spark.task.cpus)",
        typeConverter=TypeConverters.toInt,
    )

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(handleInvalid="error", topK=TOP_K, numThreads=0)

    def _columns(self) -> Columns:
        """The columns of the rows, and of the model's name."""
        indices, values = self._named(self.indicesCol), self._named(self.valuesCol)
        model = self._named(self.modelCol)
        if (indices is None) != (values is None):
            raise InvalidInputError("indicesCol and valuesCol go together")
        if indices is None:
            return Columns(features=self.getOrDefault(self.featuresCol), model=model)
        if self.isSet(self.featuresCol):
            raise InvalidInputError("either featuresCol, or indicesCol and valuesCol")
        return Columns(indices=indices, values=values, model=model)

    def _outputs(self) -> tuple[Outputs, list[str]]:
        """What is made, and the names of its columns."""
        top, predicted = self._named(self.topKCol), self._named(self.predictionCol)
        probability = self._named(self.probabilityCol)
        if top is None and predicted is None and not self.isSet(self.probabilityCol):
            probability = self.getOrDefault(self.probabilityCol)
        top_k = self.getOrDefault(self.topK)
        if top_k < 1:
            raise InvalidInputError(f"topK is {top_k}, and at least 1 is needed")
        thresholds: Thresholds | None = None
        if predicted is not None:
            if not self.isDefined(self.labelThresholds):
                raise InvalidInputError("predictionCol needs labelThresholds")
            thresholds = self.getOrDefault(self.labelThresholds)
        outputs = Outputs(
            probabilities=probability is not None,
            top_k=None if top is None else top_k,
            thresholds=thresholds,
        )
        names = [name for name in (probability, top, predicted) if name is not None]
        if not names:
            raise InvalidInputError(
                "nothing to make: name probabilityCol, topKCol or predictionCol"
            )
        return outputs, names

    def _error_column(self) -> str | None:
        name = self._named(self.errorCol)
        if name is not None and self._invalid() != "keep":
            raise InvalidInputError('errorCol needs handleInvalid="keep"')
        return name

    def _invalid(self) -> str:
        handling: str = self.getOrDefault(self.handleInvalid)
        if handling not in HANDLE_INVALID:
            raise InvalidInputError(
                f"handleInvalid is {handling!r}, and one of {', '.join(HANDLE_INVALID)} is needed"
            )
        return handling

    def _threads(self) -> int:
        threads: int = self.getOrDefault(self.numThreads)
        if threads < 0:
            raise InvalidInputError(f"numThreads is {threads}, and at least 0 is needed")
        return threads

    def _named(self, param: Param[str]) -> str | None:
        """The column that was asked for; an empty name asks for none, as in Spark ML."""
        return (self.getOrDefault(param) or None) if self.isSet(param) else None


def to_thresholds(value: Any) -> Thresholds:
    """Bring thresholds to what a saved model's JSON can hold."""
    if isinstance(value, Mapping):
        return {str(label): _number(limit) for label, limit in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_number(limit) for limit in value]
    if hasattr(value, "tolist"):
        return to_thresholds(value.tolist())
    return _number(value)


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise DTypeError(
            f"labelThresholds: {value!r}, and a number, a list of numbers or a dict of label and "
            "number is needed"
        ) from None
    if math.isnan(number):
        raise InvalidInputError("labelThresholds: NaN, which no score reaches")
    return number

"""Bulk scoring of sparse multi-label MXNet checkpoints, at the speed of the machine.

model = fastprop.load_model("models/retail")
with model.predictor() as predictor:
    scores = predictor.predict(rows)
"""

from fastprop.compiled.model import CompiledModel
from fastprop.errors import (
    DTypeError,
    EngineError,
    FastpropError,
    InvalidInputError,
    ModelFormatError,
    OutputError,
    PoolLimitError,
    PredictorClosedError,
    ShapeError,
)
from fastprop.model import Model, load_model
from fastprop.postprocess import NativePostprocess, native_postprocess
from fastprop.predictor import Predictor
from fastprop.results import PoolStats, PredictorStats, TopK
from fastprop.translator import LabelledScores, LabelledTopK, Translator
from fastprop.typing import CSR, SparseVector
from fastprop.version import __version__

__all__ = [
    "CSR",
    "CompiledModel",
    "DTypeError",
    "EngineError",
    "FastpropError",
    "InvalidInputError",
    "LabelledScores",
    "LabelledTopK",
    "Model",
    "ModelFormatError",
    "NativePostprocess",
    "OutputError",
    "PoolLimitError",
    "PoolStats",
    "Predictor",
    "PredictorClosedError",
    "PredictorStats",
    "ShapeError",
    "SparseVector",
    "TopK",
    "Translator",
    "__version__",
    "load_model",
    "native_postprocess",
]

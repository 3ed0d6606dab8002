"""The errors that fastprop raises; every one is a `FastpropError`.

Each class also derives from the built-in that callers would catch by habit.
"""

from __future__ import annotations

__all__ = [
    "DTypeError",
    "EngineError",
    "FastpropError",
    "InvalidInputError",
    "ModelFormatError",
    "OutputError",
    "PoolLimitError",
    "PredictorClosedError",
    "ShapeError",
]


class FastpropError(Exception):
    """Base of every error that fastprop raises on purpose."""


class InvalidInputError(FastpropError, ValueError):
    """An argument or a row cannot be used; the message names the place."""


class ShapeError(InvalidInputError):
    """An array or a sparse row has the wrong number of dimensions, rows or columns."""


class DTypeError(InvalidInputError, TypeError):
    """An array or an element has a type that cannot be used."""


class ModelFormatError(FastpropError, ValueError):
    """A checkpoint is missing, truncated, corrupt, inconsistent, or holds what is not admitted."""


class OutputError(FastpropError, OSError):
    """An output cannot be written, such as on a full disk; what was finished stays whole."""


class EngineError(FastpropError, RuntimeError):
    """An inference engine is missing or failed; carries its function and its message."""


class PredictorClosedError(FastpropError, RuntimeError):
    """A predictor was used after it had been closed."""


class PoolLimitError(FastpropError, MemoryError):
    """A buffer was asked for beyond the cap on pool memory."""

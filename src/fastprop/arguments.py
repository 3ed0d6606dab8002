"""What callers tell a predictor, checked and brought to what the core takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop.checks import real_numbers, shown
from fastprop.errors import DTypeError, InvalidInputError, ShapeError
from fastprop.postprocess import NativePostprocess
from fastprop.translator import Translator

__all__ = ["check_postprocess", "check_translator", "label_mask", "score_array", "thresholds"]

FLOAT32_MAX = float(np.finfo(np.float32).max)


def thresholds(
    threshold: Any, n_labels: int
) -> tuple[float | None, npt.NDArray[np.float32] | None]:
    """A threshold for all labels, or one for each; float32, as the scores are."""
    if threshold is None:
        return None, None
    if type(threshold) is float and -FLOAT32_MAX <= threshold <= FLOAT32_MAX:
        return float(np.float32(threshold)), None
    array = real_numbers("threshold", threshold)
    if array.ndim == 0:
        return float(array), None
    if array.shape != (n_labels,):
        raise ShapeError(
            f"threshold has shape {array.shape}, and ({n_labels},) or a number is needed"
        )
    return None, array


def label_mask(allowed: npt.ArrayLike | None, n_labels: int) -> npt.NDArray[np.bool_] | None:
    """Labels that may be selected; None for all."""
    if allowed is None:
        return None
    try:
        array = np.asarray(allowed)
    except ValueError as error:  # such as lists of unequal lengths
        raise ShapeError(f"allowed is no array: {error}") from None
    if array.dtype != np.bool_:
        raise DTypeError(f"allowed holds {array.dtype}, and a bool for each label is needed")
    if array.shape != (n_labels,):
        raise ShapeError(f"allowed has shape {array.shape}, and ({n_labels},) is needed")
    return np.ascontiguousarray(array)


def score_array(
    out: npt.NDArray[Any] | None, n_rows: int, width: int, dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """The caller's array, if scores can be written to it; a new one if there is none."""
    if out is None:
        return np.empty((n_rows, width), dtype=dtype)
    if isinstance(out, np.ndarray) and out.shape == (n_rows, width) and out.dtype == dtype:
        return out
    raise ShapeError(
        f"out must be a {dtype} array of shape {(n_rows, width)}, not "
        f"{getattr(out, 'shape', type(out).__name__)} {getattr(out, 'dtype', '')}"
    )


def check_translator(translator: object) -> None:
    """Refuse what has not the methods of a translator."""
    if isinstance(translator, type) and issubclass(translator, Translator):
        raise DTypeError(
            f"translator is the class {translator.__name__}, and an object of it is needed: "
            f"{translator.__name__}(...)"
        )
    if not isinstance(translator, Translator):
        raise DTypeError(f"translator is {shown(translator)}, and a fastprop.Translator is needed")


def check_postprocess(postprocess: object, translator: Translator | None) -> None:
    """Refuse what the core cannot call, and what selects before it could."""
    if not isinstance(postprocess, NativePostprocess):
        raise DTypeError(
            f"postprocess is {shown(postprocess)}, and what native_postprocess makes is needed; "
            "other functions go into a Translator"
        )
    if translator is not None and translator.top_k is not None:
        raise InvalidInputError("postprocess does not go with a translator that selects")

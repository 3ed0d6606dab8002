"""Arguments that have to be of one kind, checked where they come in; errors name them."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fastprop.errors import DTypeError, InvalidInputError

__all__ = [
    "as_path",
    "check_choice",
    "column_name",
    "flag",
    "instance",
    "integer",
    "number",
    "real_numbers",
    "shapes_by_name",
    "shown",
    "whole_number",
    "whole_numbers",
]

Kind = TypeVar("Kind")
LONGEST = 60


def shown(value: object) -> str:
    """A value in a message, cut to what a sentence can hold."""
    try:
        text = repr(value)
    except Exception:  # such as of an int with more digits than Python will write
        return f"a {type(value).__name__}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def as_path(name: str, given: Any) -> Path:
    """The path that an argument gives."""
    text = os.fspath(given) if isinstance(given, os.PathLike) else given
    if isinstance(text, bytes):
        raise DTypeError(f"{name} is {shown(given)}, and a str is needed: os.fsdecode makes one")
    if not isinstance(text, str):
        raise DTypeError(f"{name} is {shown(given)}, and a path is needed: a str or a pathlib.Path")
    if not text:
        raise InvalidInputError(f'{name} is empty, and a path is needed; "." is the folder here')
    if "\0" in text:
        raise InvalidInputError(f"{name} is {shown(text)}, and no path holds a NUL character")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:  # of half a surrogate pair
        raise InvalidInputError(
            f"{name} is {shown(text)}, and holds what no path can be written with"
        ) from None
    return Path(text)


def flag(name: str, given: Any) -> bool:
    """A bool, one of NumPy's, 0 or 1; what else is true or false to Python may be a mistake."""
    if isinstance(given, (bool, np.bool_)) or (type(given) is int and given in (0, 1)):
        return bool(given)
    raise DTypeError(f"{name} is {shown(given)}, and True or False is needed")


def column_name(name: str, given: Any) -> str:
    """The name of a column."""
    if isinstance(given, str):
        return given
    raise DTypeError(f"{name} is {shown(given)}, and the name of a column is needed, as a str")


def integer(name: str, given: Any) -> int:
    """An int, or one of NumPy's; not a bool."""
    if not isinstance(given, (bool, np.bool_)):
        try:
            return operator.index(given)
        except TypeError:
            pass
    raise DTypeError(f"{name} is {shown(given)}, and a whole number is needed")


def whole_number(name: str, given: Any, most: int, *, least: int = 1) -> int:
    """A whole number from `least` to `most`."""
    number = integer(name, given)
    if not least <= number <= most:
        raise InvalidInputError(f"{name} is {shown(number)}, and {least} to {most} can be had")
    return number


def whole_numbers(name: str, given: Any, most: int) -> tuple[int, ...]:
    """Whole numbers from 1 to `most`."""
    if not isinstance(given, (Sequence, np.ndarray)) or isinstance(given, (str, bytes)):
        raise DTypeError(f"{name} is {shown(given)}, and a tuple of whole numbers is needed")
    if isinstance(given, np.ndarray):
        given = np.atleast_1d(given)
    return tuple(whole_number(f"{name}[{i}]", each, most) for i, each in enumerate(given))


def number(name: str, given: Any) -> float:
    """A finite number as a float; not a bool."""
    if not isinstance(given, (int, float, np.integer, np.floating)) or isinstance(given, bool):
        raise DTypeError(f"{name} is {shown(given)}, and a number is needed")
    try:
        value = float(given)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise InvalidInputError(f"{name} is {shown(given)}, and a finite number is needed")
    return value


def instance(name: str, given: Any, kind: type[Kind]) -> Kind:
    """An object of a class of ours."""
    if isinstance(given, kind):
        return given
    raise DTypeError(f"{name} is {shown(given)}, and {kind.__module__}.{kind.__name__} is needed")


def check_choice(name: str, given: Any, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices."""
    if not isinstance(given, str) or given not in choices:
        raise InvalidInputError(f"{name} is {shown(given)}, and one of {choices} is needed")


def real_numbers(name: str, given: Any) -> npt.NDArray[np.float32]:
    """Numbers of any shape as float32, infinite where they are beyond it; none may be NaN."""
    wanted = "and a number, or one for each label, is needed"
    try:
        array = np.asarray(given)
        if array.dtype.kind == "O" and not isinstance(given, (list, tuple)):
            array = np.asarray(float(given))  # such as a Decimal
    except (TypeError, ValueError, OverflowError):
        raise DTypeError(f"{name} is {shown(given)}, {wanted}") from None
    if array.dtype.kind not in "fiu":
        raise DTypeError(f"{name} is {shown(given)}, {wanted}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, order="C")
    if np.isnan(array).any():
        raise InvalidInputError(f"{name} is NaN, which no score reaches")
    return array


def shapes_by_name(name: str, given: Any) -> dict[str, tuple[int, ...]]:
    """Row shapes by input; None gives none."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise DTypeError(
            f"{name} is {shown(given)}, and a mapping of inputs to row shapes is needed, such as "
            "{'data': (300,)}"
        )
    shapes = {}
    for key, shape in given.items():
        place = f"{name}[{key!r}]"
        if not isinstance(shape, (Sequence, np.ndarray)) or isinstance(shape, (str, bytes)):
            raise DTypeError(
                f"{place} is {shown(shape)}, and a tuple of whole numbers is needed: the shape of "
                "a row without the batch axis, such as (300,)"
            )
        shapes[key] = tuple(
            whole_number(f"{place}[{axis}]", extent, (1 << 48) - 1)
            for axis, extent in enumerate(shape)
        )
    return shapes

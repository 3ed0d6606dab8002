"""Paths of transactions and rows, and errors of reading and writing that name the file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from fastprop.checks import as_path, shown
from fastprop.errors import DTypeError, FastpropError, InvalidInputError, OutputError

__all__ = ["data_path", "data_paths", "reading", "writing"]


def data_path(name: str, given: Any) -> Path:
    """The path of a file that pyarrow reads or writes."""
    path = as_path(name, given)
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InvalidInputError(
            f"{name} is {shown(str(path))}, and only paths in UTF-8 can be read and written: "
            "rename it"
        ) from None
    return path


def data_paths(name: str, given: Any) -> list[Path]:
    """The paths of several such files."""
    try:
        if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
            raise TypeError
        listed = list(given)
    except TypeError:
        raise DTypeError(
            f"{name} is {shown(given)}, and a list of paths is needed, such as ['lines.parquet']"
        ) from None
    return [data_path(f"{name}[{number}]", path) for number, path in enumerate(listed)]


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the errors of reading a file into `InvalidInputError` with its name."""
    try:
        yield
    except FastpropError:
        raise
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path}: cannot be read: {_reason(error)}") from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the errors of writing a file into `OutputError` with its name."""
    try:
        yield
    except FastpropError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise OutputError(f"{path}: cannot be written: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What went wrong; the name of the file is told already."""
    text = str(getattr(error, "strerror", None) or error)
    return text.rpartition("Detail: ")[2]

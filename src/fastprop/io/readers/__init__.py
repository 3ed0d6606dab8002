"""Readers: one file a format, chosen by a file's extension or by name."""

from __future__ import annotations

from typing import Callable

from fastprop.errors import InvalidInputError
from fastprop.io.batches import ReadOptions
from fastprop.io.files import InputFile
from fastprop.io.readers.base import Reader, Slice
from fastprop.io.readers.folders import FolderReader
from fastprop.io.readers.ipc import IpcReader
from fastprop.io.readers.jsonl import JsonLinesReader
from fastprop.io.readers.npz import NpzReader
from fastprop.io.readers.one_model import OneModelReader
from fastprop.io.readers.parquet import ParquetReader
from fastprop.io.readers.svmlight import SvmlightReader
from fastprop.io.readers.text import COMPRESSIONS

__all__ = ["INPUT_FORMATS", "Reader", "Slice", "format_of_input", "open_reader"]

_READERS: dict[str, Callable[[InputFile, ReadOptions], Reader]] = {
    "parquet": ParquetReader,
    "arrow": IpcReader,
    "jsonl": JsonLinesReader,
    "svmlight": SvmlightReader,
    "npz": NpzReader,
}
_EXTENSIONS = {
    ".parquet": "parquet",
    ".parq": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".svmlight": "svmlight",
    ".svm": "svmlight",
    ".libsvm": "svmlight",
    ".npz": "npz",
}
_TEXT = ("jsonl", "svmlight")
_COLUMNAR = ("parquet", "arrow")
_ROUTED = (*_COLUMNAR, "jsonl")  # a record's key can name its model

INPUT_FORMATS = tuple(_READERS)


def format_of_input(name: str) -> str:
    """Tell a file's format by its extension; text may have that of a compression behind it.

    Raises
    ------
    InvalidInputError
        If the extension is not known.
    """
    plain = name.lower()
    compressed = next((end for end in COMPRESSIONS if plain.endswith(end)), "")
    plain = plain[: len(plain) - len(compressed)]
    for extension, kind in _EXTENSIONS.items():
        if plain.endswith(extension) and (not compressed or kind in _TEXT):
            return kind
    raise InvalidInputError(
        f"{name}: unknown kind of input; known are {', '.join(_EXTENSIONS)} "
        f"(text also with {', '.join(COMPRESSIONS)}), or name the input format"
    )


def open_reader(
    file: InputFile, options: ReadOptions, *, input_format: str | None = None
) -> Reader:
    """Make the reader of a file; looks at its first bytes or its footer.

    Raises
    ------
    InvalidInputError
        If the file is not what its name says, or lacks a column.
    """
    kind = format_of_input(file.name) if input_format is None else input_format
    if kind not in _READERS:
        raise InvalidInputError(
            f"unknown input format {kind!r}; known are {', '.join(INPUT_FORMATS)}"
        )
    if file.size == 0 and kind not in _TEXT:
        raise InvalidInputError(f"{file.name}: the file is empty, so that it is no {kind} file")
    make = _make_reader(kind)
    if options.route is not None and options.route.column in file.partition:
        return OneModelReader(file, options, make)
    return make(file, options)


def _make_reader(kind: str) -> Callable[[InputFile, ReadOptions], Reader]:
    """What makes readers of a format, with the columns that a file's folders name."""

    def make(file: InputFile, options: ReadOptions) -> Reader:
        if any(column in file.partition for column in options.keep):
            return FolderReader(file, options, make)
        if options.keep and kind not in _COLUMNAR:
            raise _no_column(file, kind, options.keep[0], "output")
        if options.route is not None and kind not in _ROUTED:
            raise _no_column(file, kind, options.route.column, "model")
        return _READERS[kind](file, options)

    return make


def _no_column(file: InputFile, kind: str, column: str, purpose: str) -> InvalidInputError:
    return InvalidInputError(
        f"{file.name}: {kind} has no column {column!r} for the {purpose}, and the file is in no "
        f"folder {column}=…"
    )

"""Writers: one file a format, chosen by name or by an output's extension."""

from __future__ import annotations

from typing import Any, Callable

from fastprop.errors import InvalidInputError
from fastprop.io.writers.base import OutputSchema, ScoredBatch, Writer, present_entries
from fastprop.io.writers.csv import CsvWriter
from fastprop.io.writers.jsonl import JsonLinesWriter
from fastprop.io.writers.parquet import ParquetWriter

__all__ = [
    "OUTPUT_FORMATS",
    "OutputSchema",
    "ScoredBatch",
    "Writer",
    "extension_of",
    "format_of_output",
    "open_writer",
    "present_entries",
]

_WRITERS: dict[str, Callable[[Any, OutputSchema], Writer]] = {
    "parquet": ParquetWriter,
    "jsonl": JsonLinesWriter,
    "csv": CsvWriter,
}
_EXTENSIONS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
}

OUTPUT_FORMATS = tuple(_WRITERS)


def format_of_output(name: str) -> str | None:
    """Tell the format of an output file by its extension; None where that names no format."""
    for extension, kind in _EXTENSIONS.items():
        if name.lower().endswith(extension):
            return kind
    return None


def extension_of(output_format: str) -> str:
    """Return the extension of a format's files, with its dot."""
    return f".{output_format}"


def open_writer(output_format: str, sink: Any, schema: OutputSchema) -> Writer:
    """Make the writer of a file.

    Raises
    ------
    InvalidInputError
        If the format is not known.
    """
    if output_format not in _WRITERS:
        raise InvalidInputError(
            f"unknown output format {output_format!r}; known are {', '.join(OUTPUT_FORMATS)}"
        )
    return _WRITERS[output_format](sink, schema)

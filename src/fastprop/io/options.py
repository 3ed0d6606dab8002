"""How files are scored: everything that a user may choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastprop.checks import check_choice, column_name, flag, real_numbers, shown, whole_number
from fastprop.errors import DTypeError, InvalidInputError
from fastprop.io.readers import INPUT_FORMATS
from fastprop.io.writers import OUTPUT_FORMATS

__all__ = ["ScoreOptions"]

_READ_AHEAD = 2
_PART_ROWS = 1 << 18
_MOST = (1 << 62) - 1
_COUNTS = ("top_k", "batch_rows", "part_rows", "read_ahead", "readers")
_COLUMNS = ("id_column", "features_column", "indices_column", "values_column")
_CHOICES = {
    "output_format": OUTPUT_FORMATS,
    "input_format": INPUT_FORMATS,
    "on_bad_row": ("error", "skip", "quarantine"),
    "null_rows": ("keep", "bad"),
    "compression": ("zstd", "snappy", "none"),
}
_OPTIONAL = ("top_k", "batch_rows", "output_format", "input_format", *_COLUMNS[1:])


@dataclass(frozen=True)
class ScoreOptions:
    """How files are scored.

    Parameters
    ----------
    top_k : int, optional
        Keep the best `top_k` labels of a row; by default all scores are kept.
    threshold : float, optional
        Keep labels that score at least this much; without `top_k`, however many they are.
    output_format : {"parquet", "jsonl", "csv"}, optional
        By default that of the output's extension, else `parquet`.
    input_format : str, optional
        By default that of each input's extension.
    id_column, features_column, indices_column, values_column
        The columns, as for `fastprop.io.batches.ReadOptions`.
    keep_columns : tuple of str
        Columns that go to the output between the id and the result: of Parquet and Arrow files,
        or of the folders that a file is in, `region=eu/`, which are strings.
    on_bad_row : {"error", "skip", "quarantine"}
        Stop at the first bad row, leave bad rows out, or leave them out and list them in a side
        file.
    null_rows : {"keep", "bad"}
        Whether null rows have a null result or are bad rows.
    batch_rows : int, optional
        Rows that are scored at once; with `n_labels` it decides how much memory is used.
    read_ahead : int
        Batches that may wait to be scored, and as many to be written.
    readers : int
        Threads that read. One keeps up with about ten cores that score; each further one holds up
        to 65,536 rows, or a row group where that is larger.
    histogram : bool
        Count the scores of each label: into `_histogram.json` of a directory, or
        `NAME.histogram.json` beside a file.
    part_rows : int
        Input rows a part, as far as the input can be cut, where the output is a directory.
    resume, overwrite : bool
        What to do with an output directory that holds results: go on with the same job, or
        remove them. A single file is always replaced, when the new one is whole.
    svmlight_base : int
        The number of the first column in svmlight files, 0 or 1.
    compression : {"zstd", "snappy", "none"}
        Of Parquet output.
    """

    top_k: int | None = None
    threshold: float | None = None
    output_format: str | None = None
    input_format: str | None = None
    id_column: str = "customer_id"
    features_column: str | None = None
    indices_column: str | None = None
    values_column: str | None = None
    keep_columns: tuple[str, ...] = ()
    on_bad_row: str = "error"
    null_rows: str = "keep"
    batch_rows: int | None = None
    read_ahead: int = _READ_AHEAD
    readers: int = 1
    histogram: bool = False
    part_rows: int = _PART_ROWS
    resume: bool = False
    overwrite: bool = False
    svmlight_base: int = 0
    compression: str = "zstd"

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {}
        if self.threshold is not None:
            if real_numbers("threshold", self.threshold).ndim:
                raise DTypeError(f"threshold is {shown(self.threshold)}, and a number is needed")
            checked["threshold"] = float(self.threshold)
        for name in (*_COUNTS, *_COLUMNS, *_CHOICES):
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            if name in _COUNTS:
                checked[name] = whole_number(name, value, _MOST)
            elif name in _COLUMNS:
                column_name(name, value)
            else:
                check_choice(name, value, _CHOICES[name])
        for name in ("histogram", "resume", "overwrite"):
            checked[name] = flag(name, getattr(self, name))
        checked["svmlight_base"] = whole_number("svmlight_base", self.svmlight_base, 1, least=0)
        if not isinstance(self.keep_columns, (tuple, list)):
            raise DTypeError(
                f"keep_columns is {shown(self.keep_columns)}, and a tuple of names is needed"
            )
        checked["keep_columns"] = tuple(
            column_name(f"keep_columns[{number}]", name)
            for number, name in enumerate(self.keep_columns)
        )
        # Numbers of NumPy among them would not go into a manifest.
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        taken = {
            self.id_column,
            "id",
            "customerId",
            "predictions",
            "label",
            "score",
            "top",
            "scores",
        }
        for name in self.keep_columns:
            if name in taken:
                raise InvalidInputError(f"keep_columns: there is a column {name!r} already")
            taken.add(name)

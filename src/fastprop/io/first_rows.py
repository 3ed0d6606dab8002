"""The first rows of files, as one matrix: for what looks at rows rather than scores them all."""

from __future__ import annotations

from collections.abc import Sequence

from fastprop.csr_parts import row_range, stacked_rows
from fastprop.errors import InvalidInputError
from fastprop.io.batches import ReadOptions, RowBatch
from fastprop.io.files import find_inputs
from fastprop.io.readers import open_reader
from fastprop.typing import CSR

__all__ = ["read_first_rows"]


def read_first_rows(
    paths: Sequence[str],
    n_rows: int,
    options: ReadOptions,
    *,
    input_format: str | None = None,
) -> CSR:
    """Read the first rows of files in any format that `fastprop score` reads.

    Parameters
    ----------
    paths : sequence of str
        Files, directories and patterns.
    n_rows : int
        Most rows.
    options : ReadOptions
    input_format : str, optional
        Of all files; by default that of their extensions.

    Returns
    -------
    CSR
        A copy, with int64 `indptr` from 0. Null rows are empty.

    Raises
    ------
    InvalidInputError
        A file cannot be read, a row does not fit, or there is none.
    """
    parts: list[CSR] = []
    wanted = n_rows
    for file in find_inputs(list(paths)):
        reader = open_reader(file, options, input_format=input_format)
        for part in reader.slices():
            for batch in reader.read(part):
                assert isinstance(batch, RowBatch)  # no route was asked for
                csr = batch.rows.csr
                parts.append(row_range(csr, 0, min(wanted, csr.shape[0])))
                wanted -= parts[-1].shape[0]
                if not wanted:
                    return stacked_rows(parts)
    if not parts:
        raise InvalidInputError("the input has no rows")
    return stacked_rows(parts)

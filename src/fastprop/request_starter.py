"""Rows on their way into the core: cut into requests, and assembled where they are objects."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Callable

import numpy as np
import numpy.typing as npt

from fastprop import _core
from fastprop._csr import RowBlock
from fastprop.checks import integer
from fastprop.errors import FastpropError
from fastprop.fork_safe_lock import ForkSafeLock
from fastprop.rows import BorrowedRows, ChunkedRows, DenseRows, Rows, is_single_row, is_vector
from fastprop.typing import FloatArray

__all__ = ["RequestStarter", "Start", "core_csr", "gather", "nulls_of"]

INT64 = np.dtype(np.int64)
FLOAT32 = np.dtype(np.float32)

# Starts the core on rows [begin, end) of a request: what those rows are for the core, their further
# inputs, begin, end, and the caller's number of the first of them.
Start = Callable[[Any, Sequence[FloatArray], int, int, int], _core.Pending]


class RequestStarter:
    """Starts requests to the core, as many as the form of the rows asks for. Thread-safe.

    Parameters
    ----------
    n_features : int
        Columns that the model has.
    finite : bool
        Whether NaN and infinities are refused.
    block_rows : int
        Most listed rows that are assembled at once.

    Attributes
    ----------
    bytes_assembled, assemble_seconds
        As in `PredictorStats`.
    """

    def __init__(self, *, n_features: int, finite: bool, block_rows: int) -> None:
        self._n_features = n_features
        self._finite = finite
        self._block_rows = block_rows
        self._lock = ForkSafeLock()
        self.bytes_assembled = 0
        self.assemble_seconds = 0.0

    def start(
        self,
        core: _core.Predictor,
        rows: Rows,
        start: Start,
        further: Sequence[FloatArray],
        *,
        hold_back: bool,
        first_row: int = 0,
    ) -> list[_core.Pending]:
        """Start a request; the caller waits for what is returned.

        Listed rows are assembled in blocks of whole tiles, each scored while the next is
        assembled, unless `hold_back`: then nothing is scored before every row has been checked.
        """
        if isinstance(rows, DenseRows):
            return [start(rows.matrix, further, 0, rows.n_rows, first_row)]
        if isinstance(rows, BorrowedRows):
            return [start(core_csr(rows), further, 0, rows.n_rows, first_row)]
        if isinstance(rows, ChunkedRows):
            return start_chunks(core, rows, start, further, hold_back, first_row)
        running: deque[_core.Pending] = deque()
        held: list[tuple[Any, list[FloatArray], int, int]] = []
        for begin in range(0, rows.n_rows, self._block_rows):
            end = min(begin + self._block_rows, rows.n_rows)
            assembled = self._assemble(core, rows.rows, begin, end, first_row)
            part = [matrix[begin:end] for matrix in further]
            if hold_back:
                held.append((assembled, part, begin, end))
                continue
            running.append(start(assembled, part, begin, end, first_row + begin))
            if len(running) > 2:
                running.popleft().wait()
        if further:
            check_all(core, [(block, part, first_row + begin) for block, part, begin, _ in held])
        running.extend(start(*block, first_row + block[2]) for block in held)
        return list(running)

    def _assemble(
        self, core: _core.Predictor, rows: list[Any], begin: int, end: int, first_row: int
    ) -> Any:
        """Write listed rows as CSR into memory leased from the pool; checks every element."""
        started = time.perf_counter()
        n_features = self._n_features
        try:
            block = RowBlock(
                rows, begin, end, n_features=n_features, finite=self._finite, first_row=first_row
            )
        except FastpropError:
            raise
        except Exception:
            check_sizes(rows, begin, end, first_row)
            raise
        indptr, indices, values = leased(
            core, ((end - begin + 1, INT64), (block.n_entries, INT64), (block.n_entries, FLOAT32))
        )
        block.write(indptr, indices, values)
        with self._lock:
            self.bytes_assembled += indptr.nbytes + indices.nbytes + values.nbytes
            self.assemble_seconds += time.perf_counter() - started
        return indptr, indices, values, n_features, True


def check_sizes(rows: list[Any], begin: int, end: int, first_row: int) -> None:
    """Name the vector whose size is no number; a block compares sizes only, which takes no time."""
    for number in range(begin, end):
        if is_vector(rows[number]):
            integer(f"rows[{first_row + number}].size", rows[number].size)


def core_csr(rows: BorrowedRows, *, checked: bool = False) -> tuple[Any, ...]:
    """Borrowed rows as the core takes them."""
    return rows.indptr, rows.indices, rows.data, rows.n_columns, checked


def check_all(core: _core.Predictor, pieces: list[tuple[Any, list[FloatArray], int]]) -> None:
    """Check rows, further inputs and the number of the first row of each piece of a request."""
    for check in [core.start_check(*piece) for piece in pieces]:
        check.wait()


def start_chunks(
    core: _core.Predictor,
    rows: ChunkedRows,
    start: Start,
    further: Sequence[FloatArray],
    hold_back: bool,
    first_row: int,
) -> list[_core.Pending]:
    """Start a request a chunk; with `hold_back` no row is scored before all have been checked."""
    ends = np.cumsum([chunk.n_rows for chunk in rows.chunks]).tolist()
    bounds = list(zip([0, *ends], ends))
    parts = [[matrix[begin:end] for matrix in further] for begin, end in bounds]
    if hold_back:
        chunks = zip(rows.chunks, parts, bounds)
        check_all(
            core, [(core_csr(chunk), part, first_row + begin) for chunk, part, (begin, _) in chunks]
        )
    return [
        start(core_csr(chunk, checked=hold_back), part, begin, end, first_row + begin)
        for chunk, part, (begin, end) in zip(rows.chunks, parts, bounds)
    ]


def nulls_of(rows: Rows) -> npt.NDArray[np.bool_] | None:
    """The rows that are null in Arrow data; None where there is none."""
    return rows.null_rows if isinstance(rows, (BorrowedRows, ChunkedRows)) else None


def leased(
    core: _core.Predictor, parts: Sequence[tuple[int, np.dtype[Any]]]
) -> list[npt.NDArray[Any]]:
    """Arrays of so many elements each, wider types first, in one piece of pool memory.

    It returns to the pool when the last view of it has gone.
    """
    sizes = [n * dtype.itemsize for n, dtype in parts]
    lease: Any = core.lease(max(sum(sizes), 1))
    memory = np.frombuffer(lease, dtype=np.uint8)
    ends = list(accumulate(sizes))
    return [
        memory[end - size : end].view(dtype) for size, end, (_, dtype) in zip(sizes, ends, parts)
    ]


def gather(items: Iterable[Any], size: int) -> Iterator[Any]:
    """Batches as they come, and single rows gathered into lists of `size`."""
    gathered: list[Any] = []
    for item in items:
        if is_single_row(item):
            gathered.append(item)
            if len(gathered) == size:
                yield gathered
                gathered = []
            continue
        if gathered:
            yield gathered
            gathered = []
        yield item
    if gathered:
        yield gathered

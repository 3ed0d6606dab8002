"""Predictor: rows in, scores out, on the process's worker threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, NoReturn

import numpy as np
import numpy.typing as npt

from fastprop import _core
from fastprop.arguments import (
    check_postprocess,
    check_translator,
    label_mask,
    score_array,
    thresholds,
)
from fastprop.checks import check_choice, flag, shown, whole_number
from fastprop.engine_plan import ENGINES, EnginePlan
from fastprop.errors import (
    DTypeError,
    InvalidInputError,
    PredictorClosedError,
    ShapeError,
)
from fastprop.fork_safe_lock import ForkSafeLock
from fastprop.postprocess import NativePostprocess
from fastprop.request_starter import RequestStarter, Start, core_csr, gather, nulls_of
from fastprop.results import PoolStats, PredictorStats, TopK
from fastprop.rows import (
    BorrowedRows,
    ListedRows,
    Rows,
    as_rows,
    check_stream,
    dense_matrix,
)
from fastprop.sparse_weights import WEIGHTS
from fastprop.translator import MAX_LABELS, Translator
from fastprop.typing import FloatArray

if TYPE_CHECKING:
    from fastprop.model import Model

__all__ = ["Predictor"]

DEFAULT_BATCH_SIZE = 512
MAX_BATCH_SIZE = 1 << 20
MAX_THREADS = 1024
MAX_POOL_LIMIT = (1 << 63) - 1
FLOAT32 = np.dtype(np.float32)


class Predictor:
    """Scores rows with a model. Make it with `Model.predictor`.

    Thread-safe: any number of callers may use one predictor at once. Results are the same bits
    for any number of threads: what a row's bits depend on (its batch, where MXNet runs it) does
    not depend on them. The GIL is not held while scoring or waiting. A signal ends a call after
    the tiles being scored.
    A forked child may go on using it.
    """

    def __init__(
        self,
        model: Model,
        *,
        engine: str = "auto",
        threads: int | None = None,
        batch_size: int | None = None,
        optimize: bool = True,
        nonfinite: str = "error",
        translator: Translator | None = None,
        pool_limit: int | None = None,
        whole_graph: bool = False,
        weights: str = "mapped",
        isa: str = "best",
        null_rows: str = "keep",
        postprocess: NativePostprocess | None = None,
    ) -> None:
        if not hasattr(model, "input_row_shapes"):
            raise DTypeError(
                f"model is {shown(model)}, and what load_model gives is needed; its predictor() "
                "makes one"
            )
        check_choice("engine", engine, ENGINES)
        check_choice("weights", weights, WEIGHTS)
        optimize, whole_graph = flag("optimize", optimize), flag("whole_graph", whole_graph)
        check_choice("nonfinite", nonfinite, ("error", "propagate"))
        check_choice("null_rows", null_rows, ("keep", "error"))
        if not isinstance(isa, str) or not isa.isascii():
            raise DTypeError(f"isa is {shown(isa)}, and the name of an instruction set is needed")
        if threads is None:
            threads = _core.cpu_count()
        self._threads = whole_number("threads", threads, MAX_THREADS)
        if batch_size is None:
            batch_size = DEFAULT_BATCH_SIZE
        self._batch_size = whole_number("batch_size", batch_size, MAX_BATCH_SIZE)
        if pool_limit is not None:
            pool_limit = whole_number("pool_limit", pool_limit, MAX_POOL_LIMIT)
        if translator is not None:
            check_translator(translator)
        if postprocess is not None:
            check_postprocess(postprocess, translator)
        self._model = model
        spec = model.inputs[0]
        self._row_form: dict[str, Any] = {
            "n_features": model.n_features,
            "row_shape": model.input_row_shapes[spec.name],
            "sparse": spec.storage == "csr",
        }
        self._engine = engine
        self._graph = "saved" if not optimize else "whole" if whole_graph else "split"
        self._weights = weights
        self._finite = nonfinite == "error"
        self._requests = RequestStarter(
            n_features=model.n_features,
            finite=self._finite,
            block_rows=self._batch_size * self._threads,
        )
        self._keep_null_rows = null_rows == "keep"
        self._translator = translator if translator is not None else Translator()
        self._postprocess = postprocess
        self._pool_limit = pool_limit or 0
        self._isa = isa
        self._lock = ForkSafeLock()
        self._bytes_copied = 0
        self._labels: Any = None
        self._last_stats: PredictorStats | None = None
        self._heads: _core.Predictor | None = None
        # Before the engine is made: a function that cannot be compiled costs no more than that.
        self._function = 0 if postprocess is None else postprocess.address()
        self._core = self._make_core("scores")

    @property
    def model(self) -> Model:
        """The model that it scores with."""
        return self._model

    @property
    def threads(self) -> int:
        """Number of worker threads that it uses."""
        return self._threads

    @property
    def batch_size(self) -> int:
        """Rows of a full tile."""
        return self._batch_size

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._core.closed

    def predict(
        self,
        rows: Any,
        *,
        out: npt.NDArray[Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Score rows.

        Parameters
        ----------
        rows : list of sparse rows, CSR-like, Arrow data, or 2-D array
            A list of sparse rows (objects with `.size .indices .values`, pairs
            `(indices, values)`, or dicts `{index: value}`); anything with
            `.indptr .indices .data .shape`, which is borrowed; a pyarrow Table, RecordBatch,
            RecordBatchReader, ChunkedArray or Array, borrowed chunk by chunk (see
            `fastprop.io.arrow_rows` for the columns); a 2-D array where the model takes dense
            rows. With a translator, whatever its `process_input` takes. Indices may be unsorted;
            duplicates count with their sum.
        out : ndarray of float32, shape (n_rows, n_labels), optional
            Where to write the scores. Untouched when an error is raised for the rows.
        inputs : mapping of str to array, optional
            The model's further dense inputs, by name, a row for each row.

        Returns
        -------
        ndarray of float32, shape (n_rows, n_labels), C order
            The scores (`out` itself when given), or what the translator makes of them. A row
            that is null in Arrow data has NaN scores, unless the predictor was made with
            `null_rows="error"`.

        Raises
        ------
        InvalidInputError
            A row cannot be used; the message names the place. `ShapeError` and `DTypeError` are
            subclasses.
        PredictorClosedError, EngineError, PoolLimitError
        """
        records = self._translator.process_input(rows, self._model)
        if self._translator.top_k is not None:
            if out is not None:
                raise InvalidInputError("out cannot be used with a translator that selects")
            top = self._top_k(
                records, self._translator.top_k, self._translator.threshold, None, inputs
            )
            return self._translator.process_output(top, self._model)
        scores = self._scores(self._core, records, out, inputs)
        return self._translator.process_output(scores, self._model)

    def predict_top_k(
        self,
        rows: Any,
        k: int = 20,
        *,
        threshold: Any = None,
        allowed: npt.ArrayLike | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> TopK:
        """Select the best labels of each row; the score matrix is never written.

        Parameters
        ----------
        rows, inputs
            See `predict`.
        k : int
            Most labels a row; more than there are labels gives padding.
        threshold : float or array_like of float, shape (n_labels,), optional
            Least score that is selected, for all labels or for each.
        allowed : array_like of bool, shape (n_labels,), optional
            Labels that may be selected.

        Returns
        -------
        TopK
            `.indices` int32 and `.scores` float32, both (n_rows, k), by descending score, equal
            scores by ascending label; padded with -1 and NaN. A NaN score is never selected.
            `.to_arrow(labels)` gives it as an Arrow array.
        """
        self._refuse_postprocess("predict_top_k")
        records = self._translator.process_input(rows, self._model)
        return self._top_k(records, k, threshold, allowed, inputs)

    def predict_arrow(
        self,
        rows: Any,
        *,
        top_k: int | None = None,
        threshold: Any = None,
        allowed: npt.ArrayLike | None = None,
        dictionary: bool = True,
        inputs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Score rows and give the results as one Arrow array, a list a row.

        Parameters
        ----------
        rows, inputs
            See `predict`. Of a translator only `process_input` is used.
        top_k : int, optional
            Most labels a row; without it and `threshold` and `allowed` a row has all scores.
        threshold, allowed
            See `predict_top_k`.
        dictionary : bool
            Give labels as `dictionary<int32, string>`, where no name is copied, or as plain strings
            (which is what Spark takes).

        Returns
        -------
        pyarrow.ListArray
            `list<float>` in the order of the labels, which borrows the scores, or
            `list<struct<label, score: float>>`, best first. Null rows of Arrow data are null.

        Raises
        ------
        InvalidInputError
            As `predict`.
        ShapeError
            If the results have more entries than a list array can address (2**31 - 1).
        """
        from fastprop.io.results import scores_to_arrow

        self._refuse_postprocess("predict_arrow")
        records = self._translator.process_input(rows, self._model)
        if top_k is None and threshold is None and allowed is None:
            scores, null_rows = self._scores_and_nulls(self._core, records, None, inputs)
            return scores_to_arrow(scores, null_rows=null_rows)
        k = self._model.n_labels if top_k is None else top_k
        top = self._top_k(records, k, threshold, allowed, inputs)
        return top.to_arrow(self._arrow_labels(), dictionary=dictionary)

    def predict_outputs(
        self, rows: Any, *, inputs: Mapping[str, Any] | None = None
    ) -> list[FloatArray]:
        """Return the checkpoint's own heads, in order.

        Parameters
        ----------
        rows, inputs
            See `predict`.

        Returns
        -------
        list of ndarray of float32, shape (n_rows, ...)
            One a head: (n_rows, 2) for a two-class softmax. Views of one array.
        """
        records = self._translator.process_input(rows, self._model)
        with self._lock:
            if self._core.closed:
                raise PredictorClosedError("the predictor is closed")
            if self._heads is None:
                self._heads = self._make_core("heads")
        flat = self._scores(self._heads, records, None, inputs)
        heads: list[FloatArray] = []
        begin = 0
        for shape in self._model.head_row_shapes:
            width = int(np.prod(shape, dtype=np.int64))
            heads.append(flat[:, begin : begin + width].reshape((len(flat), *shape)))
            begin += width
        return heads

    def stream(self, rows: Iterable[Any]) -> Iterator[Any]:
        """Score an iterable that may be larger than memory.

        Parameters
        ----------
        rows : iterable
            Of single sparse rows (sparse vectors, tuples `(indices, values)` or dicts), which
            are gathered into batches, or of batches in any form that `predict` takes.

        Yields
        ------
        Whatever `predict` returns, in order: one result a batch that was given, or one for each
        `batch_size * threads` single rows and one for the rest. While a result is used, the next
        batch is being scored.

        Raises
        ------
        InvalidInputError
            As `predict`, after the results of the batches before; rows are numbered through the
            whole stream.
        DTypeError
            Where the rows are one batch and not an iterable of batches: `predict` takes those.
        """
        check_stream(rows, len(self._row_form["row_shape"]))
        return self._stream(rows)

    def _stream(self, rows: Iterable[Any]) -> Iterator[Any]:
        waiting: deque[Callable[[], Any]] = deque()
        first_row = 0
        for batch in gather(rows, self._batch_size * self._threads):
            try:
                n_rows, finish = self._start_batch(batch, first_row)
            except BaseException:
                # What was scored before the bad batch is not lost.
                yield from (finished() for finished in waiting)
                raise
            first_row += n_rows
            waiting.append(finish)
            if len(waiting) > 1:
                yield waiting.popleft()()
        yield from (finished() for finished in waiting)

    def _start_batch(self, batch: Any, first_row: int) -> tuple[int, Callable[[], Any]]:
        """Start a batch of a stream; gives its row count and what waits for its result."""
        records = self._translator.process_input(batch, self._model)
        rows = self._recognise(records, first_row)
        further = self._further(None, rows.n_rows)
        start: Start
        result: Callable[[Rows], Any]
        if self._translator.top_k is not None:
            start, result = self._top_k_request(
                rows.n_rows, self._translator.top_k, self._translator.threshold, None
            )
        else:
            start, result = self._score_request(self._core, rows.n_rows, None)
        pendings = self._requests.start(
            self._core, rows, start, further, hold_back=False, first_row=first_row
        )

        def finish() -> Any:
            for pending in pendings:
                pending.wait()
            return self._translator.process_output(result(rows), self._model)

        return rows.n_rows, finish

    def warm_up(self) -> None:
        """Do ahead of time what first calls would: load the graph in every worker."""
        self._core.start_warm_up().wait()

    def stats(self) -> PredictorStats:
        """Return what has been done so far; after `close`, what had been done then."""
        with self._lock:
            if self._last_stats is not None:
                return self._last_stats
            return self._read_stats()

    def close(self) -> None:
        """Release executors and buffers. Calls under way finish; later ones raise.

        Closing twice does nothing. Memory goes as soon as the last call under way has ended.
        """
        with self._lock:
            if self._last_stats is not None:
                return
            self._last_stats = self._read_stats()
            self._core.release()
            if self._heads is not None:
                self._heads.release()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise DTypeError(
            "a Predictor cannot be pickled: load the model in each process, or let it be forked"
        )

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self._threads} threads, {self._batch_size} a batch"
        return f"<Predictor of {self._model.name!r}: {state}>"

    def _refuse_postprocess(self, method: str) -> None:
        if self._postprocess is not None:
            raise InvalidInputError(
                f"{method} gives the model's own scores, and the predictor was made with "
                f"postprocess={self._postprocess!r}: use predict or stream, or another predictor"
            )

    def _make_core(self, kind: str) -> _core.Predictor:
        plan = EnginePlan(self._engine, kind, self._graph, self._isa, self._weights)
        return _core.Predictor(
            self._model.engine(plan),
            threads=self._threads,
            batch_size=self._batch_size,
            pool_limit=self._pool_limit,
            finite=self._finite,
            isa=self._isa,
        )

    def _read_stats(self) -> PredictorStats:
        figures = self._core.stats()
        if self._heads is not None:
            for name, value in self._heads.stats().items():
                figures[name] += value
        pool = PoolStats(
            **{name[5:]: value for name, value in figures.items() if name.startswith("pool_")}
        )
        rest = {name: value for name, value in figures.items() if not name.startswith("pool_")}
        rest["bytes_copied"] += self._bytes_copied
        return PredictorStats(
            bytes_assembled=self._requests.bytes_assembled,
            assemble_seconds=self._requests.assemble_seconds,
            pool=pool,
            **rest,
        )

    def _arrow_labels(self) -> Any:
        import pyarrow as pa

        if self._labels is None:
            self._labels = pa.array(self._model.labels, pa.string())
        return self._labels

    def _recognise(self, records: Any, first_row: int = 0) -> Rows:
        prepared = as_rows(records, first_row=first_row, **self._row_form)
        if not isinstance(prepared, ListedRows) and prepared.bytes_copied:
            with self._lock:
                self._bytes_copied += prepared.bytes_copied
        null_rows = nulls_of(prepared)
        if null_rows is not None and not self._keep_null_rows:
            raise InvalidInputError(f"rows[{first_row + int(null_rows.argmax())}] is null")
        return prepared

    def _further(self, inputs: Mapping[str, Any] | None, n_rows: int) -> list[FloatArray]:
        """Bring further inputs to compact matrices, in the engine's order."""
        if inputs is None and len(self._model.inputs) == 1:
            return []
        if inputs is None:
            inputs = {}
        if not isinstance(inputs, Mapping):
            raise DTypeError(
                f"inputs is {shown(inputs)}, and a mapping of the further inputs' names to arrays "
                "is needed"
            )
        given = dict(inputs)
        matrices = []
        for spec in self._model.inputs[1:]:
            if spec.name not in given:
                raise InvalidInputError(
                    f"inputs has no {spec.name!r}: the model takes "
                    f"{', '.join(repr(other.name) for other in self._model.inputs[1:])} "
                    "beside the rows"
                )
            try:
                array = np.asarray(given.pop(spec.name))
            except ValueError as error:  # such as lists of unequal lengths
                raise ShapeError(f"inputs[{spec.name!r}] is no array: {error}") from None
            shape = self._model.input_row_shapes[spec.name]
            if array.dtype.kind not in "fiub":
                raise DTypeError(
                    f"inputs[{spec.name!r}] holds {array.dtype}, and real numbers are needed"
                )
            if array.shape != (n_rows, *shape):
                raise ShapeError(
                    f"inputs[{spec.name!r}] has shape {array.shape}, and {(n_rows, *shape)} is "
                    "needed"
                )
            matrix, copied = dense_matrix(array)
            with self._lock:
                self._bytes_copied += copied
            matrices.append(matrix)
        if given:
            known = ", ".join(repr(spec.name) for spec in self._model.inputs[1:]) or "none"
            raise InvalidInputError(
                f"inputs has {', '.join(map(repr, given))}: the model takes {known} beside the rows"
            )
        return matrices

    def _scores(
        self,
        core: _core.Predictor,
        records: Any,
        out: FloatArray | None,
        inputs: Mapping[str, Any] | None,
    ) -> FloatArray:
        return self._scores_and_nulls(core, records, out, inputs)[0]

    def _scores_and_nulls(
        self,
        core: _core.Predictor,
        records: Any,
        out: FloatArray | None,
        inputs: Mapping[str, Any] | None,
    ) -> tuple[FloatArray, npt.NDArray[np.bool_] | None]:
        if core.closed:
            raise PredictorClosedError("the predictor is closed")
        rows = self._recognise(records)
        further = self._further(inputs, rows.n_rows)
        if isinstance(rows, BorrowedRows) and self._postprocess is None:
            # One request, as most are: nothing to cut or to join, which one row has no time for.
            scores = score_array(out, rows.n_rows, core.n_scores, FLOAT32)
            core.score(core_csr(rows), further, scores, 0)
            if rows.null_rows is not None:
                scores[rows.null_rows] = np.nan
            return scores, rows.null_rows
        start, result = self._score_request(core, rows.n_rows, out)
        for pending in self._requests.start(core, rows, start, further, hold_back=out is not None):
            pending.wait()
        return result(rows), nulls_of(rows)

    def _score_request(
        self, core: _core.Predictor, n_rows: int, out: npt.NDArray[Any] | None
    ) -> tuple[Start, Callable[[Rows], npt.NDArray[Any]]]:
        """What starts the core on whole scores, and what gives them once it is done."""
        function = self._postprocess if core is self._core else None
        width = core.n_scores if function is None else function.width or core.n_scores
        dtype = FLOAT32 if function is None else function.dtype
        scores = score_array(out, n_rows, width, dtype)

        def start(
            rows: Any, further: Sequence[FloatArray], begin: int, end: int, number: int
        ) -> _core.Pending:
            part = scores[begin:end]
            if function is None:
                return core.start_scores(rows, further, part, number)
            return core.start_postprocessed(
                rows,
                further,
                part,
                address=self._function,
                data=function.data,
                width=function.width,
                owner=function,
                first_row=number,
            )

        def result(rows: Rows) -> npt.NDArray[Any]:
            null_rows = nulls_of(rows)
            if null_rows is not None:
                scores[null_rows] = np.nan if dtype.kind == "f" else 0
            return scores

        return start, result

    def _top_k(
        self,
        records: Any,
        k: int,
        threshold: Any,
        allowed: npt.ArrayLike | None,
        inputs: Mapping[str, Any] | None,
    ) -> TopK:
        if self._core.closed:
            raise PredictorClosedError("the predictor is closed")
        rows = self._recognise(records)
        further = self._further(inputs, rows.n_rows)
        start, result = self._top_k_request(rows.n_rows, k, threshold, allowed)
        for pending in self._requests.start(self._core, rows, start, further, hold_back=False):
            pending.wait()
        return result(rows)

    def _top_k_request(
        self, n_rows: int, k: int, threshold: Any, allowed: npt.ArrayLike | None
    ) -> tuple[Start, Callable[[Rows], TopK]]:
        """What starts the core on a selection, and what gives it once it is done."""
        core = self._core
        k = whole_number("k", k, MAX_LABELS)
        single, several = thresholds(threshold, core.n_scores)
        mask = label_mask(allowed, core.n_scores)
        n_selected = min(k, core.n_scores)
        indices = np.empty((n_rows, n_selected), dtype=np.int32)
        scores = np.empty((n_rows, n_selected), dtype=np.float32)

        def start(
            rows: Any, further: Sequence[FloatArray], begin: int, end: int, number: int
        ) -> _core.Pending:
            return core.start_top_k(
                rows, further, scores[begin:end], indices[begin:end], single, several, mask, number
            )

        def result(rows: Rows) -> TopK:
            null_rows = nulls_of(rows)
            if null_rows is not None:
                indices[null_rows] = -1
                scores[null_rows] = np.nan
            if n_selected == k:
                return TopK(indices, scores, null_rows)
            padding = ((0, 0), (0, k - n_selected))
            return TopK(
                np.pad(indices, padding, constant_values=-1),
                np.pad(scores, padding, constant_values=np.nan),
                null_rows,
            )

        return start, result

"""Files in, scores out: reading, scoring and writing overlap, in memory that does not grow.

A reader thread and a writer thread work beside the caller, who scores; bounded queues of a few
batches lie between them. The first error by place stops all, and the caller gets it.
"""

from __future__ import annotations

import contextlib
import posixpath
import resource
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Callable, Union

import numpy as np
import pyarrow as pa
from pyarrow import fs

from fastprop.errors import InvalidInputError
from fastprop.io.batches import ReadOptions, RowBatch, default_batch_rows
from fastprop.io.channel import Channel, ChannelClosed
from fastprop.io.files import InputFile, Location, find_inputs, locate, without_query
from fastprop.io.ordered import in_order
from fastprop.io.outputs import DirectoryOutput, FileOutput, Output, PartCounts
from fastprop.io.plan import Part, Plan, make_plan
from fastprop.io.routing import Route, RoutedBatch
from fastprop.io.scoring import BatchScorer, Outcome, RoutedScorer, Scorer, Selection
from fastprop.io.writers import OutputSchema, ScoredBatch, format_of_output

__all__ = [
    "RoutedModel",
    "ScoreOptions",
    "ScoreProgress",
    "ScoreSummary",
    "Scorer",
    "score_files",
    "score_files_by_model",
    "writes_directory",
]

_READ_AHEAD = 2
_PART_ROWS = 1 << 18


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
        if self.top_k is not None and self.top_k < 1:
            raise InvalidInputError(f"top_k: expected at least 1, got {self.top_k}")
        if self.on_bad_row not in ("error", "skip", "quarantine"):
            raise InvalidInputError(
                f"on_bad_row: expected error, skip or quarantine, got {self.on_bad_row!r}"
            )
        if self.null_rows not in ("keep", "bad"):
            raise InvalidInputError(f"null_rows: expected keep or bad, got {self.null_rows!r}")
        for name in ("batch_rows", "part_rows", "read_ahead", "readers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInputError(f"{name}: expected at least 1, got {value}")
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
        if self.compression not in ("zstd", "snappy", "none"):
            raise InvalidInputError(
                f"compression: expected zstd, snappy or none, got {self.compression!r}"
            )
        if self.svmlight_base not in (0, 1):
            raise InvalidInputError(f"svmlight_base: expected 0 or 1, got {self.svmlight_base}")


@dataclass(frozen=True)
class ScoreProgress:
    """How far a run is.

    Parameters
    ----------
    rows : int
        Input rows that are scored and written, or left out, in this run.
    total_rows : int or None
        Rows that this run has to do; None where that is known only after reading.
    bad_rows : int
        Rows left out in this run.
    seconds : float
        Since the run began to read.
    """

    rows: int
    total_rows: int | None
    bad_rows: int
    seconds: float


@dataclass(frozen=True)
class ScoreSummary:
    """What a run did.

    Parameters
    ----------
    rows : int
        Rows in the output, those of an earlier run that was resumed included.
    null_rows : int
        Rows of these whose result is null, because they are null in the input.
    bad_rows : int
        Rows left out.
    parts, resumed_parts : int
        Parts in the output, and how many of them an earlier run had finished.
    seconds : float
        From the start of reading to the last file's renaming.
    rows_per_second : float
        Rows of this run by its seconds.
    processor_seconds : float
        What the process spent on it, all threads together.
    peak_memory : int
        The most memory that the process ever had, in bytes.
    notes : tuple of str
        What the user should know about how the input was read.
    """

    rows: int
    null_rows: int
    bad_rows: int
    parts: int
    resumed_parts: int
    seconds: float
    rows_per_second: float
    processor_seconds: float
    peak_memory: int
    notes: tuple[str, ...] = ()


ProgressCallback = Callable[[ScoreProgress], None]


@dataclass(frozen=True)
class _PartBegins:
    part: Part


@dataclass(frozen=True)
class _PartEnds:
    pass


_Read = Union[_PartBegins, RowBatch, RoutedBatch, _PartEnds]
_Scored = Union[_PartBegins, Outcome, _PartEnds]


def score_files(
    predictor: Scorer,
    inputs: Sequence[str],
    output: str,
    *,
    n_features: int,
    labels: Sequence[str],
    options: ScoreOptions | None = None,
    model: Mapping[str, Any] | None = None,
    progress: ProgressCallback | None = None,
) -> ScoreSummary:
    """Score files of sparse rows and write the results.

    Parameters
    ----------
    predictor : Scorer
        What scores.
    inputs : sequence of str
        Files, directories and patterns; local or any URI that `pyarrow.fs` understands.
    output : str
        A file, or a directory for parts: a path that ends with `/`, that is a directory, or
        that has no extension.
    n_features : int
        Number of columns of the model.
    labels : sequence of str
        Its labels, in order.
    options : ScoreOptions, optional
    model : mapping, optional
        What identifies the model, fit for JSON; a run is resumed only with the same.
    progress : callable, optional
        Called now and then with a `ScoreProgress`, on the writer's thread.

    Returns
    -------
    ScoreSummary

    Raises
    ------
    InvalidInputError
        If an input cannot be read, or a row is bad and `on_bad_row` is `"error"`; names the file,
        the place and the id. Finished parts stay.
    OutputError
        If the output cannot be written.

    Notes
    -----
    Memory is a few batches, whatever the size of the input: see `ScoreOptions.batch_rows`.
    """
    options = options or ScoreOptions()
    read_options = _read_options(options, n_features, len(labels))

    def make_scorer(_: Any) -> BatchScorer:
        return BatchScorer(
            predictor,
            n_features=n_features,
            n_labels=len(labels),
            selection=Selection(options.top_k, options.threshold),
            collect_faults=read_options.collect_faults,
        )

    return _score(inputs, output, read_options, labels, make_scorer, options, model or {}, progress)


@dataclass(frozen=True, eq=False)
class RoutedModel:
    """One of several models that rows are scored with.

    Parameters
    ----------
    n_features : int
        Number of its columns.
    labels : sequence of str
        Its labels, in order.
    open : callable
        Makes its predictor; called once, when the first row for it comes.
    """

    n_features: int
    labels: Sequence[str]
    open: Callable[[], Scorer]


def score_files_by_model(
    models: Mapping[str, RoutedModel],
    inputs: Sequence[str],
    output: str,
    *,
    column: str,
    options: ScoreOptions | None = None,
    model: Mapping[str, Any] | None = None,
    progress: ProgressCallback | None = None,
) -> ScoreSummary:
    """Score files whose rows are for several models; rows keep their order.

    Parameters
    ----------
    models : mapping of str to RoutedModel
        The models by name.
    column : str
        The column that names a row's model: of the file, the key of a JSON record, or that of a
        folder, `region=eu/`. A row that names no model is a bad row.
    inputs, output, options, model, progress
        As for `score_files`.

    Raises
    ------
    InvalidInputError
        As `score_files`; or if all scores are to be kept and the models' labels differ.
    OutputError
        If the output cannot be written.
    """
    options = options or ScoreOptions()
    if not models:
        raise InvalidInputError("there is no model to score with")
    selection = Selection(options.top_k, options.threshold)
    if not selection.ranked:
        _require_equal_labels(models)
    labels = list(dict.fromkeys(label for each in models.values() for label in each.labels))
    most = max(len(each.labels) for each in models.values())
    width = most if options.top_k is None else min(options.top_k, most)
    place = {label: number for number, label in enumerate(labels)}
    route = Route(column, {name: each.n_features for name, each in models.items()})
    read_options = replace(_read_options(options, 0, most), route=route)

    def opener(each: RoutedModel) -> Callable[[], BatchScorer]:
        return lambda: BatchScorer(
            each.open(),
            n_features=each.n_features,
            n_labels=len(each.labels),
            selection=selection,
            collect_faults=read_options.collect_faults,
        )

    def make_scorer(id_type: Any) -> RoutedScorer:
        return RoutedScorer(
            {name: opener(each) for name, each in models.items()},
            numbers={
                name: np.array([place[label] for label in each.labels], np.int32)
                for name, each in models.items()
            },
            id_type=id_type,
            width=width,
            ranked=selection.ranked,
        )

    return _score(inputs, output, read_options, labels, make_scorer, options, model or {}, progress)


def _require_equal_labels(models: Mapping[str, RoutedModel]) -> None:
    (first, one), *others = models.items()
    for name, other in others:
        if list(other.labels) != list(one.labels):
            raise InvalidInputError(
                f"the models {first!r} and {name!r} have different labels, so their scores do not "
                "go into one table: ask for the best ones (top_k or a threshold)"
            )


def _read_options(options: ScoreOptions, n_features: int, n_labels: int) -> ReadOptions:
    return ReadOptions(
        n_features=n_features,
        id_column=options.id_column,
        features_column=options.features_column,
        indices_column=options.indices_column,
        values_column=options.values_column,
        batch_rows=options.batch_rows
        or default_batch_rows(n_labels, ranked=options.top_k is not None),
        collect_faults=options.on_bad_row != "error",
        svmlight_base=options.svmlight_base,
        keep_null_rows=options.null_rows == "keep",
        keep=options.keep_columns,
    )


def _score(
    inputs: Sequence[str],
    output: str,
    read_options: ReadOptions,
    labels: Sequence[str],
    make_scorer: Callable[[Any], BatchScorer | RoutedScorer],
    options: ScoreOptions,
    model: Mapping[str, Any],
    progress: ProgressCallback | None,
) -> ScoreSummary:
    is_directory = writes_directory(output)
    plan = make_plan(
        find_inputs(inputs),
        read_options,
        part_rows=options.part_rows if is_directory else None,
        input_format=options.input_format,
    )
    schema = OutputSchema(
        id_column=options.id_column,
        id_type=plan.id_type,
        labels=pa.array(list(labels), pa.string()),
        ranked=Selection(options.top_k, options.threshold).ranked,
        compression=options.compression,
        kept=tuple(zip(options.keep_columns, plan.kept_types)),
    )
    target = _output(output, is_directory, plan, schema, options, read_options, model)
    with contextlib.closing(target):
        scorer = make_scorer(plan.id_type)
        return _Run(scorer, plan, target, progress, options.read_ahead, options.readers).run()


def writes_directory(output: str) -> bool:
    """Tell whether an output is a directory of parts rather than a file.

    It is if the path ends with `/`, is a directory already, or has no extension.
    """
    location = locate(output)
    if without_query(output).endswith("/") or location.info().type == fs.FileType.Directory:
        return True
    return not posixpath.splitext(location.path)[1]


def _format(output: str, options: ScoreOptions, is_directory: bool) -> str:
    location = locate(output)
    known = None if is_directory else format_of_output(location.path)
    output_format = options.output_format or known
    if output_format is None and not is_directory:
        raise InvalidInputError(
            f"{location.name}: the extension names no output format; name the format, or end the "
            "path with / for a directory"
        )
    return output_format or "parquet"


def _output(
    output: str,
    is_directory: bool,
    plan: Plan,
    schema: OutputSchema,
    options: ScoreOptions,
    read_options: ReadOptions,
    model: Mapping[str, Any],
) -> Output:
    quarantine = options.on_bad_row == "quarantine"
    output_format = _format(output, options, is_directory)
    if not is_directory:
        if options.resume:
            raise InvalidInputError(
                f"{locate(output).name}: only a directory of parts can be resumed; a file is "
                "written at once"
            )
        return FileOutput(locate(output), output_format, schema, quarantine, options.histogram)
    job = {
        "model": dict(model),
        "model_column": None if read_options.route is None else read_options.route.column,
        "n_features": read_options.n_features,
        "n_labels": len(schema.labels),
        "format": output_format,
        "compression": options.compression,
        "top_k": options.top_k,
        "threshold": options.threshold,
        "id_column": options.id_column,
        "features_column": options.features_column,
        "indices_column": options.indices_column,
        "values_column": options.values_column,
        "keep_columns": list(options.keep_columns),
        "on_bad_row": options.on_bad_row,
        "null_rows": options.null_rows,
        "batch_rows": read_options.batch_rows,
        "part_rows": options.part_rows,
        "histogram": options.histogram,
        "svmlight_base": options.svmlight_base,
        "inputs": [_describe(file) for file in plan.files],
    }
    return DirectoryOutput(
        _folder(locate(output)),
        output_format=output_format,
        schema=schema,
        quarantine=quarantine,
        histogram=options.histogram,
        job=job,
        parts=plan.parts,
        resume=options.resume,
        overwrite=options.overwrite,
    )


def _folder(location: Location) -> Location:
    return Location(
        location.filesystem, location.path.rstrip("/") or "/", location.name.rstrip("/") or "/"
    )


def _describe(file: InputFile) -> dict[str, Any]:
    return {"name": file.name, "bytes": file.size, "modified": file.modified}


class _Run:
    """One run: three stages, and what they share."""

    def __init__(
        self,
        scorer: BatchScorer | RoutedScorer,
        plan: Plan,
        output: Output,
        progress: ProgressCallback | None,
        read_ahead: int,
        readers: int,
    ) -> None:
        self._scorer = scorer
        self._plan = plan
        self._output = output
        self._progress = progress
        self._readers = readers
        self._earlier = output.finished()
        self._parts = [part for part in plan.parts if part.number not in self._earlier]
        rows = [part.rows for part in self._parts]
        known = [row for row in rows if row is not None]
        self._total_rows = sum(known) if len(known) == len(rows) else None
        self._read: Channel[_Read] = Channel(read_ahead)
        self._scored: Channel[_Scored] = Channel(read_ahead)
        self._error: BaseException | None = None
        self._done = PartCounts()
        self._began = 0.0
        self._processor_began = 0.0

    def run(self) -> ScoreSummary:
        self._began, self._processor_began = time.monotonic(), time.process_time()
        threads = [
            threading.Thread(target=stage, name=name, daemon=True)
            for stage, name in (
                (self._read_all, "fastprop-read"),
                (self._write_all, "fastprop-write"),
            )
        ]
        for thread in threads:
            thread.start()
        try:
            self._score_all()
        except BaseException:
            # An interrupt: nobody may be left waiting, and the writer has to remove its
            # temporary file before the process ends.
            self._stop()
            raise
        finally:
            for thread in threads:
                thread.join()
        if self._error is not None:
            raise self._error
        self._output.finish()
        return self._summary()

    def _stop(self) -> None:
        self._read.stop()
        self._scored.stop()

    # An error of a stage goes down the queue in its turn, so that what comes before it is scored
    # and written, and the caller gets the first by place, not by time.

    def _read_all(self) -> None:
        try:
            with contextlib.closing(in_order(self._units(), threads=self._readers)) as items:
                for item in items:
                    self._read.put(item)
            self._read.end()
        except ChannelClosed:
            pass
        except Exception as error:
            self._read.fail(error)

    def _score_all(self) -> None:
        try:
            for item in self._read:
                if isinstance(item, (RowBatch, RoutedBatch)):
                    self._scored.put(self._scorer.score(item))
                else:
                    self._scored.put(item)
            self._scored.end()
        except ChannelClosed:
            pass
        except Exception as error:
            self._read.stop()
            self._scored.fail(error)

    def _write_all(self) -> None:
        try:
            self._writing()
        except ChannelClosed:
            pass
        except Exception as error:  # given to the caller by run()
            self._error = error
            self._stop()

    def _units(self) -> Iterator[Callable[[], Iterator[_Read]]]:
        for part in self._parts:
            # A part without rows is there as well.
            for number in range(max(len(part.units), 1)):
                yield partial(self._read_unit, part, number)

    def _read_unit(self, part: Part, number: int) -> Iterator[_Read]:
        """Read a unit of a part, with the part's beginning and end if it is at one."""
        if number == 0:
            yield _PartBegins(part)
        for file, piece in part.units[number : number + 1]:
            yield from self._plan.readers[file].read(piece)
        if number + 1 >= len(part.units):
            yield _PartEnds()

    def _writing(self) -> None:
        items = iter(self._scored)
        for item in items:
            if not isinstance(item, _PartBegins):
                raise AssertionError("a batch outside of a part")
            with self._output.part(item.part) as writer:
                for scored, bad in _until_part_ends(items):
                    writer.write(scored, bad)
                    self._report(scored, len(bad))

    def _report(self, scored: ScoredBatch, bad_rows: int) -> None:
        self._done.rows += len(scored.ids)
        self._done.bad_rows += bad_rows
        if scored.null_rows is not None:
            self._done.null_rows += int(scored.null_rows.sum())
        if self._progress is not None:
            self._progress(
                ScoreProgress(
                    rows=self._done.rows + self._done.bad_rows,
                    total_rows=self._total_rows,
                    bad_rows=self._done.bad_rows,
                    seconds=time.monotonic() - self._began,
                )
            )

    def _summary(self) -> ScoreSummary:
        counts = self._output.finished() or {0: self._done}
        seconds = time.monotonic() - self._began
        done = self._done.rows + self._done.bad_rows
        return ScoreSummary(
            rows=sum(part.rows for part in counts.values()),
            null_rows=sum(part.null_rows for part in counts.values()),
            bad_rows=sum(part.bad_rows for part in counts.values()),
            parts=len(self._plan.parts),
            resumed_parts=len(self._earlier),
            seconds=seconds,
            rows_per_second=done / seconds if seconds else 0.0,
            processor_seconds=time.process_time() - self._processor_began,
            peak_memory=_peak_memory(),
            notes=self._plan.notes,
        )


def _until_part_ends(items: Iterator[_Scored]) -> Iterator[Outcome]:
    for item in items:
        if isinstance(item, _PartEnds):
            return
        if isinstance(item, _PartBegins):
            raise AssertionError("a part inside of a part")
        yield item
    # The reader stopped in mid-part: the part must not get its name.
    raise ChannelClosed


def _peak_memory() -> int:
    """The most memory that this program ever had, in bytes."""
    # What getrusage says may be the peak of the process that started this one.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

"""One run of the pipeline: reading, scoring and writing overlap, in memory that does not grow.

A reader thread and a writer thread work beside the caller, who scores; bounded queues of a few
batches lie between them. The first error by place stops all, and the caller gets it.
"""

from __future__ import annotations

import contextlib
import resource
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Union

from fastprop.io.batches import RowBatch
from fastprop.io.channel import Channel, ChannelClosed
from fastprop.io.ordered import in_order
from fastprop.io.outputs import Output, PartCounts
from fastprop.io.plan import Part, Plan
from fastprop.io.routing import RoutedBatch
from fastprop.io.scoring import BatchScorer, Outcome, RoutedScorer
from fastprop.io.writers import ScoredBatch

__all__ = ["ProgressCallback", "Run", "ScoreProgress", "ScoreSummary"]


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


class Run:
    """Three stages, and what they share.

    Parameters
    ----------
    scorer : BatchScorer or RoutedScorer
    plan : Plan
        What is read.
    output : Output
        Where it goes.
    progress : callable, optional
        Called now and then, on the writer's thread.
    read_ahead, readers : int
        See `ScoreOptions`.
    """

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
        """Read, score and write all that an earlier run has not."""
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

"""What runs in a contender's process: answers requests from a pipe until it ends.

Requests are pickled `(method, arguments)`; replies `("ok", result)`, or a kind of failure and its
message: `"missing"`, `"wrong"`, `"failed"`.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import struct
import sys
import time
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from fastprop.bench.contenders import contender_class
from fastprop.bench.contenders.base import (
    Call,
    Contender,
    ContenderSpec,
    Form,
    MissingContenderError,
)
from fastprop.bench.oracle import WrongAnswerError
from fastprop.bench.timing import Window
from fastprop.bench.workload import Workload, read_expected

__all__ = ["Measured", "Prepared", "Worker", "serve"]

CALL_SECONDS = 0.5  # a call of as many rows as take about so long
TRIAL_SECONDS = 0.3
MOST_CALLS = 1024  # that are made ready at once


@dataclass(frozen=True)
class Prepared:
    """A contender that is loaded and has given a right answer.

    Parameters
    ----------
    import_seconds, load_seconds : float
        Importing its library; loading the checkpoint up to the end of a first call.
    error : float
        Largest difference from the oracle.
    checked_rows : int
        Rows that were compared.
    form : str
        The way of use that was the fastest.
    tried : dict of str to float
        Rows a second of each way, in a short trial; 0 for one whose answer was wrong.
    batch_size, rows_per_call : int
        What is timed.
    facts : dict
        Versions, builds and settings.
    """

    import_seconds: float
    load_seconds: float
    error: float
    checked_rows: int
    form: str
    tried: dict[str, float]
    batch_size: int
    rows_per_call: int
    facts: dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """A window, and by how much the contender's counters grew in it."""

    window: Window
    counters: dict[str, float] = field(default_factory=dict)


class Worker:
    """The methods that a process answers; the first request is `prepare` or `probe`."""

    contender: Contender

    def prepare(self, spec: ContenderSpec, workload: Workload, tolerance: float) -> Prepared:
        """Load a contender, check it, and find its fastest form."""
        contender = contender_class(spec.kind)(spec, workload)
        began = time.perf_counter()
        contender.import_library()
        imported = time.perf_counter()
        contender.load()
        loading = time.perf_counter() - imported
        expected = read_expected(workload)
        if spec.rows_per_call is not None:
            expected = expected[: 16 * spec.rows_per_call]
        forms = list(contender.forms())
        contender.form = forms[0]
        first = contender.call(0, spec.rows_per_call or min(workload.n_rows, spec.batch_size))
        loading += duration(first)
        del first
        self.contender = contender
        tried: dict[str, float] = {}
        errors: dict[str, float] = {}
        wrong: WrongAnswerError | None = None
        for form in forms:
            contender.form = form
            try:
                errors[form.name] = contender.check(expected, spec.tolerance or tolerance)
            except WrongAnswerError as error:
                wrong, tried[form.name] = error, 0.0
                continue
            tried[form.name] = self.trial() if len(forms) > 1 else 0.0
        if not errors:
            raise wrong if wrong is not None else WrongAnswerError("no form gave an answer")
        best = max(errors, key=lambda name: tried[name])
        self.use(next(form for form in forms if form.name == best))
        return Prepared(
            import_seconds=imported - began,
            load_seconds=loading,
            error=errors[best],
            checked_rows=len(expected),
            form=best,
            tried=tried if len(forms) > 1 else {},
            batch_size=contender.form.batch_size,
            rows_per_call=self.rows_per_call,
            facts=contender.facts(),
        )

    def use(self, form: Form) -> None:
        """Make the calls of a form ready."""
        self.contender.form = form
        self.rows_per_call = self.fitting_rows()
        self.calls = cycle(self.make_calls(self.rows_per_call))

    def trial(self) -> float:
        """Rows a second of the present form, roughly."""
        rows = self.fitting_rows()
        calls = cycle(self.make_calls(rows)[:4])
        duration(next(calls))
        taken: list[float] = []
        while sum(taken) < TRIAL_SECONDS:
            taken.append(duration(next(calls)))
        return rows / float(np.median(taken))

    def fitting_rows(self) -> int:
        """Whole batches that take about half a second."""
        spec, n_rows = self.contender.spec, self.contender.workload.n_rows
        if spec.rows_per_call is not None:
            return min(spec.rows_per_call, n_rows)
        batch = min(self.contender.form.batch_size, n_rows)
        call = self.contender.call(0, batch)
        seconds = min(duration(call), duration(call))
        batches = int(CALL_SECONDS / max(seconds, 1e-9))
        return min(max(batches, 1), n_rows // batch) * batch

    def make_calls(self, rows: int) -> list[Call]:
        """Calls over all rows of the workload in turn."""
        n_rows = self.contender.workload.n_rows
        starts = range(0, n_rows - rows + 1, rows)[:MOST_CALLS]
        return [self.contender.call(begin, begin + rows) for begin in starts]

    def window(self, seconds: float, repetitions: int | None) -> Measured:
        """Time calls, after a call or two that are not timed."""
        before: dict[str, float] = {}

        def started() -> None:
            before.update(self.contender.counters())

        window = timed(self.calls, self.rows_per_call, seconds, repetitions, started)
        after = self.contender.counters()
        grown = {name: after[name] - before[name] for name in after if name != "pool_peak"}
        if "pool_peak" in after:
            grown["pool_peak"] = after["pool_peak"]
        return Measured(window, grown)

    def sweep(self, rows: int, seconds: float) -> Window:
        """Time calls of another number of rows."""
        form = self.contender.form
        if rows > form.batch_size:
            calls = self.make_calls(rows)
        else:
            self.contender.form = Form(form.name, rows)
            calls = self.make_calls(rows)
            self.contender.form = form
        return timed(cycle(calls), rows, seconds, None)

    def memory(self) -> dict[str, int]:
        """Bytes of this process: most ever resident, private and mapped now."""
        return process_memory()

    def probe(self, name: str, arguments: dict[str, Any]) -> Any:
        """Measure the machine; see `fastprop.bench.probes`."""
        from fastprop.bench import probes

        return probes.PROBES[name](**arguments)

    def close(self) -> None:
        """Release the contender."""
        self.contender.close()


def duration(call: Call) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def timed(
    calls: Any,
    rows: int,
    seconds: float,
    repetitions: int | None,
    started: Call = lambda: None,
) -> Window:
    """Time calls in a row. The collector of cycles rests, as it does in `timeit`."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        end = time.perf_counter() + 0.05 * seconds
        while True:
            next(calls)()
            if time.perf_counter() >= end:
                break
        started()
        taken: list[float] = []
        end = time.perf_counter() + seconds
        while True:
            call = next(calls)
            began = time.perf_counter()
            call()
            now = time.perf_counter()
            taken.append(now - began)
            if now >= end if repetitions is None else len(taken) >= repetitions:
                return Window(rows, tuple(taken))
    finally:
        if was_enabled:
            gc.enable()


def process_memory(status: Path = Path("/proc/self/status")) -> dict[str, int]:
    """Read `VmHWM` and `Rss…` of a process, in bytes; empty where the kernel has no such file."""
    names = {"VmHWM": "peak", "RssAnon": "private", "RssFile": "mapped"}
    found: dict[str, int] = {}
    if status.is_file():
        for line in status.read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in names:
                found[names[name]] = int(rest.split()[0]) * 1024
    return found


def read_message(stream: Any) -> Any:
    header = stream.read(8)
    if len(header) < 8:
        raise EOFError
    return pickle.loads(stream.read(struct.unpack("<Q", header)[0]))


def packed_message(message: Any) -> bytes:
    """A message with its length before it."""
    data = pickle.dumps(message, protocol=5)
    return struct.pack("<Q", len(data)) + data


def serve() -> None:
    """Answer requests until standard input ends. What libraries print goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends us
    requests = sys.stdin.buffer
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    worker = Worker()
    while True:
        try:
            method, arguments = read_message(requests)
        except EOFError:
            return
        reply: tuple[str, Any]
        try:
            reply = ("ok", getattr(worker, method)(*arguments))
        except MissingContenderError as error:
            reply = ("missing", str(error))
        except WrongAnswerError as error:
            reply = ("wrong", str(error))
        except Exception as error:
            reply = ("failed", f"{type(error).__name__}: {error}")
        replies.write(packed_message(reply))
        replies.flush()

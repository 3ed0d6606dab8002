"""A run: the machine's limits, every contender loaded and checked, rounds in turn, a report."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any, Callable

from fastprop.bench.contenders.base import ContenderSpec
from fastprop.bench.machine import IdleTime, ProcessorTime, StolenShare, machine_facts
from fastprop.bench.process import ContenderError, ContenderProcess
from fastprop.bench.registry import BASELINE, contender_specs, select_specs, thread_environment
from fastprop.bench.roofline import RowWork, floor_seconds, product_shapes, row_work
from fastprop.bench.settings import BenchSettings, MeasureSettings
from fastprop.bench.timing import Timing, Window, agree, summarize
from fastprop.bench.worker import Measured, Prepared
from fastprop.bench.workload import Workload
from fastprop.version import __version__

__all__ = ["SCHEMA", "Tell", "run_bench"]

SCHEMA = 1
CALL_TIMEOUT = 90.0
SETTLE_SECONDS = 0.02  # other processes' idle threads stop spinning
SWEEP_SECONDS = 0.15
SWEEP_PASSES = 2
NOTABLE_SHARE = 0.02
IDLE_LOAD = 0.25  # of all processors
Tell = Callable[[str], None]


@dataclass
class Running:
    """A contender in the course of a run."""

    spec: ContenderSpec
    process: ContenderProcess | None = None
    prepared: Prepared | None = None
    status: str = "measured"
    reason: str = ""
    measured: list[Measured] = field(default_factory=list)
    sweep: dict[int, list[Window]] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self.status == "measured"

    @property
    def windows(self) -> list[Window]:
        """Its windows so far."""
        return [item.window for item in self.measured]

    def fail(self, error: ContenderError) -> None:
        """Take it out of the run, and say why."""
        self.status, self.reason = error.status, str(error)
        if self.process is not None:
            self.process.close()
            self.process = None


def run_bench(
    workload: Workload, settings: BenchSettings, *, command: str = "", tell: Tell = lambda _: None
) -> dict[str, Any]:
    """Measure a workload.

    Parameters
    ----------
    workload : Workload
        As `prepare_workload` made it.
    settings : BenchSettings
        Who takes part, and how long.
    command : str
        The command line, for the report.
    tell : callable
        Told what is being done, a line at a time.

    Returns
    -------
    dict
        The report, fit for JSON; see `fastprop.bench.report` for its readers.

    Notes
    -----
    Each contender lives in a process of its own for the whole run, and only one of them works at
    any time. They are timed in turn, a window each, so that a disturbance meets all of them.
    """
    began = time.monotonic()

    def timed_tell(line: str) -> None:
        tell(f"{time.monotonic() - began:4.0f} s  {line}")

    running = [Running(s) for s in select_specs(contender_specs(settings), settings.contenders)]
    machine = machine_facts()
    stolen = StolenShare()
    notes = idle_notes(machine)
    limits = probe(workload, settings, timed_tell) if settings.limits else []
    with ExitStack() as stack:
        prepare(running, workload, settings, stack, timed_tell)
        deadline = began + settings.measure.time_limit
        watch = ProcessorTime([item.process.pid for item in running if item.process is not None])
        idle = rounds(
            running, settings.measure, deadline - sweep_seconds(running, settings), timed_tell
        )
        machine["foreign_share"] = round(watch.foreign_share(), 3)
        machine["idle_contenders_share"] = round(idle, 3)
        sweeps(running, workload, settings, deadline, timed_tell)
        for item in alive(running):
            with asking(item) as process:
                item.memory = process.call("memory", timeout=CALL_TIMEOUT)
    machine["stolen_share"] = round(stolen.share(), 4)
    notes += disturbance_notes(machine)
    return assemble(
        running,
        workload,
        settings,
        header={
            "schema": SCHEMA,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": command,
            "fastprop": __version__,
            "seconds": round(time.monotonic() - began, 1),
            "machine": machine,
        },
        limits=limits,
        notes=notes,
    )


def idle_notes(machine: dict[str, Any]) -> list[str]:
    load, cores = machine["load_before"], machine["cores"]
    if load <= IDLE_LOAD * cores:
        return []
    return [f"the machine was not idle: load {load} on {cores} processors before the run"]


def disturbance_notes(machine: dict[str, Any]) -> list[str]:
    """Say who else used the processors while contenders were timed, if it was much."""
    notes = []
    for name, who in (
        ("stolen_share", "other guests of the host"),
        ("foreign_share", "other programs"),
        ("idle_contenders_share", "contenders whose turn it was not"),
    ):
        if machine[name] > NOTABLE_SHARE:
            notes.append(f"{who} took {machine[name]:.0%} of the processors during the measurement")
    return notes


def alive(running: Sequence[Running]) -> list[Running]:
    return [item for item in running if item.alive]


@contextmanager
def asking(item: Running) -> Iterator[ContenderProcess]:
    """Give a contender's process; if it fails, take the contender out of the run."""
    assert item.process is not None
    try:
        yield item.process
    except ContenderError as error:
        item.fail(error)


def probe(workload: Workload, settings: BenchSettings, tell: Tell) -> list[dict[str, Any]]:
    """Measure the machine with each number of threads."""
    shapes = product_shapes(workload, settings.batch_size)
    found = []
    for threads in settings.threads:
        tell(f"measuring the machine with {threads} thread{'s' if threads > 1 else ''}")
        with ContenderProcess(thread_environment(threads)) as process:
            arguments = {"threads": threads, "workload": workload, "shapes": shapes}
            found.append(process.call("probe", "machine", arguments, timeout=CALL_TIMEOUT))
    return found


def prepare(
    running: Sequence[Running],
    workload: Workload,
    settings: BenchSettings,
    stack: ExitStack,
    tell: Tell,
) -> None:
    """Load and check every contender: what compiles side by side, the others one by one."""
    import fastprop._core as core

    slow = [item for item in running if item.spec.compiles]
    quick = [item for item in running if not item.spec.compiles]
    width = core.cpu_count()
    groups = [slow[i : i + width] for i in range(0, len(slow), width)]
    for group in [*groups, *([item] for item in quick)]:
        tell("loading " + " and ".join(item.spec.title + threads_text(item.spec) for item in group))
        for item in group:
            item.process = ContenderProcess(item.spec.environment)
            stack.callback(close, item)
            with asking(item) as process:
                process.send("prepare", item.spec, workload, settings.tolerance)
        for item in group:
            if item.alive:
                limit = settings.measure.prepare_seconds
                with asking(item) as process:
                    item.prepared = process.receive("prepare", timeout=limit)


def close(item: Running) -> None:
    """End the process, if it still runs."""
    if item.process is not None:
        item.process.close()
        item.process = None


def threads_text(spec: ContenderSpec) -> str:
    return f" ({spec.threads})" if "@" in spec.name else ""


def rounds(
    running: Sequence[Running], measure: MeasureSettings, deadline: float, tell: Tell
) -> float:
    """Time windows in turn until every contender's agree, or there is no time for another round.

    Returns
    -------
    float
        Share of the processors that contenders took while it was another's turn.
    """
    idle = IdleTime()
    last_round = 0.0
    for number in range(measure.max_windows):
        waiting = [item for item in alive(running) if not done(item, measure)]
        began = time.monotonic()
        if not waiting or (number and began + last_round >= deadline):
            break
        tell(f"round {number + 1}: {len(waiting)} contenders")
        for item in waiting:
            time.sleep(SETTLE_SECONDS)
            others = [it.process.pid for it in running if it.process and it is not item]
            with idle.watching(others), asking(item) as process:
                arguments = (measure.window_seconds, measure.repetitions)
                item.measured.append(process.call("window", *arguments, timeout=CALL_TIMEOUT))
        last_round = time.monotonic() - began
    return idle.share()


def done(item: Running, measure: MeasureSettings) -> bool:
    rates = [window.rate for window in item.windows]
    return agree(rates, measure.agreeing, measure.agreement)


def sweeps(
    running: Sequence[Running],
    workload: Workload,
    settings: BenchSettings,
    deadline: float,
    tell: Tell,
) -> None:
    """Time calls of several numbers of rows, in turn as well."""
    sizes = [size for size in sorted(set(settings.batch_sizes)) if size <= workload.n_rows]
    seconds = min(SWEEP_SECONDS, settings.measure.window_seconds)
    for number in range(SWEEP_PASSES):
        for size in sizes:
            if time.monotonic() >= deadline:
                return
            if number == 0:
                tell(f"calls of {size:,} row{'s' if size > 1 else ''}")
            for item in alive(running):
                if item.spec.sweep:
                    with asking(item) as process:
                        window = process.call("sweep", size, seconds, timeout=CALL_TIMEOUT)
                        item.sweep.setdefault(size, []).append(window)


def sweep_seconds(running: Sequence[Running], settings: BenchSettings) -> float:
    """About how long `sweeps` takes."""
    count = sum(item.spec.sweep for item in alive(running)) * len(settings.batch_sizes)
    seconds = min(SWEEP_SECONDS, settings.measure.window_seconds)
    return 1.5 * SWEEP_PASSES * count * seconds


def assemble(
    running: Sequence[Running],
    workload: Workload,
    settings: BenchSettings,
    *,
    header: dict[str, Any],
    limits: list[dict[str, Any]],
    notes: list[str],
) -> dict[str, Any]:
    """Make the report."""
    measure = settings.measure
    work = row_work(workload)
    timings = {
        item.spec.name: summarize(item.windows, count=measure.agreeing, agreement=measure.agreement)
        for item in running
        if item.windows
    }
    base = timings.get(BASELINE)
    floors = {}
    if work is not None:
        floors = {limit["threads"]: floor_seconds(work, limit) for limit in limits}
    per_row = workload.nonzeros / workload.n_rows
    contenders = []
    for item in running:
        timing = timings.get(item.spec.name)
        entry = contender_entry(item)
        if timing is not None and item.alive:
            same = item.spec.same_work
            floor = floors.get(item.spec.threads) if same else None
            entry.update(rates(timing, work if same else None, floor, per_row, base))
            entry.update(grown(item))
        contenders.append(entry)
    unsettled = [
        entry["name"] for entry in contenders if "timing" in entry and not entry["timing"]["agreed"]
    ]
    if unsettled:
        notes.append(
            f"windows of {', '.join(unsettled)} did not agree within {measure.agreement:.0%}: "
            "their figures are medians of all windows"
        )
    report = {
        **header,
        "workload": {**asdict(workload), "nonzeros_per_row": round(per_row, 1)},
        "settings": asdict(settings),
        "work": None if work is None else {**asdict(work), "floor_seconds": floors},
        "limits": limits,
        "contenders": contenders,
        "sweeps": {item.spec.name: list(sweep_points(item)) for item in running if item.sweep},
        "notes": notes,
    }
    # As it will be read back: keys are strings, sequences are lists.
    plain: dict[str, Any] = json.loads(json.dumps(report))
    return plain


def contender_entry(item: Running) -> dict[str, Any]:
    spec, prepared = item.spec, item.prepared
    entry: dict[str, Any] = {
        "name": spec.name,
        "title": spec.title,
        "kind": spec.kind,
        "threads": spec.threads,
        "single": spec.rows_per_call == 1,
        "same_work": spec.same_work,
        "status": item.status,
        "reason": item.reason,
    }
    if prepared is not None:
        facts = asdict(prepared)
        entry.update(facts.pop("facts"))
        entry.update(facts)
    if item.memory:
        entry["memory"] = item.memory
    return entry


def rates(
    timing: Timing,
    work: RowWork | None,
    floor: float | None,
    nonzeros_per_row: float,
    base: Timing | None,
) -> dict[str, Any]:
    """What follows from a contender's rows a second."""
    rate = timing.rows_per_second
    found: dict[str, Any] = {
        "timing": asdict(timing),
        "rows_per_second": rate,
        "nonzeros_per_second": rate * nonzeros_per_row,
        "times_baseline": None if base is None else rate / base.rows_per_second,
    }
    if work is not None:
        found["gigabytes_per_second"] = rate * work.bytes / 1e9
        found["gigaflops"] = rate * work.operations / 1e9
    if floor is not None:
        found["roofline_share"] = rate * floor
    return found


def grown(item: Running) -> dict[str, Any]:
    """Stage times a row and counts, over all windows; nothing for contenders without counters."""
    total: dict[str, float] = {}
    for measured in item.measured:
        for name, value in measured.counters.items():
            before = total.get(name, 0)
            total[name] = max(before, value) if name == "pool_peak" else before + value
    rows = total.pop("rows", 0)
    if not rows:
        return {}
    stages = {
        name[: -len("_seconds")]: value / rows
        for name, value in total.items()
        if name.endswith("_seconds")
    }
    counts = {name: value for name, value in total.items() if not name.endswith("_seconds")}
    copied = counts.pop("bytes_copied", 0) / rows
    return {"stages": stages, "counts": counts, "bytes_copied_per_row": copied}


def sweep_points(item: Running) -> Iterator[dict[str, float]]:
    for size, windows in sorted(item.sweep.items()):
        timing = summarize(windows, count=len(windows), agreement=1.0)
        yield {
            "rows": size,
            "rows_per_second": timing.rows_per_second,
            "seconds": timing.latency["p50"],
        }

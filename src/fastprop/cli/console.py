"""What commands print: results to standard output, everything else to standard error.

Progress appears only on work that lasts longer than a second: a bar with the time left on a
terminal, plain lines elsewhere. Strings are printed as they are (no rich markup in them).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

__all__ = [
    "Bar",
    "format_bytes",
    "format_count",
    "format_seconds",
    "heading",
    "print_json",
    "print_table",
    "print_text",
    "progress",
    "say",
    "warn",
]

_SHOW_AFTER = 1.0  # seconds before progress is worth showing
_PLAIN_INTERVAL = 10.0  # seconds between plain lines
_PLAIN_WIDTH = 110


def _console(*, stderr: bool) -> Console:
    # Made anew at each use, so that redirected streams (tests, shells) are respected.
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)
    if not console.is_terminal and console.width < _PLAIN_WIDTH:
        console.width = _PLAIN_WIDTH
    return console


def say(message: str) -> None:
    """Print one line about what is going on, to standard error."""
    _console(stderr=True).print(message)


def warn(message: str) -> None:
    """Print one line that starts with `warning:`, to standard error."""
    _console(stderr=True).print(Text.assemble(("warning: ", "yellow"), message))


def print_text(text: str) -> None:
    """Print text that is a result, to standard output."""
    _console(stderr=False).print(text)


def heading(text: str) -> None:
    """Print a title above results, to standard output, after an empty line."""
    console = _console(stderr=False)
    console.print()
    console.print(Text(text, style="bold"))


def print_json(value: object) -> None:
    """Print a value as indented JSON, to standard output, without colours."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str | None = None,
    right: Iterable[int] = (),
) -> None:
    """Print a table that is a result, to standard output.

    Parameters
    ----------
    columns : sequence of str
        Headings.
    rows : iterable of sequences
        Cells; each is shown with `str`.
    title : str, optional
        A line above the table.
    right : iterable of int
        Numbers of the columns that are aligned to the right.
    """
    from rich import box

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    flush_right = set(right)
    for number, column in enumerate(columns):
        justify: Any = "right" if number in flush_right else "left"
        table.add_column(Text(column), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    _console(stderr=False).print(table, soft_wrap=False)


class Bar:
    """Progress of one piece of work; made by `progress`. Safe to use from several threads."""

    def __init__(self, description: str, total: float | None, unit: str) -> None:
        self._description = description
        self._total = total
        self._unit = unit
        self._done = 0.0
        self._began = time.monotonic()
        self._next_line = self._began + _SHOW_AFTER
        self._console = _console(stderr=True)
        self._lock = threading.Lock()
        self._rich: Progress | None = None
        self._task: Any = None
        self._timer: threading.Timer | None = None
        if self._console.is_terminal:
            self._timer = threading.Timer(_SHOW_AFTER, self._show)
            self._timer.daemon = True
            self._timer.start()

    def advance(self, amount: float = 1) -> None:
        """Add to what is done."""
        self.update(self._done + amount)

    def update(
        self,
        done: float | None = None,
        *,
        total: float | None = None,
        description: str | None = None,
    ) -> None:
        """Set what is done, and, where they have changed, the total and the description."""
        with self._lock:
            if done is not None:
                self._done = done
            if total is not None:
                self._total = total
            if description is not None:
                self._description = description
            if self._rich is not None:
                self._rich.update(
                    self._task,
                    completed=self._done,
                    total=self._total,
                    description=self._description,
                )
            elif not self._console.is_terminal and time.monotonic() >= self._next_line:
                self._next_line = time.monotonic() + _PLAIN_INTERVAL
                self._console.print(self._line())

    def close(self) -> None:
        """Take the bar away; where plain lines are printed, print the last one."""
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._timer = None
            if self._rich is not None:
                self._rich.stop()
                self._rich = None
            elif not self._console.is_terminal and self._seconds() >= _SHOW_AFTER:
                self._console.print(self._line())

    def _show(self) -> None:
        with self._lock:
            if self._timer is None:
                return
            self._rich = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                _RateColumn(self._unit),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._rich.add_task(
                self._description, total=self._total, completed=int(self._done)
            )
            self._rich.start()

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _line(self) -> str:
        seconds = self._seconds()
        if not self._done and self._total is None:  # nothing is counted
            return f"{self._description}: {format_seconds(seconds)}"
        text = f"{self._description}: {self._done:,.0f}"
        if self._total is not None:
            text += f" of {self._total:,.0f}"
        text += f" {self._unit} in {format_seconds(seconds)}"
        if self._done and seconds:
            rate = self._done / seconds
            text += f", {format_count(rate)} {self._unit}/s"
            if self._total is not None and self._done < self._total:
                text += f", {format_seconds((self._total - self._done) / rate)} left"
        return text


class _RateColumn(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{format_count(speed)} {self._unit}/s")


@contextmanager
def progress(description: str, *, total: float | None = None, unit: str = "rows") -> Iterator[Bar]:
    """Show progress while the body runs, if that takes longer than a second.

    Parameters
    ----------
    description : str
        What is being done, such as `"scoring"`.
    total : float, optional
        How much there is to do; without it no time left is shown.
    unit : str
        What is counted.

    Examples
    --------
    >>> with progress("scoring", total=1000) as bar:
    ...     bar.advance(1000)
    """
    bar = Bar(description, total, unit)
    try:
        yield bar
    finally:
        bar.close()


def format_count(value: float) -> str:
    """Format a number for people: `1,234`, `0.12`."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def format_seconds(seconds: float) -> str:
    """Format a duration for people: `0.53 s`, `12.3 s`, `4 min 05 s`, `2 h 03 min`."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_bytes(size: float) -> str:
    """Format a size for people, in powers of 1024: `512 B`, `1.5 MiB`."""
    if size < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"

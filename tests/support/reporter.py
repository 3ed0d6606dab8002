"""A reporter that keeps what it is told."""

from __future__ import annotations

from typing import Any


class Recorder:
    """Lines in `lines`; of each progress bar the description, the total, the unit, what is done."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bars: list[list[Any]] = []

    def say(self, message: str) -> None:
        self.lines.append(message)

    def progress(self, description: str, *, total: Any = None, unit: str = "rows") -> Any:
        bar = [description, total, unit, 0]
        self.bars.append(bar)
        return _Bar(bar)


class _Bar:
    def __init__(self, bar: list[Any]) -> None:
        self._bar = bar

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, done: float) -> None:
        self._bar[-1] = done

"""Telling people how training goes: progress with the time left, a line an epoch."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, Protocol

from fastprop.training.fit import EpochResult, StepProgress

__all__ = ["Reporter", "TrainingDisplay"]


class Reporter(Protocol):
    """Where lines and progress are shown; `fastprop.cli.console` is one."""

    def say(self, message: str) -> None:
        """Show one line."""

    def progress(
        self, description: str, *, total: float | None = None, unit: str = "rows"
    ) -> AbstractContextManager[Any]:
        """Show progress for as long as the context lasts.

        The value of the context has a method `update(done)`.
        """


class TrainingDisplay:
    """Callbacks of `fit` that show what they are told; a context manager.

    The bar of the rows begins with the first of them: loading MXNet, reading and the warm start
    would make its estimate of the time left useless.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._stack = ExitStack()
        self._bar: Any = None

    def __enter__(self) -> TrainingDisplay:
        """Begin."""
        self._stack.enter_context(self._reporter.progress("preparing to train", unit="steps"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the progress away."""
        self._stack.close()

    def on_step(self, step: StepProgress) -> None:
        """Show how many rows are done."""
        if self._bar is None:
            self._stack.close()
            bar = self._reporter.progress("training", total=step.total_rows, unit="rows")
            self._bar = self._stack.enter_context(bar)
        self._bar.update(step.rows)

    def on_epoch(self, result: EpochResult) -> None:
        """Show the figures of an epoch in a line."""
        stage = "before training" if result.epoch == 0 else f"epoch {result.epoch}"
        figures = result.validation
        if figures is None:
            self._reporter.say(f"{stage}: training log-loss {result.train_log_loss:.5f}")
            return
        others = ", ".join(f"{name} {value:.3f}" for name, value in figures.baselines.items())
        self._reporter.say(
            f"{stage}: validation log-loss {figures.log_loss:.5f}, AUC {figures.macro_auc:.3f}, "
            f"precision@{figures.k} {figures.precision:.3f}" + (f" ({others})" if others else "")
        )

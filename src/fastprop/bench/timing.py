"""Percentiles, windows that agree, and what is reported of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["PERCENTILES", "Timing", "Window", "agree", "latency_percentiles", "summarize"]

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True)
class Window:
    """Calls of one contender, one after the other.

    Parameters
    ----------
    rows : int
        Rows a call.
    seconds : tuple of float
        Duration of each call.
    """

    rows: int
    seconds: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Rows a second of the median call."""
        return self.rows / float(np.median(self.seconds))


@dataclass(frozen=True)
class Timing:
    """What windows amount to.

    Parameters
    ----------
    rows_per_second : float
        Median of the rates of the windows that agreed; of all where none did.
    slowest, fastest : float
        Lowest and highest rate among those windows.
    agreed : bool
        Whether as many windows in a row as asked for agreed.
    windows, calls, rows_per_call : int
        How much was timed.
    latency : dict of str to float
        Percentiles (`"p50"` ...) of the duration of a call in seconds, over all windows; only
        those that enough calls stand behind. With `"mean"`, `"min"` and `"max"`.
    """

    rows_per_second: float
    slowest: float
    fastest: float
    agreed: bool
    windows: int
    calls: int
    rows_per_call: int
    latency: dict[str, float]


def agree(rates: Sequence[float], count: int, agreement: float) -> bool:
    """Tell whether the last `count` rates differ by at most the share `agreement`."""
    if len(rates) < count:
        return False
    last = rates[-count:]
    return max(last) <= min(last) * (1 + agreement)


def latency_percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Percentiles of durations that enough of them lie beyond to be told apart from the maximum.

    P99 needs 100 calls, P99.9 a thousand. Between two calls, the later one counts.
    """
    values = np.asarray(seconds, dtype=np.float64)
    result = {"mean": float(values.mean()), "min": float(values.min()), "max": float(values.max())}
    for percentile in PERCENTILES:
        if len(values) * (100 - percentile) >= 100 * (1 - 1e-9) or percentile == 50:
            value = np.percentile(values, percentile, method="higher")
            result[f"p{percentile:g}"] = float(value)
    return result


def summarize(windows: Sequence[Window], *, count: int, agreement: float) -> Timing:
    """Sum windows up; see `Timing`."""
    rates = [window.rate for window in windows]
    agreed = agree(rates, count, agreement)
    counted = rates[-count:] if agreed else rates
    seconds = [duration for window in windows for duration in window.seconds]
    return Timing(
        rows_per_second=float(np.median(counted)),
        slowest=min(counted),
        fastest=max(counted),
        agreed=agreed,
        windows=len(windows),
        calls=len(seconds),
        rows_per_call=windows[-1].rows,
        latency=latency_percentiles(seconds),
    )

"""Throughput of the predictor beside the naive baseline, taking turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from fastprop.demo.naive import NaiveBaseline
from fastprop.features.sparse import take_rows
from fastprop.typing import CSR

__all__ = ["Speed", "compare_speed"]

_TURNS = 3
_ROWS = 8192
_RECORDS = 256


@dataclass(frozen=True)
class Speed:
    """Rows a second, medians over turns.

    Attributes
    ----------
    fastprop, naive : float
        The multithreaded predictor; MXNet's Module with one record a call.
    threads : int
        Of the predictor.
    turns : int
    rows, records : int
        Rows and records scored in a turn.
    """

    fastprop: float
    naive: float
    threads: int
    turns: int
    rows: int
    records: int

    @property
    def ratio(self) -> float:
        """How many times as fast."""
        return self.fastprop / self.naive


def compare_speed(
    directory: Path,
    name: str,
    epoch: int,
    rows_path: Path,
    features: CSR,
    *,
    seconds: float = 2.0,
    progress: Callable[..., AbstractContextManager[Any]],
) -> Speed:
    """Measure both on the same checkpoint and rows; neither runs while the other is measured.

    Parameters
    ----------
    directory, name, epoch
        The checkpoint, of which the baseline runs the graph as it was saved.
    rows_path : Path
        File that holds `features`, for the baseline's process.
    features : CSR
        Rows for the predictor, repeated up to at least 8,192.
    seconds : float
        About so long a turn of each takes.
    progress : callable
        See `Reporter.progress`.
    """
    from fastprop.model import load_model

    n_rows = features.shape[0]
    rows = take_rows(features, np.arange(max(n_rows, _ROWS)) % n_rows)
    model = load_model(directory, name, epoch)
    scores = np.empty((rows.shape[0], model.n_labels), np.float32)
    slow: list[float] = []
    fast: list[float] = []
    with (
        progress("comparing speed", total=_TURNS, unit="turns") as bar,
        NaiveBaseline(
            str(directory / name), epoch, rows_path, count=min(_RECORDS, n_rows)
        ) as naive,
        model.predictor() as predictor,
    ):
        calibration = 4
        records = max(4, int(seconds * calibration / naive.run(calibration)))
        began = time.perf_counter()
        predictor.predict(rows, out=scores)
        repeats = max(1, int(seconds / (time.perf_counter() - began)))
        for turn in range(_TURNS):
            slow.append(records / naive.run(records))
            began = time.perf_counter()
            for _ in range(repeats):
                predictor.predict(rows, out=scores)
            fast.append(repeats * rows.shape[0] / (time.perf_counter() - began))
            bar.update(turn + 1)
        threads = predictor.threads
    return Speed(median(fast), median(slow), threads, _TURNS, repeats * rows.shape[0], records)

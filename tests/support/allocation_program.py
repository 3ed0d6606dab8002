"""Run with tests/memory/count_allocations.c preloaded: what calls allocate once all is warm.

    python -m support.allocation_program CHECKPOINT ENGINE THREADS ROWS

Prints JSON: tiles a call, and by kind of call what the calling thread and all others allocate in
`CALLS` calls: all, and of at least 512 bytes. Calls are warm when the others allocate nothing any
more: a worker may take its first tile late, and two may need a buffer at once late. Where they go
on to allocate, the last of `WINDOWS` windows is told.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from collections.abc import Callable

import numpy as np

import fastprop
from support.models import rows_for

CALLS = 20
WARM_UP_CALLS = 10
WINDOWS = 5


class Counter:
    """Reads what the preloaded library counts."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self.threads = library.counted_threads
        self.own = library.counted_self()
        self.all, self.large = library.counted_all, library.counted_large
        self.all.restype = self.large.restype = ctypes.c_long

    def read(self) -> np.ndarray:
        """(caller or others, all or large)."""
        counts = np.zeros((2, 2), np.int64)
        for thread in range(self.threads()):
            counts[int(thread != self.own)] += (self.all(thread), self.large(thread))
        return counts


def allocations(counter: Counter, call: Callable[[], object]) -> dict[str, int]:
    for _ in range(WARM_UP_CALLS):
        call()
    gc.collect()
    gc.disable()
    for _ in range(WINDOWS):
        before = counter.read()
        for _ in range(CALLS):
            call()
        after = counter.read()
        if (after == before)[1].all():
            break
    gc.enable()
    (caller_all, caller_large), (others_all, others_large) = (after - before).tolist()
    return {
        "caller": caller_all,
        "caller_large": caller_large,
        "others": others_all,
        "others_large": others_large,
    }


def main(checkpoint: str, engine: str, threads: str, n_rows: str) -> None:
    counter = Counter()
    model = fastprop.load_model(checkpoint)
    rows = rows_for(model, int(n_rows))
    out = np.empty((int(n_rows), model.n_labels), np.float32)
    with model.predictor(engine=engine, threads=int(threads), batch_size=64) as predictor:
        predictor.warm_up()
        predictor.predict(rows, out=out)
        tiles = predictor.stats().tiles
        found = {
            "predict": allocations(counter, lambda: predictor.predict(rows, out=out)),
            "predict_top_k": allocations(counter, lambda: predictor.predict_top_k(rows, k=5)),
        }
    print(json.dumps({"tiles": tiles, "calls": CALLS, **found}))


if __name__ == "__main__":
    main(*sys.argv[1:])

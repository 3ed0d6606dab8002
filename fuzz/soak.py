"""Weeks of use in minutes: nothing grows, and no score is ever wrong.

python fuzz/soak.py --rows 20000000

Three parts, each with its verdict; exit code 1 if one of them fails:
  calls       rows through one predictor by 4 callers, batches of 1 to 2,000 rows in every form, an
              error injected in 1 % of the calls, each result's checksum compared (with MXNet, whose
              last bits depend on the batch, each result to 2e-6); resident memory of the last
              quarter against the second, descriptors, threads
  predictors  1,000 predictors opened, used and closed
  models      200 models loaded, used and dropped
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import resource
import statistics
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
from support.models import listed, saved  # noqa: E402
from support.networks import propensity, random_rows  # noqa: E402

import fastprop  # noqa: E402

CALLERS = 4
MOST_ROWS = 2_000
ERROR_RATE = 0.01
GROWTH = 1.02
TOLERANCE = {"native": 0.0, "mxnet": 2e-6}


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


class Memory:
    """Samples of resident memory over a run, compared by quarters of its progress."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, int]] = []

    def sample(self, progress: float) -> None:
        self.samples.append((progress, resident()))

    def quarter(self, number: int) -> float | None:
        """Mean of a quarter, from 1 to 4, in MiB; None where it was not sampled."""
        begin, end = (number - 1) / 4, number / 4
        found = [size for at, size in self.samples if begin <= at < end]
        return statistics.fmean(found) / (1 << 20) if found else None

    def verdict(self, failures: list[str]) -> str:
        second, last = self.quarter(2), self.quarter(4)
        if second is None or last is None:
            failures.append("too short, or ended too early, to compare memory")
            return "memory not compared"
        if last > second * GROWTH:
            failures.append(f"memory grew from {second:.1f} MiB to {last:.1f} MiB")
        change = 100 * (last / second - 1)
        return f"memory {second:.1f} MiB in quarter 2, {last:.1f} in quarter 4 ({change:+.2f} %)"


class Rows:
    """Rows of known scores: a pool, of which every call takes a stretch that wraps around."""

    def __init__(self, predictor: fastprop.Predictor, n_features: int) -> None:
        self.n_features = n_features
        made = random_rows(np.random.default_rng(1), MOST_ROWS, n_features, density=0.004)
        # Twice over, so that a stretch that wraps around is one stretch.
        ends = np.concatenate([made.indptr, made.indptr[1:] + made.indptr[-1]])
        self.indptr = ends.astype(np.int64)
        self.indices = np.tile(made.indices, 2).astype(np.int32)
        self.data = np.tile(made.data, 2)
        self.all = fastprop.CSR(self.indptr, self.indices, self.data, (2 * MOST_ROWS, n_features))
        self.scores = predictor.predict(self.all)
        self.best = predictor.predict_top_k(self.all, k=3).scores

    def stretch(self, first: int, n_rows: int) -> fastprop.CSR:
        return fastprop.CSR(
            self.indptr[first : first + n_rows + 1],
            self.indices,
            self.data,
            (n_rows, self.n_features),
        )

    def compact(self, first: int, n_rows: int) -> fastprop.CSR:
        begin, end = self.indptr[first], self.indptr[first + n_rows]
        indptr = self.indptr[first : first + n_rows + 1] - begin
        return fastprop.CSR(
            indptr, self.indices[begin:end], self.data[begin:end], (n_rows, self.n_features)
        )


class Caller:
    """One caller's thread."""

    def __init__(self, soak: Calls, number: int) -> None:
        self.soak = soak
        self.rng = np.random.default_rng(number)
        self.calls = self.errors = self.rows = 0

    def run(self) -> None:
        try:
            while not self.soak.enough():
                n_rows = int(self.rng.integers(1, MOST_ROWS + 1))
                first = int(self.rng.integers(0, MOST_ROWS))
                if self.rng.random() < ERROR_RATE:
                    self.fail(first, n_rows)
                    self.errors += 1
                else:
                    self.score(first, n_rows)
                    self.rows += n_rows
                    self.soak.count(n_rows)
                self.calls += 1
        except BaseException as error:
            self.soak.failures.append(f"{type(error).__name__}: {error}")
            self.soak.stop = True

    def score(self, first: int, n_rows: int) -> None:
        soak, rows = self.soak, self.soak.rows
        wanted = rows.scores[first : first + n_rows]
        form = int(self.rng.integers(0, 5))
        if form == 0:
            found = soak.predictor.predict(listed(rows.stretch(first, n_rows)))
        elif form == 1:
            csr = rows.compact(first, n_rows)
            offsets = pa.array(csr.indptr.astype(np.int32))
            table = pa.table(
                {
                    "indices": pa.ListArray.from_arrays(offsets, pa.array(csr.indices)),
                    "values": pa.ListArray.from_arrays(offsets, pa.array(csr.data)),
                }
            )
            found = soak.predictor.predict(table)
        elif form == 2:
            found = np.empty((n_rows, wanted.shape[1]), dtype=np.float32)
            soak.predictor.predict(rows.stretch(first, n_rows), out=found)
        elif form == 3:
            found = soak.predictor.predict_top_k(rows.stretch(first, n_rows), k=3).scores
            wanted = rows.best[first : first + n_rows]
        else:
            found = soak.predictor.predict(rows.stretch(first, n_rows))
        if not same(found, wanted, soak.tolerance):
            raise AssertionError(f"a wrong result in form {form} for rows {first} + {n_rows}")

    def fail(self, first: int, n_rows: int) -> None:
        """A call that has to be refused, in one of several ways."""
        predictor, rows = self.soak.predictor, self.soak.rows.compact(first, n_rows)
        at = int(self.rng.integers(0, n_rows))
        kind = int(self.rng.integers(0, 4))
        broken: Any
        if kind == 0:
            items = listed(rows)
            items[at] = ([self.soak.rows.n_features], [1.0])
            broken = items
        elif kind == 1:
            items = listed(rows)
            items[at] = ([0, 1], [1.0])
            broken = items
        else:
            indices, data, indptr = rows.indices.copy(), rows.data.copy(), rows.indptr.copy()
            if kind == 2 and len(data):
                data[int(self.rng.integers(0, len(data)))] = np.nan
            elif len(indices):
                indices[int(self.rng.integers(0, len(indices)))] = -1
            else:
                indptr[-1] = 5
            broken = fastprop.CSR(indptr, indices, data, rows.shape)
        try:
            predictor.predict(broken)
        except fastprop.InvalidInputError:
            return
        raise AssertionError(f"an error of kind {kind} was not told")


def same(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> bool:
    """Whether results are the same bits, or, where that cannot be asked for, close."""
    if tolerance:
        return found.shape == wanted.shape and bool(np.all(np.abs(found - wanted) <= tolerance))
    return zlib.crc32(np.ascontiguousarray(found)) == zlib.crc32(np.ascontiguousarray(wanted))


class Calls:
    """The first part."""

    def __init__(
        self, predictor: fastprop.Predictor, n_features: int, wanted: int, tolerance: float
    ) -> None:
        self.predictor = predictor
        self.tolerance = tolerance
        self.rows = Rows(predictor, n_features)
        self.wanted = wanted
        self.done = 0
        self.stop = False
        self.failures: list[str] = []
        self.lock = threading.Lock()

    def enough(self) -> bool:
        return self.stop or self.done >= self.wanted

    def count(self, n_rows: int) -> None:
        with self.lock:
            self.done += n_rows

    def run(self) -> list[str]:
        callers = [Caller(self, number) for number in range(CALLERS)]
        running = [threading.Thread(target=caller.run) for caller in callers]
        memory = Memory()
        began = time.monotonic()
        for thread in running:
            thread.start()
        held: list[tuple[float, int, int]] = []
        while any(thread.is_alive() for thread in running):
            time.sleep(0.2)
            progress = self.done / self.wanted
            memory.sample(progress)
            held.append((progress, descriptors(), threads()))
        seconds = time.monotonic() - began
        early = [item for item in held if item[0] < 0.5]
        late = [item for item in held if item[0] >= 0.75]
        for number, name in ((1, "descriptors"), (2, "threads")):
            most = [max((item[number] for item in part), default=0) for part in (early, late)]
            if most[1] > most[0]:
                self.failures.append(f"{name} grew from {most[0]} to {most[1]}")
        live = self.predictor.stats().pool.live
        print(
            f"calls: {self.done:,} rows in {sum(caller.calls for caller in callers):,} calls by "
            f"{CALLERS} callers, {sum(caller.errors for caller in callers):,} injected errors, all "
            f"told, {seconds / 60:.1f} min; {memory.verdict(self.failures)}; descriptors "
            f"{held[-1][1]}, threads {held[-1][2]}; {live:,} bytes of the pool in use",
            flush=True,
        )
        return self.failures


def repeated(name: str, count: int, body: Any) -> list[str]:
    """Do something many times, and compare memory, descriptors and threads."""
    failures: list[str] = []
    memory = Memory()
    began = time.monotonic()
    for _ in range(max(count // 20, 1)):
        body()
    before = descriptors(), threads()
    for number in range(count):
        body()
        memory.sample(number / count)
    gc.collect()
    after = descriptors(), threads()
    if after[0] > before[0] or after[1] > before[1]:
        failures.append(f"descriptors and threads went from {before} to {after}")
    print(
        f"{name}: {count:,} in {time.monotonic() - began:.0f} s; {memory.verdict(failures)}; "
        f"descriptors {after[0]}, threads {after[1]}",
        flush=True,
    )
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--predictors", type=int, default=1_000)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--engine", default="native", choices=("native", "mxnet"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--features", type=int, default=20_000)
    parser.add_argument("--labels", type=int, default=200)
    options = parser.parse_args()
    print(
        f"fastprop {fastprop.__version__}, engine {options.engine}, {options.threads} threads, "
        f"{options.features:,} features, {options.labels} labels; Python "
        f"{platform.python_version()}, {os.cpu_count()} processors",
        flush=True,
    )
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        network = propensity(
            np.random.default_rng(0),
            n_features=options.features,
            hidden=(64,),
            n_heads=options.labels,
        )
        model = saved(Path(folder), network)
        chosen = {"engine": options.engine, "threads": options.threads}
        with model.predictor(**chosen) as predictor:
            tolerance = TOLERANCE[options.engine]
            failures += Calls(predictor, options.features, options.rows, tolerance).run()
        rows = random_rows(np.random.default_rng(2), 100, options.features, density=0.004)

        def open_and_close() -> None:
            with model.predictor(**chosen) as predictor:
                predictor.predict(rows)
                predictor.predict(listed(rows))
                predictor.predict_top_k(rows, k=3)

        def load_and_drop() -> None:
            with fastprop.load_model(folder).predictor(**chosen) as predictor:
                predictor.predict(rows)

        failures += repeated("predictors", options.predictors, open_and_close)
        failures += repeated("models", options.models, load_and_drop)
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

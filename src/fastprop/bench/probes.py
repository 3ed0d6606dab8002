"""What the machine can do: copy and fill bandwidth, random rows, matrix products.

Each probe runs in a process of its own whose libraries have been given the number of threads. The
best of several means counts, NumPy's and, where it is installed, PyTorch's: a limit that is too
low would flatter.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Callable

import numpy as np

from fastprop.bench.contenders.base import MissingContenderError, optional
from fastprop.bench.workload import Workload

__all__ = ["PROBES", "probe_machine"]

Probe = Callable[[], object]
GIGA = 1e9
COPY_BYTES = 1 << 28
TRIALS = 7


def probe_machine(
    threads: int, workload: Workload, shapes: Sequence[tuple[int, int, int]]
) -> dict[str, Any]:
    """Measure.

    Parameters
    ----------
    threads : int
        Threads to use.
    workload : Workload
        Whose rows and first layer's size are used for random rows.
    shapes : sequence of (int, int, int)
        Matrix products (m, k, n) to time.

    Returns
    -------
    dict
        `copy` (bytes read and written), `fill`, `gather` (random rows of the first layer's table,
        columns of the workload), `gather_uniform`, all in GB/s; `products` in GFLOP/s by shape;
        `product`, the best of them; `means`, what each best came from.
    """
    means: dict[str, str] = {}
    found: dict[str, Any] = {"threads": threads, "means": means}
    with ThreadPoolExecutor(threads) as pool:
        found["copy"] = copy_bandwidth(pool, threads)
        found["fill"] = fill_bandwidth(pool, threads)
        if workload.layers:
            rates = gather_bandwidth(pool, threads, workload)
            for name in ("gather", "gather_uniform"):
                found[name], means[name] = best_of(rates[name])
    products: dict[str, float] = {}
    for shape in shapes:
        name = "x".join(str(extent) for extent in shape)
        products[name], means[name] = best_of(product_rates(shape, threads))
    found["products"] = products
    found["product"] = max(products.values(), default=0.0)
    return found


PROBES: Mapping[str, Callable[..., Any]] = MappingProxyType({"machine": probe_machine})


def best_of(rates: Mapping[str, float]) -> tuple[float, str]:
    """The highest rate and what it came from."""
    name = max(rates, key=lambda key: rates[key])
    return rates[name], name


def shortest(run: Probe, trials: int = TRIALS) -> float:
    """Seconds of the least disturbed of several runs, after one that is not timed."""
    run()
    taken = []
    for _ in range(trials):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return min(taken)


def parts_of(length: int, threads: int) -> list[slice]:
    bounds = np.linspace(0, length, threads + 1).astype(int)
    return [slice(int(b), int(e)) for b, e in zip(bounds[:-1], bounds[1:])]


def copy_bandwidth(pool: ThreadPoolExecutor, threads: int) -> float:
    source = np.ones(COPY_BYTES // 4, np.float32)
    target = np.zeros_like(source)
    parts = parts_of(len(source), threads)

    def run() -> None:
        list(pool.map(lambda part: np.copyto(target[part], source[part]), parts))

    return 2 * source.nbytes / shortest(run) / GIGA


def fill_bandwidth(pool: ThreadPoolExecutor, threads: int) -> float:
    target = np.zeros(COPY_BYTES // 4, np.float32)
    parts = parts_of(len(target), threads)

    def run() -> None:
        list(pool.map(lambda part: target[part].fill(1.0), parts))

    return target.nbytes / shortest(run) / GIGA


def gather_bandwidth(
    pool: ThreadPoolExecutor, threads: int, workload: Workload
) -> dict[str, dict[str, float]]:
    """Bytes of table rows read a second, by way; the sums and copies stay in the caches."""
    width = workload.layers[0]
    table = np.ones((workload.n_features, width), np.float32)
    count = max(threads * 512, (1 << 27) // (4 * width) // 512 * 512)
    own = np.resize(workload.load_rows().indices, count).astype(np.int64)
    drawn = np.random.default_rng(0).integers(0, workload.n_features, count)
    result: dict[str, dict[str, float]] = {}
    for name, columns in (("gather", own), ("gather_uniform", drawn)):
        rates = {"numpy take": taken_rows(pool, threads, table, columns)}
        # Without PyTorch, NumPy's figure stands, and `means` says whose it is.
        with suppress(MissingContenderError):
            rates["torch embedding_bag"] = bagged_rows(threads, table, columns)
        result[name] = rates
    return result


def taken_rows(pool: ThreadPoolExecutor, threads: int, table: Any, columns: Any) -> float:
    parts = parts_of(len(columns), threads)
    buffers = [np.empty((256, table.shape[1]), np.float32) for _ in parts]

    def take(part: slice, buffer: Any) -> None:
        for start in range(part.start, part.stop - 255, 256):
            np.take(table, columns[start : start + 256], axis=0, out=buffer, mode="clip")

    def run() -> None:
        list(pool.map(take, parts, buffers))

    done = sum((part.stop - part.start) // 256 * 256 for part in parts)
    return float(done * table.shape[1] * 4 / shortest(run, 5) / GIGA)


def bagged_rows(threads: int, table: Any, columns: Any) -> float:
    torch = optional("torch")
    torch.set_num_threads(threads)
    weight, indices = torch.from_numpy(table), torch.from_numpy(columns)
    offsets = torch.arange(0, len(columns), 256)

    def run() -> None:
        with torch.inference_mode():
            torch.nn.functional.embedding_bag(indices, weight, offsets, mode="sum")

    return float(len(columns) * table.shape[1] * 4 / shortest(run, 5) / GIGA)


def product_rates(shape: tuple[int, int, int], threads: int) -> dict[str, float]:
    """GFLOP/s of a product in float32, by library."""
    m, k, n = shape
    rng = np.random.default_rng(0)
    left = rng.standard_normal((m, k), dtype=np.float32)
    right = rng.standard_normal((k, n), dtype=np.float32)
    result = np.empty((m, n), np.float32)
    operations = 2.0 * m * k * n

    def rate(run: Probe) -> float:
        once = max(shortest(run, 3), 1e-6)
        return operations / min(once, shortest(run, max(3, int(0.2 / once)))) / GIGA

    rates = {"numpy matmul": rate(lambda: np.matmul(left, right, out=result))}
    try:
        torch = optional("torch")
    except MissingContenderError:
        return rates
    torch.set_num_threads(threads)
    a, b, c = (torch.from_numpy(array) for array in (left, right, result))
    rates["torch mm"] = rate(lambda: torch.mm(a, b, out=c))
    onednn = getattr(torch.backends, "mkldnn", None)
    if onednn is not None and onednn.is_available():
        packed = right.T.copy()
        x, w = torch.from_numpy(left).to_mkldnn(), torch.from_numpy(packed).to_mkldnn()
        with torch.inference_mode():
            rates["oneDNN through torch"] = rate(lambda: torch.nn.functional.linear(x, w))
    return rates

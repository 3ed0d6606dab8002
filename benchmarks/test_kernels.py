"""The sparse layer by instruction set, width, skew and weight, behind a head that costs little.

`kernels/kernels_bench.cpp` times the kernels alone; here they run as they are used.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fastprop import _core
from fastprop.bench.oracle import check_scores
from fastprop.bench.plain import plain_network
from fastprop.bench.settings import WorkloadSettings
from fastprop.bench.workload import prepare_workload, read_expected

LAYER = WorkloadSettings("layer", n_features=200_000, nonzeros=200, categories=8, n_rows=1024)
TOLERANCES = {"mapped": 2e-6, "copied": 2e-6, "bfloat16": 0.02}


@pytest.fixture(scope="module", params=[64, 256, 300], ids=lambda width: f"width {width}")
def width(request):
    return request.param


@pytest.fixture(scope="module", params=[1.0, 3.0], ids=["uniform", "u cubed"])
def workload(request, width):
    settings = replace(LAYER, hidden=(width,), skew=request.param)
    with prepare_workload(settings) as made:
        yield made


@pytest.mark.parametrize("weights", sorted(TOLERANCES))
@pytest.mark.parametrize("isa", _core.instruction_sets())
def test_sparse_layer(benchmark, workload, isa, weights):
    model, rows = workload.load_model(), workload.load_rows()
    out = np.empty((workload.n_rows, workload.n_labels), np.float32)
    with model.predictor(threads=1, isa=isa, weights=weights) as predictor:
        benchmark(predictor.predict, rows, out=out)
        stats = predictor.stats()
        expected = read_expected(workload)
        check_scores(out[: len(expected)], expected, TOLERANCES[weights])
    size = 2 if weights == "bfloat16" else 4
    moved = workload.nonzeros / workload.n_rows * workload.layers[0] * size
    benchmark.extra_info["GB/s of weight rows"] = moved * stats.rows / stats.sparse_seconds / 1e9


def test_embedding_bag_for_comparison(benchmark, workload):
    """PyTorch's kernel for the same rows and the same weight, on one thread."""
    torch = pytest.importorskip("torch")
    plain = plain_network(workload.load_model())
    assert not isinstance(plain, str)
    rows = workload.load_rows()
    weight = torch.from_numpy(np.array(plain.sparse.weight))
    indices, offsets = (torch.from_numpy(a.astype(np.int64)) for a in (rows.indices, rows.indptr))
    values = torch.from_numpy(rows.data)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def bags():
        with torch.inference_mode():
            return torch.nn.functional.embedding_bag(
                indices,
                weight,
                offsets,
                mode="sum",
                per_sample_weights=values,
                include_last_offset=True,
            )

    try:
        sums = benchmark(bags).numpy()
    finally:
        torch.set_num_threads(threads)
    begin, end = rows.indptr[:2]
    expected = rows.data[begin:end].astype(float) @ plain.sparse.weight[rows.indices[begin:end]]
    np.testing.assert_allclose(sums[0], expected, rtol=1e-4, atol=1e-5)
    moved = 4 * workload.nonzeros * workload.layers[0]
    if benchmark.enabled:
        benchmark.extra_info["GB/s of weight rows"] = moved / benchmark.stats.stats.median / 1e9

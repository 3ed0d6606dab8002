"""What loading does to a graph of 3,000 heads."""

from __future__ import annotations

from fastprop.graph.optimize import optimize
from fastprop.graph.passes.fuse_heads import fuse_heads
from fastprop.graph.passes.split_sparse_layer import split_sparse_layer
from fastprop.graph.passes.strip_training import strip_training
from fastprop.graph.shapes import infer_shapes


def operators(network):
    return [node.op for node in network.graph.nodes if not node.is_variable]


def test_infer_shapes(benchmark, suite):
    shapes = benchmark(infer_shapes, suite.model.network)
    assert shapes.heads == tuple((shapes.batch, 2) for _ in range(3000))


def test_strip_training(benchmark, suite):
    stripped = benchmark(strip_training, suite.model.network)
    assert "Dropout" not in operators(stripped)
    assert len(stripped.graph.heads) == 3000


def test_fuse_heads(benchmark, suite):
    stripped = strip_training(suite.model.network)
    fused = benchmark(fuse_heads, stripped, positive_index=0)
    assert len(fused.graph.heads) == 1
    assert operators(fused).count("FullyConnected") == 2


def test_split_sparse_layer(benchmark, suite):
    split = benchmark(split_sparse_layer, suite.model.optimized)
    assert split is not None


def test_optimize(benchmark, suite):
    network = benchmark(optimize, suite.model.network, 0)
    assert len(network.graph.heads) == 1

"""The text that people see of a graph."""

from __future__ import annotations

import numpy as np
import pytest
from support.networks import FACTORIES, NetworkBuilder, propensity

from fastprop.graph.describe import describe_graph
from fastprop.graph.optimize import optimize


def test_equal_heads_are_folded():
    text = describe_graph(propensity(np.random.default_rng(0), n_heads=3000))
    lines = text.splitlines()
    assert len(lines) == 8
    assert lines[5].split()[:3] == ["3000", "x", "FullyConnected(num_hidden=2)"]
    assert lines[6].split()[:3] == ["3000", "x", "SoftmaxOutput()"]
    assert "data (input, csr) (n, 60)" in lines[1]
    assert "weight (60, 16)" in lines[1]
    assert "category0_softmax_label (label)" in lines[6]
    assert lines[-1].endswith("(3000 in all)")


@pytest.mark.parametrize("name", FACTORIES)
def test_every_network_before_and_after(name):
    network = FACTORIES[name](np.random.default_rng(0))
    for version in (network, optimize(network)):
        text = describe_graph(version)
        for node in version.graph.nodes:
            if not node.is_variable:
                assert f"{node.op}(" in text
        assert text.splitlines()[-1].startswith("heads: ")
        assert "?" not in text


def test_what_is_unknown_is_shown_as_such():
    made = NetworkBuilder(np.random.default_rng(0))
    data = made.add("relu", [made.variable("data")], name="r" * 100)
    pairs = made.add("Reshape", [data], name="p", attributes={"shape": "(-1, 2)"})
    text = describe_graph(made.network([pairs]))
    assert "(?, 2)" in text
    assert "r" * 45 + "..." in text
    assert "r" * 49 not in text


def test_rows_below_each_other_are_counted_in_batches():
    made = NetworkBuilder(np.random.default_rng(0))
    data = made.layer("fc", made.variable("data"), 4, 6)
    pairs = made.add("Reshape", [data], name="p", attributes={"shape": "(-1, 2)"})
    assert "(3n, 2)" in describe_graph(made.network([pairs]))

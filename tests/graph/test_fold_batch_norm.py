from __future__ import annotations

import numpy as np
import pytest
from support.networks import CSR_INPUT, NetworkBuilder, random_feeds

from fastprop._reference import reference_outputs
from fastprop.graph.graph import Entry
from fastprop.graph.optimize import optimize
from fastprop.graph.passes.fold_batch_norm import fold_batch_norm


def operators(network):
    return [node.op for node in network.graph.nodes if not node.is_variable]


def same(before, after):
    feeds = random_feeds(np.random.default_rng(1), before, 9)
    for ours, theirs in zip(reference_outputs(after, feeds), reference_outputs(before, feeds)):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=3e-6)


@pytest.fixture
def made():
    return NetworkBuilder(np.random.default_rng(0))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("settings", [{"fix_gamma": True}, {"fix_gamma": False, "eps": 0.1}, {}])
def test_the_layer_before_takes_it(made, bias, settings):
    data = made.layer("fc0", made.variable("data"), 7, 5, bias=bias)
    data = made.batch_norm("bn0", data, 5, **settings)
    network = made.network([made.activation("act", data, "tanh", 5)])
    folded = fold_batch_norm(network)
    assert operators(folded) == ["FullyConnected", "Activation"]
    assert folded.graph.nodes[-2].name == "bn0"
    assert not folded.auxiliary
    assert not any(value.flags.writeable for value in folded.arguments.values())
    same(network, folded)


@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_behind_takes_it(made, bias):
    rows = made.variable("data", CSR_INPUT)
    data = made.add("dot", [rows, made.row_sparse("weight", (9, 5))], name="dot0")
    data = made.batch_norm("bn0", made.activation("act", data, "relu", 5), 5, fix_gamma=False)
    network = made.network([made.layer("fc0", data, 5, 3, bias=bias)])
    folded = fold_batch_norm(network)
    assert operators(folded) == ["dot", "Activation", "FullyConnected"]
    assert folded.graph.nodes[-1].name == "fc0"
    same(network, folded)


def test_several_in_a_row_go(made):
    data = made.batch_norm("bn0", made.variable("data"), 7, fix_gamma=False)
    for number in range(3):
        data = made.layer(f"fc{number}", data, 7, 7)
        data = made.batch_norm(f"bn{number + 1}", data, 7, fix_gamma=False)
    network = made.network([data])
    folded = fold_batch_norm(network)
    assert operators(folded) == ["FullyConnected"] * 3
    same(network, folded)


def test_what_others_read_stays(made):
    layer = made.layer("fc0", made.variable("data"), 7, 5)
    normal = made.batch_norm("bn0", layer, 5, fix_gamma=False)
    network = made.network([layer, made.activation("act", normal, "relu", 5)])
    assert fold_batch_norm(network) is network


def test_one_whose_statistics_are_read_stays(made):
    data = made.layer("fc0", made.variable("data"), 7, 5)
    normal = made.batch_norm("bn0", data, 5, output_mean_var=True)
    total = made.add("broadcast_add", [normal, Entry(normal.node, 1)], name="sum")
    network = made.network([total])
    assert fold_batch_norm(network) is network


def test_other_axes_and_layers_of_parts_stay(made):
    data = made.layer("fc0", made.variable("data", {"__shape__": "(0, 4, 6)"}), 6, 6, flatten=False)
    network = made.network([made.batch_norm("bn0", data, 4, fix_gamma=False)])
    assert fold_batch_norm(network) is network


@pytest.mark.parametrize(("axis", "goes"), [(1, True), (-1, True), (0, False), (-2, False)])
def test_the_axis_of_columns_may_be_counted_from_either_end(made, axis, goes):
    data = made.layer("fc0", made.variable("data"), 7, 5)
    network = made.network([made.batch_norm("bn0", data, 5, fix_gamma=False, axis=axis)])
    folded = fold_batch_norm(network)
    assert operators(folded) == ["FullyConnected"] + ["BatchNorm"] * (not goes)
    if goes:
        same(network, folded)


def test_a_layer_whose_weight_is_computed_stays(made):
    weight = made.add("negative", [made.parameter("w", (5, 7))], name="n")
    settings = {"num_hidden": 5, "no_bias": True}
    data = made.add(
        "FullyConnected", [made.variable("data"), weight], name="fc0", attributes=settings
    )
    network = made.network([made.batch_norm("bn0", data, 5)])
    assert fold_batch_norm(network) is network


def test_one_whose_scale_is_computed_stays(made):
    data = made.layer("fc0", made.variable("data"), 7, 5)
    normal = made.batch_norm("bn0", data, 5, fix_gamma=False)
    inputs = list(made.nodes[normal.node].inputs)
    inputs[1] = made.add("negative", [inputs[1]], name="n")
    changed = made.add("BatchNorm", inputs, name="bn1", attributes={"fix_gamma": False})
    network = made.network([changed])
    assert fold_batch_norm(network) is network


def test_heads_are_fused_behind_it(made):
    rows = made.variable("data", CSR_INPUT)
    data = made.add("dot", [rows, made.row_sparse("weight", (9, 5))], name="dot0")
    heads = []
    for number in range(3):
        layer = made.batch_norm(f"bn{number}", made.layer(f"fc{number}", data, 5, 2), 2)
        heads.append(made.labelled("SoftmaxOutput", layer, f"category{number}"))
    assert operators(optimize(made.network(heads))) == ["dot", "FullyConnected", "Activation"]

"""Cutting the sparse layer out changes nothing but where it runs."""

from __future__ import annotations

import numpy as np
import pytest
from support.models import TOLERANCE, expected_scores, rows_for, saved
from support.networks import CSR_INPUT, FACTORIES, NetworkBuilder, propensity, random_feeds

from fastprop import _core
from fastprop.graph.graph import Entry
from fastprop.graph.optimize import optimize
from fastprop.graph.passes.split_sparse_layer import split_sparse_layer

ACTIVATIONS = ("relu", "sigmoid", "tanh", "softrelu", "softsign", "leaky", "elu", "selu", "gelu")


@pytest.mark.parametrize("isa", _core.instruction_sets())
@pytest.mark.parametrize("weight", ["full", "partial"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_scores_stay(tmp_path, isa, weight, activation):
    network = propensity(
        np.random.default_rng(4), weight=weight, activation=activation, hidden=(19, 7)
    )
    split = split_sparse_layer(optimize(network))
    assert split is not None
    assert split.layer.activation == activation
    assert split.layer.bias == "bias"
    assert split.rest.input_names == ("fastprop_hidden",)
    model = saved(tmp_path, network)
    rows = rows_for(model, 37)
    wanted = expected_scores(model, {"data": rows})
    for weights, tolerance in (("mapped", TOLERANCE), ("copied", TOLERANCE), ("bfloat16", 2e-2)):
        with model.predictor(isa=isa, weights=weights, batch_size=16) as predictor:
            np.testing.assert_allclose(predictor.predict(rows), wanted, atol=tolerance, rtol=0)
            assert predictor.stats().bytes_copied == 0
            assert predictor.stats().sparse_seconds > 0
    with model.predictor(whole_graph=True) as predictor:
        np.testing.assert_allclose(predictor.predict(rows), wanted, atol=TOLERANCE, rtol=0)
        assert predictor.stats().sparse_seconds == 0


@pytest.mark.parametrize("name", FACTORIES)
def test_every_family_splits_or_stays_whole(tmp_path, name):
    rng = np.random.default_rng(2)
    network = FACTORIES[name](rng)
    model = saved(tmp_path, network)
    feeds = random_feeds(rng, network, 11)
    inputs = dict(feeds)
    rows = inputs.pop(model.inputs[0].name)
    with model.predictor(threads=1) as split, model.predictor(whole_graph=True) as whole:
        np.testing.assert_allclose(
            split.predict(rows, inputs=inputs), whole.predict(rows, inputs=inputs), atol=4e-6
        )


def test_rows_that_something_else_reads_stay_whole():
    network = FACTORIES["factorization-machine"](np.random.default_rng(0))
    assert split_sparse_layer(optimize(network)) is None
    dense = FACTORIES["softmax-dense"](np.random.default_rng(0))
    assert split_sparse_layer(optimize(dense)) is None


def first_layer(made, *, weight=None, **biases):
    """A sparse layer, what is added to it on either side, and a dense layer behind."""
    rows = made.variable("data", CSR_INPUT)
    weight = made.row_sparse("weight", (9, 5)) if weight is None else weight
    data = made.add("dot", [rows, weight], name="dot0")
    for side, bias in biases.items():
        operands = [bias, data] if side == "left" else [data, bias]
        data = made.add("broadcast_add", operands, name=side)
    return made.layer("fc0", data, 5, 3)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_bias_may_be_on_either_side(tmp_path, side):
    made = NetworkBuilder(np.random.default_rng(0))
    network = made.network([first_layer(made, **{side: made.parameter("bias", (1, 5))})])
    split = split_sparse_layer(network)
    assert split is not None
    assert split.layer.bias == "bias"
    model = saved(tmp_path, network)
    rows = rows_for(model, 9)
    with model.predictor() as predictor:
        np.testing.assert_allclose(
            predictor.predict(rows), expected_scores(model, {"data": rows}), atol=TOLERANCE
        )


def test_what_is_no_parameter_of_float32_is_not_taken_along():
    def wide(made, name, shape):
        entry = made.parameter(name, shape)
        made.values[name] = made.values[name].astype(np.float64)
        return entry

    def computed(made, name, shape):
        return made.add("negative", [made.parameter(name, shape)], name="n")

    for other in (wide, computed):
        made = NetworkBuilder(np.random.default_rng(0))
        weighed = made.network([first_layer(made, weight=other(made, "weight", (9, 5)))])
        assert split_sparse_layer(weighed) is None
        made = NetworkBuilder(np.random.default_rng(0))
        split = split_sparse_layer(
            made.network([first_layer(made, right=other(made, "bias", (1, 5)))])
        )
        assert split is not None
        assert split.layer.bias is None
        assert "broadcast_add" in [node.op for node in split.rest.graph.nodes]


def test_the_rest_keeps_its_states_and_names_that_are_taken():
    made = NetworkBuilder(np.random.default_rng(0))
    data = first_layer(made)
    data = made.batch_norm("fastprop_hidden", made.activation("act", data, "relu", 3), 3)
    network = made.network([data])
    split = split_sparse_layer(network)
    assert split is not None
    assert split.rest.input_names == ("fastprop_hidden_",)
    assert split.rest.auxiliary == network.auxiliary


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_a_layer_may_have_no_bias(activation):
    made = NetworkBuilder(np.random.default_rng(0))
    rows = made.variable("data", CSR_INPUT)
    data = made.add("dot", [rows, made.row_sparse("weight", (9, 5))], name="dot0")
    if activation != "linear":
        data = made.activation("act", data, activation, 5)
    split = split_sparse_layer(made.network([made.layer("fc0", data, 5, 3)]))
    assert split is not None
    assert split.layer.bias is None
    assert split.layer.width == 5
    assert split.rest.graph.nodes[-1].inputs[0] == Entry(0, 0)
    assert [node.op for node in split.rest.graph.nodes if not node.is_variable] == [
        "FullyConnected"
    ]

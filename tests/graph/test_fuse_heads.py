"""fuse_heads: parity with what it replaces, and every pattern that it must leave alone."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mxnet_process import shared_process
from support.networks import (
    ACTIVATIONS,
    FACTORIES,
    NetworkBuilder,
    propensity,
    random_feeds,
    regression,
    softmax_classes,
    towers,
)

from fastprop._reference import reference_outputs
from fastprop.checkpoint.arrays import RowSparseArray
from fastprop.errors import InvalidInputError
from fastprop.graph.columns import score_columns
from fastprop.graph.network import Network
from fastprop.graph.optimize import optimize
from fastprop.graph.passes.fuse_heads import fuse_heads
from fastprop.graph.passes.strip_training import strip_training
from fastprop.graph.shapes import infer_shapes


def expected_scores(network: Network, positive_index: int | None, feeds) -> np.ndarray:
    """The columns that the unoptimised network gives, in float64."""
    heads = reference_outputs(network, feeds)
    n_rows = next(iter(feeds.values())).shape[0]
    shapes = infer_shapes(network, batch=n_rows)
    found = score_columns(network, shapes, positive_index)
    return np.stack([heads[c.head].reshape(n_rows, -1)[:, c.column] for c in found], axis=1)


def check(
    network: Network, positive_index: int | None, n_rows: int = 5, *, engine=False
) -> Network:
    """Optimise, and hold the single head to the unoptimised network's columns."""
    fused = optimize(network, positive_index)
    feeds = random_feeds(np.random.default_rng(2), network, n_rows)
    expected = expected_scores(network, positive_index, feeds)
    assert infer_shapes(fused, batch=n_rows).heads == (expected.shape,)
    assert fused.inputs == network.inputs
    np.testing.assert_allclose(reference_outputs(fused, feeds)[0], expected, atol=2e-7)
    if engine:
        found = shared_process().call(
            "forward", fused.graph.to_json(), dict(fused.arguments), dict(fused.auxiliary), feeds
        )
        np.testing.assert_allclose(found[0], expected, atol=2e-6)
    return fused


def layers(network: Network) -> int:
    return sum(node.op == "FullyConnected" for node in network.graph.nodes)


@pytest.mark.parametrize("positive_index", [0, 1, None])
@pytest.mark.parametrize(
    "name", [n for n in FACTORIES if n.startswith(("propensity", "towers", "logistic", "linear"))]
)
def test_families_of_heads_become_one_in_mxnet_too(name, positive_index):
    network = FACTORIES[name](np.random.default_rng(1))
    fused = check(network, positive_index, engine=True)
    assert layers(fused) <= layers(network)


@pytest.mark.parametrize("head", ["SoftmaxOutput", "softmax", "SoftmaxActivation"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_any_activation_and_softmax(head, activation):
    network = propensity(np.random.default_rng(1), activation=activation, head=head, n_heads=4)
    fused = check(network, 0, engine=True)
    assert layers(fused) == 1


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_random_networks_of_the_family(data):
    draw = data.draw
    n_heads = draw(st.integers(1, 12))
    fused_form = draw(st.booleans())
    classes = st.integers(2, 5)
    n_classes = draw(classes)
    if not fused_form and draw(st.booleans()):
        n_classes = draw(st.lists(st.integers(2, 3), min_size=n_heads, max_size=n_heads))
    network = propensity(
        np.random.default_rng(draw(st.integers(0, 99))),
        n_features=draw(st.integers(1, 30)),
        hidden=draw(st.lists(st.integers(1, 9), max_size=3)),
        n_heads=n_heads,
        n_classes=n_classes,
        activation=draw(st.sampled_from(ACTIVATIONS)),
        weight=draw(st.sampled_from(["full", "partial", "dense"])),
        heads="fused" if fused_form else "separate",
        dropout=draw(st.booleans()),
        bias=draw(st.lists(st.booleans(), min_size=n_heads, max_size=n_heads)),
    )
    positive_index = draw(st.sampled_from([0, 1, None]))
    fused = optimize(network, positive_index)
    feeds = random_feeds(np.random.default_rng(2), network, 4)
    expected = expected_scores(network, positive_index, feeds)
    heads = reference_outputs(fused, feeds)
    if len(heads) == 1:
        found = heads[0].reshape(4, -1)
        assert found.shape == expected.shape
    else:
        columns = score_columns(network, infer_shapes(network, batch=4), positive_index)
        found = np.stack([heads[c.head][:, c.column] for c in columns], axis=1)
    np.testing.assert_allclose(found, expected, atol=3e-7)


def test_three_thousand_heads_become_three_nodes_quickly():
    network = propensity(np.random.default_rng(0), n_heads=3000, hidden=(32,))
    start = time.process_time()
    fused = optimize(network, 0)
    assert time.process_time() - start < 2
    operators = [node.op for node in fused.graph.nodes if not node.is_variable]
    assert operators == ["dot", "broadcast_add", "Activation", "FullyConnected", "Activation"]
    assert fused.arguments["fused_heads_weight"].shape == (3000, 32)
    assert not fused.arguments["fused_heads_weight"].flags.writeable
    check(network, 0, n_rows=2)


def test_the_positive_class_is_taken_by_index():
    network = propensity(np.random.default_rng(0), n_heads=1)
    feeds = random_feeds(np.random.default_rng(1), network, 5)
    first = reference_outputs(optimize(network, 0), feeds)[0]
    second = reference_outputs(optimize(network, 1), feeds)[0]
    np.testing.assert_allclose(first + second, 1)
    np.testing.assert_allclose(first[:, 0], reference_outputs(network, feeds)[0][:, 0], atol=1e-7)
    for wrong in (2, -1):
        with pytest.raises(InvalidInputError, match=f"positive_index is {wrong}"):
            optimize(network, wrong)
    assert optimize(softmax_classes(np.random.default_rng(0)), 7)


def test_mixed_biases_become_zeros():
    network = propensity(np.random.default_rng(0), n_heads=3, bias=[True, False, True])
    fused = check(network, 0)
    assert fused.arguments["fused_heads_bias"][1] == 0
    without = check(propensity(np.random.default_rng(0), n_heads=3, bias=False), 0)
    assert "fused_heads_bias" not in without.arguments


def test_consecutive_heads_over_one_input_become_a_layer():
    fused = check(towers(np.random.default_rng(0), heads_per_tower=(2, 3, 4)), 0, engine=True)
    assert layers(fused) == 3 + 1  # and the tower over the dense input
    assert fused.graph.nodes[fused.graph.heads[0].node].op == "Concat"


def test_one_head_over_each_input_is_left():
    network = strip_training(towers(np.random.default_rng(0), heads_per_tower=(1, 1, 1)))
    assert fuse_heads(network, positive_index=0) is network


def test_a_single_softmax_over_classes_is_left():
    network = strip_training(softmax_classes(np.random.default_rng(0)))
    assert fuse_heads(network, positive_index=0) is network
    linear = strip_training(regression(np.random.default_rng(0), n_heads=1))
    assert fuse_heads(linear, positive_index=0) is linear


def builder() -> NetworkBuilder:
    return NetworkBuilder(np.random.default_rng(0))


def two_heads(change, **settings) -> Network:
    """Two softmax heads over a layer, after `change(builder, data, layers)` made its own."""
    made = builder()
    data = made.layer("hidden", made.variable("data"), 4, 6)
    layers = [made.layer(f"fc{i}", data, 6, 2, **settings) for i in range(2)]
    return made.network(change(made, data, layers))


def softmaxes(made, entries, **settings):
    return [
        made.add("softmax", [entry], name=f"s{i}", attributes=settings)
        for i, entry in enumerate(entries)
    ]


LEFT = {
    "temperature": lambda m, _d, ls: softmaxes(m, ls, temperature=2.0),
    "first-axis": lambda m, _d, ls: softmaxes(m, ls, axis=0),
    "half": lambda m, _d, ls: softmaxes(m, ls, dtype="float16"),
    "bad-axis": lambda m, _d, ls: softmaxes(m, ls, axis="x"),
    "log": lambda m, _d, ls: [m.add("log_softmax", [x], name="l") for x in ls],
    "scaled": lambda m, _d, ls: softmaxes(
        m, [m.add("_mul_scalar", [x], name="m", attributes={"scalar": 2}) for x in ls]
    ),
    "no-layer": lambda m, d, ls: softmaxes(m, [ls[0], d]),
    "logits-used": lambda m, _d, ls: [*softmaxes(m, ls), m.add("relu", [ls[0]], name="r")],
    "logits-are-a-head": lambda m, _d, ls: [*softmaxes(m, ls), ls[0]],
    "softmax-used": lambda m, _d, ls: [
        *softmaxes(m, ls),
        m.add("relu", [m.add("softmax", [ls[0]], name="again")], name="r"),
    ],
    "channels": lambda m, _d, ls: [
        m.add("SoftmaxActivation", [x], name="a", attributes={"mode": "channel"}) for x in ls
    ],
    "turned": lambda m, _d, ls: softmaxes(m, [m.add("transpose", [x], name="t") for x in ls]),
    "computed-weight": lambda m, d, _ls: softmaxes(
        m,
        [
            m.add(
                "FullyConnected",
                [d, m.add("negative", [m.parameter(f"w{i}", (2, 6))], name=f"n{i}")],
                name=f"c{i}",
                attributes={"num_hidden": 2, "no_bias": True},
            )
            for i in range(2)
        ],
    ),
    "computed-bias": lambda m, d, _ls: softmaxes(
        m,
        [
            m.add(
                "FullyConnected",
                [
                    d,
                    m.parameter(f"w{i}", (2, 6)),
                    m.add("negative", [m.parameter(f"b{i}", (2,))], name=f"n{i}"),
                ],
                name=f"c{i}",
                attributes={"num_hidden": 2},
            )
            for i in range(2)
        ],
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_not_clear_is_left(name):
    network = two_heads(LEFT[name])
    assert fuse_heads(network, positive_index=0) is network


def test_a_head_that_occurs_twice_is_left():
    network = two_heads(lambda m, _d, ls: softmaxes(m, ls))
    repeated = Network(
        type(network.graph)(network.graph.nodes, (*network.graph.heads, network.graph.heads[0])),
        network.arguments,
        network.auxiliary,
    )
    assert fuse_heads(repeated, positive_index=0) is repeated


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_layers_of_other_types_are_left(dtype):
    network = two_heads(lambda m, _d, ls: softmaxes(m, ls))
    values = {**network.arguments, "fc1_weight": network.arguments["fc1_weight"].astype(dtype)}
    changed = Network(network.graph, values, network.auxiliary)
    assert fuse_heads(changed, positive_index=0) is changed


def test_layers_whose_bias_has_another_size_are_left():
    network = two_heads(lambda m, _d, ls: softmaxes(m, ls))
    values = {**network.arguments, "fc1_bias": np.zeros(1, np.float32)}
    changed = Network(network.graph, values, network.auxiliary)
    assert fuse_heads(changed, positive_index=0) is changed


def test_layers_that_keep_axes_are_fused_only_over_matrices():
    matrix = two_heads(lambda m, _d, ls: softmaxes(m, ls, axis=-1), flatten=False)
    check(matrix, 0, engine=True)
    made = builder()
    data = made.add(
        "Reshape",
        [made.layer("hidden", made.variable("data"), 4, 6)],
        name="r",
        attributes={"shape": "(-1, 2, 3)"},
    )
    layers = [made.layer(f"fc{i}", data, 3, 2, flatten=False) for i in range(2)]
    cube = made.network(softmaxes(made, layers, axis=-1))
    assert fuse_heads(cube, positive_index=0) is cube


def test_weights_may_be_shared_and_row_sparse():
    made = builder()
    data = made.layer("hidden", made.variable("data"), 4, 6)
    weight = made.row_sparse("w", (2, 6))
    biases = [made.parameter(f"b{i}", (2,)) for i in range(3)]
    layers = [
        made.add("FullyConnected", [data, weight, b], name=f"f{i}", attributes={"num_hidden": 2})
        for i, b in enumerate(biases)
    ]
    network = made.network(softmaxes(made, layers))
    assert isinstance(network.arguments["w"], RowSparseArray)
    assert layers_are_one(check(network, 1))


def layers_are_one(network: Network) -> bool:
    return layers(network) == 2  # with the hidden layer


GROUPED = [
    ("(-1, 3, 2)", {"axis": -1}, None),
    ("(-1, 3, 2)", {"axis": 2}, None),
    ("(-1, 3, 2)", {}, "(-1, 6)"),
    ("(0, 3, -1)", {}, "(0, -1)"),
    ("(-1, 2)", {}, "(-1, 6)"),
    ("(-1, 2)", {"axis": 1}, "(-1, 3, 2)"),
    ("(-1, 2, 3)", {}, None),
]


@pytest.mark.parametrize(("grouping", "settings", "regrouping"), GROUPED)
@pytest.mark.parametrize("positive_index", [0, 1, None])
def test_one_layer_in_groups(grouping, settings, regrouping, positive_index):
    made = builder()
    data = made.layer("fc", made.layer("hidden", made.variable("data"), 4, 5), 5, 6)
    data = made.add("Reshape", [data], name="g", attributes={"shape": grouping})
    data = made.add("softmax", [data], name="s", attributes=settings)
    if regrouping:
        data = made.add("Reshape", [data], name="back", attributes={"shape": regrouping})
    network = made.network([data])
    fused = check(network, positive_index, engine=True)
    if positive_index is not None and grouping != "(-1, 2, 3)":
        assert fused.graph.nodes[fused.graph.heads[0].node].op == "Activation"


@pytest.mark.parametrize(
    ("grouping", "settings"), [("(-1, 3, 2)", {"axis": 1}), ("(2, -1)", {}), ("(-1, 12)", {})]
)
def test_groups_that_mix_rows_or_normalise_elsewhere_are_left(grouping, settings):
    made = builder()
    data = made.layer("fc", made.variable("data"), 4, 6)
    data = made.add("Reshape", [data], name="g", attributes={"shape": grouping})
    data = made.add("softmax", [data], name="s", attributes=settings)
    back = made.add("Reshape", [data], name="b", attributes={"shape": "(-1, 6)"})
    network = made.network([back])
    assert fuse_heads(network, positive_index=0) is network


def test_names_that_are_taken_are_not_taken_again():
    made = builder()
    data = made.layer("fused_heads", made.variable("data"), 4, 6)
    network = made.network(softmaxes(made, [made.layer(f"f{i}", data, 6, 2) for i in range(2)]))
    fused = check(network, 0, engine=True)
    names = [node.name for node in fused.graph.nodes]
    assert len(names) == len(set(names))

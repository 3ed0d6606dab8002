"""strip_training: what goes, what becomes of it, what stays, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from support.mxnet_process import shared_process
from support.networks import FACTORIES, NetworkBuilder, random_feeds

from fastprop._reference import reference_outputs
from fastprop.graph.graph import parse_symbol
from fastprop.graph.network import Network
from fastprop.graph.passes.strip_training import strip_training
from fastprop.graph.shapes import infer_shapes

TRAINING_ONLY = {
    "Dropout",
    "SoftmaxOutput",
    "LogisticRegressionOutput",
    "LinearRegressionOutput",
    "MAERegressionOutput",
    "SVMOutput",
    "MakeLoss",
    "make_loss",
    "BlockGrad",
    "_copy",
}


def builder() -> NetworkBuilder:
    return NetworkBuilder(np.random.default_rng(0))


def operators(network: Network) -> list[str]:
    return [node.op for node in network.graph.nodes if not node.is_variable]


def forward(network: Network, feeds) -> list[np.ndarray]:
    return shared_process().call(
        "forward", network.graph.to_json(), dict(network.arguments), dict(network.auxiliary), feeds
    )


@pytest.mark.parametrize("name", FACTORIES)
def test_networks_compute_the_same_in_mxnet(name):
    network = FACTORIES[name](np.random.default_rng(5))
    stripped = strip_training(network)
    assert not TRAINING_ONLY & set(operators(stripped))
    assert stripped.labels_inputs == ()
    assert [spec.name for spec in stripped.inputs] == [spec.name for spec in network.inputs]
    assert infer_shapes(stripped, batch=6).heads == infer_shapes(network, batch=6).heads
    feeds = random_feeds(np.random.default_rng(6), network, 6)
    for before, after, exact in zip(
        forward(network, feeds), forward(stripped, feeds), reference_outputs(network, feeds)
    ):
        np.testing.assert_allclose(after, before, atol=1e-6)
        np.testing.assert_allclose(after, exact, atol=2e-6)
    for node in stripped.graph.nodes:
        assert not node.name.endswith("_label")
    again = strip_training(stripped)
    assert again.graph.nodes == stripped.graph.nodes


@pytest.mark.parametrize("name", ["propensity", "logistic", "softmax-classes"])
def test_replaced_heads_keep_their_names(name):
    network = FACTORIES[name](np.random.default_rng(0))
    stripped = strip_training(network)
    for old, new in zip(network.graph.heads, stripped.graph.heads):
        assert stripped.graph.nodes[new.node].name == network.graph.nodes[old.node].name


@pytest.mark.parametrize(
    ("settings", "shape", "expected"),
    [
        ({}, (3, 2), ["Reshape", "Flatten", "softmax", "Reshape"]),
        ({}, (6,), ["Reshape", "softmax"]),
        ({"preserve_shape": True}, (3, 2), ["Reshape", "softmax"]),
        ({"multi_output": True}, (3, 2), ["Reshape", "softmax"]),
        ({}, (3, 2, 1), ["Reshape", "SoftmaxOutput"]),
        ({"multi_output": "perhaps"}, (6,), ["Reshape", "SoftmaxOutput"]),
    ],
)
def test_softmax_outputs_over_any_axes(settings, shape, expected):
    made = builder()
    data = made.layer("fc", made.variable("data"), 4, 6)
    data = made.add("Reshape", [data], name="r", attributes={"shape": str((-1, *shape))})
    network = made.network([made.labelled("SoftmaxOutput", data, "s", **settings)])
    stripped = strip_training(network)
    assert operators(stripped) == ["FullyConnected", *expected]
    if "perhaps" not in settings.values():
        feeds = random_feeds(np.random.default_rng(1), network, 5)
        for before, after in zip(forward(network, feeds), forward(stripped, feeds)):
            assert after.shape == before.shape
            np.testing.assert_allclose(after, before, atol=1e-6)


def test_a_softmax_over_data_of_unknown_shape_stays():
    made = builder()
    network = made.network([made.labelled("SoftmaxOutput", made.variable("data"), "s")])
    assert operators(strip_training(network)) == ["SoftmaxOutput"]


def test_a_softmax_over_a_layer_that_keeps_axes_takes_them_all():
    made = builder()
    data = made.variable("data", {"__shape__": "(0, 3, 4)"})
    data = made.layer("fc", data, 4, 2, flatten=False)
    network = made.network([made.labelled("SoftmaxOutput", data, "s")])
    stripped = strip_training(network)
    assert operators(stripped) == ["FullyConnected", "Flatten", "softmax", "Reshape"]


def test_a_softmax_over_a_single_axis_stays():
    made = builder()
    data = made.layer("fc", made.variable("data"), 4, 3)
    data = made.add("Reshape", [data], name="r", attributes={"shape": "(-1,)"})
    network = made.network([made.labelled("SoftmaxOutput", data, "s")])
    assert operators(strip_training(network)) == ["FullyConnected", "Reshape", "SoftmaxOutput"]


def test_dropout_that_is_random_at_inference_stays():
    made = builder()
    data = made.layer("fc", made.variable("data"), 4, 3)
    always = made.add("Dropout", [data], name="d", attributes={"mode": "always"})
    wrong = made.add("Dropout", [data], name="e", attributes={"mode": "sometimes"})
    network = made.network([always, wrong])
    assert operators(strip_training(network)) == ["FullyConnected", "Dropout", "Dropout"]


def test_dropout_that_only_trains_goes():
    made = builder()
    data = made.layer("fc", made.variable("data"), 4, 3)
    data = made.add("Dropout", [data], name="d", attributes={"mode": "training"})
    data = made.add("Dropout", [data], name="e")
    assert operators(strip_training(made.network([data]))) == ["FullyConnected"]


def test_further_outputs_are_followed():
    made = builder()
    halves = made.add(
        "SliceChannel",
        [made.add("BlockGrad", [made.layer("fc", made.variable("data"), 4, 6)], name="b")],
        name="halves",
        attributes={"num_outputs": 2},
    )
    network = made.network([halves._replace(output=1), made.add("relu", [halves], name="r")])
    stripped = strip_training(network)
    assert [head.output for head in stripped.graph.heads] == [1, 0]
    feeds = random_feeds(np.random.default_rng(1), network, 5)
    for before, after in zip(reference_outputs(network, feeds), reference_outputs(stripped, feeds)):
        np.testing.assert_array_equal(after, before)


def test_dropout_whose_mask_is_used_stays():
    made = builder()
    data = made.layer("fc", made.variable("data"), 4, 3)
    dropout = made.add("Dropout", [data], name="d")
    mask = dropout._replace(output=1)
    assert "Dropout" in operators(strip_training(made.network([dropout, mask])))
    both = made.add("elemwise_add", [dropout, mask], name="both")
    assert "Dropout" in operators(strip_training(made.network([both])))


def test_heads_are_never_bare_variables_or_each_other():
    made = builder()
    data = made.variable("data")
    layer = made.layer("fc", data, 4, 3)
    stopped = made.add("BlockGrad", [layer], name="stopped")
    copied = made.add("_copy", [data], name="copied")
    network = made.network([layer, stopped, copied])
    stripped = strip_training(network)
    assert len(set(stripped.graph.heads)) == 3
    assert [stripped.graph.nodes[h.node].name for h in stripped.graph.heads] == [
        "fc",
        "stopped",
        "copied",
    ]
    feeds = {"data": np.ones((2, 4), np.float32)}
    for before, after in zip(forward(network, feeds), forward(stripped, feeds)):
        np.testing.assert_array_equal(before, after)


def test_an_output_in_the_middle_of_a_graph_is_replaced_too():
    made = builder()
    data = made.layer("fc", made.variable("data"), 4, 3)
    made_output = made.labelled("LogisticRegressionOutput", data, "middle")
    top = made.add("Flatten", [made_output], name="top")
    stripped = strip_training(made.network([top]))
    assert operators(stripped) == ["FullyConnected", "Activation", "Flatten"]
    assert stripped.labels_inputs == ()


def test_values_that_nothing_needs_any_more_are_dropped():
    made = builder()
    data = made.layer("fc", made.variable("data"), 4, 3)
    label = made.add("dot", [data, made.parameter("teacher", (3, 3))], name="t")
    network = made.network([made.add("LinearRegressionOutput", [data, label], name="s")])
    assert "teacher" in network.arguments
    stripped = strip_training(network)
    assert set(stripped.arguments) == {"fc_weight", "fc_bias"}
    assert stripped.arguments["fc_weight"] is network.arguments["fc_weight"]


def test_the_original_is_untouched_and_old_names_work():
    made = builder()
    data = made.layer("fc", made.variable("data"), 4, 3)
    network = made.network([made.labelled("Softmax", data, "s")])
    before = network.graph.to_json()
    assert operators(strip_training(network)) == ["FullyConnected", "softmax"]
    assert network.graph.to_json() == before
    assert parse_symbol(before).nodes == network.graph.nodes

"""Which column of which head is which score, and what it is called."""

from __future__ import annotations

import numpy as np
import pytest
from support.networks import (
    NetworkBuilder,
    gluon_like,
    propensity,
    regression,
    softmax_classes,
    wide_and_deep,
)

from fastprop.errors import InvalidInputError, ModelFormatError
from fastprop.graph.columns import Column, base_name, score_columns
from fastprop.graph.network import Network
from fastprop.graph.shapes import infer_shapes


def columns(network: Network, positive_index=0, labels=None, batch=4):
    return score_columns(network, infer_shapes(network, batch=batch), positive_index, labels)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("positive_index", [0, 1])
def test_two_classes_give_a_column_a_head(positive_index):
    network = propensity(rng(), n_heads=3)
    assert columns(network, positive_index) == tuple(
        Column(i, positive_index, f"category{i}_softmax", f"category{i}") for i in range(3)
    )


def test_every_class_has_a_column_on_demand_or_when_there_are_more():
    pairs = columns(propensity(rng(), n_heads=2), None)
    assert [(c.head, c.column, c.label) for c in pairs] == [
        (0, 0, "category0:0"),
        (0, 1, "category0:1"),
        (1, 0, "category1:0"),
        (1, 1, "category1:1"),
    ]
    mixed = columns(propensity(rng(), n_heads=2, n_classes=(2, 3)), 0)
    assert [c.label for c in mixed] == [
        "category0:0",
        "category0:1",
        "category1:0",
        "category1:1",
        "category1:2",
    ]


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_groups_of_one_layer_are_categories(batch):
    network = propensity(rng(), n_heads=3, heads="fused")
    found = columns(network, 1, batch=batch)
    assert [(c.head, c.column, c.label) for c in found] == [
        (0, 1, "softmax_0"),
        (0, 3, "softmax_1"),
        (0, 5, "softmax_2"),
    ]
    assert [c.label for c in columns(network, 1, ["a", "b", "c"])] == ["a", "b", "c"]


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_pairs_of_all_rows_below_each_other(batch):
    made = NetworkBuilder(rng())
    data = made.layer("fc", made.variable("data"), 4, 6)
    data = made.add("Reshape", [data], name="g", attributes={"shape": "(-1, 2)"})
    network = made.network([made.add("softmax", [data], name="s")])
    assert [c.column for c in columns(network, 0, batch=batch)] == [0, 2, 4]


def test_other_graphs_give_their_heads_side_by_side():
    assert [c.label for c in columns(regression(rng(), n_heads=2))] == [
        "target0",
        "target1:0",
        "target1:1",
    ]
    assert [c.label for c in columns(gluon_like(rng()))] == [f"net_dense1:{i}" for i in range(4)]
    assert [c.label for c in columns(wide_and_deep(rng()))] == ["model"]


def test_labels_name_categories_or_columns():
    network = propensity(rng(), n_heads=2)
    assert [c.label for c in columns(network, 0, ["a", "b"])] == ["a", "b"]
    assert [c.label for c in columns(network, None, ["a", "b"])] == ["a:0", "a:1", "b:0", "b:1"]
    assert [c.label for c in columns(network, None, list("abcd"))] == list("abcd")
    classes = softmax_classes(rng(), n_classes=3)
    assert [c.label for c in columns(classes, 0, ["x", "y", "z"])] == ["x", "y", "z"]
    assert [c.label for c in columns(classes, 0, ["x"])] == ["x:0", "x:1", "x:2"]
    assert columns(network, 0, ["a", "b"])[1].head_name == "category1_softmax"


@pytest.mark.parametrize(
    ("network", "labels", "message"),
    [
        (propensity(rng(), n_heads=2), ["a"], "1 labels for 2 columns of scores or 2 categories"),
        (regression(rng()), ["a", "b"], "2 labels for 3 columns of scores$"),
        (propensity(rng(), n_heads=2), [], "0 labels"),
    ],
)
def test_labels_that_do_not_fit_are_refused(network, labels, message):
    with pytest.raises(ModelFormatError, match=message):
        columns(network, 0, labels)


def test_the_positive_class_must_be_there():
    with pytest.raises(InvalidInputError, match="positive_index is 2"):
        columns(propensity(rng()), 2)
    assert columns(softmax_classes(rng()), 2)


def test_a_softmax_that_is_not_plain_is_just_columns():
    made = NetworkBuilder(rng())
    data = made.layer("fc", made.variable("data"), 4, 2)
    hot = made.add("softmax", [data], name="hot", attributes={"temperature": 3})
    assert [c.label for c in columns(made.network([hot]))] == ["hot:0", "hot:1"]


def test_heads_behind_what_does_nothing_are_seen_through():
    made = NetworkBuilder(rng())
    heads = []
    for i, op in enumerate(("BlockGrad", "Flatten", "Dropout")):
        layer = made.layer(f"fc{i}", made.variable(f"data{i}"), 4, 2)
        softmax = made.labelled("SoftmaxOutput", layer, f"s{i}")
        heads.append(made.add(op, [softmax], name=f"{op}_{i}"))
    assert [c.column for c in columns(made.network(heads), 1)] == [1, 1, 1]


def test_equal_names_are_told_apart():
    network = propensity(rng(), n_heads=2)
    nodes = [
        type(n)(n.op, "same_softmax", n.attributes, n.inputs) if n.op == "SoftmaxOutput" else n
        for n in network.graph.nodes
    ]
    graph = type(network.graph)(tuple(nodes), network.graph.heads)
    found = columns(Network(graph, network.arguments, network.auxiliary))
    assert [c.label for c in found] == ["same", "same_1"]


def test_a_head_without_rows_is_refused():
    made = NetworkBuilder(rng())
    data = made.layer("fc", made.variable("data"), 4, 2)
    network = made.network([made.add("sum", [data], name="total")])
    with pytest.raises(ModelFormatError, match=r"head 0 \('total'\) of shape \(1,\) has no row"):
        columns(network)


def test_base_names():
    assert base_name("category7_softmax_output") == "category7"
    assert base_name("_softmax") == "_softmax"
    assert base_name("softmax") == "softmax"
    assert base_name("a" + "_softmax" * 50_000) == "a"

"""Graph and parameters together: what is fed, what is a label, what is missing."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from support.networks import (
    CSR_INPUT,
    FACTORIES,
    NetworkBuilder,
    propensity,
    softmax_classes,
    wide_and_deep,
)

from fastprop.errors import InvalidInputError, ModelFormatError
from fastprop.graph.admission import check_operators
from fastprop.graph.network import bind_parameters
from fastprop.graph.operators import NEVER_ADMITTED


def test_labels_are_what_only_label_inputs_read():
    network = propensity(np.random.default_rng(0), n_heads=2)
    assert network.labels_inputs == ("category0_softmax_label", "category1_softmax_label")
    assert network.input_names == ("data",)


def test_a_label_through_other_operators_is_a_label():
    made = NetworkBuilder(np.random.default_rng(0))
    data = made.layer("fc", made.variable("data"), 3, 2)
    label = made.add("Reshape", [made.variable("target")], name="r", attributes={"shape": "(-1,)"})
    network = made.network([made.add("SoftmaxOutput", [data, label], name="s")])
    assert network.labels_inputs == ("target",)
    assert network.input_names == ("data",)


def test_a_label_that_the_loss_is_computed_from_is_an_input():
    made = NetworkBuilder(np.random.default_rng(0))
    data = made.layer("fc", made.variable("data"), 3, 2)
    loss = made.add("elemwise_sub", [data, made.variable("y_label")], name="d")
    network = made.network([made.add("MakeLoss", [loss], name="loss")])
    assert network.labels_inputs == ()
    assert network.input_names == ("data", "y_label")


def test_rows_come_first():
    network = wide_and_deep(np.random.default_rng(0))
    assert [spec.name for spec in network.inputs] == ["csr_data", "dns_data"]
    made = NetworkBuilder(np.random.default_rng(0))
    parts = [made.variable("a"), made.variable("data"), made.variable("rows", CSR_INPUT)]
    heads = [made.layer(f"fc{i}", part, 3, 2) for i, part in enumerate(parts)]
    assert [spec.name for spec in made.network(heads).inputs] == ["rows", "data", "a"]


def test_networks_can_be_pickled():
    network = softmax_classes(np.random.default_rng(0))
    bound = bind_parameters(network.graph, {**network.arguments, **network.auxiliary})
    again = pickle.loads(pickle.dumps(bound))
    assert again.graph.nodes == network.graph.nodes
    assert again.inputs == network.inputs


def test_types_and_storages_are_those_declared():
    made = NetworkBuilder(np.random.default_rng(0))
    data = made.variable("data", {"__dtype__": "4"})
    network = made.network([made.layer("fc", data, 3, 2)])
    assert network.inputs[0].dtype == "int32"
    bad = NetworkBuilder(np.random.default_rng(0))
    data = bad.variable("data", {"__storage_type__": "9"})
    with pytest.raises(ModelFormatError, match="'data': unknown __storage_type__ '9'"):
        _ = bad.network([bad.layer("fc", data, 3, 2)]).inputs


@pytest.mark.parametrize("prefixed", [True, False])
@pytest.mark.parametrize("name", FACTORIES)
def test_parameters_are_bound_with_and_without_prefixes(name, prefixed):
    network = FACTORIES[name](np.random.default_rng(0))
    arg, aux = ("arg:", "aux:") if prefixed else ("", "")
    values = {arg + k: v for k, v in network.arguments.items()}
    values |= {aux + k: v for k, v in network.auxiliary.items()}
    bound = bind_parameters(network.graph, {**values, "arg:unused": np.zeros(1)}, "f")
    assert set(bound.arguments) == set(network.arguments)
    assert set(bound.auxiliary) == set(network.auxiliary)
    assert bound.inputs == network.inputs


def test_a_missing_parameter_is_named_and_never_taken_for_an_input():
    network = softmax_classes(np.random.default_rng(0))
    for missing in ("fc1_weight", "fc1_bias", "bn0_moving_var", "bn0_gamma"):
        values = {**network.arguments, **network.auxiliary}
        del values[missing]
        with pytest.raises(ModelFormatError, match=f"x.params: no value for '{missing}'"):
            bind_parameters(network.graph, values, "x.params")


def test_a_name_with_two_prefixes_is_refused():
    network = softmax_classes(np.random.default_rng(0))
    values = {"arg:bn0_moving_mean": np.zeros(9), "aux:bn0_moving_mean": np.zeros(9)}
    with pytest.raises(ModelFormatError, match="'bn0_moving_mean' occurs with two prefixes"):
        bind_parameters(network.graph, values, "x.params")


def graph_with(op: str):
    made = NetworkBuilder(np.random.default_rng(0))
    return made.build([made.add(op, [made.variable("data")], name="strange")])


def test_documented_operators_are_admitted():
    for factory in FACTORIES.values():
        check_operators(factory(np.random.default_rng(0)).graph)


def test_other_operators_only_on_demand():
    with pytest.raises(ModelFormatError, match="'strange': operator 'Convolution' is not among"):
        check_operators(graph_with("Convolution"))
    check_operators(graph_with("Convolution"), "all")


@pytest.mark.parametrize(
    "op", [*sorted(NEVER_ADMITTED), "_sg_mkldnn_conv", "_contrib_tvm_new", "_cvimread"]
)
def test_code_is_never_admitted(op):
    for allow in ("documented", "all"):
        with pytest.raises(ModelFormatError, match=f"'strange': operator '{op}' .* never"):
            check_operators(graph_with(op), allow)


def test_the_choice_is_checked():
    with pytest.raises(InvalidInputError, match='"documented" or "all", not \'some\''):
        check_operators(graph_with("relu"), "some")

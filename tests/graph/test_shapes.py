"""Shapes of networks: MXNet's, for every network; widths found from weights; errors that name."""

from __future__ import annotations

import time

import numpy as np
import pytest
from support.mxnet_process import shared_process
from support.networks import CSR_INPUT, FACTORIES, NetworkBuilder, propensity, random_feeds

from fastprop.errors import ModelFormatError, ShapeError
from fastprop.graph.graph import Entry
from fastprop.graph.network import InputSpec, Network
from fastprop.graph.shapes import infer_shapes


def builder() -> NetworkBuilder:
    return NetworkBuilder(np.random.default_rng(0))


@pytest.mark.parametrize("name", FACTORIES)
def test_every_network_has_mxnets_shapes(name):
    network = FACTORIES[name](np.random.default_rng(3))
    shapes = infer_shapes(network, batch=5)
    feeds = random_feeds(np.random.default_rng(4), network, 5)
    known = {name: tuple(value.shape) for name, value in feeds.items()}
    for variable in network.graph.variables:
        if network.has_value(variable):
            known[variable] = tuple(network.value(variable).shape)
    variables, heads = shared_process().call("infer_shape", network.graph.to_json(), known)
    assert shapes.variables == variables
    assert shapes.heads == tuple(heads)
    assert shapes.batch == 5


EXPECTED_INPUTS = {
    "propensity": [InputSpec("data", "csr", (60,))],
    "wide-and-deep": [InputSpec("csr_data", "csr", (40,)), InputSpec("dns_data", "default", (7,))],
    "matrix-factorization": [
        InputSpec("user", "default", ()),
        InputSpec("item", "default", ()),
    ],
    "embedding": [InputSpec("data", "default", (4,))],
    "towers": [InputSpec("data", "csr", (30,)), InputSpec("profile", "default", (5,))],
    "gluon-like": [InputSpec("data", "default", (12,))],
}


@pytest.mark.parametrize("name", EXPECTED_INPUTS)
def test_inputs_and_their_widths_follow_from_the_checkpoint(name):
    network = FACTORIES[name](np.random.default_rng(0))
    assert list(network.inputs) == EXPECTED_INPUTS[name]


def one_layer(*path: tuple[str, dict[str, object]], width: int) -> Network:
    """An input, some operators, and a layer over what comes of them."""
    made = builder()
    data = made.variable("data")
    for op, settings in path:
        data = made.add(op, [data], name=op.lower(), attributes=settings)
    return made.network([made.layer("fc", data, width, 2)])


@pytest.mark.parametrize(
    ("path", "width", "row"),
    [
        ([], 6, (6,)),
        ([("Dropout", {})], 6, (6,)),
        ([("Flatten", {})], 6, (6,)),
        ([("relu", {}), ("_mul_scalar", {"scalar": 2})], 6, (6,)),
        ([("expand_dims", {"axis": 1})], 6, (6,)),
        ([("transpose", {"axes": "(0, 1)"})], 6, (6,)),
        ([("slice_axis", {"axis": 1, "begin": 0, "end": 4})], 4, (4,)),
        ([("slice", {"begin": "(None, 1)", "end": "(None, 4)"})], 3, (4,)),
    ],
)
def test_a_width_is_found_through_operators(path, width, row):
    assert one_layer(*path, width=width).row_shape("data") == row


def test_a_width_is_found_through_concat_when_the_others_are_known():
    made = builder()
    rows = made.variable("data", CSR_INPUT)
    known = made.add("dot", [rows, made.row_sparse("w", (30, 4))], name="dot")
    both = made.add(
        "Concat", [known, made.variable("extra")], name="concat", attributes={"num_args": 2}
    )
    network = made.network([made.layer("fc", both, 9, 2)])
    assert (network.row_shape("data"), network.row_shape("extra")) == ((30,), (5,))


def test_a_width_is_found_when_the_weight_is_transposed():
    made = builder()
    data = made.variable("data")
    product = made.add(
        "dot", [data, made.parameter("w", (4, 9))], name="dot", attributes={"transpose_b": True}
    )
    assert made.network([product]).row_shape("data") == (9,)


def test_what_is_declared_counts_and_its_batch_does_not():
    made = builder()
    data = made.variable("data", {"__shape__": "(32, 7)"})
    network = made.network([made.add("relu", [data], name="r")])
    assert network.inputs == (InputSpec("data", "default", (7,)),)
    assert infer_shapes(network, batch=3).heads == ((3, 7),)


def test_a_width_that_nothing_tells_is_asked_for():
    made = builder()
    network = made.network([made.add("relu", [made.variable("x")], name="r")])
    assert network.inputs == (InputSpec("x", "default", None),)
    with pytest.raises(ModelFormatError, match=r"input 'x'; give it as input_shapes=\{'x'"):
        infer_shapes(network)
    assert infer_shapes(network, {"x": (4, 2)}, batch=3).heads == ((3, 4, 2),)


def test_input_shapes_are_checked():
    network = propensity(np.random.default_rng(0))
    with pytest.raises(ShapeError, match=r"'nothing' is not an input.*are data"):
        infer_shapes(network, {"nothing": (4,)})
    with pytest.raises(ModelFormatError, match=r"'dot0' \(dot\): .*4 columns meet 60 rows"):
        infer_shapes(network, {"data": (4,)})
    with pytest.raises(ModelFormatError, match=r"variable 'data': expected shape \(1, 4, 4\)"):
        infer_shapes(network, {"data": (4, 4)})


def test_labels_get_shapes_and_may_be_given_others():
    network = propensity(np.random.default_rng(0), n_heads=1)
    assert infer_shapes(network, batch=4).variables["category0_softmax_label"] == (4,)
    shapes = infer_shapes(network, {"category0_softmax_label": (2,)}, batch=4)
    assert shapes.variables["category0_softmax_label"] == (4, 2)
    with pytest.raises(ModelFormatError, match=r"argument label .'category0_softmax_label'"):
        infer_shapes(network, {"category0_softmax_label": (3,)}, batch=4)


def test_a_parameter_that_does_not_fit_is_named_with_its_use():
    network = propensity(np.random.default_rng(0))
    values = {**network.arguments, "head1_weight": np.zeros((2, 15), np.float32)}
    wrong = Network(network.graph, values, network.auxiliary)
    with pytest.raises(ModelFormatError) as caught:
        infer_shapes(wrong, batch=4)
    for part in ("'head1' (FullyConnected)", "argument weight ('head1_weight')", "(2, 15)"):
        assert part in str(caught.value)


def test_a_parameter_is_checked_against_its_declared_shape():
    made = builder()
    made.values["w"] = np.zeros((3, 2), np.float32)
    weight = made.variable("w", {"__shape__": "(3, 4)"})
    network = made.network([made.add("dot", [made.variable("data"), weight], name="d")])
    with pytest.raises(ModelFormatError, match=r"parameter 'w': .*\(3, 2\), but __shape__"):
        infer_shapes(network)


def test_unknown_operators_leave_gaps_where_that_is_allowed():
    made = builder()
    data = made.layer("fc", made.variable("data"), 6, 4)
    unknown = made.add("Unheard", [data], name="u")
    network = made.network([unknown, data])
    with pytest.raises(ModelFormatError, match=r"'u': no rule .* operator 'Unheard'"):
        infer_shapes(network)
    shapes = infer_shapes(network, batch=3, allow_unknown_operators=True)
    assert shapes.variables["data"] == (3, 6)
    assert shapes.of(Entry(network.graph.heads[1].node, 0)) == (3, 4)
    with pytest.raises(ModelFormatError, match=r"'u': the shape of its output is unknown"):
        _ = shapes.heads


def test_an_array_beyond_what_the_engine_can_count_is_refused():
    network = propensity(np.random.default_rng(0), hidden=(16,))
    with pytest.raises(ModelFormatError, match=r"more elements than the 2147483647"):
        infer_shapes(network, batch=1 << 28)


def test_graphs_made_to_grow_are_refused_in_time():
    start = time.process_time()
    made = builder()
    data = made.layer("fc", made.variable("data"), 4, 3)
    for i in range(3000):
        data = made.add("expand_dims", [data], name=f"e{i}", attributes={"axis": 1})
    with pytest.raises(ModelFormatError, match=r"33 dimensions, more than 32"):
        infer_shapes(made.network([data]))
    made = builder()
    data = made.layer("fc", made.variable("data"), 4, 3)
    for i in range(3000):
        data = made.add("Concat", [data, data], name=f"c{i}", attributes={"num_args": 2})
    with pytest.raises(ModelFormatError, match=r"an extent of more than"):
        infer_shapes(made.network([data]))
    made = builder()
    parts = [made.variable(f"x{i}") for i in range(2000)]
    many = made.add("Concat", parts, name="c", attributes={"num_args": 2000})
    with pytest.raises(ModelFormatError, match=r"does not follow from the checkpoint"):
        infer_shapes(made.network([many]))
    assert time.process_time() - start < 5


def test_three_thousand_heads_take_no_time_to_speak_of():
    network = propensity(np.random.default_rng(0), n_heads=3000)
    start = time.process_time()
    infer_shapes(network, batch=7)
    assert time.process_time() - start < 2

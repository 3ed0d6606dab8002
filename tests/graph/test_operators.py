"""Every documented operator against MXNet: names, shapes, results, and what the rules refuse."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from support.mxnet_process import shared_process
from support.networks import NetworkBuilder

from fastprop._reference import FUNCTIONS, reference_outputs
from fastprop.errors import ModelFormatError
from fastprop.graph.graph import Entry
from fastprop.graph.network import Network
from fastprop.graph.operators import OPERATORS, canonical_name, operator
from fastprop.graph.shapes import infer_shapes

LABELLED = {name for name, item in OPERATORS.items() if item.labels}
STATES = {"BatchNorm": (3, 4)}


@dataclass(frozen=True)
class Case:
    op: str
    shapes: tuple[tuple[int, ...], ...]
    settings: dict[str, Any] = field(default_factory=dict)
    low: float = -2.0
    high: float = 2.0
    outputs: tuple[int, ...] = (0,)
    integers: tuple[int, ...] = ()

    def __str__(self) -> str:
        settings = ",".join(f"{key}={value}" for key, value in self.settings.items())
        return f"{self.op}({settings}){self.shapes}".replace(" ", "")


def case(op: str, *shapes: tuple[int, ...], **settings: Any) -> Case:
    return Case(op, shapes, settings)


def cases() -> list[Case]:
    found: list[Case] = []
    unit = {"arccos", "arcsin", "arctanh", "erfinv"}
    positive = {
        "log",
        "log10",
        "log1p",
        "log2",
        "sqrt",
        "rsqrt",
        "gamma",
        "gammaln",
        "reciprocal",
        "rcbrt",
    }
    plain = [
        name
        for name, item in OPERATORS.items()
        if item.inputs == ("data",)
        and item.shape.__name__ == "same"
        and name not in ("cast_storage", "SoftmaxActivation", "smooth_l1")
        and not name.endswith("_scalar")
        and name not in ("clip",)
    ]
    for name in plain:
        low, high = (-0.9, 0.9) if name in unit else (-2.0, 2.0)
        if name in positive:
            low, high = 0.2, 3.0
        if name == "arccosh":
            low, high = 1.1, 4.0
        found.append(Case(name, ((4, 3),), low=low, high=high))
    for name, item in OPERATORS.items():
        if name.endswith("_scalar"):
            low = 0.2 if "power" in name or "mod" in name or "div" in name else -2.0
            found.append(Case(name, ((4, 3),), {"scalar": 1.5}, low=low))
        elif item.inputs == ("lhs", "rhs") and not name.endswith("dot"):
            low = 0.2 if "power" in name or "mod" in name or "div" in name else -2.0
            found.append(Case(name, ((4, 3), (4, 3)), low=low))
            if name.startswith("broadcast"):
                found.append(Case(name, ((4, 3), (1, 3)), low=low))
                found.append(Case(name, ((4, 1, 2), (1, 5, 2)), low=low))
    for name in ("sum", "mean", "prod", "nansum", "nanprod", "max", "min"):
        found += [
            case(name, (4, 3, 2)),
            case(name, (4, 3, 2), axis=1),
            case(name, (4, 3, 2), axis="(0, 2)"),
            case(name, (4, 3, 2), axis="(1,)", keepdims=True),
            case(name, (4, 3, 2), axis=-1, exclude=True),
            case(name, (4, 3, 2), axis="(1,)", exclude=True, keepdims=True),
            case(name, (4,), axis=0),
        ]
    found += [
        case("norm", (4, 3)),
        case("norm", (4, 3), axis=1, keepdims=True),
        case("norm", (4, 3), axis=1, ord=1),
        case("smooth_l1", (4, 3), scalar=1.3),
        case("clip", (4, 3), a_min=-0.5, a_max=1),
        case("hard_sigmoid", (4, 3), alpha=0.3, beta=0.4),
        case("add_n", (4, 3), (4, 3), (4, 3), num_args=3),
        case("where", (4, 3), (4, 3), (4, 3)),
        case("where", (4,), (4, 3), (4, 3)),
        case("Cast", (4, 3), dtype="int32"),
        case("Cast", (4, 3), dtype="float64"),
        case("dot", (4, 3), (3, 5)),
        case("dot", (4, 3), (5, 3), transpose_b=True),
        case("dot", (4, 3), (4, 5), transpose_a=True),
        case("dot", (3, 4), (5, 3), transpose_a=True, transpose_b=True),
        case("dot", (4, 2, 3), (3, 5)),
        case("dot", (4, 3), (3, 5, 2)),
        case("dot", (4, 3), (3,)),
        case("dot", (4,), (4,)),
        case("batch_dot", (4, 2, 3), (4, 3, 5)),
        case("batch_dot", (4, 3, 2), (4, 5, 3), transpose_a=True, transpose_b=True),
        case("FullyConnected", (4, 3), (5, 3), (5,), num_hidden=5),
        case("FullyConnected", (4, 3), (5, 3), num_hidden=5, no_bias=True),
        case("FullyConnected", (4, 3, 2), (5, 6), (5,), num_hidden=5),
        case("FullyConnected", (4, 3, 2), (5, 2), (5,), num_hidden=5, flatten=False),
        case("FullyConnected", (4,), (5, 1), (5,), num_hidden=5),
        *(
            case("Activation", (4, 3), act_type=kind)
            for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign")
        ),
        *(
            case("LeakyReLU", (4, 3), act_type=kind, slope=0.2)
            for kind in ("leaky", "elu", "selu", "gelu")
        ),
        case("LeakyReLU", (4, 3)),
        case("LeakyReLU", (4, 3), (3,), act_type="prelu"),
        case("LeakyReLU", (4, 3), (1,), act_type="prelu"),
        case("LeakyReLU", (4, 3), act_type="rrelu"),
        case("Dropout", (4, 3), p=0.5),
        case("Dropout", (4, 3), p=0.5, axes="(1,)"),
        case("BatchNorm", (4, 3), (3,), (3,), (3,), (3,)),
        case("BatchNorm", (4, 3), (3,), (3,), (3,), (3,), fix_gamma=False, eps=1e-5),
        case("BatchNorm", (4, 3, 2), (2,), (2,), (2,), (2,), axis=-1, fix_gamma=False),
        case("BatchNorm", (4, 3, 2), (3,), (3,), (3,), (3,), use_global_stats=True),
        case("LayerNorm", (4, 3), (3,), (3,)),
        Case(
            "LayerNorm",
            ((4, 3, 2), (3,), (3,)),
            {"axis": 1, "output_mean_var": True},
            outputs=(0, 1, 2),
        ),
        case("InstanceNorm", (4, 3, 5), (3,), (3,), eps=0.01),
        case("L2Normalization", (4, 3)),
        case("L2Normalization", (4, 3, 2), mode="channel"),
        case("L2Normalization", (4, 3, 2), mode="spatial"),
        Case(
            "Embedding", ((4, 2), (7, 3)), {"input_dim": 7, "output_dim": 3}, 0, 6.9, integers=(0,)
        ),
        Case("Embedding", ((4,), (7, 3)), {"input_dim": 7, "output_dim": 3}, 0, 6.9, integers=(0,)),
        Case(
            "Embedding", ((4, 2), (7, 3)), {"input_dim": 7, "output_dim": 3}, -5, 12, integers=(0,)
        ),
        Case("take", ((4, 5), (3, 2)), {"axis": 1}, 0, 4.9, integers=(1,)),
        Case("take", ((4, 5), (3,)), {"axis": -1, "mode": "wrap"}, -7, 9, integers=(1,)),
        case("softmax", (4, 3)),
        case("softmax", (4, 3, 2), axis=1),
        case("softmax", (4, 3), temperature=2.5),
        Case("softmax", ((4, 3), (4,)), {"axis": 1, "use_length": True}, 1, 3.9, integers=(1,)),
        case("log_softmax", (4, 3), axis=-1),
        case("softmin", (4, 3)),
        case("SoftmaxActivation", (4, 3)),
        case("SoftmaxActivation", (4, 3, 2), mode="channel"),
        case("SoftmaxActivation", (4, 3, 2)),
        case("SoftmaxOutput", (4, 3)),
        case("SoftmaxOutput", (4, 3, 2)),
        case("SoftmaxOutput", (4, 3, 2), preserve_shape=True),
        case("SoftmaxOutput", (4, 3, 2), multi_output=True),
        case("SoftmaxOutput", (4, 3, 2, 2), multi_output=True),
        case("LogisticRegressionOutput", (4, 3)),
        case("LogisticRegressionOutput", (4, 1)),
        case("LinearRegressionOutput", (4, 3)),
        case("MAERegressionOutput", (4, 3)),
        case("SVMOutput", (4, 3)),
        case("MakeLoss", (4, 3), grad_scale=2.0),
        case("Reshape", (4, 6), shape="(-1, 2, 3)"),
        case("Reshape", (4, 6), shape="(0, 3, 2)"),
        case("Reshape", (4, 6), shape="(0, -1)"),
        case("Reshape", (4, 6), shape="(-1,)"),
        case("Reshape", (4, 2, 3), shape="(-2,)"),
        case("Reshape", (4, 2, 3), shape="(0, -3)"),
        case("Reshape", (4, 2, 3), shape="(-3, -2)"),
        case("Reshape", (4, 6), shape="(0, -4, -1, 3)"),
        case("Reshape", (4, 6), shape="(-4, 2, 2, -2)"),
        case("Reshape", (4, 2, 3), shape="(-1, 0)", reverse=True),
        case("Reshape", (4, 6), target_shape="(0, 3)"),
        case("Reshape", (4, 6), target_shape="(0, 2, 3)", keep_highest=True),
        case("Flatten", (4, 3, 2)),
        case("Flatten", (4, 3)),
        case("Flatten", (4,)),
        case("expand_dims", (4, 3), axis=1),
        case("expand_dims", (4, 3), axis=-1),
        case("squeeze", (4, 1, 3, 1)),
        case("squeeze", (4, 1, 3, 1), axis=1),
        case("squeeze", (4, 1, 3, 1), axis="(1, -1)"),
        case("transpose", (4, 3, 2)),
        case("transpose", (4, 3, 2), axes="(1, 0, 2)"),
        case("SwapAxis", (4, 3, 2), dim1=0, dim2=2),
        case("slice_axis", (4, 5), axis=1, begin=1, end=3),
        case("slice_axis", (4, 5), axis=-1, begin=-3, end="None"),
        case("slice", (4, 5), begin="(0, 1)", end="(None, 4)"),
        case("slice", (4, 5), begin="(None, 4)", end="(None, None)", step="(2, -2)"),
        case("slice", (4, 5), begin="(1,)", end="(9,)"),
        case("slice_like", (4, 5), (2, 3)),
        case("slice_like", (4, 5), (2, 3), axes="(1,)"),
        Case("SliceChannel", ((4, 6),), {"num_outputs": 3}, outputs=(0, 1, 2)),
        Case("SliceChannel", ((4, 2),), {"num_outputs": 2, "squeeze_axis": 1}, outputs=(1, 0)),
        Case("SliceChannel", ((4, 2, 3),), {"num_outputs": 3, "axis": -1}, outputs=(2,)),
        case("Concat", (4, 3), (4, 2), num_args=2),
        case("Concat", (4, 3), (2, 3), num_args=2, dim=0),
        case("Concat", (4, 3, 1), (4, 3, 2), num_args=2, dim=-1),
        case("stack", (4, 3), (4, 3), num_args=2, axis=1),
        case("stack", (4, 3), (4, 3), num_args=2, axis=-1),
        case("broadcast_to", (4, 1, 3), shape="(0, 5, 3)"),
        case("broadcast_axis", (4, 1, 3), axis=1, size=2),
        case("_zeros", shape="(4, 3)"),
        case("_ones", shape="(4, 3)"),
        case("_full", shape="(4, 3)", value=2.5),
    ]
    return found


CASES = cases()


def made(item: Case) -> tuple[Network, dict[str, np.ndarray]]:
    """A network of one node; the first input is fed, the others are parameters."""
    rng = np.random.default_rng(5)
    builder = NetworkBuilder(rng)
    inputs, feeds = [], {}
    for position, shape in enumerate(item.shapes):
        value = rng.uniform(item.low, item.high, shape).astype(np.float32)
        if position in item.integers:
            value = np.floor(value)
            if item.op == "softmax":
                value = value.astype(np.int32)
        if position in STATES.get(item.op, ()):
            value = np.abs(value) + 0.5
            builder.states[f"s{position}"] = value
            inputs.append(builder.variable(f"s{position}"))
        elif position:
            builder.values[f"p{position}"] = value
            inputs.append(builder.variable(f"p{position}"))
        else:
            feeds["data"] = value
            inputs.append(builder.variable("data"))
    if item.op in LABELLED:
        inputs.append(builder.variable("node_label"))
    node = builder.add(item.op, inputs, name="node", attributes=item.settings)
    return builder.network([Entry(node.node, output) for output in item.outputs]), feeds


def test_every_operator_has_a_case_and_a_reference():
    covered = {item.op for item in CASES}
    sparse = {"cast_storage", "_square_sum", "_contrib_SparseEmbedding"}  # tested with networks
    assert covered | sparse == set(OPERATORS)
    assert set(FUNCTIONS) == set(OPERATORS)


def test_names_and_aliases_are_mxnets():
    known = set(shared_process().call("operator_names"))
    for item in OPERATORS.values():
        assert {item.name, *item.aliases} <= known
    for name in ("elemwise_add", "_plus", "_Plus"):
        assert canonical_name(name) == "elemwise_add"
    assert operator("_sparse_dot") is operator("dot")
    assert operator("Convolution") is None


@pytest.mark.parametrize("alias", [a for item in OPERATORS.values() for a in item.aliases])
def test_an_alias_is_the_operator_that_mxnet_takes_it_for(alias):
    item = next(case for case in CASES if case.op == canonical_name(alias))
    network, _ = made(Case(alias, item.shapes, item.settings, outputs=item.outputs))
    text = shared_process().call("resave_symbol", network.graph.to_json())
    assert f'"op": "{canonical_name(alias)}"' in text


@pytest.mark.parametrize("item", CASES, ids=str)
def test_shapes_and_results_are_mxnets(item):
    network, feeds = made(item)
    batch = item.shapes[0][0] if item.shapes else 4
    rows = {name: value.shape[1:] for name, value in feeds.items()}
    shapes = infer_shapes(network, rows, batch=batch)
    given = {name: value.shape for name, value in feeds.items()}
    for name in (*network.arguments, *network.auxiliary):
        given[name] = network.value(name).shape
    text = network.graph.to_json()
    variables, heads = shared_process().call("infer_shape", text, given)
    assert shapes.heads == tuple(heads)
    assert shapes.variables == variables
    results = shared_process().call(
        "forward", text, dict(network.arguments), dict(network.auxiliary), feeds
    )
    for expected, result in zip(reference_outputs(network, feeds), results):
        assert expected.shape == result.shape
        np.testing.assert_allclose(result, expected, rtol=3e-5, atol=3e-6)


REFUSED = [
    case("elemwise_add", (4, 3), (4, 2)),
    case("broadcast_add", (4, 3), (2, 3)),
    case("dot", (4, 3), (4, 5)),
    case("dot", (4,), (4,), transpose_a=True),
    case("batch_dot", (4, 2, 3), (4, 2, 3)),
    case("FullyConnected", (4, 3), (5, 2), (5,), num_hidden=5),
    case("FullyConnected", (4, 3), (5, 3), (4,), num_hidden=5),
    case("FullyConnected", (4, 3), (5, 3), num_hidden=5),
    case("FullyConnected", (4, 3), (5, 3), (5,), num_hidden=0),
    case("FullyConnected", (4, 3), (5, 3), (5,), num_hidden="many"),
    case("FullyConnected", (4, 3), (5, 3), (5,)),
    case("FullyConnected", (4, 3, 2), (5, 3), (5,), num_hidden=5, flatten=False),
    case("Activation", (4, 3), act_type="swish"),
    case("LeakyReLU", (4, 3), (2,), act_type="prelu"),
    case("LeakyReLU", (4, 3), (3,), act_type="leaky"),
    case("BatchNorm", (4, 3), (3,), (3,), (2,), (3,)),
    case("BatchNorm", (4, 3), (3,), (3,), (3,), (3,), axis=2),
    case("LayerNorm", (4, 3), (2,), (3,)),
    case("InstanceNorm", (4, 3), (3,), (3,)),
    case("Embedding", (4, 2), (7, 3), input_dim=8, output_dim=3),
    case("take", (4, 5), (3,), axis=2),
    case("softmax", (4, 3), axis=2),
    case("SoftmaxActivation", (4, 3), mode="channel"),
    case("SoftmaxOutput", (4,), multi_output=True),
    case("Reshape", (4, 6), shape="(5, -1)"),
    case("Reshape", (4, 6), shape="(3, 7)"),
    case("Reshape", (4, 6), shape="(-1, -1)"),
    case("Reshape", (4, 6), shape="(0, 0, 0)"),
    case("Reshape", (4, 6), shape="(0, -4, 4, -1)"),
    case("Reshape", (4, 6), shape="(0, -4, 0, -1)"),
    case("Reshape", (4, 6), shape="(-5, 2)"),
    case("Reshape", (4, 6), shape="(0, -3)"),
    case("Reshape", (4, 6)),
    case("expand_dims", (4, 3), axis=4),
    case("squeeze", (4, 3), axis=1),
    case("transpose", (4, 3), axes="(0, 0)"),
    case("SwapAxis", (4, 3), dim1=0, dim2=2),
    case("slice_axis", (4, 5), axis=1, begin=3, end=3),
    case("slice_axis", (4, 5), axis=1, begin=0, end=6),
    case("slice", (4, 5), begin="(0, 0)", end="(1,)"),
    case("slice", (4, 5), begin="(0,)", end="(1,)", step="(0,)"),
    case("slice", (4, 5), begin="(4,)", end="(9,)"),
    case("slice_like", (4, 5), (4, 6)),
    case("SliceChannel", (4, 5), num_outputs=2),
    case("SliceChannel", (4, 5), num_outputs=0),
    case("SliceChannel", (4, 5), num_outputs=99999999999),
    case("SliceChannel", (4, 6), num_outputs=3, squeeze_axis=1),
    case("Concat", (4, 3), (2, 3), num_args=2),
    case("Concat", (4, 3), (4, 3), num_args=3),
    case("stack", (4, 3), (4, 2), num_args=2),
    case("broadcast_to", (4, 2), shape="(4, 3)"),
    case("broadcast_axis", (4, 2), axis=1, size=3),
    case("sum", (4, 3), axis=2),
    case("sum", (4, 3), axis="(1, -1)"),
    case("_square_sum", (4, 3)),
    case("add_n", (4, 3), (4, 3), num_args=5),
    case("where", (4, 3), (4, 2), (4, 3)),
    case("Cast", (4, 3), dtype="complex64"),
    case("relu", (4, 3), (4, 3)),
    case("_zeros", shape="(100000, 100000)"),
    case("_zeros", shape="(-2,)"),
]


@pytest.mark.parametrize("item", REFUSED, ids=str)
def test_what_does_not_fit_is_refused_with_the_node(item):
    network, feeds = made(item)
    with pytest.raises(ModelFormatError, match=f"'node' \\({item.op}\\)"):
        infer_shapes(network, {name: v.shape[1:] for name, v in feeds.items()}, batch=4)

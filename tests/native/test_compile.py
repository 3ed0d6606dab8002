"""What networks are compiled to, and what the core makes of plans that lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.networks import CSR_INPUT, FACTORIES, NetworkBuilder, propensity, towers
from support.operator_networks import MAKERS, Bench, operator_network

import fastprop
from fastprop.graph.optimize import optimize
from fastprop.native.compile import compile_network
from fastprop.native.engine import make_native_engine, start_native_engine
from fastprop.native.lowering import NotNativeError
from fastprop.native.plan import Operand
from fastprop.native.tensors import hold_tensors


def compiled(network):
    return compile_network(optimize(network))


def kinds(plan):
    return [f"{step.op} {step.function}".strip() for step in plan.steps]


def test_a_chain_is_a_step_a_layer():
    plan = compiled(propensity(np.random.default_rng(0), hidden=(16, 12, 8))).plan
    assert kinds(plan) == ["sparse relu", "dense relu", "dense relu", "dense sigmoid"]
    assert plan.steps[-1].output == Operand("scores", 0, 0, 0, plan.n_scores)
    assert sorted(plan.slots) == [12, 16], "two buffers are enough, whatever the depth"


def test_heads_lie_side_by_side_in_the_scores():
    plan = compiled(towers(np.random.default_rng(0))).plan
    written = [step.output for step in plan.steps if step.output.place == "scores"]
    assert written == [Operand("scores", 0, 0, 0, 2), Operand("scores", 0, 0, 2, 3)]
    assert "copy" not in kinds(plan)


def test_softmax_is_taken_where_the_layer_has_written():
    plan = compiled(propensity(np.random.default_rng(0), n_classes=3)).plan
    assert plan.steps[-1].inputs[0] == plan.steps[-1].output


def test_what_is_read_again_is_not_written_over():
    made = NetworkBuilder(np.random.default_rng(0))
    rows = made.variable("data", CSR_INPUT)
    data = made.add("dot", [rows, made.row_sparse("weight", (9, 4))], name="dot0")
    squared = made.add("square", [data], name="square0")
    product = made.add("elemwise_mul", [data, squared], name="mul0")
    plan = compiled(made.network([made.add("elemwise_add", [product, squared], name="sum")])).plan
    square, product, total = plan.steps[1:]
    assert square.inputs[0] != square.output
    assert product.output == product.inputs[0], "what dot0 gave is read for the last time"
    assert total.output.place == "scores"
    assert total.inputs[1] == square.output


def test_a_refusal_names_the_node():
    network = propensity(np.random.default_rng(0))
    graph = network.graph
    nodes = [
        replace(node, op="linalg_gemm2") if node.name == "activation0" else node
        for node in graph.nodes
    ]
    network = replace(network, graph=replace(graph, nodes=tuple(nodes)))
    with pytest.raises(NotNativeError, match=r"node 'activation0' \(linalg_gemm2\)"):
        compile_network(network)


@pytest.mark.parametrize("name", [name for name in MAKERS if name.startswith("softmax output")])
def test_a_softmax_with_its_label_is_one_without(name):
    network = operator_network(np.random.default_rng(0), name)

    def steps(plan):
        return [replace(step, name="") for step in plan.steps]

    assert steps(compile_network(network).plan) == steps(compiled(network).plan)


def softmax(**settings):
    return lambda made: made.op("softmax", made.hidden(), **settings)


def log_softmax_of_lengths(made):
    lengths = made.op("Reshape", made.op("Cast", made.hidden(1), dtype="int32"), shape="(-1,)")
    return made.op("log_softmax", made.hidden(), lengths, axis=-1, use_length=True)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (softmax(axis=0), r"\(softmax\) normalises over the rows"),
        (softmax(dtype="float64"), r"\(softmax\) changes the type"),
        (log_softmax_of_lengths, r"\(log_softmax\): expected 1 inputs"),
        (
            lambda made: made.labelled("SoftmaxOutput", made.shaped(2, 3, 4), "head"),
            r"'head' \(SoftmaxOutput\) normalises over other axes with and without oneDNN",
        ),
    ],
)
def test_softmaxes_that_are_left_to_mxnet(make, reason):
    made = Bench(np.random.default_rng(0))
    network = made.network([make(made)])
    for one in (network, optimize(network)):
        with pytest.raises(NotNativeError, match=reason):
            compile_network(one)


def lies():
    def operand(**changes):
        return lambda step: replace(step, output=replace(step.output, **changes))

    yield "another slot", 0, operand(number=7)
    yield "a negative slot", 0, operand(number=-1)
    yield "past its slot", 0, operand(first=1)
    yield "far past its slot", 0, operand(first=1 << 62)
    yield "wider than its slot", 0, operand(stride=1 << 40)
    yield "no columns", 0, operand(width=0)
    yield "an input written", 0, operand(place="rows")
    yield "an unknown place", 0, operand(place="elsewhere")
    yield "an unknown step", 0, lambda step: replace(step, op="format")
    yield "an unknown function", 0, lambda step: replace(step, function="format")
    yield "no tensors", 0, lambda step: replace(step, tensors={})
    yield "a missing tensor", 0, lambda step: replace(step, tensors={"weight": "none"})
    yield "a tensor of another step", 0, lambda step: replace(step, tensors={"weight": "wrong"})
    yield "no input", 1, lambda step: replace(step, inputs=())
    yield "two inputs", 1, lambda step: replace(step, inputs=step.inputs * 2)
    yield (
        "the rows as a matrix",
        1,
        lambda step: replace(step, inputs=(Operand("rows", 0, 0, 0, 16),)),
    )
    yield "a repeat that does not fit", 1, lambda step: replace(step, numbers={"repeat": 3.0})
    yield "a repeat that is no number", 1, lambda step: replace(step, numbers={"repeat": np.nan})
    yield (
        "panels of another layer",
        1,
        lambda step: replace(step, tensors={**step.tensors, "panels": "wrong"}),
    )


@pytest.mark.parametrize(("number", "change"), [pytest.param(n, c, id=i) for i, n, c in lies()])
def test_the_core_refuses_plans_that_lie(number, change):
    made = compiled(propensity(np.random.default_rng(0)))
    tensors = {**hold_tensors(made.recipes, "mapped"), "wrong": np.zeros((2, 2), np.float32)}
    steps = list(made.plan.steps)
    steps[number] = change(steps[number])
    with pytest.raises(fastprop.ModelFormatError):
        start_native_engine(replace(made.plan, steps=tuple(steps)), tensors, isa="best")


def test_the_core_refuses_rows_that_lead_past_the_weight():
    made = compiled(propensity(np.random.default_rng(0), weight="partial"))
    tensors = hold_tensors(made.recipes, "mapped")
    name = next(name for name in tensors if name.endswith("row_of_column"))
    tensors[name] = tensors[name] + 100
    with pytest.raises(fastprop.ModelFormatError, match="leads past the weight"):
        start_native_engine(made.plan, tensors, isa="best")


@pytest.mark.parametrize("slots", [(), (0,), (1 << 40,), (-5,)])
def test_the_core_refuses_slots_of_no_use(slots):
    made = compiled(propensity(np.random.default_rng(0)))
    tensors = hold_tensors(made.recipes, "mapped")
    with pytest.raises(fastprop.ModelFormatError):
        start_native_engine(replace(made.plan, slots=slots), tensors, isa="best")


@pytest.mark.parametrize("name", ["propensity", "towers", "logistic"])
def test_an_engine_keeps_what_it_reads(name):
    engine = make_native_engine(
        compiled(FACTORIES[name](np.random.default_rng(0))), isa="best", weights="mapped"
    )
    assert engine.n_scores > 0

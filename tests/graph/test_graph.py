"""The symbol's JSON: read as MXNet reads it, written so that MXNet does, refused where wrong."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mxnet_process import MxnetError, shared_process
from support.networks import FACTORIES, propensity

from fastprop.errors import ModelFormatError
from fastprop.graph.graph import Entry, Graph, Node, parse_symbol


def symbol(*nodes: dict[str, Any], heads: Any = None, **more: Any) -> str:
    document = {
        "nodes": list(nodes),
        "arg_nodes": [i for i, node in enumerate(nodes) if node.get("op") == "null"],
        "heads": [[len(nodes) - 1, 0, 0]] if heads is None else heads,
        **more,
    }
    return json.dumps(document)


def variable(name: str, **more: Any) -> dict[str, Any]:
    return {"op": "null", "name": name, "inputs": [], **more}


def node(op: str, name: str, *inputs: Any, **more: Any) -> dict[str, Any]:
    return {"op": op, "name": name, "inputs": [list(entry) for entry in inputs], **more}


CURRENT = {"attrs": {"mxnet_version": ["int", 10901]}}
LAYER = (variable("data"), variable("w"), variable("b"))


@pytest.mark.parametrize("name", FACTORIES)
def test_variables_are_in_mxnets_order_and_json_survives(name):
    graph = FACTORIES[name](np.random.default_rng(0)).graph
    text = graph.to_json()
    again = parse_symbol(text)
    assert again.nodes == graph.nodes
    assert again.heads == graph.heads
    arguments, states = shared_process().call("list_variables", text)
    assert list(graph.arguments) == arguments
    assert list(graph.auxiliary) == states
    resaved = parse_symbol(shared_process().call("resave_symbol", text))
    assert resaved.arguments == graph.arguments
    assert [(n.name, n.inputs) for n in resaved.nodes] == [(n.name, n.inputs) for n in graph.nodes]


@pytest.mark.parametrize("key", ["attrs", "attr", "param"])
def test_spellings_of_attributes(key):
    layer = node("FullyConnected", "fc", (0, 0), (1, 0), (2, 0), **{key: {"num_hidden": "4"}})
    graph = parse_symbol(symbol(*LAYER, layer, **CURRENT))
    assert graph.nodes[-1].attributes == {"num_hidden": "4"}
    assert graph.nodes[-1].inputs == (Entry(0, 0), Entry(1, 0), Entry(2, 0))


def test_a_symbol_of_version_0_8_is_upgraded_as_mxnet_does():
    old = {"param": {}, "backward_source_id": -1}
    text = symbol(
        variable("data", **old),
        variable("fc_weight", **old, attr={"lr_mult": "2"}),
        variable("fc_bias", **old),
        node(
            "FullyConnected",
            "fc",
            (0, 0),
            (1, 0),
            (2, 0),
            backward_source_id=-1,
            param={"num_hidden": "4"},
            attr={"weight_lr_mult": "3", "lr_mult": "5"},
        ),
        variable("bn_gamma", **old),
        variable("bn_beta", **old),
        node("BatchNorm", "bn", (3, 0), (4, 0), (5, 0), param={"eps": "0.001"}),
        node("SoftmaxOutput", "sm", (6, 0), param={}),
        heads=[[7, 0]],
    )
    graph = parse_symbol(text)
    upgraded = json.loads(shared_process().call("resave_symbol", text))
    assert [n.name for n in graph.nodes] == [n["name"] for n in upgraded["nodes"]]
    assert [n.op for n in graph.nodes] == [n["op"] for n in upgraded["nodes"]]
    assert [[list(e) for e in n.inputs] for n in graph.nodes] == [
        [entry[:2] for entry in n["inputs"]] for n in upgraded["nodes"]
    ]
    weight, layer = graph.nodes[1], graph.nodes[3]
    assert weight.attributes["__lr_mult__"] == "3"
    assert layer.attributes["__lr_mult__"] == "5"
    assert graph.auxiliary == ("bn_moving_mean", "bn_moving_var")
    arguments, states = shared_process().call("list_variables", graph.to_json())
    assert (tuple(arguments), tuple(states)) == (graph.arguments, graph.auxiliary)


def test_annotations_about_no_input_are_kept_from_mxnet():
    data = variable("data")
    layer = node(
        "FullyConnected",
        "fc",
        (0, 0),
        (1, 0),
        (2, 0),
        attr={"num_hidden": "4", "nothing_lr_mult": "3"},
    )
    graph = parse_symbol(symbol(data, *LAYER[1:], layer, attrs={"mxnet_version": ["int", 1000]}))
    assert shared_process().call("list_variables", graph.to_json())[0] == ["data", "w", "b"]


def test_nodes_that_no_head_needs_are_dropped():
    text = symbol(
        variable("a"), variable("b"), node("relu", "r", (1, 0)), heads=[[2, 0]], **CURRENT
    )
    graph = parse_symbol(text)
    assert graph.variables == ("b",)
    assert list(graph.arguments) == shared_process().call("list_variables", text)[0]


def test_order_is_depth_first_from_the_heads_not_that_of_the_file():
    nodes = (
        variable("a"),
        variable("b"),
        variable("c"),
        node("elemwise_add", "x", (2, 0), (0, 0)),
        node("elemwise_mul", "y", (1, 0), (3, 0)),
    )
    text = symbol(*nodes, heads=[[4, 0, 0], [3, 0, 0]], **CURRENT)
    graph = parse_symbol(text)
    assert graph.variables == ("b", "c", "a")
    assert list(graph.arguments) == shared_process().call("list_variables", text)[0]


def test_depth_is_no_matter():
    nodes = [variable("a")]
    nodes += [node("relu", f"r{i}", (i, 0)) for i in range(20000)]
    graph = parse_symbol(symbol(*nodes, **CURRENT))
    assert len(graph.nodes) == 20001


def test_non_ascii_names_reach_mxnet():
    graph = parse_symbol(symbol(variable("données"), node("relu", "été", (0, 0)), **CURRENT))
    assert shared_process().call("list_variables", graph.to_json())[0] == ["données"]
    assert parse_symbol(graph.to_json().encode()).variables == ("données",)
    assert parse_symbol(b"\xef\xbb\xbf" + graph.to_json().encode()).variables == ("données",)


def test_consumers_and_variables():
    graph = parse_symbol(symbol(variable("a"), node("dot", "d", (0, 0), (0, 0)), **CURRENT))
    assert graph.consumers(0) == ((1, 0), (1, 1))
    assert graph.consumers(1) == ()
    assert graph.variable("a") == 0
    with pytest.raises(KeyError):
        graph.variable("d")


def test_build_from_any_order():
    nodes = [Node("relu", "r", {}, (Entry(1, 0),)), Node("null", "a"), Node("null", "unused")]
    graph = Graph.build(nodes, [Entry(0, 0)])
    assert [n.name for n in graph.nodes] == ["a", "r"]
    assert graph.heads == (Entry(1, 0),)


R = node("relu", "r", (0, 0))
REFUSED: dict[str, tuple[Any, str]] = {
    "not-json": ("{", "not JSON"),
    "not-utf8": (b'{"\xff": 1}', "not UTF-8 at byte 2"),
    "number": ("12", "expected a symbol"),
    "list": ("[]", "expected a symbol"),
    "no-nodes": ("{}", "expected a symbol"),
    "deep": ("[" * 200_000, "nested too deeply"),
    "deep-object": ('{"nodes":' * 100_000, "nested too deeply"),
    "long-number": ('{"nodes": ' + "1" * 10_000 + "}", "digits"),
    "node-number": (symbol(variable("a"), R).replace('"a"', '["a"]'), r"nodes\[0\].name"),
    "node-is-list": ('{"nodes": [[]], "heads": [[0, 0]]}', r"nodes\[0\]: expected an object"),
    "no-op": ('{"nodes": [{"name": "a"}], "heads": [[0, 0]]}', r"nodes\[0\].op"),
    "no-name": ('{"nodes": [{"op": "null"}], "heads": [[0, 0]]}', r"nodes\[0\].name"),
    "no-heads": (symbol(variable("a"), heads=[]), "at heads: expected a list"),
    "heads-object": (symbol(variable("a"), heads={}), "at heads"),
    "head-range": (symbol(variable("a"), heads=[[1, 0]]), r"heads\[0\]: node 1 is not among"),
    "head-negative": (symbol(variable("a"), heads=[[-1, 0]]), r"heads\[0\]: node -1"),
    "head-output": (symbol(variable("a"), heads=[[0, 1]]), "has 1 outputs, there is no output 1"),
    "head-float": (symbol(variable("a"), heads=[[0.0, 0]]), "expected .node, output."),
    "head-bool": (symbol(variable("a"), heads=[[False, 0]]), "expected .node, output."),
    "head-short": (symbol(variable("a"), heads=[[0]]), "expected .node, output."),
    "head-long": (symbol(variable("a"), heads=[[0, 0, 0, 0]]), "expected .node, output."),
    "forward": (
        symbol(node("relu", "r", (1, 0)), variable("a")),
        r"nodes\[0\].inputs\[0\]: node 1",
    ),
    "cycle": (symbol(variable("a"), node("relu", "r", (1, 0))), "node 1 is not among the 1 nodes"),
    "input-output": (
        symbol(variable("a"), R, node("relu", "s", (1, 3))),
        "'s': node 'r' .relu. has 1 outputs, there is no output 3",
    ),
    "input-huge": (symbol(variable("a"), node("relu", "r", (0, 1 << 40))), "there is no output"),
    "inputs-object": (symbol({**R, "inputs": {}}), r"nodes\[0\].inputs: expected a list"),
    "variable-inputs": (symbol(variable("a"), {**R, "op": "null"}), "variable 'r' has inputs"),
    "attrs-list": (symbol(variable("a", attrs=[1])), r"nodes\[0\].attrs: expected an object"),
    "attrs-number": (symbol(variable("a", attrs={"x": 1})), r"nodes\[0\].attrs.x: expected a str"),
    "subgraphs": (symbol(variable("a", subgraphs=[{}])), "subgraphs are not supported"),
    "control": (symbol(variable("a"), {**R, "control_deps": [0]}), "control_deps are not"),
    "twice": (symbol(variable("a"), variable("a"), node("dot", "d", (0, 0), (1, 0))), "'a'"),
    "version": (symbol(variable("a"), attrs={"mxnet_version": "1"}), "attrs.mxnet_version"),
    "attrs": (symbol(variable("a"), attrs=[]), "at attrs: expected an object"),
    "surrogate": (symbol(variable("\ud800")), "not valid Unicode"),
    "nul": (symbol(variable("a\0b")), "NUL"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_symbol_is_refused_with_the_place(name):
    text, message = REFUSED[name]
    with pytest.raises(ModelFormatError, match=message) as caught:
        parse_symbol(text, "dir/x-symbol.json")
    assert str(caught.value).startswith("dir/x-symbol.json: ")


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_mangled_symbols_are_parsed_or_refused(data):
    text = bytearray(propensity(np.random.default_rng(0)).graph.to_json().encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at] = data.draw(st.integers(0, 255))
    try:
        graph = parse_symbol(bytes(text))
    except ModelFormatError:
        return
    assert graph.heads
    graph.to_json().encode()


def test_mxnet_refuses_what_it_does_not_know_and_lives():
    graph = parse_symbol(symbol(variable("a"), node("Unheard", "u", (0, 0)), **CURRENT))
    with pytest.raises(MxnetError, match="Unheard"):
        shared_process().call("list_variables", graph.to_json())


def test_three_thousand_heads_are_read_quickly():
    text = propensity(np.random.default_rng(0), n_heads=3000).graph.to_json()
    start = time.process_time()
    assert len(parse_symbol(text).heads) == 3000
    assert time.process_time() - start < 2

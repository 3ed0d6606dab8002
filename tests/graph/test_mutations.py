"""Checkpoints changed at random end in columns and shapes, or in an error of ours."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from support.networks import FACTORIES, random_feeds

from fastprop._reference import reference_outputs
from fastprop.errors import FastpropError
from fastprop.graph.admission import check_operators
from fastprop.graph.columns import score_columns
from fastprop.graph.describe import describe_graph
from fastprop.graph.graph import parse_symbol
from fastprop.graph.network import Network, bind_parameters
from fastprop.graph.operands import (
    needs_canonical_rows,
    parameters_read_in_place,
    row_sparse_operands,
)
from fastprop.graph.operators import OPERATORS
from fastprop.graph.optimize import optimize
from fastprop.graph.shapes import infer_shapes

MUTATIONS = 60
NUMBERS = (-(2**63), -2, -1, 0, 1, 2, 3, 7, 2**31 - 1, 2**31, 2**62, 2**80)
KEYS = (
    "num_hidden",
    "no_bias",
    "flatten",
    "axis",
    "shape",
    "act_type",
    "num_args",
    "num_outputs",
    "dim",
    "begin",
    "end",
    "input_dim",
    "output_dim",
    "mode",
    "multi_output",
    "preserve_shape",
    "__shape__",
    "__storage_type__",
    "keepdims",
    "transpose_a",
)


def random_text(choice: random.Random) -> str:
    number = str(choice.choice(NUMBERS))
    return choice.choice(
        [
            number,
            f"({number}, {choice.choice(NUMBERS)})",
            f"({number},)",
            "()",
            "None",
            "True",
            "prelu",
            "sigmoid",
            "",
            "(None, 3)",
            "x" * choice.randrange(3),
        ]
    )


def mutate(document: dict[str, Any], choice: random.Random) -> None:
    """Change one thing of a symbol, leaving it JSON."""
    nodes = document["nodes"]
    node = choice.choice(nodes)
    kind = choice.randrange(8)
    if kind == 0:
        node.setdefault("attrs", {})[choice.choice(KEYS)] = random_text(choice)
    elif kind == 1 and node.get("attrs"):
        del node["attrs"][choice.choice(list(node["attrs"]))]
    elif kind == 2 and node["inputs"]:
        choice.choice(node["inputs"])[0] = choice.randrange(len(nodes))
    elif kind == 3 and node["inputs"]:
        choice.choice(node["inputs"])[1] = choice.choice([0, 0, 1, 2, 2**31])
    elif kind == 4:
        node["op"] = choice.choice(list(OPERATORS))
    elif kind == 5 and node["inputs"]:
        node["inputs"].append(list(choice.choice(node["inputs"])))
    elif kind == 6 and node["inputs"]:
        node["inputs"].pop()
    else:
        document["heads"].append([choice.randrange(len(nodes)), choice.randrange(2), 0])


def exercise(text: str, network: Network, positive_index: int | None) -> None:
    """Everything that loading a model does with a graph, short of an engine."""
    graph = parse_symbol(text)
    check_operators(graph)
    bound = bind_parameters(graph, {**network.arguments, **network.auxiliary})
    assert isinstance(describe_graph(bound), str)
    assert bound.inputs is not None
    optimized = optimize(bound, positive_index)
    for version in (bound, optimized):
        shapes = infer_shapes(version, batch=3)
        assert len(shapes.heads) == len(version.graph.heads)
        needs_canonical_rows(version)
        parameters_read_in_place(version)
        row_sparse_operands(version)
    same_scores(bound, optimized, positive_index)


def same_scores(network: Network, optimized: Network, positive_index: int | None) -> None:
    """A network that is admitted scores the same before and after the passes."""
    columns = score_columns(network, infer_shapes(network, batch=3), positive_index)
    if any(spec.shape is None or None in spec.shape for spec in network.inputs):
        return
    feeds = random_feeds(np.random.default_rng(0), network, 3)
    with np.errstate(all="ignore"):
        before = [head.reshape(3, -1) for head in reference_outputs(network, feeds)]
        after = [head.reshape(3, -1) for head in reference_outputs(optimized, feeds)]
    expected = np.stack([before[column.head][:, column.column] for column in columns], axis=1)
    if len(after) == 1 and after[0].shape == expected.shape:
        found = after[0]
    else:
        assert [head.shape for head in after] == [head.shape for head in before]
        found = np.stack([after[column.head][:, column.column] for column in columns], axis=1)
    # Where a softmax overflows to NaN, the sigmoid of the difference need not.
    defined = ~np.isnan(expected)
    np.testing.assert_allclose(found[defined], expected[defined], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FACTORIES)
def test_mutated_checkpoints_end_in_scores_or_in_our_errors(name):
    network = FACTORIES[name](np.random.default_rng(0))
    text = network.graph.to_json()
    admitted = 0
    for seed in range(MUTATIONS):
        choice = random.Random(f"{name}{seed}")
        document = json.loads(text)
        for _ in range(choice.randrange(1, 4)):
            mutate(document, choice)
        try:
            exercise(json.dumps(document), network, choice.choice([0, 1, None]))
            admitted += 1
        except FastpropError:
            pass
    assert 0 < admitted < MUTATIONS

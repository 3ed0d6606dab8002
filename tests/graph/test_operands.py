"""What the engine may be handed as it is: parameters in place, rows in any order."""

from __future__ import annotations

import numpy as np
import pytest
from support.mxnet_process import shared_process
from support.networks import CSR_INPUT, FACTORIES, NetworkBuilder, random_feeds

from fastprop._reference import reference_outputs
from fastprop.graph.network import Network
from fastprop.graph.operands import (
    needs_canonical_rows,
    parameters_read_in_place,
    row_sparse_operands,
)
from fastprop.graph.optimize import optimize
from fastprop.typing import CSR

IN_PLACE = {
    "propensity": {"weight"},
    "propensity-partial": {"weight"},
    "wide-and-deep": {"linear_weight"},
    "factorization-machine": {"w"},
    "matrix-factorization": set(),
    "softmax-dense": set(),
    "towers": {"tower0_weight"},
}
CANONICAL = {"factorization-machine"}
ROW_SPARSE = {"factorization-machine": {"v"}}


@pytest.mark.parametrize("name", FACTORIES)
def test_known_networks(name):
    network = FACTORIES[name](np.random.default_rng(0))
    for version in (network, optimize(network)):
        if name in IN_PLACE:
            assert parameters_read_in_place(version) == IN_PLACE[name]
        assert needs_canonical_rows(version) == (name in CANONICAL)
        assert row_sparse_operands(version) == ROW_SPARSE.get(name, set())


def untidy(rows: CSR, rng: np.random.Generator) -> CSR:
    """The same matrix with every entry split in two and the entries of a row in any order."""
    indices, data, indptr = [], [], [0]
    for i in range(rows.shape[0]):
        entries = slice(rows.indptr[i], rows.indptr[i + 1])
        columns = np.repeat(rows.indices[entries], 2)
        order = rng.permutation(len(columns))
        indices.append(columns[order])
        data.append(np.repeat(rows.data[entries] / 2, 2)[order])
        indptr.append(indptr[-1] + len(columns))
    return CSR(
        np.array(indptr),
        np.concatenate(indices),
        np.concatenate(data).astype(np.float32),
        rows.shape,
    )


def dense_values(network: Network) -> dict[str, np.ndarray]:
    sparse = row_sparse_operands(network)
    return {
        name: value if name in sparse or isinstance(value, np.ndarray) else value.to_dense()
        for name, value in network.arguments.items()
    }


@pytest.mark.parametrize("name", FACTORIES)
def test_untidy_rows_are_scored_right_where_we_say_so(name):
    network = FACTORIES[name](np.random.default_rng(0))
    feeds = random_feeds(np.random.default_rng(1), network, 6)
    rng = np.random.default_rng(2)
    mixed = {n: untidy(v, rng) if isinstance(v, CSR) else v for n, v in feeds.items()}
    found = shared_process().call(
        "forward",
        network.graph.to_json(),
        dense_values(network),
        dict(network.auxiliary),
        mixed,
    )
    right = all(
        np.allclose(a, b, atol=1e-5) for a, b in zip(found, reference_outputs(network, feeds))
    )
    assert right != needs_canonical_rows(network)


def with_rows(make) -> Network:
    made = NetworkBuilder(np.random.default_rng(0))
    rows = made.variable("data", CSR_INPUT)
    return made.network(make(made, rows))


def product(made, left, weight, **settings):
    return made.add("dot", [left, weight], name="d", attributes=settings)


@pytest.mark.parametrize(
    ("make", "canonical", "in_place"),
    [
        (lambda m, r: [product(m, r, m.parameter("w", (5, 2)))], False, {"w"}),
        (lambda m, r: [product(m, r, m.parameter("w", (4, 2)), transpose_a=True)], True, set()),
        (lambda m, r: [product(m, r, m.parameter("w", (2, 5)), transpose_b=True)], True, set()),
        (
            lambda m, r: [product(m, r, m.parameter("w", (5, 2)), forward_stype="csr")],
            True,
            set(),
        ),
        (lambda m, r: [product(m, m.parameter("w", (2, 4)), r)], True, set()),
        (lambda m, r: [m.layer("fc", r, 5, 2)], True, set()),
        (lambda m, r: [m.add("square", [r], name="s")], True, set()),
        (lambda _m, r: [r], True, set()),
        (
            lambda m, r: [product(m, r, m.add("negative", [m.parameter("w", (5, 2))], name="n"))],
            True,
            set(),
        ),
        (
            lambda m, r: [
                product(m, r, w := m.parameter("w", (5, 2))),
                m.add("relu", [w], name="w2"),
            ],
            False,
            set(),
        ),
        (
            lambda m, r: [product(m, r, w := m.parameter("w", (5, 2))), w],
            False,
            set(),
        ),
    ],
)
def test_other_uses(make, canonical, in_place):
    network = with_rows(make)
    assert needs_canonical_rows(network) == canonical
    assert parameters_read_in_place(network) == in_place


def test_a_partial_operand_that_stays_row_sparse_needs_sorted_rows():
    def make(made, rows):
        weight = made.row_sparse("v", (5, 2), stored="partial")
        settings = {"axis": 0}
        return [
            product(made, rows, weight),
            made.add("_square_sum", [weight], name="q", attributes=settings),
        ]

    network = with_rows(make)
    assert row_sparse_operands(network) == {"v"}
    assert needs_canonical_rows(network)


def test_dense_rows_are_no_matter():
    network = FACTORIES["softmax-dense"](np.random.default_rng(0))
    assert not needs_canonical_rows(network)

"""Every operator of the native engine against plain NumPy and against MXNet's own graph."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.models import TOLERANCE, expected_scores, rows_for, saved
from support.networks import NetworkBuilder, random_rows
from support.operator_networks import MAKERS, operator_network

from fastprop import CSR, _core

N_ROWS = 37


@pytest.mark.parametrize("name", MAKERS)
def test_operator_agrees_with_numpy_and_mxnet(tmp_path, name):
    allowed = "all" if "lengths" in name else "documented"  # lengths could crash MXNet
    network = operator_network(np.random.default_rng(7), name)
    model = saved(tmp_path, network, allow_operators=allowed)
    rows = rows_for(model, N_ROWS)
    expected = expected_scores(model, {"data": rows})
    allowed = TOLERANCE * (1 + np.abs(expected).max()) / 2
    with model.predictor(optimize=False, threads=1) as predictor:
        theirs = predictor.predict(rows)
    # Where MXNet itself is further from the truth, no more can be asked.
    apart = max(allowed, 2 * float(np.abs(theirs - expected).max()))
    np.testing.assert_allclose(theirs, expected, rtol=0, atol=20 * allowed)
    for isa in _core.instruction_sets():
        with model.predictor(engine="native", isa=isa, threads=1, batch_size=8) as predictor:
            scores = predictor.predict(rows)
            np.testing.assert_allclose(scores, expected, rtol=0, atol=allowed)
            np.testing.assert_allclose(scores, theirs, rtol=0, atol=apart)
            np.testing.assert_array_equal(predictor.predict(row_of(rows, 3)), scores[3:4])
            assert predictor.predict(rows_for(model, 0)).shape == (0, model.n_labels)
            top = predictor.predict_top_k(rows, k=min(3, model.n_labels))
            best = np.sort(scores, axis=1)[:, ::-1][:, : top.scores.shape[1]]
            np.testing.assert_array_equal(top.scores, best)
        with model.predictor(engine="native", isa=isa, threads=3, batch_size=8) as predictor:
            np.testing.assert_array_equal(predictor.predict(rows), scores)


@pytest.mark.parametrize(("op", "function"), [("gamma", math.gamma), ("gammaln", math.lgamma)])
def test_gamma_functions_are_rounded_once(tmp_path, op, function):
    made = NetworkBuilder(np.random.default_rng(0))
    data = made.variable("data", {"__shape__": "(0, 1)"})
    model = saved(tmp_path, made.network([made.add(op, [data], name="gamma0")]))
    numbers = np.random.default_rng(1).uniform(-8, 8, (20_000, 1)).astype(np.float32)
    with model.predictor(engine="native") as predictor:
        scores = predictor.predict(numbers)[:, 0].astype(np.float64)
    wanted = np.array([function(float(number)) for number in numbers[:, 0]])
    unit = np.spacing(np.abs(wanted).astype(np.float32)).astype(np.float64)
    assert (np.abs(scores - wanted) <= 0.51 * unit).all()


def row_of(rows, number):
    begin, end = rows.indptr[number : number + 2]
    return CSR(
        np.array([0, end - begin]),
        rows.indices[begin:end],
        rows.data[begin:end],
        (1, rows.shape[1]),
    )


@pytest.mark.parametrize("name", [name for name in MAKERS if "rows" in name and "take" not in name])
def test_duplicate_and_unsorted_columns_sum(tmp_path, name):
    model = saved(tmp_path, operator_network(np.random.default_rng(7), name))
    tidy = random_rows(np.random.default_rng(1), 5, model.n_features, density=0.2, empty=0.2)
    halves = np.repeat(tidy.indptr, 1) * 2
    messy = CSR(
        halves,
        np.concatenate(
            [np.tile(part[::-1], 2) for part in np.split(tidy.indices, tidy.indptr[1:-1])]
        ),
        np.concatenate(
            [np.tile(part[::-1] / 2, 2) for part in np.split(tidy.data, tidy.indptr[1:-1])]
        ).astype(np.float64),
        tidy.shape,
    )
    with model.predictor(engine="native") as predictor:
        np.testing.assert_allclose(
            predictor.predict(messy), predictor.predict(tidy), rtol=1e-5, atol=2e-6
        )

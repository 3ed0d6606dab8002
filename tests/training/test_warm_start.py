from __future__ import annotations

import numpy as np
import pytest

from fastprop.errors import InvalidInputError
from fastprop.features import SparseRows
from fastprop.features.sparse import from_pairs, to_dense
from fastprop.training import FeatureRoles, NetworkSettings, warm_start
from fastprop.training.warm_start import _logistic, _own_pairs, fit_pooled

N_LABELS, N_MEASURES = 12, 2
PERIOD = N_LABELS * N_MEASURES + 2
OWN = np.arange(N_LABELS * N_MEASURES).reshape(N_LABELS, N_MEASURES)


def roles(own=OWN):
    return FeatureRoles(
        own=own, customer=np.array([PERIOD - 2, PERIOD - 1]), periods=np.array([PERIOD])
    )


def known_rows(seed=0, n_rows=6000, *, by_popularity=0.0):
    """Rows of a logistic model whose coefficients are known."""
    generator = np.random.default_rng(seed)
    full = np.zeros((n_rows, PERIOD + 1))
    history = generator.random((n_rows, N_LABELS)) < 0.25
    measures = generator.random((n_rows, N_LABELS, N_MEASURES)) + 0.2
    full[:, : PERIOD - 2] = (measures * history[:, :, None]).reshape(n_rows, -1)
    full[:, PERIOD - 2] = 1
    full[:, PERIOD - 1] = generator.random(n_rows)
    full[:, PERIOD] = generator.random(n_rows) < 0.4
    popular = np.linspace(-4, -2, N_LABELS)
    base = popular + 0.5 * full[:, PERIOD, None]
    base = base + by_popularity * (popular + 3) * measures.sum(axis=2) * history
    logit = base + (measures * [2.0, 1.0]).sum(axis=2) * history + 0.8 * full[:, PERIOD - 1, None]
    true = generator.random(logit.shape) < 1 / (1 + np.exp(-logit))
    rows, columns = np.nonzero(full)
    label_rows, labels = np.nonzero(true)
    return SparseRows(
        np.arange(n_rows),
        from_pairs(rows, columns, full[rows, columns], shape=full.shape),
        from_pairs(label_rows, labels, np.zeros(len(labels)), shape=true.shape),
    ), logit


def forward(parameters, dense):
    hidden = np.maximum(dense @ parameters["weight"] + parameters["bias"], 0)
    logits = hidden @ parameters["labels_weight"].T + parameters["labels_bias"]
    return logits[:, 0::2] - logits[:, 1::2]


def test_newton_finds_a_known_logistic_regression():
    generator = np.random.default_rng(0)
    design = np.c_[generator.standard_normal((50_000, 2)), np.ones(50_000)]
    truth = generator.random(50_000) < 1 / (1 + np.exp(-design @ [1.0, -2.0, 0.5]))
    found = _logistic(design, truth.astype(float), np.ones(50_000))
    np.testing.assert_allclose(found, [1, -2, 0.5], atol=0.06)


def test_pairs_with_a_history():
    rows, _ = known_rows(n_rows=40)
    row, label, values = _own_pairs(rows.features, OWN)
    dense = to_dense(rows.features)[:, : PERIOD - 2].reshape(40, N_LABELS, N_MEASURES)
    expected = np.nonzero(dense.any(axis=2))
    np.testing.assert_array_equal((row, label), expected)
    np.testing.assert_array_equal(values, dense[expected])


def test_a_column_may_belong_to_several_labels():
    rows, _ = known_rows(n_rows=40)
    shared = OWN.copy()
    shared[1] = shared[0]
    shared[2] = -1
    row, label, values = _own_pairs(rows.features, shared)
    np.testing.assert_array_equal(row[label == 0], row[label == 1])
    np.testing.assert_array_equal(values[label == 0], values[label == 1])
    assert not (label == 2).any()


def test_the_network_begins_with_what_was_pooled():
    rows, logit = known_rows()
    network = NetworkSettings(n_features=PERIOD + 1, n_labels=N_LABELS, hidden=(32,), heads="fused")
    parameters = warm_start(rows, roles(), network, seed=1)
    found = forward(parameters, to_dense(rows.features).astype(np.float64))
    assert np.corrcoef(found.ravel(), logit.ravel())[0, 1] > 0.97
    assert abs((found - logit).mean()) < 0.15
    pooled = fit_pooled(rows, roles(), seed=1)
    assert pooled.customer[1] == pytest.approx(0.8, abs=0.15)
    # The offset of the period is 0.5 for every label.
    shift = pooled.popularity * (pooled.log_odds[1] - pooled.log_odds[0])
    np.testing.assert_allclose(shift, 0.5, atol=0.25)


@pytest.mark.parametrize(("by_popularity", "least"), [(0.0, -0.2), (-1.0, 0.5)])
def test_a_history_of_popular_labels_may_say_less(by_popularity, least):
    rows, _ = known_rows(by_popularity=by_popularity)
    network = NetworkSettings(n_features=PERIOD + 1, n_labels=N_LABELS, hidden=(32,), heads="fused")
    parameters = warm_start(rows, roles(), network)
    dense = np.zeros((2, PERIOD + 1))
    dense[:, PERIOD - 2] = 1
    dense[1, : PERIOD - 2] = 0.7
    nothing, everything = forward(parameters, dense)
    effect = everything - nothing
    difference = effect[:4].mean() - effect[-1]
    assert least < difference < least + 1.0


def test_labels_beyond_the_layer_have_no_unit_but_their_popularity():
    rows, _ = known_rows()
    network = NetworkSettings(n_features=PERIOD + 1, n_labels=N_LABELS, hidden=(8,), heads="fused")
    parameters = warm_start(rows, roles(), network)
    n_own = 8 - 1 - 1 - 1
    dense = np.zeros((2, PERIOD + 1))
    dense[:, PERIOD - 2] = 1
    dense[1, : PERIOD - 2] = 1.0
    nothing, everything = forward(parameters, dense)
    assert (everything[:n_own] - nothing[:n_own] > 1.5).all()
    assert (np.abs(everything[n_own:] - nothing[n_own:]) < 1.0).all()
    assert np.corrcoef(nothing, np.linspace(-4, -2, N_LABELS))[0, 1] > 0.95


def test_the_seed_decides():
    rows, _ = known_rows(n_rows=500)
    network = NetworkSettings(n_features=PERIOD + 1, n_labels=N_LABELS, hidden=(32,))
    one, again, other = (warm_start(rows, roles(), network, seed=s) for s in (1, 1, 2))
    for name in one:
        np.testing.assert_array_equal(one[name], again[name])
    assert (one["labels_weight"] != other["labels_weight"]).any()


def test_networks_of_another_form():
    rows, _ = known_rows(n_rows=50)
    for options, message in (
        ({"hidden": (32, 8)}, "one hidden layer"),
        ({"hidden": (32,), "classes": 3}, "two classes"),
        ({"hidden": (2,)}, "too few"),
    ):
        network = NetworkSettings(n_features=PERIOD + 1, n_labels=N_LABELS, **options)
        with pytest.raises(InvalidInputError, match=message):
            warm_start(rows, roles(), network)
    with pytest.raises(InvalidInputError, match="no labels"):
        fit_pooled(SparseRows(rows.customer_ids, rows.features), roles())

from __future__ import annotations

import numpy as np
import pytest
from support.mxnet_process import shared_process
from support.training_programs import gradients, metric, symbol_facts
from support.training_rows import random_rows

from fastprop.errors import InvalidInputError
from fastprop.features.sparse import to_dense
from fastprop.training import NetworkSettings
from fastprop.training.data import label_targets
from fastprop.training.network import (
    initial_parameters,
    parameter_shapes,
    separate_parameters,
)


def network(**options):
    return NetworkSettings(**{"n_features": 30, "n_labels": 4, "hidden": (6,), **options})


def plain_network(settings, parameters, dense, targets):
    """The network and its gradients in float64, for separate heads and relu layers."""
    p = {name: value.astype(np.float64) for name, value in parameters.items()}
    layers = [dense @ p["weight"] + p["bias"]]
    values = [dense, np.maximum(layers[0], 0)]
    for number in range(2, len(settings.hidden) + 1):
        weight, bias = p[f"hidden{number}_weight"], p[f"hidden{number}_bias"]
        layers.append(values[-1] @ weight.T + bias)
        values.append(np.maximum(layers[-1], 0))
    outputs, found = [], {}
    back = np.zeros_like(values[-1])
    for i in range(settings.n_labels):
        weight, bias = p[f"label_{i}_weight"], p[f"label_{i}_bias"]
        logits = values[-1] @ weight.T + bias
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        outputs.append(powers / powers.sum(axis=1, keepdims=True))
        error = outputs[-1] - targets[:, i]
        found[f"label_{i}_weight"], found[f"label_{i}_bias"] = error.T @ values[-1], error.sum(0)
        back += error @ weight
    for number in range(len(settings.hidden), 1, -1):
        back *= layers[number - 1] > 0
        found[f"hidden{number}_weight"] = back.T @ values[number - 1]
        found[f"hidden{number}_bias"] = back.sum(axis=0)
        back = back @ p[f"hidden{number}_weight"]
    back *= layers[0] > 0
    found["weight"], found["bias"] = dense.T @ back, back.sum(axis=0)
    return outputs, found


@pytest.mark.parametrize("hidden", [(6,), (6, 5)])
def test_separate_heads_compute_what_they_should(hidden):
    settings = network(hidden=hidden)
    rows = random_rows(1, 12)
    parameters = initial_parameters(settings, seed=2)
    outputs, found = shared_process().call(gradients, settings, parameters, rows)
    expected, expected_gradients = plain_network(
        settings, parameters, to_dense(rows.features), label_targets(rows.labels, classes=2)
    )
    np.testing.assert_allclose(outputs, expected, atol=2e-6)
    assert found["weight"][0] == "row_sparse"
    for name, value in expected_gradients.items():
        np.testing.assert_allclose(found[name][1], value, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("hidden", [(6,), (6, 5)])
def test_fused_heads_have_the_same_outputs_and_gradients(classes, hidden):
    settings = network(classes=classes, hidden=hidden)
    fused = network(classes=classes, hidden=hidden, heads="fused")
    rows = random_rows(1, 12, classes=classes)
    parameters = initial_parameters(fused, seed=2)
    call = shared_process().call
    (output,), together = call(gradients, fused, parameters, rows)
    outputs, apart = call(gradients, settings, separate_parameters(parameters, settings), rows)
    assert output.shape == (12, 4, classes)
    np.testing.assert_allclose(np.stack(outputs, axis=1), output, atol=1e-6)
    cut = separate_parameters({name: value for name, (_, value) in together.items()}, settings)
    assert set(cut) == set(apart)
    for name, value in cut.items():
        np.testing.assert_allclose(apart[name][1], value, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("heads", ["separate", "fused"])
@pytest.mark.parametrize("activation", ["tanh", "softrelu"])
def test_the_symbol_has_the_names_and_shapes_that_are_promised(heads, activation):
    settings = network(hidden=(6, 5), heads=heads, activation=activation, dropout=0.5, classes=3)
    facts = shared_process().call(symbol_facts, settings)
    inputs = {"data": (3, 30)}
    if heads == "fused":
        inputs["labels_softmax_label"] = (3, 4, 3)
        assert facts["outputs"] == {"labels_softmax_output": (3, 4, 3)}
    else:
        inputs.update({f"label_{i}_softmax_label": (3, 3) for i in range(4)})
        assert facts["outputs"] == {f"label_{i}_softmax_output": (3, 3) for i in range(4)}
    assert facts["arguments"] == {**parameter_shapes(settings), **inputs}
    assert facts["attributes"]["data"]["__storage_type__"] == "2"
    assert facts["attributes"]["weight"]["__storage_type__"] == "1"
    assert facts["attributes"]["hidden1_dropout"]["p"] == "0.5"
    assert facts["attributes"][f"hidden2_{activation}"]["act_type"] == activation


def test_initial_parameters_follow_the_seed():
    one, again = (initial_parameters(network(heads="fused"), seed=4) for _ in range(2))
    other = initial_parameters(network(heads="fused"), seed=5)
    for name, value in one.items():
        np.testing.assert_array_equal(value, again[name])
        assert value.dtype == np.float32
    assert (one["weight"] != other["weight"]).all()
    apart = initial_parameters(network(), seed=4)
    np.testing.assert_array_equal(apart["label_1_weight"], one["labels_weight"][2:4])


def test_other_parameters_cannot_be_cut():
    with pytest.raises(InvalidInputError, match="labels_weight with 8 rows"):
        separate_parameters({"labels_weight": np.zeros((6, 2), np.float32)}, network())


def test_the_metric_is_the_mean_of_all_labels():
    generator = np.random.default_rng(0)
    outputs = generator.dirichlet([1, 1], (2, 5, 3)).astype(np.float32)  # two batches
    targets = np.eye(2, dtype=np.float32)[generator.integers(0, 2, (2, 5, 3))]
    expected = -np.log((outputs.astype(np.float64) * targets).sum(axis=-1))
    call = shared_process().call
    fused = call(metric, [[t] for t in targets], [[o] for o in outputs], 1)
    assert fused == pytest.approx(expected.mean(), rel=1e-5)
    apart = call(
        metric,
        [list(t.transpose(1, 0, 2)) for t in targets],
        [list(o.transpose(1, 0, 2)) for o in outputs],
        1,
    )
    assert apart == pytest.approx(expected.mean(), rel=1e-5)
    sampled = call(metric, [[t] for t in targets], [[o] for o in outputs], 2)
    assert sampled == pytest.approx(expected[0].mean(), rel=1e-5)

"""A plan by plain NumPy: what the graph that it was compiled from gives, for every kind of step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.models import TOLERANCE, rows_for, saved
from support.networks import FACTORIES, random_feeds
from support.operator_networks import MAKERS, operator_network

import fastprop
from fastprop import _core
from fastprop.graph.optimize import optimize
from fastprop.native.compile import compile_network
from fastprop.verify import oracle
from fastprop.verify.plan_oracle import SPARSE, STEPS, plan_scores, unpacked


def of_file(model, path, rows, inputs):
    """The scores of the compiled file's steps, and of the checkpoint's graph."""
    model.compile(path)
    file = fastprop.load_model(path)
    return oracle.expected_scores(file, rows, inputs), oracle.expected_scores(model, rows, inputs)


@pytest.mark.parametrize("name", MAKERS)
def test_each_operator(tmp_path, name):
    model = saved(tmp_path, operator_network(np.random.default_rng(7), name))
    found, wanted = of_file(model, tmp_path / "model.fastprop", rows_for(model, 23), {})
    # Folded constants are rounded to float32 in the file.
    allowed = TOLERANCE * max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=allowed)


@pytest.mark.parametrize("name", FACTORIES)
def test_each_kind_of_network(tmp_path, name):
    network = FACTORIES[name](np.random.default_rng(5))
    model = saved(tmp_path, network)
    inputs = random_feeds(np.random.default_rng(6), network, 11)
    rows = inputs.pop(model.inputs[0].name)
    found, wanted = of_file(model, tmp_path / "model.fastprop", rows, inputs)
    allowed = TOLERANCE * max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=allowed)


def test_every_kind_of_step_is_met():
    met = set()
    for name in MAKERS:
        network = optimize(operator_network(np.random.default_rng(7), name), 0)
        met.update(step.op for step in compile_network(network).plan.steps)
    assert met == {*SPARSE, *STEPS}


def test_rows_with_duplicate_columns_add_up_before_a_function_of_them(tmp_path):
    names = [name for name in MAKERS if "rows" in name and "take" not in name]
    messy = fastprop.CSR(
        np.array([0, 4, 4, 6]),
        np.array([3, 1, 3, 1, 2, 2]),
        np.array([0.5, 1.0, 0.25, -2.0, 1.0, -1.0], np.float32),
        (3, 40),
    )
    for name in names:
        model = saved(tmp_path / name, operator_network(np.random.default_rng(7), name))
        found, wanted = of_file(model, tmp_path / f"{name}.fastprop", messy, {})
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("outputs", "inputs"), [(1, 1), (64, 3), (65, 7), (130, 128), (3, 2)])
def test_packed_weights_are_taken_apart_exactly(outputs, inputs):
    weight = np.random.default_rng(0).standard_normal((outputs, inputs)).astype(np.float32)
    for dtype in (np.float32, np.uint16, np.int8):
        panels = np.empty(_core.panels_shape(outputs, inputs, np.dtype(dtype)), dtype)
        _core.pack_dense(weight, panels)
        found = unpacked(panels, outputs, inputs)
        if dtype == np.int8:
            steps = np.abs(weight).max(axis=1, keepdims=True) / np.float32(127)
            np.testing.assert_array_equal(found, np.rint(weight / steps) * steps.astype(float))
        elif dtype == np.uint16:
            rounded = np.empty(weight.shape, np.uint16)
            _core.round_to_bf16(weight, rounded)
            np.testing.assert_array_equal(
                found.astype(np.float32).view(np.uint32), rounded.astype(np.uint32) << 16
            )
        else:
            np.testing.assert_array_equal(found, weight)


def test_a_kind_of_step_that_it_does_not_know_is_named(tmp_path):
    model = saved(tmp_path, operator_network(np.random.default_rng(7), next(iter(MAKERS))))
    model.compile(tmp_path / "model.fastprop")
    file = fastprop.load_model(tmp_path / "model.fastprop")
    plan = file.document.plans["scores"]
    odd = replace(plan, steps=(replace(plan.steps[0], op="odd", name="it"),))
    with pytest.raises(fastprop.EngineError, match="step 'it': no kind 'odd'"):
        plan_scores(odd, file.file.tensors, rows_for(model, 2), {})

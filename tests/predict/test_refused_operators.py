"""What the native engine does not run: named with the reason, and run by MXNet by default."""

from __future__ import annotations

import numpy as np
import pytest
from support.models import TOLERANCE, expected_scores, rows_for, saved
from support.operator_networks import N_FEATURES, Bench, cast_and_back

import fastprop


def model_of(tmp_path, make):
    made = Bench(np.random.default_rng(7))
    return saved(tmp_path, made.network([make(made)]))


def take_or_raise(made):
    numbers = made.op("clip", made.op("floor", made.hidden(3)), a_min=0, a_max=4)
    return made.op("take", made.values_of((5, 4)), numbers, mode="raise")


def computed_in(kind):
    def make(made):
        data = made.op("square", made.op("Cast", made.hidden(), dtype=kind))
        return made.op("tanh", made.op("Cast", data, dtype="float32"))

    return make


REFUSED = {
    "take, raise": (take_or_raise, r'\(take\) has mode "raise"'),
    "float16": (computed_in("float16"), r"\(Cast\) makes float16 of what is then computed with"),
    "float64": (computed_in("float64"), r"\(Cast\) makes float64 of what is then computed with"),
    "int32": (computed_in("int32"), r"\(Cast\) makes int32 of what is then computed with"),
    "int8": (cast_and_back("int8"), r"\(Cast\) makes int8, which numbers may not fit"),
    "uint8": (cast_and_back("uint8"), r"\(Cast\) makes uint8, which numbers may not fit"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_reason_is_named_and_mxnet_runs_it(tmp_path, name):
    make, reason = REFUSED[name]
    model = model_of(tmp_path, make)
    with pytest.raises(fastprop.EngineError, match=rf"cannot run 'model': node '\w+' {reason}"):
        model.predictor(engine="native")
    engine = model.describe().split("engine: ")[1].splitlines()[0]
    assert engine.startswith("mxnet, behind our sparse kernel; not native: node ")
    rows = rows_for(model, 13)
    with model.predictor(threads=1, batch_size=4) as predictor:
        scores = predictor.predict(rows)
    # float16 keeps 11 bits, in NumPy's oracle only where it is rounded.
    allowed = 1e-3 if name == "float16" else TOLERANCE
    np.testing.assert_allclose(
        scores, expected_scores(model, {"data": rows}), rtol=0, atol=2 * allowed
    )


def test_a_further_sparse_input_is_given_as_a_dense_array(tmp_path):
    def make(made):
        other = made.variable("other", {"__storage_type__": "2"})
        weight = made.row_sparse("weight_of_other", (30, 5), stored="partial")
        return made.op("elemwise_add", made.hidden(5), made.op("dot", other, weight))

    model = model_of(tmp_path, make)
    rng = np.random.default_rng(0)
    rows = rows_for(model, 13)
    assert rows.shape[1] == N_FEATURES
    other = rng.random((13, 30)).astype(np.float32) * (rng.random((13, 30)) < 0.3)
    expected = expected_scores(model, {"data": rows, "other": other})
    assert "engine: native" in model.describe()
    for options in ({}, {"engine": "mxnet"}, {"optimize": False}):
        with model.predictor(threads=2, batch_size=4, **options) as predictor:
            scores = predictor.predict(rows, inputs={"other": other})
        np.testing.assert_allclose(scores, expected, rtol=0, atol=2 * TOLERANCE)
    model.compile(tmp_path / "model.fastprop")
    with fastprop.load_model(tmp_path / "model.fastprop").predictor() as predictor:
        scores = predictor.predict(rows, inputs={"other": other})
    np.testing.assert_allclose(scores, expected, rtol=0, atol=2 * TOLERANCE)


def test_lengths_of_a_softmax_that_make_no_sense_touch_nothing_else(tmp_path):
    def make(made):
        lengths = made.op("Cast", made.op("_mul_scalar", made.hidden(4), scalar=1e9), dtype="int32")
        return made.op("softmax", made.shaped(4, 6), lengths, axis=-1, use_length=True)

    model = model_of(tmp_path, make)
    with pytest.raises(fastprop.EngineError, match=r"\(softmax\): .* would crash MXNet"):
        model.predictor(engine="mxnet")
    with model.predictor() as predictor:
        scores = predictor.predict(rows_for(model, 13)).reshape(13 * 4, 6)
    sums = scores.sum(axis=1)
    assert set(np.round(sums).tolist()) == {0.0, 1.0}
    np.testing.assert_allclose(sums, np.round(sums), atol=1e-6)

"""fastprop against plain NumPy in float64 and against MXNet's own Python API, on many networks."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from support.models import (
    TOLERANCE,
    expected_heads,
    expected_scores,
    rows_for,
    saved,
)
from support.mxnet_process import shared_process
from support.networks import CSR_INPUT, FACTORIES, NetworkBuilder, propensity, random_feeds, towers

import fastprop
from fastprop import _core

PROPENSITY = {
    "one head": {"n_heads": 1},
    "many heads": {"n_heads": 300},
    "three classes": {"n_classes": 3},
    "mixed classes": {"n_classes": (2, 3, 5, 2), "n_heads": 4},
    "no hidden layer": {"hidden": ()},
    "three hidden layers": {"hidden": (16, 12, 8)},
    "partial weight": {"weight": "partial"},
    "fused heads": {"heads": "fused"},
    "no bias": {"bias": False},
    "mixed bias": {"bias": (True, False, True)},
    **{
        f"activation {name}": {"activation": name, "hidden": (16, 8)}
        for name in (
            "relu",
            "sigmoid",
            "tanh",
            "softrelu",
            "softsign",
            "leaky",
            "elu",
            "selu",
            "gelu",
            "prelu",
        )
    },
}


WAYS = {
    **{f"auto {isa}": {"isa": isa} for isa in _core.instruction_sets()},
    "mxnet behind our kernel": {"engine": "mxnet"},
    "mxnet whole": {"engine": "mxnet", "whole_graph": True},
    "as saved": {"optimize": False},
}


def cases():
    for name, options in PROPENSITY.items():
        yield pytest.param(lambda rng, o=options: propensity(rng, **o), id=name)
    for name, family in FACTORIES.items():
        yield pytest.param(family, id=name)


def split_feeds(model, feeds):
    inputs = dict(feeds)
    rows = inputs.pop(model.inputs[0].name)
    return rows, inputs


@pytest.mark.parametrize("make", list(cases()))
@pytest.mark.parametrize("how", WAYS)
def test_scores_and_heads_agree_with_numpy_and_mxnet(tmp_path, make, how):
    rng = np.random.default_rng(5)
    network = make(rng)
    model = saved(tmp_path, network)
    feeds = random_feeds(rng, network, 23)
    rows, inputs = split_feeds(model, feeds)
    theirs = shared_process().call(
        "forward",
        network.graph.to_json(),
        dict(network.arguments),
        dict(network.auxiliary),
        feeds,
    )
    with model.predictor(batch_size=23, threads=1, **WAYS[how]) as predictor:
        scores = predictor.predict(rows, inputs=inputs)
        heads = predictor.predict_outputs(rows, inputs=inputs)
    scale = 1 + max(float(np.abs(head).max()) for head in theirs)  # 2 for probabilities
    np.testing.assert_allclose(
        scores, expected_scores(model, feeds), atol=TOLERANCE * scale / 2, rtol=0
    )
    assert len(heads) == len(theirs)
    for ours, mxnets, numpys in zip(heads, theirs, expected_heads(model, feeds)):
        assert ours.reshape(mxnets.shape).dtype == np.float32
        np.testing.assert_allclose(
            ours.reshape(mxnets.shape), mxnets, atol=TOLERANCE * scale / 2, rtol=0
        )
        np.testing.assert_allclose(
            ours.reshape(numpys.shape), numpys, atol=TOLERANCE * scale / 2, rtol=0
        )


@pytest.mark.parametrize("weight", ["full", "partial"])
def test_unoptimized_gives_the_bits_of_mxnet(tmp_path, weight):
    rng = np.random.default_rng(8)
    network = propensity(rng, weight=weight, hidden=(32, 16), n_heads=20)
    model = saved(tmp_path, network)
    rows = rows_for(model, 64)
    theirs = shared_process().call(
        "forward", network.graph.to_json(), dict(network.arguments), {}, {"data": rows}
    )
    with model.predictor(optimize=False, batch_size=64, threads=1) as predictor:
        ours = predictor.predict_outputs(rows)
    for mine, other in zip(ours, theirs):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("positive_index", [0, 1, None])
def test_positive_index(tmp_path, positive_index):
    network = propensity(np.random.default_rng(3), n_heads=4)
    model = saved(tmp_path, network, positive_index=positive_index)
    rows = rows_for(model, 9)
    with model.predictor() as predictor:
        scores = predictor.predict(rows)
    heads = expected_heads(model, {"data": rows})
    if positive_index is None:
        wanted = np.concatenate(heads, axis=1)
        assert model.labels[:2] == ["category0:0", "category0:1"]
    else:
        wanted = np.stack([head[:, positive_index] for head in heads], axis=1)
    np.testing.assert_allclose(scores, wanted, atol=TOLERANCE, rtol=0)


def test_three_thousand_heads(tmp_path):
    model = saved(tmp_path, propensity(np.random.default_rng(1), n_heads=3000, hidden=(16,)))
    rows = rows_for(model, 5)
    with model.predictor() as predictor:
        scores = predictor.predict(rows)
    np.testing.assert_allclose(
        scores, expected_scores(model, {"data": rows}), atol=TOLERANCE, rtol=0
    )


def test_duplicate_and_unsorted_columns_sum_in_every_graph(tmp_path):
    for number, name in enumerate(("factorization-machine", "wide-and-deep")):
        rng = np.random.default_rng(number)
        network = FACTORIES[name](rng)
        model = saved(tmp_path / str(number), network)
        feeds = random_feeds(rng, network, 3)
        width = model.n_features
        messy = fastprop.CSR(
            np.array([0, 4, 4, 6]),
            np.array([7, 2, 7, 1, 3, 3]),
            np.array([1.0, 2.0, 0.5, -1.0, 2.0, -2.0], dtype=np.float32),
            (3, width),
        )
        tidy = fastprop.CSR(
            np.array([0, 3, 3, 4]),
            np.array([1, 2, 7, 3]),
            np.array([-1.0, 2.0, 1.5, 0.0], dtype=np.float32),
            (3, width),
        )
        _, inputs = split_feeds(model, feeds)
        for optimize in (True, False):
            with model.predictor(optimize=optimize) as predictor:
                np.testing.assert_allclose(
                    predictor.predict(messy, inputs=inputs),
                    predictor.predict(tidy, inputs=inputs),
                    rtol=1e-5,
                    atol=1e-6,
                )


def test_auto_is_native_where_every_layer_is_known(tmp_path, monkeypatch):
    native = saved(tmp_path / "a", propensity(np.random.default_rng(1)))
    assert "engine: native" in native.describe()
    for name, family in FACTORIES.items():
        known = saved(tmp_path / name, family(np.random.default_rng(1)))
        assert "engine: native" in known.describe(), name
    made = NetworkBuilder(np.random.default_rng(1))
    rows = made.variable("data", CSR_INPUT)
    data = made.add("dot", [rows, made.row_sparse("weight", (9, 4))], name="dot0")
    other = saved(
        tmp_path / "b",
        made.network([made.add("Cast", [data], name="half", attributes={"dtype": "float16"})]),
    )
    assert "engine: mxnet, behind our sparse kernel; not native: node 'half'" in other.describe()
    with pytest.raises(fastprop.EngineError, match=r"cannot run 'model': node 'half' \(Cast\)"):
        other.predictor(engine="native")

    def none(*_, **__):
        raise fastprop.EngineError("libmxnet was not found")

    monkeypatch.setattr("fastprop.model.make_mxnet_engine", none)
    with pytest.raises(fastprop.EngineError, match=r"libmxnet was not found.*node 'half'"):
        other.predictor()
    with pytest.raises(fastprop.InvalidInputError, match="whole_graph"):
        native.predictor(engine="native", optimize=False)


@pytest.mark.parametrize("isa", _core.instruction_sets())
@pytest.mark.parametrize("name", FACTORIES)
def test_native_gives_the_same_bits_however_rows_are_cut(tmp_path, name, isa):
    rng = np.random.default_rng(6)
    network = FACTORIES[name](rng)
    model = saved(tmp_path, network)
    feeds = random_feeds(rng, network, 67)
    rows, inputs = split_feeds(model, feeds)
    with model.predictor(engine="native", isa=isa, threads=1, batch_size=67) as predictor:
        expected = predictor.predict(rows, inputs=inputs)
    for threads, batch_size in ((1, 16), (3, 16), (2, 1)):
        with model.predictor(
            engine="native", isa=isa, threads=threads, batch_size=batch_size
        ) as predictor:
            scores = np.full((67, model.n_labels + 3), 5, np.float32)
            predictor.predict(rows, inputs=inputs, out=scores[:, 1:-2])
            np.testing.assert_array_equal(scores[:, 1:-2], expected)
            assert (scores[:, [0, -2, -1]] == 5).all(), "columns beside the result are not ours"
            top = predictor.predict_top_k(rows, k=model.n_labels, inputs=inputs)
            np.testing.assert_array_equal(
                np.take_along_axis(expected, top.indices.astype(np.int64), axis=1), top.scores
            )
            for n_rows in (0, 1):
                few = {key: value[:n_rows] for key, value in inputs.items()}
                some = predictor.predict(first_rows(rows, n_rows), inputs=few)
                np.testing.assert_array_equal(some, expected[:n_rows])


def first_rows(rows, n_rows):
    if not isinstance(rows, fastprop.CSR):
        return rows[:n_rows]
    end = rows.indptr[n_rows]
    return fastprop.CSR(
        rows.indptr[: n_rows + 1], rows.indices[:end], rows.data[:end], (n_rows, rows.shape[1])
    )


@pytest.mark.parametrize("isa", _core.instruction_sets())
@pytest.mark.parametrize("make", [towers, propensity], ids=["towers", "propensity"])
def test_scores_that_are_written_past_the_caches(tmp_path, make, isa):
    rng = np.random.default_rng(2)
    network = make(rng, heads_per_tower=(157, 150)) if make is towers else make(rng, n_heads=307)
    model = saved(tmp_path, network)
    feeds = random_feeds(rng, network, 3600)  # eight tiles, each of more than 2^17 scores
    rows, inputs = split_feeds(model, feeds)
    with model.predictor(engine="native", isa=isa, threads=1, batch_size=512) as large:
        whole = large.predict(rows, inputs=inputs)
    with model.predictor(engine="native", isa=isa, threads=1, batch_size=32) as small:
        np.testing.assert_array_equal(small.predict(rows, inputs=inputs), whole)
    np.testing.assert_allclose(whole, expected_scores(model, feeds), atol=TOLERANCE, rtol=0)


NATIVE_ALONE = """
import sys
import fastprop, fastprop.libmxnet.library
fastprop.libmxnet.library.find_mxnet_library = lambda: None
with fastprop.load_model(sys.argv[1]).predictor() as predictor:
    print(predictor.predict([([1], [1.0])]).shape)
assert not fastprop._core.library_loaded()
"""


def test_native_needs_no_libmxnet(tmp_path):
    saved(tmp_path, propensity(np.random.default_rng(1), n_classes=3))
    done = subprocess.run(
        [sys.executable, "-c", NATIVE_ALONE, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 9)"

"""Dense layers with int8 weights: the bits of NumPy in the same steps, whole models, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from support.models import expected_scores, feeds_of, retail, rows_for, saved
from support.networks import NetworkBuilder

import fastprop
from fastprop import _core
from fastprop.native.engine import start_native_engine
from fastprop.native.lowering import NotNativeError
from fastprop.native.tensors import hold_tensors

ISAS = _core.instruction_sets()
LEAST = np.finfo(np.float32).tiny


def chain(widths, *, bias=True):
    """Dense rows through layers with relu between them; the scores are the last layer's sums."""
    made = NetworkBuilder(np.random.default_rng(3))
    data = made.variable("data", {"__shape__": str((0, widths[0]))})
    for depth, (width, n_hidden) in enumerate(zip(widths, widths[1:])):
        if depth:
            data = made.activation(f"relu{depth}", data, "relu", width)
        data = made.layer(f"layer{depth}", data, width, n_hidden, bias=bias)
    return made.network([data])


def steps_of_rows(x):
    """What `quantize` in csrc/fastprop/kernels/body/dense_int8.inl does."""
    least, greatest = (np.append(x, np.zeros((len(x), 1), np.float32), 1) for _ in range(2))
    step = greatest.max(1) / np.float32(254) - least.min(1) / np.float32(254)
    step = np.where(step >= LEAST, step, np.float32(0))[:, np.newaxis]
    with np.errstate(divide="ignore"):
        inverse = np.where(step > 0, np.float32(1) / step, np.float32(0))
    return step, np.rint(x * inverse).astype(np.int64)


def steps_of_columns(weight):
    step = np.abs(weight).max(1, initial=0) / np.float32(127)
    step = np.where(step >= LEAST, step, np.float32(0))[:, np.newaxis]
    divisor = np.where(step > 0, step, np.float32(1))
    return step, np.where(step > 0, np.rint(weight / divisor), 0).astype(np.int64)


def expected_sums(network, x):
    """The chain in the same steps, to the bit."""
    layers = sorted(name[:-7] for name in network.arguments if name.endswith("_weight"))
    for depth, name in enumerate(layers):
        if depth:
            x = np.maximum(x, 0)
        row_step, rows = steps_of_rows(x)
        column_step, columns = steps_of_columns(network.arguments[f"{name}_weight"])
        x = (rows @ columns.T).astype(np.float32) * column_step.T * row_step
        if f"{name}_bias" in network.arguments:
            x = x + network.arguments[f"{name}_bias"]
        assert x.dtype == np.float32
    return x


def some_rows(n_rows, width):
    """Rows of all kinds; the first ones are zeros, constant, of one sign, tiny and huge."""
    rng = np.random.default_rng(n_rows + width)
    x = rng.standard_normal((n_rows, width)).astype(np.float32)
    for row, fill in zip(x, (0, 3, -2, 1e-40, 1e-38, 1e30)):
        row[...] = fill
    x[6:9] = np.abs(x[6:9])
    return x


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "widths", [(1, 1), (37, 50), (64, 16, 3), (5, 33, 17, 2), (130, 270, 515)], ids=str
)
def test_sums_are_the_bits_of_numpy(tmp_path, widths, isa):
    network = chain(widths, bias=widths[0] != 64)
    network.arguments["layer0_weight"][0] = 0
    model = saved(tmp_path, network)
    for n_rows in (0, 1, 2, 5, 30, 67):
        x = some_rows(n_rows, widths[0])
        with np.errstate(all="ignore"):
            wanted = expected_sums(network, x)
        for threads, batch_size in ((1, 512), (2, 16)):
            with model.predictor(
                "native", threads, batch_size, weights="int8", isa=isa
            ) as predictor:
                np.testing.assert_array_equal(predictor.predict(x), wanted)
                top = predictor.predict_top_k(x, k=3)
                own = np.take_along_axis(wanted, np.maximum(top.indices, 0).astype(np.int64), 1)
                np.testing.assert_array_equal(top.scores[top.indices >= 0], own[top.indices >= 0])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_usual_model_is_near_float64(tmp_path, isa, threads):
    model = retail(tmp_path, n_features=3000, hidden=(64, 48), n_heads=333)
    for n_rows in (1, 40, 700):
        rows = rows_for(model, n_rows)
        with (
            model.predictor("native", threads, 64, weights="int8", isa=isa) as predictor,
            model.predictor("native", weights="bfloat16", isa=isa) as other,
        ):
            scores = predictor.predict(rows)
            error = np.abs(scores - expected_scores(model, feeds_of(model, rows)))
            assert error.max() < 0.1  # of logits of 30 and more
            assert error.mean() < 0.005
            assert not np.array_equal(scores, other.predict(rows))
            top = predictor.predict_top_k(rows, k=20, threshold=0.6)
            chosen = top.indices >= 0
            own = np.take_along_axis(scores, np.maximum(top.indices, 0).astype(np.int64), 1)
            np.testing.assert_array_equal(top.scores[chosen], own[chosen])
            np.testing.assert_array_equal(chosen.sum(1), np.minimum((scores >= 0.6).sum(1), 20))


@pytest.mark.parametrize("isa", ISAS)
def test_a_row_that_is_not_finite_has_no_scores_and_harms_no_other(tmp_path, isa):
    model = saved(tmp_path, chain((20, 40)))
    x = some_rows(12, 20)
    with model.predictor("native", 1, weights="int8", isa=isa, nonfinite="propagate") as predictor:
        whole = predictor.predict(x)
        for row, value in ((7, np.nan), (8, np.inf), (9, -np.inf)):
            x[row, row] = value
        found = predictor.predict(x)
    assert np.isnan(found[7:10]).all()
    np.testing.assert_array_equal(np.delete(found, range(7, 10), 0), whole[[*range(7), 10, 11]])


def test_layers_with_too_many_inputs_are_bfloat16(tmp_path):
    width = _core.MAX_INT8_INPUTS
    for inputs, dtype in ((width, np.int8), (width + 1, np.uint16)):
        model = saved(tmp_path / str(inputs), chain((inputs, 2)))
        panels = hold_tensors(model.compiled("scores").recipes, "int8")["layer0.panels"]
        assert panels.dtype == dtype
        x = np.ones((1, inputs), np.float32)
        with model.predictor("native", weights="int8") as predictor:
            exact = expected_scores(model, feeds_of(model, x))
            np.testing.assert_allclose(predictor.predict(x), exact, atol=0.05)


@pytest.mark.parametrize("damage", [lambda p: p[:, :-1], lambda p: p.view(np.uint8)[:0]])
def test_panels_that_do_not_fit_are_refused(tmp_path, damage):
    compiled = saved(tmp_path, chain((20, 40))).compiled("scores")
    tensors = hold_tensors(compiled.recipes, "int8")
    tensors["layer0.panels"] = np.ascontiguousarray(damage(tensors["layer0.panels"])).view(np.int8)
    with pytest.raises(fastprop.ModelFormatError, match="panels that do not fit"):
        start_native_engine(compiled.plan, tensors, isa="best")


def test_a_sparse_layer_is_not_read_as_int8(tmp_path):
    model = retail(tmp_path)
    compiled = model.compiled("scores")
    tensors = hold_tensors(compiled.recipes, "int8")
    name = next(name for name, tensor in tensors.items() if name.endswith(".weight"))
    assert tensors[name].dtype == np.uint16
    tensors[name] = np.zeros(tensors[name].shape, np.int8)
    with pytest.raises(fastprop.ModelFormatError, match="weight that does not fit"):
        start_native_engine(compiled.plan, tensors, isa="best")


def test_what_int8_is_not_for_is_refused(tmp_path):
    model = retail(tmp_path / "a")
    for options in ({"engine": "mxnet"}, {"whole_graph": True}, {"optimize": False}):
        with pytest.raises(fastprop.InvalidInputError, match="int8 weights are for the native"):
            model.predictor(weights="int8", **options)
    with pytest.raises(fastprop.InvalidInputError, match="one of"):
        model.predictor(weights="int4")
    made = NetworkBuilder(np.random.default_rng(0))
    data = made.variable("data", {"__storage_type__": "2"})
    product = made.add("dot", [data, made.row_sparse("weight", (9, 4))], name="dot0")
    sparse = saved(tmp_path / "b", made.network([product]))
    with pytest.raises(fastprop.EngineError, match="the model has none"):
        sparse.predictor(weights="int8")
    with pytest.raises(fastprop.EngineError, match="the model has none"):
        sparse.compile(tmp_path / "b.fastprop", weights="int8")
    assert not (tmp_path / "b.fastprop").exists()


def test_a_model_that_is_not_native_has_no_int8(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise NotNativeError("node 'activation0' (odd) is odd")

    model = retail(tmp_path)
    monkeypatch.setattr("fastprop.model.compile_network", refuse)
    with pytest.raises(fastprop.EngineError, match=r"are for the native.*'activation0"):
        model.predictor(weights="int8")


def test_a_compiled_file_holds_int8_and_says_so(tmp_path):
    model = retail(tmp_path, hidden=(16, 8))
    path = tmp_path / "model.fastprop"
    model.compile(path, weights="int8")
    file = fastprop.load_model(path)
    file.check()
    assert "weights     int8" in file.describe()
    types = {name.rpartition(".")[2]: tensor.dtype for name, tensor in file.file.tensors.items()}
    assert types["panels"] == np.int8
    assert types["weight"] == np.uint16
    rows = rows_for(model, 33)
    with file.predictor() as ours, model.predictor("native", weights="int8") as theirs:
        np.testing.assert_array_equal(ours.predict(rows), theirs.predict(rows))

"""Post-processing functions against the same in NumPy, through every engine."""

from __future__ import annotations

import sys
import time

import numba
import numpy as np
import pyarrow as pa
import pytest
from support.models import listed, retail, rows_for

import fastprop
from fastprop import native_postprocess

FACTORS = np.linspace(0.5, 2.0, 23).astype(np.float32)
ENGINES = {
    "native": {"engine": "native"},
    "mxnet": {"engine": "mxnet"},
    "as saved": {"optimize": False},
}


@native_postprocess(width=3)
def best_of_weighted(scores, out):
    for i in range(scores.shape[0]):
        weighted = scores[i] * FACTORS
        best = np.argmax(weighted)
        out[i, 0] = best
        out[i, 1] = weighted[best]
        out[i, 2] = scores[i].sum()


@native_postprocess
def doubled(scores):
    scores *= 2


@native_postprocess(width=1, dtype=np.int64)
def count_above_half(scores, out):
    for i in range(scores.shape[0]):
        out[i, 0] = (scores[i] > 0.5).sum()


@native_postprocess(width=2)
def fails_on_likely(scores, out):
    for i in range(scores.shape[0]):
        out[i, 0], out[i, 1] = scores[i, 0], scores[i, 1]
        if scores[i, 0] > THRESHOLD:
            raise ValueError("too likely")


THRESHOLD = 0.9


def in_numpy(function, scores):
    scores = scores.copy()
    if function.width is None:
        function(scores)
        return scores
    out = np.zeros((len(scores), function.width), function.dtype)
    if len(scores):
        function(scores, out)
    return out


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return retail(tmp_path_factory.mktemp("model"), n_heads=23, hidden=(16, 8))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_are_those_of_numpy(model, engine, threads):
    options = {**ENGINES[engine], "threads": threads, "batch_size": 16}
    with model.predictor(**options) as plain:
        for function in (best_of_weighted, doubled, count_above_half):
            with model.predictor(**options, postprocess=function) as predictor:
                for n_rows in (0, 1, 15, 16, 75):
                    rows = rows_for(model, n_rows)
                    wanted = in_numpy(function, plain.predict(rows))
                    for form in (rows, listed(rows)):
                        found = predictor.predict(form)
                        assert found.dtype == function.dtype
                        assert found.shape == (n_rows, function.width or model.n_labels)
                        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("function", [best_of_weighted, doubled, count_above_half])
def test_out_may_be_a_view(model, engine, function):
    rows = rows_for(model, 37)
    width = function.width or model.n_labels
    with model.predictor(
        **ENGINES[engine], threads=2, batch_size=8, postprocess=function
    ) as predictor:
        wanted = predictor.predict(rows)
        wide = np.full((37, width + 4), 7, function.dtype)
        assert predictor.predict(rows, out=wide[:, 1:-3]) is not None
        np.testing.assert_array_equal(wide[:, 1:-3], wanted)
        assert (wide[:, :1] == 7).all()
        assert (wide[:, -3:] == 7).all()
        for bad in (
            np.zeros((36, width), function.dtype),
            np.zeros((37, width + 1), function.dtype),
            np.zeros((37, width), np.float16),
            np.zeros((37, 2 * width), function.dtype)[:, ::2] if width > 1 else None,
        ):
            if bad is not None:
                with pytest.raises(fastprop.ShapeError, match="out must be"):
                    predictor.predict(rows, out=bad)


def test_streams_translators_and_null_rows(model):
    class Sums(fastprop.Translator):
        def process_output(self, result, model):
            return result[:, 0].tolist()

    rows = listed(rows_for(model, 40))
    with model.predictor(postprocess=count_above_half) as predictor:
        counts = predictor.predict(rows)
        parts = list(predictor.stream([rows[:30], rows[30:]]))
        np.testing.assert_array_equal(np.concatenate(parts), counts)
        arrow = pa.array(
            [{"indices": [1], "values": [1.0]}, None],
            pa.struct([("indices", pa.list_(pa.int32())), ("values", pa.list_(pa.float32()))]),
        )
        assert predictor.predict(arrow)[1, 0] == 0
    with model.predictor(postprocess=count_above_half, translator=Sums()) as predictor:
        assert predictor.predict(rows) == counts[:, 0].tolist()
    with model.predictor(postprocess=doubled) as predictor:
        assert np.isnan(predictor.predict(arrow)[1]).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_an_exception_names_the_rows(model, engine):
    rows = rows_for(model, 64)
    with model.predictor(**ENGINES[engine], threads=1, batch_size=16) as plain:
        likely = np.flatnonzero(plain.predict(rows)[:, 0] > THRESHOLD)
    assert len(likely)
    with model.predictor(
        **ENGINES[engine], threads=2, batch_size=16, postprocess=fails_on_likely
    ) as predictor:
        message = r"post-processing function failed with status 1 on the scores of rows (\d+) to"
        with pytest.raises(fastprop.InvalidInputError, match=message) as caught:
            predictor.predict(rows)
        first = int(str(caught.value).split("rows ")[1].split()[0])
        last = int(str(caught.value).split(" to ")[1])
        assert ((likely >= first) & (likely <= last)).any()
        # The predictor goes on with rows that are right.
        good = [row for i, row in enumerate(listed(rows)) if i not in set(likely)]
        assert predictor.predict(good).shape == (len(good), 2)
        stream = predictor.stream([good[:5], listed(rows)])
        assert len(next(stream)) == 5
        with pytest.raises(fastprop.InvalidInputError, match=message) as caught:
            list(stream)
        assert int(str(caught.value).split("rows ")[1].split()[0]) >= 5


def test_workers_need_no_gil(model):
    rows = rows_for(model, 300)
    csr = (rows.indptr, rows.indices, rows.data, rows.shape[1], False)
    out = np.zeros((300, 3), np.float32)
    interval = sys.getswitchinterval()
    with model.predictor(threads=2, batch_size=16, postprocess=best_of_weighted) as predictor:
        wanted = predictor.predict(rows)
        sys.setswitchinterval(1000)
        try:
            pending = predictor._core.start_postprocessed(
                csr,
                [],
                out,
                address=best_of_weighted.address(),
                data=0,
                width=3,
                owner=best_of_weighted,
                first_row=0,
            )
            # This loop holds the GIL: a worker that wanted it would never get it.
            end = time.monotonic() + 60
            while not pending.done and time.monotonic() < end:
                pass
            assert pending.done
        finally:
            sys.setswitchinterval(interval)
        pending.wait()
    np.testing.assert_array_equal(out, wanted)


def test_bounds_can_be_checked(model):
    @native_postprocess(boundscheck=True)
    def outside(scores):
        scores[0, scores.shape[1] + 5] = 1.0

    rows = rows_for(model, 3)
    with model.predictor(postprocess=outside) as predictor:
        with pytest.raises(fastprop.InvalidInputError, match="rows 0 to 2"):
            predictor.predict(rows)
        assert predictor.stats().calls == 1


def test_a_c_function_by_its_address(model):
    types = numba.types
    floats = types.CPointer(types.float32)
    long = types.int64

    @numba.cfunc(
        types.int32(floats, long, long, long, types.CPointer(types.float64), long, types.voidptr)
    )
    def first_score(scores, n_rows, n_labels, stride, out, out_stride, data):
        for i in range(n_rows):
            out[i * out_stride] = scores[i * stride]
        return 0 if n_labels == 23 else 3

    function = fastprop.NativePostprocess.from_address(
        first_score.address, width=1, dtype="float64", owner=first_score, name="first_score"
    )
    rows = rows_for(model, 20)
    with model.predictor() as plain, model.predictor(postprocess=function) as predictor:
        np.testing.assert_array_equal(
            predictor.predict(rows)[:, 0], plain.predict(rows)[:, 0].astype(np.float64)
        )
    with pytest.raises(fastprop.InvalidInputError, match="by its address only"):
        function(np.zeros((1, 1), np.float32))
    for bad in (0, -1, None, "f"):
        with pytest.raises(fastprop.DTypeError, match="address"):
            fastprop.NativePostprocess.from_address(bad)


def test_what_does_not_go_together(model):
    rows = rows_for(model, 2)
    with model.predictor(postprocess=doubled) as predictor:
        with pytest.raises(fastprop.InvalidInputError, match="predict_top_k gives the model's own"):
            predictor.predict_top_k(rows)
        with pytest.raises(fastprop.InvalidInputError, match="predict_arrow"):
            predictor.predict_arrow(rows)
        assert len(predictor.predict_outputs(rows)) == 23
    with pytest.raises(fastprop.InvalidInputError, match="translator that selects"):
        model.predictor(postprocess=doubled, translator=fastprop.LabelledTopK(3))
    with pytest.raises(fastprop.DTypeError, match="what native_postprocess makes"):
        model.predictor(postprocess=lambda scores: None)


@pytest.mark.parametrize(
    "bad",
    [
        {"width": 0},
        {"width": 1.5},
        {"width": 2, "dtype": "float16"},
        {"dtype": "float64"},
        {"boundscheck": np.array([True, False])},
    ],
)
def test_widths_and_types(bad):
    with pytest.raises(fastprop.InvalidInputError):
        native_postprocess(**bad)(lambda scores: None)


@pytest.mark.parametrize("given", [None, 5, "f", [len]], ids=repr)
def test_what_is_no_function(given):
    with pytest.raises(fastprop.DTypeError, match="native_postprocess is for a function"):
        fastprop.NativePostprocess(given, name="f", width=1, dtype="float32")


def test_what_numba_does_not_take_is_said(model):
    jitted = numba.njit(lambda scores: None)
    for function in (len, jitted):
        with pytest.raises(fastprop.FastpropError, match="numba cannot compile"):
            model.predictor(postprocess=native_postprocess(function))


def test_what_numba_cannot_compile_is_said(model):
    @native_postprocess(width=1)
    def unknown(scores, out):
        out[:] = scores.nothing_of_the_kind()

    @native_postprocess(width=1)
    def one_argument(scores):
        pass

    for function, message in ((unknown, "nothing_of_the_kind"), (one_argument, "one_argument")):
        with pytest.raises(fastprop.FastpropError, match=message) as caught:
            model.predictor(postprocess=function)
        assert f"cannot compile {function.name}" in str(caught.value)
        assert caught.value.__cause__ is not None


def test_without_numba_the_extra_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    function = native_postprocess(lambda scores: None)
    with pytest.raises(fastprop.FastpropError, match=r'pip install "fastprop\[numba\]"'):
        model.predictor(postprocess=function)

"""What the core refuses before it makes a pointer of it, whatever Python has checked already."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from support.native_plans import engine, predictor, scores, step

import fastprop
from fastprop import _core

WEIGHT = np.arange(8, dtype=np.float32).reshape(4, 2)


def of_sparse_rows(**options):
    made = engine(
        step("sparse", "identity", tensors=["weight"]), tensors={"weight": WEIGHT}, sparse=True
    )
    return predictor(made, **options)


def of_dense_rows():
    return predictor(engine(step("copy", "", [("rows", 0, 0, 0, 2)])))


def of_two_inputs():
    made = engine(step("copy", "", [("further", 0, 0, 0, 2)]), further=[("price", 2)])
    return predictor(made)


def csr(*, indptr=(0, 1, 3), indices=(0, 3, 1), values=(1, 2, 4), n_columns=4, checked=False):
    return (
        np.asarray(indptr, None if isinstance(indptr, np.ndarray) else np.int64),
        np.asarray(indices, None if isinstance(indices, np.ndarray) else np.int32),
        np.asarray(values, None if isinstance(values, np.ndarray) else np.float32),
        n_columns,
        checked,
    )


WANTED = np.array([[0, 1], [2 * 6 + 4 * 2, 2 * 7 + 4 * 3]], np.float32)


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (csr(indptr=()), fastprop.ShapeError, "rows.indptr is empty"),
        (
            csr(values=(1, 2)),
            fastprop.ShapeError,
            "rows.indices has 3 elements and rows.data has 2",
        ),
        (
            csr(indptr=zeros(1, 3, dtype=np.int64)),
            fastprop.ShapeError,
            "rows.indptr has 2 dimensions, and 1 are needed",
        ),
        (
            csr(indptr=zeros(6, dtype=np.int64)[::2]),
            fastprop.ShapeError,
            "rows.indptr is not C-contiguous",
        ),
        *(
            (csr(indptr=zeros(3, dtype=dtype)), fastprop.DTypeError, "int32 or int64 is needed")
            for dtype in (np.uint32, np.int16, np.float64, ">i4", ">i8")
        ),
        (csr(indices=zeros(3, dtype=np.uint64)), fastprop.DTypeError, "rows.indices is of type"),
        *(
            (csr(values=zeros(3, dtype=dtype)), fastprop.DTypeError, "float32 or float64 is")
            for dtype in (np.int32, np.float16, ">f4", ">f8")
        ),
        (csr(n_columns=5), fastprop.ShapeError, "rows have 5 columns, but the model has 4"),
        (zeros(2, 4), fastprop.DTypeError, "takes sparse rows, and a dense matrix was given"),
        (zeros(2, 4, dtype=np.float64), fastprop.DTypeError, "float64, and float32 is needed"),
        (zeros(4), fastprop.ShapeError, "rows has 1 dimensions, and 2 are needed"),
        (zeros(4, 2).T, fastprop.ShapeError, "rows is not C-contiguous"),
    ],
)
def test_rows(rows, error, message):
    used = of_sparse_rows()
    out = zeros(2, 2) - 1
    for call in (
        lambda: used.score(rows, [], out, 0),
        lambda: used.start_check(rows, [], 0),
        lambda: used.start_top_k(
            rows, [], zeros(2, 1), zeros(2, 1, dtype=np.int32), None, None, None, 0
        ),
    ):
        with pytest.raises(error, match=message):
            call()
    assert (out == -1).all()
    used.score(csr(), [], out, 0)
    np.testing.assert_array_equal(out, WANTED)


def test_dense_models_take_no_sparse_rows():
    with pytest.raises(fastprop.DTypeError, match="takes dense rows, and sparse rows were given"):
        of_dense_rows().score(csr(), [], zeros(2, 2), 0)


@pytest.mark.parametrize(
    ("further", "error", "message"),
    [
        ([], fastprop.ShapeError, "takes 1 further inputs, and 0 were given"),
        ([zeros(3, 2)] * 2, fastprop.ShapeError, "takes 1 further inputs, and 2 were given"),
        (
            [zeros(2, 2)],
            fastprop.ShapeError,
            r'inputs\["price"\] has shape \(2, 2\), and \(3, 2\) is needed',
        ),
        ([zeros(3, 1)], fastprop.ShapeError, r"has shape \(3, 1\), and \(3, 2\) is needed"),
        ([zeros(3, 2, dtype=np.float64)], fastprop.DTypeError, "inputs is of type float64"),
        ([zeros(2, 3).T], fastprop.ShapeError, "inputs is not C-contiguous"),
    ],
)
def test_further_inputs(further, error, message):
    used = of_two_inputs()
    with pytest.raises(error, match=message):
        used.score(zeros(3, 4), further, zeros(3, 2), 0)
    out = zeros(3, 2)
    used.score(zeros(3, 4), [zeros(3, 2) + 5], out, 0)
    assert (out == 5).all()


def apart(rows, columns, *, dtype=np.float32):
    """A 2 x 2 view of memory, of these strides in bytes."""
    return as_strided(np.zeros(64, np.uint8)[16:].view(dtype), (2, 2), (rows, columns))


@pytest.mark.parametrize(
    "out",
    [
        zeros(2),
        zeros(3, 2),
        zeros(2, 3),
        zeros(2, 2, dtype=np.float64),
        zeros(2, 2, dtype=">f4"),
        apart(8, 8),  # columns that lie apart
        apart(4, 4),  # rows that overlap
        apart(0, 4),
        apart(-8, 4),
        apart(10, 4),  # between the places of elements
    ],
)
def test_outputs(out):
    used = of_sparse_rows()
    with pytest.raises(fastprop.ShapeError, match=r"out must be a float32 array of shape \(2, 2\)"):
        used.score(csr(), [], out, 0)


def test_outputs_that_cannot_be_written_to():
    used = of_sparse_rows()
    fixed = zeros(2, 2)
    fixed.flags.writeable = False
    with pytest.raises(fastprop.InvalidInputError, match="out is read-only"):
        used.score(csr(), [], fixed, 0)
    shifted = np.zeros(17, np.uint8)[1:].view(np.float32).reshape(2, 2)
    with pytest.raises(fastprop.InvalidInputError, match="out is not aligned"):
        used.score(csr(), [], shifted, 0)


def test_outputs_whose_rows_lie_apart():
    used = of_sparse_rows()
    wide = zeros(2, 5) - 1
    used.score(csr(), [], wide[:, 1:3], 0)
    np.testing.assert_array_equal(wide[:, 1:3], WANTED)
    assert (wide[:, [0, 3, 4]] == -1).all()
    # Strides that nothing is reached by may be anything.
    single = as_strided(zeros(2), (1, 2), (3, 4))
    used.score(csr(indptr=(0, 1), indices=(3,), values=(1,)), [], single, 0)
    np.testing.assert_array_equal(single, WEIGHT[3:])
    used.score(csr(indptr=(0,)), [], as_strided(zeros(2), (0, 2), (3, 3)), 0)


def test_an_output_of_one_column():
    used = predictor(engine(step("copy", "", [("rows", 0, 0, 1, 1)], scores(1)), n_scores=1))
    memory = zeros(6) - 1
    column = as_strided(memory, (3, 1), (8, 3))
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    used.score(rows, [], column, 0)
    np.testing.assert_array_equal(memory, [1, -1, 5, -1, 9, -1])


@pytest.mark.parametrize(
    ("best", "indices"),
    [
        (zeros(2), zeros(2, 1, dtype=np.int32)),
        (zeros(3, 1), zeros(3, 1, dtype=np.int32)),
        (zeros(2, 0), zeros(2, 0, dtype=np.int32)),
        (zeros(2, 1), zeros(2, dtype=np.int32)),
        (zeros(2, 1), zeros(3, 1, dtype=np.int32)),
        (zeros(2, 1), zeros(2, 2, dtype=np.int32)),
        (zeros(2, 4)[:, :2], zeros(2, 2, dtype=np.int32)),
        (zeros(2, 2), zeros(2, 2, dtype=np.int32).T),
    ],
)
def test_selections(best, indices):
    with pytest.raises(fastprop.ShapeError, match=r"of shape \(rows, k\), k >= 1"):
        of_sparse_rows().start_top_k(csr(), [], best, indices, None, None, None, 0)


def test_selections_that_cannot_be_written_to():
    for fixed in (0, 1):
        arrays = [zeros(2, 2), zeros(2, 2, dtype=np.int32)]
        arrays[fixed].flags.writeable = False
        with pytest.raises(fastprop.ShapeError, match="scores and indices"):
            of_sparse_rows().start_top_k(csr(), [], *arrays, None, None, None, 0)


@pytest.mark.parametrize(
    ("thresholds", "allowed", "error", "message"),
    [
        (zeros(3), None, fastprop.ShapeError, "threshold must have one element a label"),
        (zeros(1, 2), None, fastprop.ShapeError, "threshold has 2 dimensions"),
        (zeros(2, dtype=np.float64), None, fastprop.DTypeError, "threshold is of type float64"),
        (zeros(4)[::2], None, fastprop.ShapeError, "threshold is not C-contiguous"),
        (None, zeros(3, dtype=bool), fastprop.ShapeError, "one element a label"),
        (None, zeros(1, 2, dtype=bool), fastprop.ShapeError, "one element a label"),
        (None, zeros(2, dtype=np.int16), fastprop.ShapeError, "must be a bool array"),
        (None, zeros(4, dtype=bool)[::2], fastprop.ShapeError, "must be a bool array"),
    ],
)
def test_rules_of_selections(thresholds, allowed, error, message):
    best, indices = zeros(2, 2), zeros(2, 2, dtype=np.int32)
    with pytest.raises(error, match=message):
        of_sparse_rows().start_top_k(csr(), [], best, indices, None, thresholds, allowed, 0)


@pytest.mark.parametrize("threshold", [None, 0.5])
@pytest.mark.parametrize("thresholds", [None, np.array([0, 15], np.float32)])
@pytest.mark.parametrize("allowed", [None, np.array([True, False])])
def test_selections_of_fewer_labels_than_asked_for(threshold, thresholds, allowed):
    best, indices = zeros(2, 3), zeros(2, 3, dtype=np.int32)
    used = of_sparse_rows()
    used.start_top_k(csr(), [], best, indices, threshold, thresholds, allowed, 0).wait()
    for row in range(2):
        taken = [
            label
            for label in (1, 0)  # of which the second is higher in both rows
            if (threshold is None or WANTED[row, label] >= threshold)
            and (thresholds is None or WANTED[row, label] >= thresholds[label])
            and (allowed is None or allowed[label])
        ]
        left = 3 - len(taken)
        assert indices[row].tolist() == taken + [-1] * left
        found = [*WANTED[row, taken].tolist(), *[np.nan] * left]
        np.testing.assert_array_equal(best[row], found)


def test_a_function_without_an_address():
    with pytest.raises(fastprop.InvalidInputError, match="address is null"):
        of_sparse_rows().start_postprocessed(
            csr(), [], zeros(2, 2), address=0, data=0, width=2, owner=None, first_row=0
        )


def test_a_check_alone():
    used = of_sparse_rows(batch_size=1)
    used.start_check(csr(indptr=(0,)), [], 0).wait()
    used.start_check(csr(), [], 0).wait()
    bad = csr(values=(1, 2, np.inf))
    with pytest.raises(fastprop.InvalidInputError, match=r"rows\[11\].values\[1\] is inf"):
        used.start_check(bad, [], 10).wait()


def test_leases():
    used = of_sparse_rows()
    for n_bytes, message in ((2**60, "cannot be had"), (2**50, "out of memory")):
        with pytest.raises(fastprop.PoolLimitError, match=message):
            used.lease(n_bytes)
    assert used.stats()["pool_live"] == 0
    used.close()
    with pytest.raises(fastprop.PredictorClosedError):
        used.lease(1)


def test_panels():
    assert _core.panels_shape(17, 5, np.dtype(np.float32)) == (2, 5, 16)
    with pytest.raises(fastprop.DTypeError, match="no layer has panels of type float64"):
        _core.panels_shape(17, 5, np.dtype(np.float64))
    weight = zeros(17, 5)
    for panels in (
        zeros(2, 4, 16),
        zeros(2, 5, 16, dtype=np.uint16),
        zeros(4, 5, 16)[::2],
    ):
        with pytest.raises(fastprop.ShapeError, match="panels do not fit"):
            _core.pack_dense(weight, panels)
    with pytest.raises(fastprop.DTypeError, match="no layer has panels of type float64"):
        _core.pack_dense(weight, zeros(2, 5, 16, dtype=np.float64))
    with pytest.raises(fastprop.ShapeError, match="a layer's weight is not C-contiguous"):
        _core.pack_dense(zeros(5, 17).T, zeros(2, 5, 16))
    inputs = _core.MAX_INT8_INPUTS + 1
    panels = np.zeros(_core.panels_shape(1, inputs, np.dtype(np.int8)), np.int8)
    with pytest.raises(fastprop.ShapeError, match="panels do not fit"):
        _core.pack_dense(zeros(1, inputs), panels)


def test_rounding():
    target = zeros(4, dtype=np.uint16)
    for source, into in (
        (zeros(4, dtype=np.float64), target),
        (zeros(3), target),
        (zeros(8)[::2], target),
        (zeros(4), zeros(8, dtype=np.uint16)[::2]),
    ):
        with pytest.raises(fastprop.ShapeError, match="compact arrays of one size"):
            _core.round_to_bf16(source, into)


def test_instruction_sets_that_the_processor_has_not():
    names = ["scalar", "avx2", "avx512", "avx512_vnni", "amx"]
    missing = [name for name in names if name not in _core.instruction_sets()]
    if not missing:
        pytest.skip("bare machine: this processor has all of them")
    for name in missing:
        with pytest.raises(fastprop.InvalidInputError, match=f"does not have {name}"):
            _core.Predictor(
                engine(step("copy", "", [("rows", 0, 0, 0, 2)])),
                threads=1,
                batch_size=8,
                pool_limit=0,
                finite=True,
                isa=name,
            )

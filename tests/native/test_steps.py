"""What steps compute where their functions are at an edge, and which steps a plan may not have."""

from __future__ import annotations

import numpy as np
import pytest
from support.native_plans import ROWS, engine, score, scores, step

import fastprop

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 3.0], np.float32)


def of_special(n_rows, n_columns, seed=3):
    return np.random.default_rng(seed).choice(SPECIAL, (n_rows, n_columns))


def number(function):
    return lambda a, b: function(a, b).astype(np.float32)


BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "mod": lambda a, b: np.where(b == 0, np.float32(0), np.mod(a, b)),  # as MXNet has it
    "power": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "hypot": np.hypot,
    "equal": number(np.equal),
    "not_equal": number(np.not_equal),
    "greater": number(np.greater),
    "greater_equal": number(np.greater_equal),
    "lesser": number(np.less),
    "lesser_equal": number(np.less_equal),
    "logical_and": number(np.logical_and),
    "logical_or": number(np.logical_or),
    "logical_xor": number(np.logical_xor),
}


@pytest.mark.parametrize(("left", "right"), [(1, 1), (9, 9), (1, 9), (9, 1)])
@pytest.mark.parametrize("function", BINARY)
def test_functions_of_two_numbers(function, left, right):
    rows = of_special(60, 18)
    width = max(left, right)
    inputs = [("rows", 0, 0, 0, left), ("rows", 0, 0, 9, right)]
    made = engine(step("binary", function, inputs, scores(width)), n_columns=18, n_scores=width)
    with np.errstate(all="ignore"):
        wanted = BINARY[function](rows[:, :left], rows[:, 9 : 9 + right])
    np.testing.assert_allclose(score(made, rows), wanted, rtol=1e-6)


REDUCTIONS = {
    "sum": np.sum,
    "nansum": np.nansum,
    "norm1": lambda x, axis: np.sum(np.abs(x), axis),
    "norm2": lambda x, axis: np.sqrt(np.sum(np.square(x), axis)),
    "_square_sum": lambda x, axis: np.sum(np.square(x), axis),
    "prod": np.prod,
    "nanprod": np.nanprod,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
}


@pytest.mark.parametrize("function", REDUCTIONS)
def test_reductions(function):
    rows = of_special(200, 12)
    made = engine(
        step("reduce", function, [("rows", 0, 0, 0, 12)], scores(4)), n_columns=12, n_scores=4
    )
    with np.errstate(all="ignore"):
        wanted = REDUCTIONS[function](rows.reshape(200, 4, 3).astype(np.float64), axis=2)
    np.testing.assert_allclose(score(made, rows), wanted, rtol=1e-6)


@pytest.mark.parametrize("wraps", [0, 1])
def test_an_embedding_has_a_row_for_every_number(wraps):
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    numbers = [np.nan, np.inf, -np.inf, 1e30, -1e30, -5, -1, -0.5, 0, 1, 2, 2.9, 3, 7, 2**24]
    rows = np.array([numbers], np.float32).T
    made = engine(
        step("embedding", "", [("rows", 0, 0, 0, 1)], tensors=["table"], wraps=wraps),
        tensors={"table": table},
        n_columns=1,
    )
    clipped = [0, 2, 0, 2, 0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2]
    wrapped = [0, 0, 0, 0, 0, 1, 2, 0, 0, 1, 2, 2, 0, 1, 2**24 % 3]
    np.testing.assert_array_equal(score(made, rows), table[wrapped if wraps else clipped])


def test_a_softmax_from_one_place_to_another():
    rows = np.random.default_rng(0).standard_normal((11, 4)).astype(np.float32)
    made = engine(step("softmax", "softmax", output=scores(4), group=2.0), n_scores=4)
    powers = np.exp(rows.reshape(11, 2, 2).astype(np.float64))
    wanted = (powers / powers.sum(axis=2, keepdims=True)).reshape(11, 4)
    np.testing.assert_allclose(score(made, rows), wanted, rtol=1e-5)


@pytest.mark.parametrize("op", ["sparse", "sparse_square", "sparse_abs", "sparse_sign"])
def test_functions_of_sparse_rows(op):
    weight = np.arange(8, dtype=np.float32).reshape(4, 2) + 1
    made = engine(step(op, "identity", tensors=["weight"]), tensors={"weight": weight}, sparse=True)
    indptr = np.array([0, 3, 3, 4])
    indices = np.array([0, 2, 3, 1])
    values = np.array([-2.0, 0.0, 3.0, -0.5], np.float32)
    dense = np.zeros((3, 4), np.float32)
    dense[0, [0, 2, 3]] = values[:3]
    dense[2, 1] = values[3]
    functions = {"sparse_square": np.square, "sparse_abs": np.abs, "sparse_sign": np.sign}
    wanted = functions.get(op, np.positive)(dense) @ weight
    np.testing.assert_array_equal(score(made, (indptr, indices, values, 4, False)), wanted)


FLOATS = np.zeros((2, 2), np.float32)
SLOT = ("slot", 0, 4, 0, 2)
SIX = ("rows", 0, 0, 0, 6)


def refused(*made, match, error=fastprop.ModelFormatError, **changes):
    with pytest.raises(error, match=match):
        engine(*made, **changes)


def test_plans_without_steps_or_widths():
    copied = step("copy", "", [("rows", 0, 0, 0, 2)])
    refused(match="no steps")
    for changes in ({"n_scores": 0}, {"n_scores": 2**31}, {"slots": [0]}, {"slots": [2, 2**31]}):
        refused(copied, match="impossible width", **changes)
    refused(step("fold"), match=r"step it \(fold\) is of a kind that this version does not know")
    refused(step("copy", "", [("attic", 0, 0, 0, 2)]), match="unknown place, attic")


def test_tensors():
    scaled = step("affine", "", [("rows", 0, 0, 0, 2)], tensors=["scale", "shift"])
    good = {"scale": FLOATS[0], "shift": FLOATS[0]}

    def with_scale(scale):
        return {**good, "scale": scale}

    refused(scaled, match=r"step it \(affine\) needs a tensor that is missing, scale")
    refused(step("affine", "", [("rows", 0, 0, 0, 2)]), match="has no tensor scale")
    for wrong in (np.zeros(3, np.float32), np.zeros(2, np.int32), np.zeros(2, np.int8)):
        refused(scaled, tensors=with_scale(wrong), match="needs 2 float32 numbers as scale")
    refused(
        scaled,
        tensors=with_scale(np.zeros(2)),
        match="tensor scale is of type float64, which no step computes with",
        error=fastprop.DTypeError,
    )
    refused(
        scaled,
        tensors=with_scale(np.zeros(4, np.float32)[::2]),
        match="tensor scale is not C-contiguous",
        error=fastprop.ShapeError,
    )


@pytest.mark.parametrize(
    ("place", "match"),
    [
        (("further", 1, 0, 0, 2), "a place that the plan does not have"),
        (("further", -1, 0, 0, 2), "a place that the plan does not have"),
        (("slot", 1, 4, 0, 2), "a place that the plan does not have"),
        (("slot", 0, 0, 0, 2), "further apart than their slot allows"),
        (("slot", 0, 5, 0, 2), "further apart than their slot allows"),
        (("rows", 0, 0, -1, 2), "columns outside their place"),
        (("rows", 0, 0, 0, 0), "columns outside their place"),
        (("rows", 0, 0, 5, 2), "columns outside their place"),
        (("rows", 0, 0, 3, 2), "columns outside their place"),
        (("rows", 0, 0, 0, 2**31), "columns outside their place"),
    ],
)
def test_places(place, match):
    refused(step("copy", "", [place]), further=[("more", 2)], slots=[4], match=match)
    # An output is looked at as an input is.
    if place[0] == "slot":
        two = step("copy", "", [("rows", 0, 0, 0, 2)], place)
        refused(two, slots=[4], match=match)


def test_places_that_are_read_and_written():
    for other in (("rows", 0, 0, 2, 2), ("further", 0, 0, 0, 2)):
        one = step("copy", "", [("rows", 0, 0, 0, 2)], other)
        refused(one, further=[("more", 2)], match="writes to an input")
    for other in (("slot", 0, 4, 0, 2), ("slot", 0, 4, 1, 2), ("slot", 0, 3, 2, 1)):
        inputs = [("slot", 0, 4, 0, other[4])]
        refused(step("copy", "", inputs, other), slots=[4], match="writes over what it reads")
    shifted = step("unary", "abs", [("slot", 0, 4, 0, 2)], ("slot", 0, 4, 1, 2))
    refused(shifted, slots=[4], match="writes over what it reads")
    # In place, and beside each other in one slot.
    first = step("copy", "", [("rows", 0, 0, 0, 2)], ("slot", 0, 4, 0, 2))
    second = step("unary", "negative", [SLOT], SLOT)
    third = step("copy", "", [SLOT], ("slot", 0, 4, 2, 2))
    last = step("copy", "", [("slot", 0, 4, 2, 2)])
    made = engine(first, second, third, last, slots=[4])
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(score(made, rows), -rows[:, :2])


@pytest.mark.parametrize(
    "made",
    [
        step("dense", "identity", tensors=["panels"]),
        step("activate", "relu", [ROWS], scores(4)),
        step("unary", "abs", [ROWS], scores(4)),
        step("binary", "add", [ROWS, ROWS], scores(4)),
        step("normalize", "layer", [ROWS], scores(4)),
        step("reduce", "sum"),
        step("where", "", [ROWS, ROWS, ROWS], scores(4)),
        step("softmax", "softmax", [ROWS], scores(4)),
        step("copy", "", [ROWS], scores(4)),
    ],
    ids=lambda made: made[1],
)
def test_sparse_rows_are_no_matrix(made):
    tensors = {"panels": np.zeros((1, 4, 16), np.float32)}
    refused(made, tensors=tensors, sparse=True, n_scores=4, match="reads sparse rows as a matrix")


TWO = ("rows", 0, 0, 0, 2)
ONE = ("rows", 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (step("copy", "", [TWO, TWO]), "has 2 inputs, and 1 are needed"),
        (step("where", "", [TWO]), "has 1 inputs, and 3 are needed"),
        (step("copy"), "changes the number of columns"),
        (step("activate", "relu"), "changes the number of columns"),
        (step("activate", "swish", [TWO]), "unknown activation, swish"),
        (step("activate", "prelu", [TWO]), "has no tensor slopes"),
        (step("unary", "abs"), "changes the number of columns"),
        (step("unary", "glow", [TWO]), "unknown function, glow"),
        (step("binary", "glow", [TWO, TWO]), "unknown function, glow"),
        (step("binary", "add", [TWO, ROWS]), "operands of different widths"),
        (step("binary", "add", [TWO, TWO, TWO]), "has 3 inputs, and 1 are needed"),
        (step("where", "", [TWO, TWO, ONE]), "operands of different widths"),
        (step("affine"), "changes the number of columns"),
        (step("normalize", "layer"), "changes the number of columns"),
        (step("normalize", "layer", [TWO], group=3.0), "groups that do not fit"),
        (step("normalize", "batch", [TWO]), "unknown function"),
        *(
            (step("normalize", "layer", [TWO], group=group), "group is not a whole number from 1")
            for group in (0.0, -1.0, 1.5, float("nan"), float("inf"), 2.0**31)
        ),
        (step("reduce", "glow"), "unknown function, glow"),
        (step("reduce", "sum", [("rows", 0, 0, 0, 3)]), "groups that do not fit"),
        (step("reduce", "sum", [ONE]), "groups that do not fit"),
        (step("softmax", "softmax"), "changes the number of columns"),
        (step("softmax", "softmax", [TWO], group=3.0), "groups that do not fit"),
        (step("softmax", "softmax", [TWO, TWO]), "lengths that do not fit"),
        (step("softmax", "log_softmax", [TWO, ONE]), "has 2 inputs, and 1 are needed"),
        (step("softmax", "hardmax", [TWO]), "unknown function"),
    ],
)
def test_steps_without_tensors(made, match):
    refused(made, match=match)


@pytest.mark.parametrize(
    ("table", "inputs"),
    [
        (np.zeros((3, 2), np.int32), [ONE]),
        (np.zeros(6, np.float32), [ONE]),
        (np.zeros((0, 2), np.float32), [ONE]),
        (np.zeros((3, 0), np.float32), [ONE]),
        (np.zeros((2, 3), np.float32), [ONE]),
        (np.zeros((3, 2), np.float32), [TWO]),
    ],
)
def test_embeddings(table, inputs):
    made = step("embedding", "", inputs, tensors=["table"])
    refused(made, tensors={"table": table}, match="a table that does not fit")


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        (np.zeros(2, np.float32), "an int32 column for each column"),
        (np.zeros(3, np.int32), "an int32 column for each column"),
        (np.array([0, 4], np.int32), "a column outside its input"),
        (np.array([-1, 0], np.int32), "a column outside its input"),
    ],
)
def test_columns(columns, match):
    refused(step("columns", tensors=["columns"]), tensors={"columns": columns}, match=match)


@pytest.mark.parametrize(
    ("left", "right", "count", "inner", "width", "match"),
    [
        (3, 4, 2, 1, 2, "fit its inputs"),
        (4, 3, 2, 1, 2, "fit its inputs"),
        (3, 2, 1, 2, 2, "fit its inputs"),
        (2, 3, 1, 2, 2, "fit its inputs"),
        (4, 4, 1, 2, 2, "fit its output"),
        (2, 2, 1, 2, 2, "fit its output"),
    ],
)
def test_products_of_small_matrices(left, right, count, inner, width, match):
    made = step(
        "batch_dot",
        "",
        [("rows", 0, 0, 0, left), ("rows", 0, 0, 0, right)],
        scores(width),
        count=float(count),
        inner=float(inner),
    )
    refused(made, match=match)


@pytest.mark.parametrize(
    ("panels", "match"),
    [
        (np.zeros((1, 4, 16), np.int32), "panels of integers of 32 bits"),
        (np.zeros((1, 3, 16), np.float32), "panels that do not fit"),
        (np.zeros((1, 4, 16, 4), np.int8), "panels that do not fit"),
    ],
)
def test_dense_layers(panels, match):
    made = step("dense", "identity", tensors=["panels"])
    refused(made, tensors={"panels": panels}, match=match)


@pytest.mark.parametrize(
    ("inputs", "output"),
    [
        (ROWS, ("slot", 1, 4, 0, 4)),
        (("slot", 0, 4, 0, 4), ("slot", 1, 4, 0, 2)),
        (("slot", 0, 3, 0, 3), ("slot", 1, 4, 0, 4)),
        (("slot", 0, 4, 0, 4), ("slot", 1, 3, 0, 3)),
    ],
)
def test_dense_layers_that_are_repeated(inputs, output):
    made = step("dense", "identity", [inputs], output, ["panels"], repeat=2.0)
    tensors = {"panels": np.zeros((1, 2, 16), np.float32)}
    refused(made, tensors=tensors, slots=[4, 4], match="repeated over rows that are not compact")


def test_a_dense_layer_of_too_many_inputs_for_8_bits():
    n_columns = 2**16 + 4
    made = step("dense", "identity", [("rows", 0, 0, 0, n_columns)], tensors=["panels"])
    panels = np.zeros((1, 2 + n_columns // 4, 16, 4), np.int8)
    refused(made, n_columns=n_columns, tensors={"panels": panels}, match="more inputs than")


WEIGHT = np.zeros((4, 2), np.float32)
MAP = np.zeros(4, np.int32)


@pytest.mark.parametrize(
    ("weight", "rows", "match"),
    [
        (WEIGHT.ravel(), MAP, "a weight that does not fit its output"),
        (WEIGHT.T.copy(), MAP, "a weight that does not fit its output"),
        (WEIGHT.astype(np.int8), MAP, "a weight that does not fit its output"),
        (WEIGHT[:3], None, "a weight without a row for each column"),
        (WEIGHT, MAP.astype(np.float32), "an int32 element for each column"),
        (WEIGHT, MAP[:3], "an int32 element for each column"),
        (WEIGHT, np.array([0, 1, -1, 4], np.int32), "leads past the weight"),
    ],
)
def test_sparse_layers(weight, rows, match):
    tensors = {"weight": weight, **({} if rows is None else {"row_of_column": rows})}
    made = step("sparse", "identity", tensors=tensors)
    refused(made, tensors=tensors, sparse=True, match=match)


def test_sparse_steps_on_dense_rows():
    made = step("sparse", "identity", tensors=["weight"])
    refused(made, tensors={"weight": WEIGHT}, match="not the sparse rows")
    other = step("sparse", "identity", [("further", 0, 0, 0, 4)], tensors=["weight"])
    changes = {"tensors": {"weight": WEIGHT}, "sparse": True, "further": [("more", 4)]}
    refused(other, **changes, match="not the sparse rows")
    written = step("written_out", "", output=scores(4))
    refused(written, n_scores=4, match="not the sparse rows")
    refused(step("written_out"), sparse=True, match="changes the number of columns")
    refused(
        step("written_out", "", [("further", 0, 0, 0, 4)], scores(4)),
        sparse=True,
        further=[("more", 4)],
        n_scores=4,
        match="not the sparse rows",
    )

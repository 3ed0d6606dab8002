from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.models import expected_scores as reference_scores
from support.models import retail, rows_for, saved
from support.networks import factorization_machine, propensity, wide_and_deep
from support.operator_networks import MAKERS, N_FEATURES, WIDTH, Bench
from support.transactions import random_table

import fastprop
from fastprop.bench.inputs import read_rows, retail_rows
from fastprop.bench.network import random_network
from fastprop.bench.oracle import (
    WrongAnswerError,
    check_scores,
    check_top_k,
)
from fastprop.bench.plain import PlainNetwork, plain_network
from fastprop.bench.roofline import floor_seconds, product_shapes, row_work
from fastprop.bench.settings import WORKLOADS, BenchSettings, MeasureSettings, WorkloadSettings
from fastprop.bench.workload import longest_row, prepare_workload, random_rows, read_expected
from fastprop.errors import InvalidInputError
from fastprop.verify.oracle import expected_scores

TINY = WorkloadSettings(
    "tiny", n_features=500, nonzeros=20, hidden=(16, 8), categories=30, n_rows=64
)


def test_rows_are_sorted_distinct_and_reproducible():
    rows, again = random_rows(TINY), random_rows(TINY)
    assert rows.shape == (64, 500)
    assert np.diff(rows.indptr).tolist() == [20] * 64
    for begin, end in zip(rows.indptr[:-1], rows.indptr[1:]):
        columns = rows.indices[begin:end]
        assert (np.diff(columns) > 0).all()
        assert columns[0] >= 0
        assert columns[-1] < 500
    np.testing.assert_array_equal(rows.indices, again.indices)
    np.testing.assert_array_equal(rows.data, again.data)
    assert (random_rows(replace(TINY, seed=1)).indices != rows.indices).any()


def test_skew_makes_low_columns_popular():
    many = replace(TINY, n_features=100_000, n_rows=200)
    uniform = random_rows(replace(many, skew=1.0)).indices
    skewed = random_rows(replace(many, skew=3.0)).indices
    # The median column is at n / 2 without skew, and at n / 8 with u ** 3.
    assert np.median(uniform) == pytest.approx(50_000, rel=0.1)
    assert np.median(skewed) == pytest.approx(12_500, rel=0.15)


def test_ragged_rows_have_the_mean_that_is_asked_for():
    rows = random_rows(replace(TINY, n_features=50_000, nonzeros=60, ragged=True, n_rows=4000))
    counts = np.diff(rows.indptr)
    assert counts.min() >= 1
    assert counts.mean() == pytest.approx(60, rel=0.1)
    assert counts.std() > 30


def test_a_dense_row_is_possible():
    rows = random_rows(replace(TINY, nonzeros=500, n_rows=2))
    assert rows.indices.tolist() == [*range(500)] * 2


def test_the_reference_workload_is_the_documented_one():
    reference = WORKLOADS["reference"]
    assert (reference.n_features, reference.nonzeros, reference.skew) == (300_000, 200, 3.0)
    assert (reference.hidden, reference.categories) == ((256, 128), 3000)
    assert WORKLOADS["wide"].n_features == 1_000_000
    assert WORKLOADS["many"].categories == 10_000


@pytest.mark.parametrize(
    "change",
    [
        *({"nonzeros": given} for given in (501, None, 2.5)),
        *({"n_rows": given} for given in (0, "8", 10**30)),
        *({"skew": given} for given in (0.0, float("nan"), float("inf"), "3", 11)),
        *({"hidden": given} for given in ((), None, 5, (0,), (2**31 - 1, 2**31 - 1))),
        {"categories": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(change):
    with pytest.raises(InvalidInputError):
        replace(TINY, **change)


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        (BenchSettings, {"threads": ()}, "threads: at least one"),
        (BenchSettings, {"threads": (2, 0)}, r"threads\[1\] is 0, and 1 to"),
        (BenchSettings, {"batch_size": 0}, "batch_size is 0, and 1 to"),
        (BenchSettings, {"precisions": ("bfloat8",)}, "'bfloat8' is none of float32"),
        (MeasureSettings, {"max_windows": 2}, "max_windows: 2 must be at least 3"),
        (MeasureSettings, {"agreement": 0.0}, r"agreement: 0\.0 must be positive"),
        (MeasureSettings, {"repetitions": 0}, "repetitions is 0, and 1 to"),
    ],
)
def test_further_settings_are_checked(kind, change, reason):
    with pytest.raises(InvalidInputError, match=reason):
        kind(**change)


def test_settings_of_other_types_are_refused():
    for name in ("threads", "batch_sizes", "batch_size"):
        for given in (None, "1", (None,), 0, float("nan")):
            with pytest.raises(InvalidInputError, match=name):
                BenchSettings(**{name: given})
    for name in ("window_seconds", "time_limit", "repetitions", "max_windows"):
        for given in ("1", 0, float("nan"), float("inf"), [1]):
            with pytest.raises(InvalidInputError, match=name):
                MeasureSettings(**{name: given})


def test_a_workload_on_disk_holds_model_rows_and_scores():
    with prepare_workload(TINY) as workload:
        model, rows = workload.load_model(), workload.load_rows()
        assert (model.n_features, model.n_labels) == (500, 30)
        assert workload.layers == (16, 8, 30)
        assert workload.nonzeros == 64 * 20
        assert (rows.indices.dtype, rows.data.dtype) == (np.int32, np.float32)
        # By hand: two layers, then the first column of a softmax over two.
        values = random_network(TINY).arguments
        dense = np.zeros((64, 500))
        dense[np.repeat(np.arange(64), 20), rows.indices] = rows.data
        hidden = np.maximum(dense @ values["weight"].data + values["bias"], 0)
        hidden = np.maximum(hidden @ values["hidden2_weight"].T + values["hidden2_bias"], 0)
        logits = hidden @ values["label_3_weight"].T + values["label_3_bias"]
        by_hand = np.exp(logits[:, 0]) / np.exp(logits).sum(axis=1)
        expected = read_expected(workload)
        assert expected.shape == (64, 30)
        np.testing.assert_allclose(expected[:, 3], by_hand, rtol=0, atol=1e-9)
        assert expected.std() > 0.05
        folder = workload.rows_directory
    with pytest.raises(FileNotFoundError):
        np.load(f"{folder}/data.npy")


def test_the_oracle_leaves_out_only_what_does_not_matter(tmp_path):
    for name, network in (
        ("partial", propensity(np.random.default_rng(0), weight="partial", n_heads=4)),
        ("machine", factorization_machine(np.random.default_rng(0))),
    ):
        model = saved(tmp_path / name, network)
        rows = rows_for(model, 9)
        feeds = {model.inputs[0].name: rows}
        np.testing.assert_allclose(
            expected_scores(model, rows), reference_scores(model, feeds), rtol=1e-12
        )


def plain_scores(plain, rows):
    dense = np.zeros(rows.shape)
    np.add.at(
        dense, (np.repeat(np.arange(len(dense)), np.diff(rows.indptr)), rows.indices), rows.data
    )
    values = dense @ plain.sparse.weight
    for number, layer in enumerate((plain.sparse, *plain.dense)):
        values = (values @ layer.weight.T if number else values) + layer.bias
        values = {
            "": lambda x: x,
            "relu": lambda x: np.maximum(x, 0),
            "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
            "tanh": np.tanh,
        }[layer.activation](values)
    return values


CHAINS = {
    "a layer without bias, then tanh": lambda made: made.op(
        "tanh", made.layer("fc", made.hidden(), WIDTH, 5, bias=False)
    ),
    "a layer alone": lambda made: made.layer("fc", made.op("relu", made.hidden()), WIDTH, 5),
    "a sparse layer alone": lambda made: made.op("sigmoid", made.hidden(5)),
    "a regression": lambda made: made.labelled(
        "LinearRegressionOutput", made.layer("fc", made.hidden(), WIDTH, 5), "head"
    ),
    "a bias that is added": lambda made: made.layer(
        "fc", made.op("broadcast_add", made.hidden(), made.values_of((1, WIDTH))), WIDTH, 5
    ),
}


@pytest.mark.parametrize("name", ["fused heads", *CHAINS])
def test_a_plain_network_computes_the_same(tmp_path, name):
    if name == "fused heads":
        model = retail(tmp_path, hidden=(16, 8), weight="partial")
    else:
        made = Bench(np.random.default_rng(0))
        model = saved(tmp_path, made.network([CHAINS[name](made)]))
    plain = plain_network(model)
    assert isinstance(plain, PlainNetwork)
    alone = name == "a sparse layer alone"
    assert plain.widths == ((16, 8, 7) if name == "fused heads" else (5,) if alone else (WIDTH, 5))
    rows = rows_for(model, 5)
    check_scores(plain_scores(plain, rows), expected_scores(model, rows), 1e-5)


def test_the_longest_row_sets_the_scale():
    rows = fastprop.CSR(
        np.array([2, 4, 4, 5]),
        np.array([9, 9, 0, 1, 0]),
        np.array([9.0, 9.0, 3.0, 4.0, 2.0]),
        (3, 500),
    )
    assert longest_row(rows) == 5.0
    plain, scaled = random_network(TINY), random_network(TINY, longest=20**0.5 * 1.5)
    np.testing.assert_allclose(
        scaled.arguments["weight"].data * 3, plain.arguments["weight"].data, rtol=1e-6
    )


OTHERS = {
    "softmax": (lambda made: made.op("softmax", made.hidden()), r"'softmax_\d+' \(softmax\)"),
    "a sum of two": (
        lambda made: made.op("elemwise_add", made.hidden(), made.hidden()),
        r"\(elemwise_add\)",
    ),
    "rows times a number": (MAKERS["rows times a number"], r"\(dot\)"),
    "a weight on its side": (
        lambda made: made.op("dot", made.rows, made.values_of((5, N_FEATURES)), transpose_b=True),
        r"\(dot\)",
    ),
    "a weight that depends on the rows": (
        lambda made: made.op("batch_dot", made.shaped(4, 6), made.shaped(6, 4)),
        r"\(batch_dot\)",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_are_named_as_such(tmp_path, name):
    make, reason = OTHERS[name]
    made = Bench(np.random.default_rng(0))
    found = plain_network(saved(tmp_path, made.network([make(made)])))
    assert isinstance(found, str)
    assert re.search(f"the network is not a chain of layers: node .*{reason}", found)


def test_heads_that_cannot_be_fused_are_counted(tmp_path):
    made = Bench(np.random.default_rng(0))
    model = saved(tmp_path, made.network([made.hidden(3), made.shaped(4, 6)]))
    assert plain_network(model) == "the network has 2 heads that cannot be fused"
    rows = rows_for(model, 3)
    with prepare_workload(model=model, rows=rows, name="mine") as workload:
        assert workload.name == "mine"
        assert workload.layers == ()
        assert row_work(workload) is None
        assert f"layers of its own kind ({model.n_labels} scores), 3 rows" in workload.description


def test_a_wrong_score_is_named_with_its_place():
    right = np.full((3, 4), 0.5)
    wrong = right.astype(np.float32)
    assert check_scores(wrong, right, 2e-6) == 0
    wrong[1, 2] += 3e-6
    with pytest.raises(WrongAnswerError, match="row 1, column 2"):
        check_scores(wrong, right, 2e-6)
    wrong[1, 2] = np.nan
    with pytest.raises(WrongAnswerError, match="row 1, column 2"):
        check_scores(wrong, right, 2e-6)
    with pytest.raises(WrongAnswerError, match="shape"):
        check_scores(wrong[:2], right, 2e-6)


def test_top_k_may_swap_equals_but_nothing_else():
    expected = np.array([[0.9, 0.1, 0.5, 0.5 + 1e-9]])
    scores = np.array([[0.9, 0.5]], np.float32)
    assert check_top_k(np.array([[0, 2]]), scores, expected, 2e-6) < 1e-6
    assert check_top_k(np.array([[0, 3]]), scores, expected, 2e-6) < 1e-6
    for indices in ([[0, 1]], [[0, 0]], [[0, -1]], [[2, 0]]):
        with pytest.raises(WrongAnswerError):
            check_top_k(np.array(indices), scores, expected, 2e-6)
    with pytest.raises(WrongAnswerError):
        check_top_k(np.array([[0, 2]]), scores + np.float32(1e-5), expected, 2e-6)


def test_models_with_further_inputs_are_refused(tmp_path):
    model = saved(tmp_path, wide_and_deep(np.random.default_rng(0)))
    with (
        pytest.raises(InvalidInputError, match="sparse rows only"),
        prepare_workload(model=model, rows=rows_for(model, 3)),
    ):
        pass


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "neither settings nor a model"),
        ({"model": True}, "a model of your own needs rows"),
        ({"model": True, "rows": (1, 10)}, "10 columns, and model model takes 200"),
        ({"model": True, "rows": (0, 200)}, "there is no row to score"),
    ],
)
def test_workloads_that_cannot_be_are_refused(tmp_path, given, reason):
    made = {}
    if "model" in given:
        made["model"] = retail(tmp_path)
    if "rows" in given:
        made["rows"] = fastprop.CSR(np.zeros(given["rows"][0] + 1, int), [], [], given["rows"])
    with pytest.raises(InvalidInputError, match=reason), prepare_workload(**made):
        pass


def test_transactions_become_a_workload(tmp_path):
    names = ["CustomerID", "StockCode", "InvoiceDate", "Quantity", "UnitPrice", "InvoiceNo"]
    lines = random_table(0)
    lines = lines.select(
        ["customer_id", "item", "time", "quantity", "price", "order", "country"]
    ).rename_columns([*names, "Country"])
    pq.write_table(lines, tmp_path / "retail.parquet")
    rows, n_labels = retail_rows(str(tmp_path / "retail.parquet"), 1000)
    assert 30 <= rows.shape[0] <= 40  # a row a customer
    assert 0 < n_labels <= 25
    few, _ = retail_rows(str(tmp_path / "retail.parquet"), 7)
    assert few.shape == (7, rows.shape[1])
    np.testing.assert_array_equal(few.indices, rows.indices[: few.indptr[-1]])


def test_rows_come_from_files_as_far_as_they_are_wanted(tmp_path):
    model = retail(tmp_path / "model")
    path = tmp_path / "rows.svmlight"
    path.write_text("".join(f"0 {n}:1.5 {n + 50}:2\n" for n in range(20)))
    rows = read_rows(model, [str(path), str(path)], 30)
    assert rows.shape == (30, 200)
    assert rows.indptr.tolist() == list(range(0, 62, 2))
    assert rows.indices[40:44].tolist() == [0, 50, 1, 51]


def test_the_work_of_a_row_is_counted():
    with prepare_workload(TINY) as workload:
        work = row_work(workload)
        assert work is not None
        assert product_shapes(workload, 512)[:2] == [(512, 16, 8), (512, 8, 30)]
    assert work.gathered_bytes == 20 * 16 * 4
    assert work.written_bytes == 30 * 4
    assert work.operations == 2 * (20 * 16 + 16 * 8 + 8 * 30)
    limits = {"gather": 2.0, "product": 50.0, "fill": 1.0}
    assert floor_seconds(work, limits) == pytest.approx(
        20 * 16 * 4 / 2e9 + 2 * (16 * 8 + 8 * 30) / 50e9 + 120 / 1e9
    )

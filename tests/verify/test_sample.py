from __future__ import annotations

import numpy as np
import pytest
from support.models import retail, rows_for, saved
from support.networks import FACTORIES

from fastprop.verify import VerifySettings
from fastprop.verify.sample import EDGE_CASES, make_sample

SETTINGS = VerifySettings(random_rows=12, seed=3)


def row(sample, name):
    number = sample.n_given + sample.n_random + sample.edges.index(name)
    assert sample.describe(number) == f"edge case: {name}"
    begin, end = sample.rows.indptr[number : number + 2]
    return sample.rows.indices[begin:end], sample.rows.data[begin:end]


@pytest.mark.parametrize("n_features", [1, 2, 200, 9000])
def test_edge_cases_are_what_they_say(tmp_path, n_features):
    model = retail(tmp_path, n_features=n_features)
    sample = make_sample(model, SETTINGS)
    assert sample.n_rows % 2 == 1
    assert set(sample.edges) == set(EDGE_CASES)
    assert sample.rows.indices.min() >= 0
    assert sample.rows.indices.max() < n_features
    assert len(row(sample, "empty row")[0]) == 0
    assert len(row(sample, "one non-zero")[0]) == 1
    assert row(sample, "first column")[0].tolist() == [0]
    assert row(sample, "last column")[0].tolist() == [n_features - 1]
    assert len(row(sample, "many non-zeros")[0]) == min(4096, n_features)
    assert not row(sample, "stored zeros")[1].any()
    assert (row(sample, "negative values")[1] < 0).all()
    columns = row(sample, "duplicate columns")[0]
    assert len(set(columns)) == len(columns) / 2
    columns, values = row(sample, "duplicates that cancel")
    assert values.sum() == pytest.approx(0, abs=1e-5)
    columns, _ = row(sample, "unsorted columns")
    assert len(columns) == 1 or (np.diff(columns) < 0).all()


def test_the_seed_decides(tmp_path):
    model = retail(tmp_path)
    one, same = make_sample(model, SETTINGS), make_sample(model, SETTINGS)
    np.testing.assert_array_equal(one.rows.indices, same.rows.indices)
    np.testing.assert_array_equal(one.rows.data, same.rows.data)
    other = make_sample(model, VerifySettings(random_rows=12, seed=4))
    assert one.rows.data[:20].tolist() != other.rows.data[:20].tolist()


def test_made_up_rows_are_like_those_given(tmp_path):
    model = retail(tmp_path)
    given = rows_for(model, 50)
    sample = make_sample(model, SETTINGS, given)
    assert sample.n_given == 50
    assert sample.describe(49) == "given row 49"
    assert sample.describe(50) == "random row 0"
    made, _ = sample.part(50, 62)
    assert set(np.diff(made.indptr)) <= set(np.diff(given.indptr))
    assert set(made.data) <= set(given.data)
    first, _ = sample.part(0, 50)
    np.testing.assert_array_equal(first.indptr, given.indptr)
    np.testing.assert_array_equal(first.indices, given.indices)


def test_inputs_that_name_categories_get_numbers_of_categories(tmp_path):
    wide = saved(tmp_path / "a", FACTORIES["wide-and-deep"](np.random.default_rng(0)))
    values = make_sample(wide, SETTINGS).inputs["dns_data"]
    assert set(values.ravel()) == {0, 1, 2, 3, 4}
    assert len(values) % 2 == 1
    table = saved(tmp_path / "b", FACTORIES["embedding"](np.random.default_rng(0)))
    rows = make_sample(table, SETTINGS).rows
    assert set(rows.ravel()) <= set(range(20))
    towers = saved(tmp_path / "c", FACTORIES["towers"](np.random.default_rng(0)))
    assert (make_sample(towers, SETTINGS).inputs["profile"] < 0).any()

from __future__ import annotations

import numpy as np
import pytest

from fastprop.demo.ranking import compare_rankings, pick_customer
from fastprop.errors import InvalidInputError
from fastprop.features import FeatureDictionary, FeatureSettings, SparseRows
from fastprop.features.sparse import empty_csr, from_pairs

DICTIONARY = FeatureDictionary(
    settings=FeatureSettings(
        bought=False, half_lives_days=(), spend=False, windows_days=(), customer=False
    ),
    items=("a", "b", "c", "d"),
    categories=(),
    attributes=(),
    periods=(),
    has_categories=False,
    label_level="item",
    labels=("a", "b", "c", "d"),
)
BOUGHT = np.array([[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]])
BEFORE = np.array([[0, 0, 2, 0], [0, 3, 0, 0], [1, 1, 1, 1], [0, 0, 1, 4]])
SCORES = np.array(
    [[0.1, 0.8, 0.9, 0.2], [0.3, 0.5, 0.1, 0.1], [0.9, 0.9, 0.9, 0.9], [0.9, 0.1, 0.2, 0.3]],
    np.float32,
)
POPULARITY = np.array([5.0, 1, 2, 3])


def rows():
    row, label = np.nonzero(BOUGHT)
    labels = from_pairs(row, label, np.zeros(len(row)), shape=(4, 4))
    row, item = np.nonzero(BEFORE)
    features = from_pairs(row, item, np.log1p(BEFORE[row, item]), shape=(4, 4))
    return SparseRows(np.array([10, 20, 30, 40]), features, labels)


def test_precision_by_hand():
    evaluated, found = compare_rankings(
        SCORES, rows(), DICTIONARY, POPULARITY, k=2, ideal=BOUGHT.astype(float)
    )
    assert evaluated == 3  # the third bought nothing
    by_name = {row.name: row for row in found}
    assert by_name["model"].precision == pytest.approx((2 + 1 + 1) / 6)
    assert by_name["own past purchases"].precision == pytest.approx((1 + 1 + 2) / 6)
    assert by_name["popularity"].precision == pytest.approx((0 + 1 + 1) / 6)
    assert by_name["ideal: the shop's own expectation"].precision == pytest.approx(5 / 6)
    assert by_name["model"].lift == pytest.approx(2.0)
    each = np.array([1, 0.5, 0.5])
    assert by_name["model"].standard_error == pytest.approx(each.std() / np.sqrt(3))


def test_a_typical_customer_is_shown():
    view = pick_customer(SCORES, rows(), DICTIONARY, k=2, descriptions={"d": "a thing"})
    assert view.customer_id == "40"  # 20 has the same precision and less history
    assert [(line.label, line.lines_before, line.bought) for line in view.top] == [
        ("a", 0, False), ("d", 4, True),
    ]  # fmt: skip
    assert [line.description for line in view.top] == ["", "a thing"]
    assert view.top[1].score == pytest.approx(0.3)


def test_nobody_to_evaluate():
    some = rows()
    nothing = SparseRows(some.customer_ids, some.features, empty_csr(4, 4))
    with pytest.raises(InvalidInputError, match="no held-out customer"):
        compare_rankings(SCORES, nothing, DICTIONARY, POPULARITY, k=2)
    with pytest.raises(InvalidInputError, match="no labels"):
        compare_rankings(
            SCORES, SparseRows(some.customer_ids, some.features), DICTIONARY, POPULARITY, k=2
        )

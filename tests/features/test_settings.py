from __future__ import annotations

import numpy as np
import pytest

from fastprop.errors import DTypeError, InvalidInputError
from fastprop.features import FeatureSettings, LabelSettings, TransactionColumns


def test_measures_follow_the_settings():
    settings = FeatureSettings(half_lives_days=(7.0, 90.5), windows_days=(30, 90))
    assert settings.measures == (
        "bought", "count", "recent7", "recent90.5", "spend", "days0-30", "days30-90",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"half_lives_days": (0.0,)}, "half_lives_days"),
        ({"half_lives_days": (float("nan"),)}, "half_lives_days"),
        ({"windows_days": (28, 28)}, "windows_days"),
        ({"windows_days": (0,)}, "windows_days"),
        ({"min_customers": 0}, "min_customers"),
        ({"hash_width": 2}, "hash_width"),
        ({"hash_width": 10**30}, "hash_width is 10{9,}, and 1 to"),
        ({"hash_width": "8"}, "hash_width is '8', and a whole number"),
        ({"half_lives_days": None}, "half_lives_days is None, and a tuple of numbers"),
        ({"half_lives_days": (30.0, None)}, r"half_lives_days\[1\] is None, and a number"),
        ({"half_lives_days": (float("inf"),)}, r"half_lives_days\[0\] is inf, and a finite"),
        ({"windows_days": 28}, "windows_days is 28, and a tuple of whole numbers"),
        ({"windows_days": (28, 84.5)}, r"windows_days\[1\] is 84.5, and a whole number"),
        ({"min_customers": None}, "min_customers is None"),
        ({"bought": np.array([True, False])}, "bought is array"),
        ({"spend": "no"}, "spend is 'no', and True or False"),
        (
            {"bought": False, "counts": False, "spend": False, "half_lives_days": (),
             "windows_days": ()},
            "switched off",
        ),
    ],
)  # fmt: skip
def test_bad_feature_settings_are_named(options, named):
    with pytest.raises(InvalidInputError, match=named):
        FeatureSettings(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"level": "shop"},
        {"level": np.array(["item", "category"])},
        {"horizon_days": 0},
        {"horizon_days": 10**30},
        {"cutoffs": 0},
        {"cutoffs": 10**30},
        {"step_days": -1},
        {"max_labels": None},
        {"min_customers": 1.5},
    ],
)
def test_bad_label_settings_are_named(options):
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        LabelSettings(**options)


@pytest.mark.parametrize(
    "options",
    [{"customer": None}, {"item": 5}, {"price": b"price"}, {"attributes": "country"},
     {"attributes": (None,)}],
)  # fmt: skip
def test_columns_have_names(options):
    with pytest.raises(DTypeError, match=next(iter(options))):
        TransactionColumns(**options)


def test_each_column_is_read_once():
    columns = TransactionColumns(category="item", attributes=("country", "customer_id"))
    assert columns.names == ["customer_id", "item", "time", "country"]

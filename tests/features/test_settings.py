from __future__ import annotations

import pytest

from fastprop.errors import InvalidInputError
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
    "options", [{"level": "shop"}, {"horizon_days": 0}, {"cutoffs": 0}, {"step_days": -1}]
)
def test_bad_label_settings_are_named(options):
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        LabelSettings(**options)


def test_each_column_is_read_once():
    columns = TransactionColumns(category="item", attributes=("country", "customer_id"))
    assert columns.names == ["customer_id", "item", "time", "country"]

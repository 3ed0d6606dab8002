from __future__ import annotations

import numpy as np
import pytest

from fastprop.demo.population import PopulationSettings, make_population
from fastprop.errors import InvalidInputError

SMALL = PopulationSettings(
    customers=1500, items=40, categories=8, segments=3, weeks=30, lines_a_week=3.0, seed=5
)


@pytest.fixture(scope="module")
def shop():
    return make_population(SMALL)


def test_the_seed_decides(shop):
    assert make_population(SMALL).table.equals(shop.table)
    other = make_population(PopulationSettings(**{**vars(SMALL), "seed": 6}))
    assert not other.table.equals(shop.table)


def test_the_table_is_what_its_columns_say(shop):
    assert set(shop.columns.names) == set(shop.table.column_names)
    time = shop.table["time"].to_numpy()
    assert (np.diff(time) >= np.timedelta64(0)).all()
    days = (time.max() - time.min()) / np.timedelta64(1, "D")
    assert 200 < days < 30 * 7
    assert shop.table.num_rows == pytest.approx(1500 * 30 * 3.0, rel=0.1)
    assert set(shop.table["item"].to_pylist()) <= set(shop.item_names)
    pairs = set(zip(shop.table["item"].to_pylist(), shop.table["category"].to_pylist()))
    assert len(pairs) == len({item for item, _ in pairs})


def test_what_is_expected_is_what_happens(shop):
    time = shop.table["time"].to_numpy()
    start = np.datetime64("2024-01-01", "us") + np.timedelta64(26 * 7, "D")
    last = shop.table.filter(time >= start)
    number = {name: i for i, name in enumerate(shop.item_names)}
    bought = np.zeros_like(shop.expected)
    items = [number[name] for name in last["item"].to_pylist()]
    np.add.at(bought, (last["customer_id"].to_numpy() - 1, items), 1)
    assert bought.sum() == pytest.approx(shop.expected.sum(), rel=0.03)
    by_item = shop.expected.sum(axis=0)
    np.testing.assert_allclose(bought.sum(axis=0), by_item, rtol=0.25, atol=60)
    # Calibrated: among pairs of about the same expectation, about as much is bought. The lowest
    # are left out: the companions of what the period itself sells are not foreseen.
    order = np.argsort(shop.expected, axis=None)
    for group in np.array_split(order, 20)[-4:]:
        wanted = shop.expected.ravel()[group].sum()
        assert bought.ravel()[group].sum() == pytest.approx(wanted, rel=0.25)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"items": 41}, "items"),
        ({"items": 4}, "items"),
        ({"favourite_share": 0.8, "companion_share": 0.5}, "favourite_share"),
        ({"customers": 0}, "customers"),
        ({"weeks": 4}, "weeks"),
    ],
)
def test_bad_settings_are_named(options, named):
    with pytest.raises(InvalidInputError, match=named):
        PopulationSettings(**{**vars(SMALL), **options})

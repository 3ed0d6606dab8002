from __future__ import annotations

from math import log1p

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.transactions import COLUMNS, random_table

from fastprop.errors import InvalidInputError
from fastprop.features import (
    Extractor,
    FeatureSettings,
    LabelSettings,
    Transactions,
    fit_dictionary,
)
from fastprop.features.sparse import to_dense

CUTOFF = np.datetime64("2024-05-10T00:00:00", "us")
FEATURES = FeatureSettings(half_lives_days=(20.0,), windows_days=(10, 60), min_customers=3)
LABELS = LabelSettings(horizon_days=30, min_customers=2, cutoffs=1)


def make(lines, features=FEATURES, labels=LABELS):
    transactions = Transactions.from_table(lines, COLUMNS)
    dictionary = fit_dictionary([transactions], features=features, labels=labels, cutoffs=[CUTOFF])
    return transactions, dictionary


def plain_features(lines, dictionary, customer, cutoff):
    """The features of one customer, line by line, as the documentation words them."""
    mine = [
        line
        for line in lines.to_pylist()
        if line["customer_id"] == customer and np.datetime64(line["time"], "us") < cutoff
    ]
    cancelled = [line for line in mine if line["quantity"] < 0 or line["order"].startswith("C")]
    bought = [line for line in mine if line not in cancelled and line["price"] > 0]
    found = dict.fromkeys(dictionary.names(), 0.0)

    def age(line):
        return (cutoff - np.datetime64(line["time"], "us")) / np.timedelta64(1, "D")

    for level, known in (("item", dictionary.items), ("category", dictionary.categories)):
        for name in {line[level] for line in bought} & set(known):
            own = [line for line in bought if line[level] == name]
            spend = sum(line["quantity"] * line["price"] for line in own)
            values = {
                "bought": 1.0,
                "count": log1p(len(own)),
                "recent20": sum(2 ** (-age(line) / 20) for line in own),
                "spend": 0.2 * log1p(spend),
                "days0-10": log1p(sum(age(line) <= 10 for line in own)),
                "days10-60": log1p(sum(10 < age(line) <= 60 for line in own)),
            }
            found.update({f"{level}:{name}:{measure}": v for measure, v in values.items()})
    spend = sum(line["quantity"] * line["price"] for line in bought)
    found["customer:known"] = 1.0
    found["customer:recency"] = 2 ** (-min(map(age, bought)) / 90)
    found["customer:orders"] = 0.25 * log1p(len({line["order"] for line in bought}))
    found["customer:lines"] = 0.25 * log1p(len(bought))
    found["customer:spend"] = 0.25 * log1p(spend)
    found["customer:cancellations"] = 0.25 * log1p(len(cancelled))
    latest = max(line["time"] for line in bought)
    countries = {line["country"] for line in bought if line["time"] == latest}
    return found, countries


@pytest.mark.parametrize("seed", range(3))
def test_features_are_what_the_documentation_says(seed):
    lines = random_table(seed)
    transactions, dictionary = make(lines)
    rows, report = Extractor(transactions, dictionary).features(CUTOFF)
    names = dictionary.names()
    assert report.customers == len(rows) > 20
    for row, customer in zip(to_dense(rows.features), rows.customer_ids):
        expected, countries = plain_features(lines, dictionary, customer, CUTOFF)
        found = dict(zip(names, row))
        marked = {name for name in names if name.startswith("country=") and found.pop(name)}
        assert marked <= {f"country={country}" for country in countries}
        assert len(marked) == 1
        for name, value in found.items():
            assert value == pytest.approx(expected[name], rel=1e-5, abs=1e-6), name


def test_columns_ascend_and_are_sparse():
    transactions, dictionary = make(random_table(5))
    rows, _ = Extractor(transactions, dictionary).features(CUTOFF)
    for start, end in zip(rows.features.indptr, rows.features.indptr[1:]):
        assert (np.diff(rows.features.indices[start:end]) > 0).all()
    assert (rows.features.data != 0).all()


def future_lines(lines, seed):
    """The same past, and another future: other items, quantities, prices, customers, orders."""
    generator = np.random.default_rng(seed)
    past = lines.filter(pa.array(lines["time"].to_numpy() < CUTOFF))
    future = random_table(seed + 100, lines=int(generator.integers(1, 400)), days=100)
    moved = future["time"].to_numpy() - np.datetime64("2024-01-01", "us") + CUTOFF
    future = future.set_column(future.column_names.index("time"), "time", pa.array(moved))
    for name in ("item", "category", "country"):
        other = pa.array([f"other {value}" for value in future[name].to_pylist()])
        future = future.set_column(future.column_names.index(name), name, other)
    return pa.concat_tables([past, future]), past


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_the_future_does_not_reach_a_feature(seed):
    lines = random_table(seed % 7)
    _, dictionary = make(lines)
    changed, past = future_lines(lines, seed)
    results = []
    for version in (lines, changed, past):
        transactions = Transactions.from_table(version, COLUMNS)
        results.append(Extractor(transactions, dictionary).features(CUTOFF))
    for rows, report in results[1:]:
        assert report == results[0][1]
        np.testing.assert_array_equal(rows.customer_ids, results[0][0].customer_ids)
        for part in ("indptr", "indices", "data"):
            np.testing.assert_array_equal(
                getattr(rows.features, part), getattr(results[0][0].features, part)
            )


def test_the_future_does_not_reach_the_columns():
    lines = random_table(1)
    changed, _ = future_lines(lines, 3)
    (_, one), (_, other) = make(lines), make(changed)
    assert one.items == other.items
    assert one.categories == other.categories
    assert one.attributes == other.attributes


@pytest.mark.parametrize("level", ["item", "category"])
def test_labels_are_the_purchases_of_the_period(level):
    lines = random_table(6)
    transactions, dictionary = make(
        lines, labels=LabelSettings(level=level, horizon_days=30, min_customers=2, cutoffs=1)
    )
    rows, _ = Extractor(transactions, dictionary).labelled(CUTOFF, horizon_days=30)
    end = CUTOFF + np.timedelta64(30, "D")
    truth = np.zeros((len(rows), len(dictionary.labels)), bool)
    truth[np.repeat(np.arange(len(rows)), np.diff(rows.labels.indptr)), rows.labels.indices] = True
    expected = np.zeros_like(truth)
    place = {customer: row for row, customer in enumerate(rows.customer_ids)}
    for line in lines.to_pylist():
        bought = line["quantity"] > 0 and line["price"] > 0 and not line["order"].startswith("C")
        inside = CUTOFF <= np.datetime64(line["time"], "us") < end
        if bought and inside and line["customer_id"] in place and line[level] in dictionary.labels:
            label = dictionary.labels.index(line[level])
            expected[place[line["customer_id"]], label] = True
    assert expected.any()
    np.testing.assert_array_equal(truth, expected)
    assert not rows.labels.data.any()


def test_the_cutoff_itself_belongs_to_the_labels():
    lines = random_table(0, lines=300)
    at_cutoff = lines.slice(0, 1).to_pylist()[0]
    at_cutoff.update(customer_id=3, item="item1", time=CUTOFF.item(), quantity=1, price=1.0)
    at_cutoff.update(order="x")
    lines = pa.concat_tables([lines, pa.Table.from_pylist([at_cutoff], schema=lines.schema)])
    transactions, dictionary = make(lines)
    rows, _ = Extractor(transactions, dictionary).labelled(CUTOFF, horizon_days=1)
    assert 3 in rows.customer_ids
    row = list(rows.customer_ids).index(3)
    start, end = rows.labels.indptr[row : row + 2]
    assert dictionary.labels.index("item1") in rows.labels.indices[start:end]


@pytest.mark.parametrize("width", [30, 61])
def test_hashed_features_are_sums_over_their_bucket(width):
    lines = random_table(2)
    hashed = FeatureSettings(
        half_lives_days=(20.0,), windows_days=(), spend=False, counts=False, bought=False,
        hash_width=width,
    )  # fmt: skip
    transactions, dictionary = make(lines, features=hashed)
    rows, report = Extractor(transactions, dictionary).features(CUTOFF)
    assert report.unseen_items == ()
    assert rows.features.shape[1] == dictionary.n_features
    listed = FeatureSettings(
        half_lives_days=(20.0,), windows_days=(), spend=False, counts=False, bought=False,
        min_customers=1,
    )  # fmt: skip
    _, plain = make(lines, features=listed)
    full = to_dense(Extractor(transactions, plain).features(CUTOFF)[0].features)
    expected = np.zeros((len(rows), width), np.float32)
    for level, names in (("item", plain.items), ("category", plain.categories)):
        bucket = dictionary.keys(level, np.array(names, dtype=object))
        for key in range(len(names)):
            expected[:, bucket[key]] += full[:, plain.start(level) + key]
    np.testing.assert_allclose(to_dense(rows.features)[:, :width], expected, rtol=1e-5, atol=1e-6)


def test_what_a_dictionary_does_not_know_is_reported():
    lines = random_table(1)
    _, dictionary = make(lines)
    names = lines["item"].to_pylist()
    renamed = ["brand new" if name == "item7" else name for name in names]
    lines = lines.set_column(lines.column_names.index("item"), "item", pa.array(renamed))
    countries = pa.array(["XX"] * len(lines))
    lines = lines.set_column(lines.column_names.index("country"), "country", countries)
    transactions = Transactions.from_table(lines, COLUMNS)
    rows, report = Extractor(transactions, dictionary).features(CUTOFF)
    assert report.unseen_items == ("brand new",)
    code = list(transactions.items.names).index("brand new")
    cutoff = CUTOFF.astype(np.int64)
    new = (transactions.items.codes == code) & (transactions.time < cutoff)
    assert report.unseen_item_lines == new.sum() > 0
    assert report.unseen_attribute_values == len(rows)
    merged = report + report
    assert merged.unseen_items == ("brand new",)
    assert merged.lines == 2 * report.lines


def test_moments_that_are_none():
    transactions, dictionary = make(random_table(1))
    extractor = Extractor(transactions, dictionary)
    for bad in ("soon", "NaT"):
        with pytest.raises(InvalidInputError, match=bad):
            extractor.features(bad)
    assert len(extractor.features("2023-01-01")[0]) == 0


def test_an_attribute_column_must_be_there():
    lines = random_table(1)
    _, dictionary = make(lines)
    columns = type(COLUMNS)(category="category", quantity="quantity", price="price", order="order")
    transactions = Transactions.from_table(lines, columns)
    with pytest.raises(InvalidInputError, match="no attribute column 'country'"):
        Extractor(transactions, dictionary).features(CUTOFF)

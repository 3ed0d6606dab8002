from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from support.transactions import COLUMNS, random_table

from fastprop.errors import DTypeError, InvalidInputError
from fastprop.features import TransactionColumns, Transactions, read_transactions


def table(**columns):
    base = {
        "customer_id": [1, 1, 2],
        "item": ["a", "b", "a"],
        "time": np.array(["2024-01-02", "2024-01-01", "2024-01-03"], "datetime64[us]"),
    }
    return pa.table({**base, **columns})


def assert_same(left, right):
    np.testing.assert_array_equal(left.customer_ids, right.customer_ids)
    for name in ("customer", "time", "spend", "opens_order", "cancelled_time"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    np.testing.assert_array_equal(left.items.names, right.items.names)
    np.testing.assert_array_equal(left.items.codes, right.items.codes)
    np.testing.assert_array_equal(
        left.attributes["country"].codes, right.attributes["country"].codes
    )
    assert left.report == right.report


def test_every_line_is_accounted_for():
    lines = pa.table(
        {
            "who": pa.array([1, None, 1, 2, 2, 2, 3, 3], pa.int64()),
            "what": ["a", "a", None, "a", "b", "b", "c", "c"],
            "when": pa.array([np.datetime64("2024-01-01", "us")] * 8),
            "quantity": [1, 1, 1, -1, 2, 0, 1, 1],
            "price": [1.0, 1.0, 1.0, 1.0, 2.0, 1.0, 0.0, None],
            "order": ["1", "1", "1", "2", "C3", "4", "5", "6"],
        }
    )
    columns = TransactionColumns(
        customer="who", item="what", time="when", quantity="quantity", price="price", order="order"
    )
    transactions = Transactions.from_table(lines, columns)
    report = transactions.report
    assert (report.lines, report.purchases) == (8, 1)
    assert (report.without_customer, report.without_item_or_time) == (1, 1)
    assert (report.cancellations, report.unpriced) == (2, 3)
    assert transactions.n_lines == 1
    assert list(transactions.customer_ids[transactions.cancelled_customer]) == [2, 2]
    assert (report + report).lines == 16


def test_lines_are_sorted_and_their_order_has_no_effect():
    lines = random_table(1)
    transactions = Transactions.from_table(lines, COLUMNS)
    key = transactions.customer.astype(np.int64) * 10**17 + transactions.time
    assert (np.diff(key) >= 0).all()
    shuffled = lines.take(np.random.default_rng(0).permutation(len(lines)))
    again = Transactions.from_table(shuffled, COLUMNS)
    np.testing.assert_array_equal(again.time, transactions.time)
    np.testing.assert_array_equal(again.items.codes, transactions.items.codes)
    np.testing.assert_array_equal(
        np.bincount(again.customer, again.opens_order),
        np.bincount(transactions.customer, transactions.opens_order),
    )


def test_an_order_opens_once():
    transactions = Transactions.from_table(random_table(2), COLUMNS)
    lines = random_table(2)
    kept = lines.filter(
        pc.and_(
            pc.and_(pc.is_valid(lines["customer_id"]), pc.greater(lines["quantity"], 0)),
            pc.and_(pc.invert(pc.starts_with(lines["order"], "C")), pc.greater(lines["price"], 0)),
        )
    )
    expected = len(set(zip(kept["customer_id"].to_pylist(), kept["order"].to_pylist())))
    assert transactions.opens_order.sum() == expected


def test_without_an_order_column_moments_are_orders():
    when = np.array(["2024-01-01"] * 2 + ["2024-01-02"], "datetime64[us]")
    transactions = Transactions.from_table(
        table(customer_id=[1, 1, 1], time=when), TransactionColumns()
    )
    assert transactions.opens_order.sum() == 2
    np.testing.assert_array_equal(transactions.spend, np.ones(3))


@pytest.mark.parametrize(
    "ids", [pa.array([3, 1, 2], pa.int16()), pa.array([3.0, 1.0, 2.0]), pa.array([3, 1, 2])]
)
def test_integer_customers(ids):
    transactions = Transactions.from_table(table(customer_id=ids), TransactionColumns())
    assert transactions.customer_ids.dtype == np.int64
    np.testing.assert_array_equal(transactions.customer_ids, [1, 2, 3])


def test_text_customers_and_times():
    lines = table(
        customer_id=["x", "y", "x"], time=["2024-01-01T10:00:00", "2024-01-01", "2024-02-29"]
    )
    transactions = Transactions.from_table(lines, TransactionColumns())
    assert list(transactions.customer_ids) == ["x", "y"]
    expected = np.array(["2024-01-01T10", "2024-02-29", "2024-01-01"], "datetime64[us]")
    np.testing.assert_array_equal(transactions.time, expected.astype(np.int64))


def test_times_with_a_zone_become_utc():
    when = pa.array([0, 1, 2], pa.timestamp("s", tz="Europe/Rome"))
    transactions = Transactions.from_table(table(time=when), TransactionColumns())
    assert sorted(transactions.time) == [0, 1_000_000, 2_000_000]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("customer_id", [1.5, 2.0, 3.0]),
        ("customer_id", [True, False, True]),
        ("item", [1.5, 2.5, 3.5]),
        ("time", [1, 2, 3]),
        ("time", ["yesterday", "today", "tomorrow"]),
    ],
)
def test_types_that_cannot_be_used(column, values):
    with pytest.raises(DTypeError, match=column):
        Transactions.from_table(table(**{column: values}), TransactionColumns())


def test_a_missing_column_is_named():
    with pytest.raises(InvalidInputError, match="no column 'shop'; there are customer_id"):
        Transactions.from_table(table(), TransactionColumns(category="shop"))
    with pytest.raises(InvalidInputError, match="no category column"):
        Transactions.from_table(table(), TransactionColumns()).level("category")


def test_parquet_and_csv_read_alike(tmp_path):
    lines = random_table(3)
    expected = Transactions.from_table(lines, COLUMNS)
    half = len(lines) // 2
    pq.write_table(lines.slice(0, half), tmp_path / "one.parquet", row_group_size=50)
    pq.write_table(lines.slice(half), tmp_path / "two.parquet")
    paths = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    assert_same(read_transactions(paths, COLUMNS), expected)
    pyarrow.csv.write_csv(lines, tmp_path / "lines.csv")
    assert_same(read_transactions(tmp_path / "lines.csv", COLUMNS), expected)


def test_unreadable_files_are_named(tmp_path):
    path = tmp_path / "lines.parquet"
    path.write_bytes(b"nothing")
    with pytest.raises(InvalidInputError, match=r"lines\.parquet"):
        read_transactions(path, COLUMNS)
    pq.write_table(pa.table({"customer_id": [1]}), path)
    with pytest.raises(InvalidInputError, match=r"lines\.parquet: no column 'item'"):
        read_transactions(path, COLUMNS)


def test_some_customers():
    transactions = Transactions.from_table(random_table(4), COLUMNS)
    chosen = np.arange(len(transactions.customer_ids)) % 3 == 0
    some = transactions.of_customers(chosen)
    np.testing.assert_array_equal(some.customer_ids, transactions.customer_ids[chosen])
    keep = chosen[transactions.customer]
    np.testing.assert_array_equal(
        some.items.names[some.items.codes],
        transactions.items.names[transactions.items.codes[keep]],
    )
    assert some.cancelled_customer.max(initial=-1) < len(some.customer_ids)

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.transactions import COLUMNS, random_table

from fastprop.errors import InvalidInputError
from fastprop.features import (
    FeatureDictionary,
    FeatureSettings,
    LabelSettings,
    SparseRows,
    TransactionFiles,
    Transactions,
    build_scoring_file,
    build_training_files,
    fit_dictionary,
    plan_cutoffs,
    read_rows,
    scoring_rows,
    training_rows,
)

LABELS = LabelSettings(horizon_days=20, min_customers=2, cutoffs=3, step_days=15, max_labels=9)
FEATURES = FeatureSettings(min_customers=2, windows_days=(30,))


def whole(path):
    return SparseRows.concatenate(list(read_rows(path)))


def by_customer(rows):
    """Rows in an order that partitions do not change."""
    order = np.lexsort((rows.cutoffs.astype(np.int64), rows.customer_ids))
    return rows.take(order)


def assert_same(left, right):
    np.testing.assert_array_equal(left.customer_ids, right.customer_ids)
    np.testing.assert_array_equal(left.cutoffs, right.cutoffs)
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(left.features, part), getattr(right.features, part))
        np.testing.assert_array_equal(getattr(left.labels, part), getattr(right.labels, part))


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.parquet"
    pq.write_table(random_table(11, lines=1500), path, row_group_size=200)
    return path


def test_cutoffs_end_with_the_data():
    transactions = Transactions.from_table(random_table(0), COLUMNS)
    cutoffs = plan_cutoffs([transactions], LABELS)
    assert len(cutoffs) == 3
    assert (np.diff(cutoffs) == np.timedelta64(15, "D")).all()
    last = np.datetime64(int(transactions.time.max()), "us")
    end = cutoffs[-1] + np.timedelta64(20, "D")
    assert np.timedelta64(0, "D") < end - last <= np.timedelta64(1, "D")
    given = plan_cutoffs([transactions], LABELS, last="2024-04-01T06:00")
    assert given[-1] == np.datetime64("2024-04-01T06:00")


def test_a_cutoff_before_all_purchases_is_refused():
    transactions = Transactions.from_table(random_table(0), COLUMNS)
    with pytest.raises(InvalidInputError, match="no purchase before it"):
        plan_cutoffs([transactions], LabelSettings(cutoffs=50))


@pytest.mark.parametrize("partitions", [1, 2, 7])
def test_partitions_change_nothing_but_the_order(tmp_path, lines, partitions):
    told = []
    dictionary, report = build_training_files(
        [lines], tmp_path / "out", columns=COLUMNS, features=FEATURES, labels=LABELS,
        partitions=partitions, progress=lambda *event: told.append(event),
    )  # fmt: skip
    transactions = Transactions.from_table(pq.read_table(lines), COLUMNS)
    cutoffs = plan_cutoffs([transactions], LABELS)
    expected_dictionary = fit_dictionary(
        [transactions], features=FEATURES, labels=LABELS, cutoffs=cutoffs
    )
    expected, extract = training_rows(
        transactions, expected_dictionary, labels=LABELS, cutoffs=cutoffs
    )
    assert dictionary.names() == expected_dictionary.names()
    assert dictionary.labels == expected_dictionary.labels
    assert report.read == transactions.report
    assert report.extract == extract
    assert report.positives == expected.labels.indptr[-1] > 0
    assert report.rows == len(expected)
    rows = whole(tmp_path / "out" / "rows.parquet")
    assert_same(by_customer(rows), by_customer(expected))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "dictionary.json", "rows.parquet",
    ]  # fmt: skip
    assert told[-1][1] == told[-1][2]


def test_the_same_input_gives_the_same_bytes(tmp_path, lines):
    for name in ("one", "two"):
        build_training_files(
            [lines], tmp_path / name, columns=COLUMNS, features=FEATURES, labels=LABELS,
            partitions=3,
        )  # fmt: skip
    for file in ("rows.parquet", "dictionary.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_rows_of_earlier_cutoffs_carry_their_period(lines):
    transactions = Transactions.from_table(pq.read_table(lines), COLUMNS)
    cutoffs = plan_cutoffs([transactions], LABELS)
    dictionary = fit_dictionary([transactions], features=FEATURES, labels=LABELS, cutoffs=cutoffs)
    assert len(dictionary.periods) == 2
    rows, _ = training_rows(transactions, dictionary, labels=LABELS, cutoffs=cutoffs)
    starts = dictionary.start("period")
    for number, cutoff in enumerate(cutoffs):
        chosen = rows.take(np.flatnonzero(rows.cutoffs == cutoff))
        marked = chosen.features.indices[chosen.features.indices >= starts]
        expected = [] if number == 2 else [starts + number] * len(chosen)
        np.testing.assert_array_equal(marked, expected)


def test_labels_are_those_of_the_customers_given(lines):
    transactions = Transactions.from_table(pq.read_table(lines), COLUMNS)
    cutoffs = plan_cutoffs([transactions], LABELS)
    chosen = np.arange(len(transactions.customer_ids)) % 2 == 0
    some = transactions.of_customers(chosen)
    dictionary = fit_dictionary([some], features=FEATURES, labels=LABELS, cutoffs=cutoffs)
    assert len(dictionary.labels) == 9
    few = LabelSettings(horizon_days=20, min_customers=1000, cutoffs=3, step_days=15)
    with pytest.raises(InvalidInputError, match="no item was bought by 1000 customers"):
        fit_dictionary([some], features=FEATURES, labels=few, cutoffs=cutoffs)


def test_the_daily_job(tmp_path, lines):
    dictionary, _ = build_training_files(
        [lines], tmp_path / "train", columns=COLUMNS, features=FEATURES, labels=LABELS
    )
    fresh = random_table(12, lines=400, customers=60)
    names = pa.array([f"new {name}" if name == "item3" else name for name in
                      fresh["item"].to_pylist()])  # fmt: skip
    fresh = fresh.set_column(fresh.column_names.index("item"), "item", names)
    pq.write_table(fresh, tmp_path / "today.parquet")
    loaded = FeatureDictionary.load(tmp_path / "train" / "dictionary.json")
    report = build_scoring_file(
        [tmp_path / "today.parquet"], tmp_path / "daily", loaded, columns=COLUMNS, partitions=2
    )
    assert report.extract.unseen_items == ("new item3",)
    assert report.extract.unseen_item_lines > 0
    rows = whole(tmp_path / "daily" / "rows.parquet")
    assert rows.labels is None
    assert rows.features.shape[1] == dictionary.n_features
    assert (rows.features.indices < dictionary.start("period")).all()
    transactions = Transactions.from_table(fresh, COLUMNS)
    midnight = np.datetime64(int(transactions.time.max()), "us").astype("M8[D]") + 1
    assert report.cutoffs == (str(midnight),)
    expected, _ = scoring_rows(transactions, dictionary, cutoff=str(midnight))
    order = np.argsort(rows.customer_ids)
    np.testing.assert_array_equal(rows.customer_ids[order], expected.customer_ids)
    np.testing.assert_array_equal(rows.take(order).features.data, expected.features.data)


def test_text_customers_are_partitioned_too(tmp_path):
    table = random_table(1)
    ids = [None if i is None else f"c{i}" for i in table["customer_id"].to_pylist()]
    table = table.set_column(0, "customer_id", pa.array(ids))
    pq.write_table(table, tmp_path / "lines.parquet")
    with TransactionFiles([tmp_path / "lines.parquet"], COLUMNS, partitions=4) as files:
        parts = list(files)
        temporary = list(parts)
    assert sum(part.report.lines for part in parts) == len(table)
    seen = [customer for part in temporary for customer in part.customer_ids]
    assert len(seen) == len(set(seen)) == len({i for i in ids if i})
    with pytest.raises(InvalidInputError, match="outside"):
        next(iter(files))


@pytest.mark.parametrize("text", [False, True])
def test_partitions_without_a_row(tmp_path, lines, text):
    table = pq.read_table(lines).slice(0, 400)
    if text:
        names = [None if i is None else f"c{i}" for i in table["customer_id"].to_pylist()]
        table = table.set_column(0, "customer_id", pa.array(names))
    pq.write_table(table, tmp_path / "few.parquet")
    build_training_files(
        [tmp_path / "few.parquet"], tmp_path / "out", columns=COLUMNS, features=FEATURES,
        labels=LABELS, partitions=60,
    )  # fmt: skip
    transactions = Transactions.from_table(table, COLUMNS)
    for cutoff, customers in (("2024-01-03", None), ("2020-01-01", 0)):
        report = build_scoring_file(
            [tmp_path / "few.parquet"], tmp_path / "daily",
            FeatureDictionary.load(tmp_path / "out" / "dictionary.json"), columns=COLUMNS,
            cutoff=cutoff, partitions=60,
        )  # fmt: skip
        moment = np.datetime64(cutoff, "us").astype(np.int64)
        expected = len(np.unique(transactions.customer[transactions.time < moment]))
        assert report.rows == expected == (expected if customers is None else customers)
        assert report.read.lines == 400
        rows = list(read_rows(tmp_path / "daily" / "rows.parquet"))
        assert sum(map(len, rows)) == expected


def test_transactions_are_never_written_over(tmp_path, lines):
    folder = tmp_path / "folder"
    folder.mkdir()
    settings = {"columns": COLUMNS, "features": FEATURES, "labels": LABELS}
    source = (folder / "rows.parquet").resolve()
    source.write_bytes(lines.read_bytes())
    with pytest.raises(InvalidInputError, match=r"rows\.parquet: is an input"):
        build_training_files([source], folder, **settings)
    dictionary, _ = build_training_files([source], tmp_path / "other", **settings)
    with pytest.raises(InvalidInputError, match=r"rows\.parquet: is an input"):
        build_scoring_file([source], folder, dictionary, columns=COLUMNS)
    assert source.read_bytes() == lines.read_bytes()


def test_no_purchase_at_all(tmp_path):
    table = random_table(1, lines=3).slice(0, 0)
    pq.write_table(table, tmp_path / "lines.parquet")
    with pytest.raises(InvalidInputError, match="no "):
        build_training_files([tmp_path / "lines.parquet"], tmp_path / "out", columns=COLUMNS)

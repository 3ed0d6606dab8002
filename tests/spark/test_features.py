"""Features on Spark are those of one machine: the same columns, the same bits."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.spark import require_spark
from support.transactions import COLUMNS, random_table

require_spark()

from fastprop.errors import DTypeError, InvalidInputError
from fastprop.features import (
    FeatureSettings,
    LabelSettings,
    build_scoring_file,
    build_training_files,
    read_rows,
)
from fastprop.spark import build_features

LABELS = LabelSettings(horizon_days=20, min_customers=2, cutoffs=2, step_days=15, max_labels=9)
SETTINGS = {
    "a column each": FeatureSettings(min_customers=2, windows_days=(30,)),
    "hashed": FeatureSettings(hash_width=64),
}


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    path = tmp_path_factory.mktemp("lines") / "lines.parquet"
    pq.write_table(random_table(3, lines=2000, customers=60), path)
    return path


def trained(lines, folder, settings):
    dictionary, _ = build_training_files(
        [lines], folder, columns=COLUMNS, features=settings, labels=LABELS
    )
    return dictionary


def on_one_machine(lines, folder, dictionary, **options):
    build_scoring_file([lines], folder, dictionary, columns=COLUMNS, **options)
    return {
        customer: (
            rows.features.indices[rows.features.indptr[n] : rows.features.indptr[n + 1]].tolist(),
            rows.features.data[rows.features.indptr[n] : rows.features.indptr[n + 1]].tolist(),
        )
        for rows in read_rows(folder / "rows.parquet")
        for n, customer in enumerate(rows.customer_ids.tolist())
    }


def on_spark(made):
    rows = made.collect()
    found = {row["customer_id"]: (row["indices"], row["values"]) for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("cutoff", [None, "2024-05-01"])
def test_the_vectors_of_one_machine(spark, lines, tmp_path, settings, cutoff):
    dictionary = trained(lines, tmp_path, SETTINGS[settings])
    expected = on_one_machine(lines, tmp_path, dictionary, cutoff=cutoff)
    transactions = spark.read.parquet(str(lines)).repartition(5)
    made = build_features(transactions, dictionary, columns=COLUMNS, cutoff=cutoff, partitions=7)
    assert made.dtypes == [
        ("customer_id", "bigint"),
        ("indices", "array<int>"),
        ("values", "array<float>"),
    ]
    assert on_spark(made) == expected
    assert len(expected) > 50


def test_a_saved_dictionary_instants_and_names(spark, lines, tmp_path):
    """Customers by name, and times as instants in a session of another time zone."""
    table = pq.read_table(lines)
    customers = pa.array([None if n is None else f"c{n}" for n in table["customer_id"].to_pylist()])
    table = table.set_column(0, "customer_id", customers)
    table = table.set_column(
        table.schema.get_field_index("time"), "time", table["time"].cast(pa.timestamp("us", "UTC"))
    )
    named = tmp_path / "named.parquet"
    pq.write_table(table, named)
    dictionary = trained(named, tmp_path, FeatureSettings(min_customers=2))
    expected = on_one_machine(named, tmp_path, dictionary)
    spark.conf.set("spark.sql.session.timeZone", "America/Los_Angeles")
    try:
        made = build_features(
            spark.read.parquet(str(named)), tmp_path / "dictionary.json", columns=COLUMNS
        )
        assert on_spark(made) == expected
    finally:
        spark.conf.unset("spark.sql.session.timeZone")


def test_lines_without_a_purchase(spark, lines, tmp_path):
    dictionary = trained(lines, tmp_path, FeatureSettings(min_customers=2))
    transactions = spark.read.parquet(str(lines))
    nothing = transactions.where("quantity < 0")
    with pytest.raises(InvalidInputError, match="no purchase among the lines"):
        build_features(nothing, dictionary, columns=COLUMNS)
    assert build_features(nothing, dictionary, columns=COLUMNS, cutoff="2024-05-01").count() == 0
    none = transactions.where("false")
    assert build_features(none, dictionary, columns=COLUMNS, cutoff="2024-05-01").count() == 0


def test_columns_that_cannot_be_used(spark, lines, tmp_path):
    dictionary = trained(lines, tmp_path, FeatureSettings(min_customers=2))
    transactions = spark.read.parquet(str(lines))
    with pytest.raises(InvalidInputError, match="transactions: no column 'item'"):
        build_features(transactions.drop("item"), dictionary, columns=COLUMNS)
    flags = transactions.withColumn("customer_id", transactions["customer_id"] > 3)
    with pytest.raises(DTypeError, match="column 'customer_id': boolean"):
        build_features(flags, dictionary, columns=COLUMNS)

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fastprop.errors import InvalidInputError, ShapeError
from fastprop.features import RowWriter, SparseRows, read_rows
from fastprop.features.rows import rows_from_table, rows_to_table
from fastprop.features.sparse import empty_csr
from fastprop.typing import CSR


def some_rows(n=5, *, ids=None):
    generator = np.random.default_rng(n)
    lengths = generator.integers(0, 4, n)
    indptr = np.append(0, np.cumsum(lengths))
    marked = generator.integers(0, 2, n)
    return SparseRows(
        customer_ids=np.arange(n) * 10 if ids is None else np.array(ids, dtype=object),
        features=CSR(
            indptr,
            generator.integers(0, 9, indptr[-1]).astype(np.int32),
            generator.random(indptr[-1]).astype(np.float32),
            (n, 9),
        ),
        labels=CSR(
            np.append(0, np.cumsum(marked)),
            generator.integers(0, 3, marked.sum()).astype(np.int32),
            np.zeros(marked.sum(), np.float32),
            (n, 3),
        ),
        cutoffs=np.full(n, np.datetime64("2024-05-01T12:00", "us")),
    )


def assert_same(left, right):
    np.testing.assert_array_equal(left.customer_ids, right.customer_ids)
    np.testing.assert_array_equal(left.cutoffs, right.cutoffs)
    for one, other in ((left.features, right.features), (left.labels, right.labels)):
        assert one.shape == other.shape
        for part in ("indptr", "indices", "data"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


@pytest.mark.parametrize("ids", [None, ["a", "b", "", "d", "é"]])
def test_a_file_holds_what_was_written(tmp_path, ids):
    rows = some_rows(ids=ids)
    with RowWriter(tmp_path / "rows.parquet") as writer:
        writer.write(rows.take(np.array([0, 1])))
        writer.write(rows.take(np.array([2, 3, 4])))
    assert writer.n_rows == 5
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]
    for batch_rows in (1, 2, 100):
        parts = list(read_rows(tmp_path / "rows.parquet", batch_rows=batch_rows))
        assert max(map(len, parts)) <= batch_rows
        assert_same(SparseRows.concatenate(parts), rows)


def test_an_interrupted_file_does_not_appear(tmp_path):
    def interrupted():
        with RowWriter(tmp_path / "rows.parquet") as writer:
            writer.write(some_rows())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_parts_must_agree(tmp_path):
    rows = some_rows()
    unlabelled = SparseRows(rows.customer_ids, rows.features)
    with RowWriter(tmp_path / "rows.parquet") as writer:
        writer.write(rows)
        with pytest.raises(ShapeError, match="differs"):
            writer.write(unlabelled)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_bytes(b"not parquet")
    with pytest.raises(InvalidInputError, match=r"x\.parquet"):
        list(read_rows(path))
    pq.write_table(pa.table({"customer_id": [1]}), path)
    with pytest.raises(InvalidInputError, match=r"x\.parquet: lacks column 'indices'"):
        list(read_rows(path))
    table = rows_to_table(some_rows())
    pq.write_table(table.replace_schema_metadata({}), path)
    with pytest.raises(InvalidInputError, match="number of features"):
        list(read_rows(path))


def test_indices_are_checked_against_the_width():
    table = rows_to_table(some_rows(20))
    narrow = {**table.schema.metadata, b"fastprop.n_features": b"2"}
    with pytest.raises(InvalidInputError, match="is not below 2"):
        rows_from_table(table.replace_schema_metadata(narrow))


def test_row_counts_must_agree():
    with pytest.raises(ShapeError, match="features: 3 rows for 2 customers"):
        SparseRows(np.arange(2), empty_csr(3, 4))
    with pytest.raises(ShapeError, match="labels"):
        SparseRows(np.arange(2), empty_csr(2, 4), labels=empty_csr(1, 1))


def test_more_classes_do_not_fit_a_file():
    rows = some_rows()
    labels = CSR(np.array([0, 1, 1, 1, 1, 1]), np.array([0]), np.array([1.0]), (5, 3))
    with pytest.raises(InvalidInputError, match="two classes"):
        rows_to_table(SparseRows(rows.customer_ids, rows.features, labels))

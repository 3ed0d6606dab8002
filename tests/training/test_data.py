from __future__ import annotations

import numpy as np
import pytest
from support.mxnet_process import MxnetError, shared_process
from support.training_programs import batches
from support.training_rows import random_rows

from fastprop.errors import DTypeError, InvalidInputError
from fastprop.features import CustomerSplit, RowWriter, SparseRows
from fastprop.features.sparse import from_pairs, to_dense
from fastprop.training import MemorySource, NetworkSettings, ParquetSource
from fastprop.training.data import label_targets

NETWORK = NetworkSettings(n_features=30, n_labels=4, hidden=(5,), heads="fused")
SEPARATE = NetworkSettings(n_features=30, n_labels=4, hidden=(5,))


def ids(source, batch_size, epoch):
    return [list(batch.customer_ids) for batch in source.batches(batch_size, epoch)]


def flat(lists):
    return [i for each in lists for i in each]


@pytest.fixture
def files(tmp_path):
    paths = []
    for number, count in enumerate((70, 1, 55), start=1):
        paths.append(tmp_path / f"{number}.parquet")
        with RowWriter(paths[-1]) as writer:
            writer.write(random_rows(number, count))
    return paths


@pytest.mark.parametrize("kind", ["memory", "parquet"])
@pytest.mark.parametrize("batch_size", [1, 32, 500])
def test_an_epoch_has_every_row_once(files, kind, batch_size):
    def source(seed):
        if kind == "parquet":
            return ParquetSource(files, seed=seed, buffer_rows=20)
        return MemorySource(random_rows(1, 126), seed=seed)

    shuffled = source(3)
    assert shuffled.n_rows == 126
    first = ids(shuffled, batch_size, 0)
    assert all(len(batch) == batch_size for batch in first[:-1])
    in_order = flat(ids(source(None), batch_size, 0))
    assert sorted(flat(first)) == sorted(in_order)
    assert len(set(in_order)) == 126
    assert flat(first) != in_order
    assert flat(ids(shuffled, batch_size, 1)) != flat(first)
    assert ids(source(3), batch_size, 0) == first
    assert flat(ids(source(4), batch_size, 0)) != flat(first)


def test_a_row_keeps_its_features_and_labels(files):
    expected = {}
    for number, count in enumerate((70, 1, 55), start=1):
        rows = random_rows(number, count)
        for customer, row, label in zip(
            rows.customer_ids, to_dense(rows.features), ones(rows.labels)
        ):
            expected[customer] = (row, label)
    for batch in ParquetSource(files, seed=1, buffer_rows=10).batches(7, 0):
        for customer, row, label in zip(
            batch.customer_ids, to_dense(batch.features), ones(batch.labels)
        ):
            np.testing.assert_array_equal(row, expected[customer][0])
            np.testing.assert_array_equal(label, expected[customer][1])


def ones(labels):
    return label_targets(labels, classes=2)[:, :, 0]


def test_the_buffer_mixes_rows_that_are_far_apart(tmp_path):
    path = tmp_path / "rows.parquet"
    with RowWriter(path) as writer:
        writer.write(random_rows(0, 2000, n_features=5))
    order = np.array(flat(ids(ParquetSource([path], seed=1, buffer_rows=400), 50, 0)))
    assert np.abs(order - np.arange(2000)).mean() > 80


def test_a_split_takes_some_customers(files):
    low = CustomerSplit(0, 0.4, seed=2)
    some = ParquetSource(files, split=low, seed=1)
    others = ParquetSource(files, split=CustomerSplit(0.4, 1, seed=2))
    seen = flat(ids(some, 10, 0))
    assert len(seen) == some.n_rows
    assert some.n_rows + others.n_rows == 126
    assert low.mask(np.array(seen)).all()


def test_sources_that_cannot_be():
    with pytest.raises(InvalidInputError, match="no files"):
        ParquetSource([])
    with pytest.raises(InvalidInputError, match="buffer_rows"):
        ParquetSource(["x"], buffer_rows=1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_targets_of_two_classes(smoothing):
    labels = from_pairs(np.array([0, 2]), np.array([1, 0]), np.zeros(2), shape=(3, 2))
    truth = np.array([[0, 1], [0, 0], [1, 0]], float)
    expected = np.stack([truth, 1 - truth], axis=-1) * (1 - smoothing) + smoothing / 2
    targets = label_targets(labels, classes=2, smoothing=smoothing)
    np.testing.assert_allclose(targets, expected, rtol=1e-6)


def test_targets_of_more_classes():
    labels = from_pairs(np.array([0, 1]), np.array([1, 0]), np.array([2.0, 1.0]), shape=(2, 2))
    targets = label_targets(labels, classes=4)
    np.testing.assert_array_equal(targets.argmax(axis=-1), [[3, 2], [1, 3]])
    np.testing.assert_array_equal(targets.sum(axis=-1), 1)
    with pytest.raises(InvalidInputError, match=r"labels\[0\]: 2 is not one of 2 classes"):
        label_targets(labels, classes=2)


@pytest.mark.parametrize("network", [NETWORK, SEPARATE])
def test_batches_for_mxnet(network):
    rows = random_rows(5, 11)
    first, second = shared_process().call(batches, rows, network, {"batch_size": 4, "seed": 1})
    assert [batch["pad"] for batch in first] == [0, 0, 1]
    place = {customer: row for row, customer in enumerate(rows.customer_ids)}
    dense, truth = to_dense(rows.features), label_targets(rows.labels, classes=2)
    for epoch in (first, second):
        assert sorted(flat([list(batch["index"]) for batch in epoch])) == sorted(place)
        for batch in epoch:
            assert batch["stype"] == "csr"
            wanted = [place[customer] for customer in batch["index"]]
            np.testing.assert_array_equal(batch["data"][: len(wanted)], dense[wanted])
            label = batch["label"][0] if network.heads == "fused" else np.stack(batch["label"], 1)
            np.testing.assert_array_equal(label[: len(wanted)], truth[wanted])
            assert len(batch["label"]) == (1 if network.heads == "fused" else 4)
        # The last batch is filled up from the beginning of the epoch.
        np.testing.assert_array_equal(epoch[-1]["data"][3:], epoch[0]["data"][:1])
        np.testing.assert_array_equal(epoch[-1]["label"][0][3:], epoch[0]["label"][0][:1])
    assert list(first[0]["index"]) != list(second[0]["index"])


def test_a_batch_larger_than_the_rows():
    rows = random_rows(5, 3)
    (batch,), _ = shared_process().call(batches, rows, NETWORK, {"batch_size": 8})
    assert batch["pad"] == 5
    np.testing.assert_array_equal(batch["data"], to_dense(rows.features)[np.arange(8) % 3])


def test_rows_that_do_not_fit_the_network():
    call = shared_process().call
    wide = NetworkSettings(n_features=31, n_labels=4, hidden=(5,))
    with pytest.raises(MxnetError, match="ShapeError: rows have 30 features, the network 31"):
        call(batches, random_rows(5, 3), wide, {"batch_size": 3})
    few = NetworkSettings(n_features=30, n_labels=3, hidden=(5,))
    with pytest.raises(MxnetError, match="ShapeError: rows have 4 labels, the network 3"):
        call(batches, random_rows(5, 3), few, {"batch_size": 3})
    rows = random_rows(5, 3)
    with pytest.raises(MxnetError, match="ShapeError: rows have no labels"):
        call(batches, SparseRows(rows.customer_ids, rows.features), NETWORK, {"batch_size": 3})


@pytest.mark.parametrize("given", [None, 5, "rows.parquet", np.array(3), [None], [""], ["a\0b"]])
def test_what_rows_cannot_be_read_from(given):
    with pytest.raises(InvalidInputError, match=r"^paths(\[0\])? is "):
        ParquetSource(given)


def test_a_file_that_is_not_there_and_rows_of_another_kind(tmp_path):
    with pytest.raises(InvalidInputError, match=r"gone: cannot be read: .*No such file"):
        ParquetSource([tmp_path / "gone"])
    for rows in (None, 5, "rows"):
        with pytest.raises(DTypeError, match=r"rows is .*SparseRows is needed"):
            MemorySource(rows)

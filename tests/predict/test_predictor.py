"""The predictor's own promises: output arrays, selection, streams, statistics, lifetimes."""

from __future__ import annotations

import gc
import time
import weakref

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse
from support.models import TOLERANCE, expected_scores, listed, retail, rows_for

import fastprop


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return retail(tmp_path_factory.mktemp("model"), n_heads=40)


def test_out_is_the_callers_array(model):
    rows = rows_for(model, 33)
    with model.predictor(batch_size=8) as predictor:
        wanted = predictor.predict(rows)
        out = np.empty_like(wanted)
        assert predictor.predict(rows, out=out) is out
        np.testing.assert_array_equal(out, wanted)
        wide = np.zeros((33, model.n_labels + 5), np.float32)
        predictor.predict(rows, out=wide[:, 2:-3])
        np.testing.assert_array_equal(wide[:, 2:-3], wanted)
        assert not wide[:, :2].any()
        assert not wide[:, -3:].any()
        for bad in (
            out[:-1],
            out.astype(np.float64),
            np.asfortranarray(out),
            out.tolist(),
            np.zeros((33, 2 * model.n_labels), np.float32)[:, ::2],
        ):
            with pytest.raises(fastprop.InvalidInputError, match="out"):
                predictor.predict(rows, out=bad)
        memory = np.zeros(out.nbytes + 1, np.uint8)
        with pytest.raises(fastprop.InvalidInputError, match="out is not aligned"):
            predictor.predict(rows, out=memory[1:].view(np.float32).reshape(out.shape))
        assert not memory.any()
        out.flags.writeable = False
        with pytest.raises(fastprop.InvalidInputError, match="read-only"):
            predictor.predict(rows, out=out)


@pytest.mark.parametrize("n_rows", [1, 7, 8, 9, 100])
def test_same_bits_for_any_number_of_threads(model, n_rows):
    rows = rows_for(model, n_rows)
    results = []
    for threads in (1, 2, 3, 5):
        with model.predictor(threads=threads, batch_size=8) as predictor:
            results.append(predictor.predict(rows))
            results.append(predictor.predict(listed(rows)))
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def test_a_row_has_the_same_bits_in_any_tile(model):
    rows = rows_for(model, 300)
    with model.predictor(engine="native", threads=2) as predictor:
        whole = predictor.predict(rows)
        assert predictor.stats().tiles == 8  # for each of two workers to have a part
        for begin, end in ((0, 1), (1, 34), (34, 299), (299, 300)):
            part = fastprop.CSR(
                rows.indptr[begin : end + 1], rows.indices, rows.data, (end - begin, rows.shape[1])
            )
            np.testing.assert_array_equal(predictor.predict(part), whole[begin:end])


def best(scores, k, threshold=None, allowed=None):
    """The definition of the selection, row by row."""
    indices = np.full((len(scores), k), -1, np.int32)
    values = np.full((len(scores), k), np.nan, np.float32)
    for i, row in enumerate(scores):
        order = sorted(range(len(row)), key=lambda j: (-row[j], j))
        keep = [
            j
            for j in order
            if (threshold is None or row[j] >= np.broadcast_to(threshold, row.shape)[j])
            and (allowed is None or allowed[j])
        ][:k]
        indices[i, : len(keep)] = keep
        values[i, : len(keep)] = row[keep]
    return indices, values


@pytest.mark.parametrize("k", [1, 3, 40, 60])
@pytest.mark.parametrize("threshold", [None, 0.5, "each"])
@pytest.mark.parametrize("masked", [False, True])
def test_top_k_is_the_ordered_selection(model, k, threshold, masked):
    rng = np.random.default_rng(k)
    if threshold == "each":
        threshold = rng.random(model.n_labels).astype(np.float32)
    allowed = rng.random(model.n_labels) < 0.5 if masked else None
    rows = rows_for(model, 21)
    with model.predictor(batch_size=8) as predictor:
        scores = predictor.predict(rows)
        for form in (rows, listed(rows)):
            top = predictor.predict_top_k(form, k=k, threshold=threshold, allowed=allowed)
            indices, values = best(scores, k, threshold, allowed)
            assert top.indices.dtype == np.int32
            assert top.scores.dtype == np.float32
            np.testing.assert_array_equal(top.indices, indices)
            np.testing.assert_array_equal(top.scores, values)


def test_ties_are_ordered_by_label(tmp_path):
    from support.networks import propensity

    from fastprop.checkpoint.directory import write_checkpoint

    network = propensity(np.random.default_rng(0), n_heads=6)
    same = dict(network.arguments)
    for i in range(6):
        same[f"head{i}_weight"] = network.arguments["head0_weight"]
        same[f"head{i}_bias"] = network.arguments["head0_bias"]
    write_checkpoint(tmp_path, "model", 1, type(network)(network.graph, same, {}))
    model = fastprop.load_model(tmp_path)
    with model.predictor() as predictor:
        top = predictor.predict_top_k(rows_for(model, 3), k=4)
    assert top.indices.tolist() == [[0, 1, 2, 3]] * 3


def test_bad_selections(model):
    rows = rows_for(model, 2)
    with model.predictor() as predictor:
        for bad in (
            {"k": 0},
            {"k": -1},
            {"k": 1.5},
            {"k": True},
            {"threshold": "high"},
            {"threshold": np.nan},
            {"threshold": [0.1, 0.2]},
            {"allowed": [True]},
            {"allowed": np.ones(model.n_labels)},
        ):
            with pytest.raises(fastprop.InvalidInputError):
                predictor.predict_top_k(rows, **bad)


def test_outputs_are_the_heads(model):
    rows = rows_for(model, 10)
    with model.predictor() as predictor:
        heads = predictor.predict_outputs(rows)
        scores = predictor.predict(rows)
    assert len(heads) == 40
    assert heads[3].shape == (10, 2)
    np.testing.assert_allclose(heads[3].sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.stack([h[:, 0] for h in heads], 1), scores, atol=TOLERANCE)


def test_stream_of_rows_and_of_batches(model):
    rows = rows_for(model, 100)
    pairs = [tuple(pair) for pair in listed(rows)]
    with model.predictor(batch_size=8, threads=2) as predictor:
        wanted = predictor.predict(rows)
        parts = list(predictor.stream(iter(pairs)))
        assert [len(part) for part in parts] == [16] * 6 + [4]
        np.testing.assert_array_equal(np.concatenate(parts), wanted)
        batches = [pairs[:30], pairs[30:30], pairs[30:31], rows]
        parts = list(predictor.stream(batches))
        assert [len(part) for part in parts] == [30, 0, 1, 100]
        np.testing.assert_allclose(np.concatenate(parts[:3]), wanted[:31], atol=TOLERANCE)
        stream = predictor.stream([pairs[:3], [([999], [1.0])], pairs[:2]])
        np.testing.assert_allclose(next(stream), wanted[:3], atol=TOLERANCE)
        with pytest.raises(fastprop.InvalidInputError, match=r"rows\[3\]\.indices\[0\] is 999"):
            list(stream)


def test_a_stream_of_one_batch_is_refused(model):
    rows = rows_for(model, 4)
    matrix = scipy.sparse.csr_matrix((rows.data, rows.indices, rows.indptr), shape=rows.shape)
    table = pa.table({"indices": [[1]], "values": [[1.0]]})
    batches = [rows, matrix, scipy.sparse.csr_array(matrix), matrix.tocoo(), matrix.todok()]
    arrow = [table, table.to_batches()[0], table["indices"], table["indices"].chunk(0)]
    with model.predictor() as predictor:
        for batch in (*batches, *arrow, np.zeros((4, model.n_features))):
            with pytest.raises(fastprop.DTypeError, match=r"one batch: predict scores it; stream"):
                predictor.stream(batch)
        for row in ({1: 1.0}, fastprop.SparseVector(model.n_features, [1], [1.0])):
            with pytest.raises(fastprop.DTypeError, match=r"one row, a .*; put it in a list"):
                predictor.stream(row)
        for other in (None, 5, "rows", b"rows"):
            with pytest.raises(fastprop.DTypeError, match="an iterable of batches or of rows"):
                predictor.stream(other)
        assert [len(part) for part in predictor.stream([matrix, matrix])] == [4, 4]
        assert [len(part) for part in predictor.stream(table.to_reader())] == [1]


def test_translators(model):
    class Customers(fastprop.Translator):
        def process_input(self, records, model):
            return [record["basket"] for record in records]

        def process_output(self, result, model):
            return result.argmax(axis=1)

    rows = listed(rows_for(model, 5))
    with model.predictor() as plain:
        scores = plain.predict(rows)
    with model.predictor(translator=Customers()) as predictor:
        np.testing.assert_array_equal(
            predictor.predict([{"basket": row} for row in rows]), scores.argmax(axis=1)
        )
    with model.predictor(translator=fastprop.LabelledScores()) as predictor:
        first = predictor.predict(rows)[0]
        assert list(first) == model.labels
        assert first["category3"] == float(scores[0, 3])
    with model.predictor(translator=fastprop.LabelledTopK(2)) as predictor:
        result = predictor.predict(rows)
        assert [label for label, _ in result[0]] == [
            model.labels[i] for i in np.argsort(-scores[0], kind="stable")[:2]
        ]
        assert next(iter(predictor.stream([rows]))) == result
    with pytest.raises(fastprop.InvalidInputError):
        fastprop.LabelledTopK(0)


@pytest.mark.parametrize("engine", ["native", "mxnet"])
@pytest.mark.parametrize("threads", [1, 2])
def test_steady_state_allocates_nothing_from_the_pool(model, engine, threads):
    rows = rows_for(model, 64)
    pairs = listed(rows)
    with model.predictor(batch_size=16, threads=threads, engine=engine) as predictor:
        predictor.warm_up()
        warm = predictor.stats().pool
        # Which worker leases what at the same time varies, so the pool may take a few rounds.
        for _ in range(20):
            before = predictor.stats().pool
            for _ in range(20):
                predictor.predict(rows)
                predictor.predict(pairs)
                predictor.predict_top_k(rows, k=5)
            after = predictor.stats().pool
            if after.missed == before.missed:
                break
        assert after.missed == before.missed
        assert after.reused > before.reused
        assert after.live == warm.live


def test_bytes_copied_are_counted(model):
    rows = rows_for(model, 64)
    n_entries = len(rows.indices)
    with model.predictor(batch_size=16, threads=1, optimize=False) as predictor:
        predictor.predict(rows)
        assert predictor.stats().bytes_copied == 12 * n_entries + 8 * (64 + 4)
        predictor.predict(listed(rows))
        stats = predictor.stats()
        assert stats.bytes_copied == 2 * (12 * n_entries + 8 * (64 + 4))
        assert stats.bytes_assembled == 12 * n_entries + 8 * (64 + 4)
        assert stats.rows == 128
        assert stats.tiles == 8
        assert stats.graph_seconds > 0
        for converted, copied in (
            ((rows.indptr, rows.indices.astype(np.int16), rows.data), 8 * n_entries),
            ((rows.indptr, rows.indices, rows.data.astype(np.float16)), 8 * n_entries),
            ((rows.indptr.astype(np.int16), rows.indices, rows.data), 8 * 65),
        ):
            before = predictor.stats().bytes_copied
            predictor.predict(fastprop.CSR(*converted, rows.shape))
            assert predictor.stats().bytes_copied - before == (
                12 * n_entries + 8 * (64 + 4) + copied
            )


def test_faults_in_later_blocks_of_listed_rows_are_named(model):
    rows = listed(rows_for(model, 40))
    rows[29] = ([1, 5], [1.0, np.nan])
    with model.predictor(batch_size=4, threads=2) as predictor:
        with pytest.raises(fastprop.InvalidInputError, match=r"rows\[29\]\.values\[1\] is nan"):
            predictor.predict(rows)
        with pytest.raises(fastprop.InvalidInputError, match=r"rows\[29\]\.values\[1\] is nan"):
            list(predictor.stream([rows[:20], rows[20:]]))


def test_the_time_of_assembly_is_counted(model):
    rows = rows_for(model, 2000)
    with model.predictor() as predictor:
        predictor.predict(rows)
        assert predictor.stats().assemble_seconds == 0
        started = time.perf_counter()
        predictor.predict(listed(rows))
        assert 0 < predictor.stats().assemble_seconds < time.perf_counter() - started


def test_pool_limit(model):
    rows = listed(rows_for(model, 4000))
    with model.predictor(pool_limit=1 << 16) as predictor:
        with pytest.raises(fastprop.PoolLimitError, match="may hold 65536 bytes"):
            predictor.predict(rows)
        assert isinstance(fastprop.PoolLimitError("x"), MemoryError)
        assert len(predictor.predict(rows[:3])) == 3
        assert predictor.stats().pool.owned <= 1 << 16


def test_close(model):
    rows = rows_for(model, 3)
    predictor = model.predictor()
    with predictor:
        predictor.predict(rows)
    assert predictor.closed
    predictor.close()
    assert predictor.stats().rows == 3
    for use in (
        lambda: predictor.predict(rows),
        lambda: predictor.predict_top_k(rows),
        lambda: predictor.predict_outputs(rows),
        lambda: list(predictor.stream([rows])),
        lambda: predictor.warm_up(),
    ):
        with pytest.raises(fastprop.PredictorClosedError):
            use()
    assert "closed" in repr(predictor)


def test_results_outlive_predictor_and_model(tmp_path):
    model = retail(tmp_path)
    rows = rows_for(model, 20)
    wanted = expected_scores(model, {"data": rows})
    predictor = model.predictor()
    scores, heads = predictor.predict(rows), predictor.predict_outputs(rows)
    predictor.close()
    gone = weakref.ref(model)
    del predictor, model
    gc.collect()
    assert gone() is None
    np.testing.assert_allclose(scores, wanted, atol=TOLERANCE)
    np.testing.assert_allclose(heads[0][:, 0], wanted[:, 0], atol=TOLERANCE)


def test_a_predictor_keeps_its_model_alive(tmp_path):
    predictor = retail(tmp_path).predictor()
    gc.collect()
    rows = rows_for(predictor.model, 20)
    np.testing.assert_allclose(
        predictor.predict(rows), expected_scores(predictor.model, {"data": rows}), atol=TOLERANCE
    )
    predictor.close()


def test_warm_up_binds_before_the_first_call(model):
    with model.predictor(threads=2) as predictor:
        predictor.warm_up()
        assert predictor.stats().rows == 0
        assert len(predictor.predict(rows_for(model, 5))) == 5


def test_bad_options(model):
    for bad in (
        {"threads": 0},
        {"threads": "two"},
        {"threads": 10**6},
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"nonfinite": "ignore"},
        {"engine": "torch"},
        {"pool_limit": 0},
        {"isa": "mmx"},
    ):
        with pytest.raises(fastprop.InvalidInputError):
            model.predictor(**bad)


def test_arrow_rows_with_nulls(model):
    rows = rows_for(model, 6)
    pairs = listed(rows)
    records = [
        None if i == 2 else {"indices": indices.tolist(), "values": values.tolist()}
        for i, (indices, values) in enumerate(pairs)
    ]
    kind = pa.struct({"indices": pa.list_(pa.int32()), "values": pa.list_(pa.float32())})
    array = pa.array(records, kind)
    with model.predictor() as predictor:
        wanted = predictor.predict(rows)
        for form in (
            array,
            pa.table({"features": array}),
            pa.chunked_array([array[:3], array[3:]]),
        ):
            scores = predictor.predict(form)
            assert np.isnan(scores[2]).all()
            keep = [0, 1, 3, 4, 5]
            np.testing.assert_array_equal(scores[keep], wanted[keep])
            top = predictor.predict_top_k(form, k=2)
            assert (top.indices[2] == -1).all()
            assert np.isnan(top.scores[2]).all()

from __future__ import annotations

import gzip
import json
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprop.errors import InvalidInputError, ShapeError
from fastprop.io.batches import ReadOptions
from fastprop.io.files import find_inputs
from fastprop.io.readers import format_of_input, open_reader
from fastprop.io.readers import text as text_module

from .samples import (
    N_FEATURES,
    as_table,
    csr_to_dense,
    random_rows,
    write_jsonl,
    write_parquet,
    write_svmlight,
)

OPTIONS = ReadOptions(n_features=N_FEATURES, batch_rows=32)


def reader_of(path, **changes):
    (file,) = find_inputs([str(path)])
    return open_reader(file, ReadOptions(**{**vars(OPTIONS), **changes}))


def read_all(path, **changes):
    """Ids, dense rows, nulls and bad rows of a file, and its places."""
    reader = reader_of(path, **changes)
    batches = [batch for piece in reader.slices() for batch in reader.read(piece)]
    dense = [csr_to_dense(batch.rows.csr) for batch in batches]
    places = [batch.place.text(row) for batch in batches for row in range(batch.n_rows)]
    for batch in batches:
        assert batch.ids.type == reader.id_type
        assert batch.rows.csr.shape == (batch.n_rows, N_FEATURES)
        assert batch.n_rows <= changes.get("batch_rows", OPTIONS.batch_rows)
    return (
        [row_id for batch in batches for row_id in batch.ids.to_pylist()],
        np.concatenate(dense) if dense else np.zeros((0, N_FEATURES)),
        [bad for batch in batches for bad in batch.bad],
        places,
    )


def write_ipc(path, rows, *, stream=False):
    table = as_table(rows)
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=40)
    return str(path)


def write_npz(path, rows, *, compressed=True):
    scipy.sparse.save_npz(path, rows, compressed=compressed)
    return str(path)


def write_gz(path, rows, write):
    plain = path.with_suffix("")
    write(plain, rows)
    path.write_bytes(gzip.compress(plain.read_bytes()))
    return str(path)


WRITERS = {
    "rows.parquet": write_parquet,
    "rows.arrow": write_ipc,
    "rows.arrows": lambda path, rows: write_ipc(path, rows, stream=True),
    "rows.jsonl": write_jsonl,
    "features.jsonl": lambda path, rows: write_jsonl(path, rows, form="features"),
    "rows.jsonl.gz": lambda path, rows: write_gz(path, rows, write_jsonl),
    "rows.svmlight": write_svmlight,
    "rows.svm.gz": lambda path, rows: write_gz(path, rows, write_svmlight),
    "rows.npz": write_npz,
    "stored.npz": lambda path, rows: write_npz(path, rows, compressed=False),
}
WITHOUT_IDS = ("rows.svmlight", "rows.svm.gz", "rows.npz", "stored.npz")


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("n_rows", [0, 1, 150])
def test_every_format_gives_the_same_rows(tmp_path, name, n_rows):
    rows = random_rows(n_rows)
    WRITERS[name](tmp_path / name, rows)
    ids, dense, bad, places = read_all(tmp_path / name)
    np.testing.assert_array_equal(dense, rows.toarray())
    first = 0 if name in WITHOUT_IDS else 1000
    assert ids == list(range(first, first + n_rows))
    assert bad == []
    if n_rows:
        number = {"svm": 2, "jso": 1}.get(name.partition(".")[2][:3], 0)
        unit = "line" if number else "row"
        assert places[-1] == f"{tmp_path / name}, {unit} {number + n_rows - 1}"


@pytest.mark.parametrize("name", [n for n in WRITERS if not n.endswith((".gz", ".arrows"))])
def test_slices_cover_a_file_once_and_can_be_joined(tmp_path, name, monkeypatch):
    monkeypatch.setattr(text_module, "_SLICE_BYTES", 700)
    monkeypatch.setattr(text_module, "_BLOCK_BYTES", 500)
    monkeypatch.setattr("fastprop.io.readers.npz._SLICE_ROWS", 40)
    rows = random_rows(150)
    WRITERS[name](tmp_path / name, rows)
    reader = reader_of(tmp_path / name)
    slices = reader.slices()
    assert slices == reader_of(tmp_path / name).slices()
    assert sum(piece.rows for piece in slices) == 150
    assert [piece.start for piece in slices[1:]] == [piece.stop for piece in slices[:-1]]
    assert [piece.first for piece in slices] == list(
        np.cumsum([0] + [piece.rows for piece in slices[:-1]])
    )
    if name != "rows.npz":
        assert len(slices) > 2
        # The last slice on its own, and all but the first as one.
        last = list(reader.read(slices[-1]))
        np.testing.assert_array_equal(
            np.concatenate([csr_to_dense(batch.rows.csr) for batch in last]),
            rows.toarray()[slices[-1].first :],
        )
        joined = type(slices[0])(
            slices[1].start, slices[-1].stop, None, slices[1].first, slices[1].line
        )
        rest = list(reader.read(joined))
        np.testing.assert_array_equal(
            np.concatenate([csr_to_dense(batch.rows.csr) for batch in rest]),
            rows.toarray()[slices[0].rows :],
        )
        all_ids = read_all(tmp_path / name)[0]
        assert [i for batch in rest for i in batch.ids.to_pylist()] == all_ids[slices[0].rows :]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.parquet", "parquet"),
        ("s3://b/c.snappy.PARQUET", "parquet"),
        ("a.feather", "arrow"),
        ("a.jsonl.zst", "jsonl"),
        ("a.libsvm.bz2", "svmlight"),
    ],
)
def test_formats_by_extension(name, kind):
    assert format_of_input(name) == kind


@pytest.mark.parametrize("name", ["a.csv", "noextension", "a.parquet.gz", "a.npz.gz"])
def test_unknown_extensions_are_refused(name):
    with pytest.raises(InvalidInputError, match=f"{name}: unknown kind of input"):
        format_of_input(name)


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_files_are_named(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path, random_rows(500))
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for cut in (0, 5, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:cut])
        damaged(path)
    for _ in range(30):
        broken = bytearray(whole)
        for position in rng.integers(0, len(whole), 20):
            broken[position] = rng.integers(0, 256)
        path.write_bytes(bytes(broken))
        damaged(path)


def damaged(path):
    """Read a damaged file: that works, or says which file it is; nothing else may happen."""
    message = str(path)
    try:
        reader = reader_of(path)
        for piece in reader.slices():
            for batch in reader.read(piece):
                assert batch.rows.csr.indptr[-1] <= len(batch.rows.csr.indices)
    except InvalidInputError as error:
        message = str(error)
    assert str(path) in message


def test_missing_columns_are_named(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", random_rows(5))
    with pytest.raises(
        InvalidInputError, match=r"a\.parquet: no column 'id' .*customer_id, indices, values"
    ):
        reader_of(path, id_column="id")
    with pytest.raises(InvalidInputError, match=r"a\.parquet: no column 'f'"):
        reader_of(path, features_column="f")


def test_faults_in_columns_are_raised_or_collected(tmp_path):
    table = pa.table(
        {
            "customer_id": ["a", "b", "c", "d"],
            "indices": pa.array([[1], [1, 2], None, [3, None]], pa.list_(pa.int64())),
            "values": pa.array([[1.0], [1.0], None, [1.0, 2.0]], pa.list_(pa.float64())),
        }
    )
    path = str(tmp_path / "a.parquet")
    pq.write_table(table, path)
    with pytest.raises(ShapeError, match=r"a\.parquet, row 1 \(id 'b'\): 2 indices and 1 values"):
        read_all(path)
    ids, dense, bad, places = read_all(path, collect_faults=True)
    assert ids == ["a", "c"]
    assert dense[0, 1] == 1.0
    assert places == [f"{path}, row 0", f"{path}, row 2"]
    assert [(row.id, row.number, row.reason) for row in bad] == [
        ("b", 1, "2 indices and 1 values"),
        ("d", 3, "indices[1] is null"),
    ]


def test_dictionary_ids_become_plain(tmp_path):
    table = as_table(random_rows(4))
    ids = pa.array(["x", "y", "x", "z"]).dictionary_encode()
    table = table.set_column(0, "customer_id", ids)
    pq.write_table(table, tmp_path / "a.parquet")
    assert reader_of(tmp_path / "a.parquet").id_type == pa.string()
    assert read_all(tmp_path / "a.parquet")[0] == ["x", "y", "x", "z"]


BAD_RECORDS = {
    "{": "is not JSON",
    "[1]": "is not a JSON object",
    '{"indices": [1], "values": [1]}': "has no 'customerId'",
    '{"customerId": "x", "indices": [1], "values": [1]}': "first record has an integer",
    '{"customerId": true, "indices": [1], "values": [1]}': "first record has an integer",
    '{"customerId": 99999999999999999999, "features": {}}': "does not fit 64 bits",
    '{"customerId": 2, "indices": [1]}': "go together",
    '{"customerId": 2}': "has neither 'indices' and 'values' nor 'features'",
    '{"customerId": 2, "features": [1]}': "'features' is not an object",
    '{"customerId": 2, "features": {"x": 1}}': "'x' is not a column number",
    '{"customerId": 2, "features": {"-1": 1}}': "'-1' is not a column number",
    '{"customerId": 2, "features": {"1": "a"}}': "values: ",
    '{"customerId": 2, "indices": [1.5], "values": [1]}': "indices: ",
    '{"customerId": 2, "indices": ["1"], "values": [1]}': "indices: ",
    '{"customerId": 2, "indices": [true], "values": [1]}': "true and false are not numbers",
    '{"customerId": 2, "indices": 1, "values": [1]}': "indices is not a list",
    '{"customerId": 2, "indices": [1], "values": null}': "values is not a list",
    '{"customerId": 2, "indices": [1, 2], "values": [1]}': "2 indices and 1 values",
    '{"customerId": 2, "indices": [1, null], "values": [1, 2]}': "indices[1] is null",
    '{"customerId": 2, "indices": [99999999999999999999], "values": [1]}': "indices: ",
}


@pytest.mark.parametrize("line", BAD_RECORDS)
def test_bad_json_records_are_named(tmp_path, line):
    good = '{"customerId": 1, "indices": [1, 4], "values": [1, 2.5]}'
    path = tmp_path / "a.jsonl"
    path.write_text(f"{good}\n\n{line}\n{good}\n")
    with pytest.raises(InvalidInputError) as caught:
        read_all(path)
    assert f"{path}, line 3" in str(caught.value)
    assert BAD_RECORDS[line] in str(caught.value)
    ids, dense, bad, places = read_all(path, collect_faults=True)
    assert ids == [1, 1]
    assert dense[1, 4] == 2.5
    assert places == [f"{path}, line 1", f"{path}, line 4"]
    assert [row.number for row in bad] == [3]
    assert BAD_RECORDS[line] in bad[0].reason


def test_json_forms(tmp_path):
    records = [
        {"customerId": "ü", "indices": [3], "values": [1], "more": {"x": []}},
        {"customerId": "b", "features": {"5": 2, "3": -1e-3}},
        {"customerId": "c", "features": {"indices": [2], "values": [0.5]}},
        {"customerId": "d", "features": None},
        {"customerId": "e", "indices": None, "values": None},
        {"customerId": "f", "features": {}},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    reader = reader_of(path)
    (batch,) = [b for piece in reader.slices() for b in reader.read(piece)]
    assert batch.ids.to_pylist() == ["ü", "b", "c", "d", "e", "f"]
    assert batch.rows.null_rows.tolist() == [False, False, False, True, True, False]
    dense = csr_to_dense(batch.rows.csr)
    assert dense[0, 3] == 1
    assert (dense[1, 5], dense[1, 3]) == (2, -1e-3)
    assert dense[2, 2] == 0.5
    assert np.count_nonzero(dense) == 4


def test_json_keys_can_be_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"who": 7, "i": [1], "v": [2]}\r\n{"who": 8, "i": [], "v": []}\r\n')
    ids, dense, _, _ = read_all(path, id_column="who", indices_column="i", values_column="v")
    assert ids == [7, 8]
    assert dense[0, 1] == 2


BAD_PAIRS = {
    "1 2:x": "'2:x' is not column:value",
    "1 2:1 x:1": "'x:1' is not column:value",
    "1 2:1 7": "'7' is not column:value",
    "1 2:1:1": "'2:1:1' is not column:value",
    "1 2.5:1": "'2.5:1' is not column:value",
    "1 :1": "':1' is not column:value",
    "1 99999999999999999999:1": "column 99999999999999999999, where",
}


@pytest.mark.parametrize("line", BAD_PAIRS)
def test_bad_svmlight_lines_are_named(tmp_path, line):
    path = tmp_path / "a.svmlight"
    path.write_text(f"1 0:1 4:2.5\n# note\n\n{line}\n-1 qid:3 4:1 # 5:5\n")
    with pytest.raises(InvalidInputError) as caught:
        read_all(path)
    assert f"{path}, line 4" in str(caught.value)
    ids, dense, bad, places = read_all(path, collect_faults=True)
    assert ids == [0, 2]
    assert dense[:, 4].tolist() == [2.5, 1.0]
    assert places[1] == f"{path}, line 5"
    assert [(row.id, row.number) for row in bad] == [(1, 4)]


def test_svmlight_lines_of_words_are_named(tmp_path):
    path = tmp_path / "a.svmlight"
    path.write_text("1\nhello world\n")
    with pytest.raises(InvalidInputError, match="line 2: 'world' is not column:value"):
        read_all(path)


def test_svmlight_forms(tmp_path):
    path = tmp_path / "a.svmlight"
    path.write_bytes(
        b"# head\r\n\r\n  \t\n1,5  0:1\t3:-2e-1 \r\n+1\n7:1 8:2\n"
        b"\t -1 qid:12 9:4 # 1:1 end\n  # x\n2 1:nan"
    )
    ids, dense, _, places = read_all(path)
    expected = np.zeros((5, N_FEATURES))
    expected[0, 0], expected[0, 3], expected[2, 7], expected[2, 8] = 1, np.float32(-0.2), 1, 2
    expected[3, 9], expected[4, 1] = 4, np.nan
    np.testing.assert_array_equal(dense, expected)
    assert ids == [0, 1, 2, 3, 4]
    assert [place.rpartition(" ")[2] for place in places] == ["4", "5", "6", "7", "9"]


def test_svmlight_columns_can_count_from_1(tmp_path):
    rows = random_rows(60)
    path = write_svmlight(tmp_path / "a.svmlight", rows, base=1)
    np.testing.assert_array_equal(read_all(path, svmlight_base=1)[1], rows.toarray())
    reader = reader_of(path)
    reader.slices()
    assert "counted from 0" in reader.notes[0]
    with_0 = write_svmlight(tmp_path / "b.svmlight", rows)
    with pytest.raises(InvalidInputError, match="column 0, where columns are counted from 1"):
        read_all(with_0, svmlight_base=1)
    reader = reader_of(with_0)
    reader.slices()
    assert reader.notes == ()


@settings(max_examples=40, deadline=None)
@given(
    lines=st.lists(st.sampled_from(["1 0:1 3:2", "2:5", "-1", "", "# c", " ", "0 qid:1 4:4"])),
    end=st.sampled_from(["\n", "\r\n"]),
    final=st.booleans(),
)
def test_the_fast_way_reads_as_the_slow_way(tmp_path_factory, lines, end, final):
    path = tmp_path_factory.mktemp("svm") / "a.svmlight"
    text = end.join(lines) + (end if final else "")
    path.write_bytes(text.encode())
    fast = read_all(path)
    reader = reader_of(path)
    reader._parse_fast = lambda _block: None
    slow = [batch for piece in reader.slices() for batch in reader.read(piece)]
    assert fast[0] == [i for batch in slow for i in batch.ids.to_pylist()]
    if slow:
        dense = np.concatenate([csr_to_dense(batch.rows.csr) for batch in slow])
        np.testing.assert_array_equal(fast[1], dense)
    used = [n for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    assert [int(place.rpartition(" ")[2]) for place in fast[3]] == used


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": np.array(b"csc")}, "holds a 'csc' matrix"),
        ({"format": None}, "holds no sparse matrix"),
        ({"indptr": None}, r"indptr\.npy missing"),
        ({"shape": np.array([3, 7])}, "the model has 50 features"),
        ({"shape": np.array([4, N_FEATURES])}, "4 rows, but indptr has shape"),
        ({"data": np.ones(2)}, "but indptr has shape"),
        ({"data": np.array(["a", "b", "c"])}, "data has type"),
        ({"indices": np.ones(3)}, "indices has type"),
        ({"indptr": np.array([0, 2, 1, 3])}, "indptr decreases after row 1"),
        ({"indptr": np.array([0, 1, 2, 9])}, "outside the 3 entries"),
        ({"indptr": np.array([-1, 1, 2, 3])}, "indptr"),
        ({"format": np.array([None], dtype=object)}, "cannot be read"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_other_npz_files_are_refused(tmp_path, change, message, compressed):
    arrays = {
        "format": np.array(b"csr"),
        "shape": np.array([3, N_FEATURES]),
        "indptr": np.array([0, 1, 2, 3]),
        "indices": np.array([1, 2, 3]),
        "data": np.ones(3, dtype=np.float32),
        **change,
    }
    save = np.savez_compressed if compressed else np.savez
    path = tmp_path / "a.npz"
    save(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(InvalidInputError, match=message):
        read_all(path)


@pytest.mark.parametrize("extension", ["npz", "arrow", "parquet"])
def test_an_empty_file_is_said_to_be_empty(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    path.touch()
    with pytest.raises(InvalidInputError, match=rf"a\.{extension}: the file is empty"):
        read_all(path)


def test_npz_of_other_number_types(tmp_path):
    rows = scipy.sparse.csr_array(
        (np.array([1, 2, 3]), np.array([4, 0, 9]), np.array([0, 2, 2, 3])), (3, N_FEATURES)
    )
    scipy.sparse.save_npz(tmp_path / "a.npz", rows)
    assert read_all(tmp_path / "a.npz", batch_rows=2)[1].sum() == 6
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert "indptr.npy" in archive.namelist()

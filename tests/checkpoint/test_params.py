"""Parameter files: MXNet's bytes in every form, and what is refused."""

from __future__ import annotations

import gc
import os
import struct
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.mxnet_process import shared_process

from fastprop.checkpoint.arrays import RowSparseArray
from fastprop.checkpoint.params import read_params, write_params
from fastprop.errors import DTypeError, InvalidInputError, ModelFormatError, ShapeError
from fastprop.typing import CSR

V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
SAVED_BY_MXNET = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool")
ALL_TYPES = (*SAVED_BY_MXNET, "int16", "uint16", "uint32", "uint64")


def example(rng: np.random.Generator) -> dict[str, object]:
    dense = {
        f"arg:{name}": (rng.standard_normal((3, 2)) * 50).astype(name) for name in SAVED_BY_MXNET
    }
    csr = CSR(
        np.array([0, 2, 2, 3]),
        np.array([0, 4, 1]),
        np.array([1.0, 2.0, 3.0], np.float32),
        (3, 5),
    )
    empty_csr = CSR(np.zeros(4, np.int64), np.empty(0, np.int64), np.empty(0, np.float32), (3, 5))
    return {
        **dense,
        "arg:row_sparse": RowSparseArray(
            (7, 2), np.array([1, 3, 6]), rng.standard_normal((3, 2)).astype(np.float32)
        ),
        "arg:full": RowSparseArray(
            (3, 2), np.arange(3), rng.standard_normal((3, 2)).astype(np.float32)
        ),
        "arg:no_rows": RowSparseArray((3, 2), np.empty(0, np.int64), np.empty((0, 2), np.float32)),
        "arg:wide": RowSparseArray((4, 2, 3), np.array([2]), np.ones((1, 2, 3), np.float64)),
        "aux:csr": csr,
        "aux:empty_csr": empty_csr,
        "unprefixed é": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    }


def assert_equal(found, expected) -> None:
    assert type(found) is type(expected) or isinstance(found, np.ndarray)
    if isinstance(expected, RowSparseArray):
        assert found.shape == expected.shape
        np.testing.assert_array_equal(found.indices, expected.indices)
        assert_equal(found.data, expected.data)
    elif isinstance(expected, CSR):
        assert tuple(found.shape) == tuple(expected.shape)
        np.testing.assert_array_equal(found.indptr, expected.indptr)
        np.testing.assert_array_equal(found.indices, expected.indices)
        assert_equal(found.data, expected.data)
    else:
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        np.testing.assert_array_equal(found, expected)


def packed(*arrays: bytes, names: tuple[bytes, ...] | None = None) -> bytes:
    """A file of arrays that are packed already."""
    if names is None:
        names = tuple(b"a%d" % i for i in range(len(arrays)))
    tail = b"".join(struct.pack("<Q", len(name)) + name for name in names)
    head = struct.pack("<QQQ", 0x112, 0, len(arrays))
    return head + b"".join(arrays) + struct.pack("<Q", len(names)) + tail


def legacy(shape: tuple[int, ...], data: bytes, flag: int = 0) -> bytes:
    return struct.pack(f"<I{len(shape)}Iiii", len(shape), *shape, 1, 0, flag) + data


def stored(
    shape: tuple[int, ...], data: bytes, flag: int = 0, magic: int = V2, context: int = 1
) -> bytes:
    n = len(shape)
    storage = b"" if magic == V1 else struct.pack("<i", 0)
    return (
        struct.pack("<I", magic)
        + storage
        + struct.pack(f"<i{n}qiii", n, *shape, context, 0, flag)
        + data
    )


def read_bytes(directory, data: bytes):
    path = directory / "x.params"
    path.write_bytes(data)
    return read_params(path)


def test_written_bytes_are_mxnets(tmp_path):
    arrays = example(np.random.default_rng(0))
    path = tmp_path / "x.params"
    write_params(path, arrays)
    assert path.read_bytes() == shared_process().call("save", arrays)


def test_what_mxnet_saved_is_read(tmp_path):
    arrays = example(np.random.default_rng(1))
    found = read_bytes(tmp_path, shared_process().call("save", arrays))
    assert list(found) == list(arrays)
    for name, value in arrays.items():
        assert_equal(found[name], value)


def test_what_was_written_mxnet_loads(tmp_path):
    arrays = example(np.random.default_rng(2))
    write_params(tmp_path / "x.params", arrays)
    found = shared_process().call("load", (tmp_path / "x.params").read_bytes())
    for name in ("arg:float32", "arg:int8", "arg:row_sparse", "arg:wide", "aux:csr"):
        assert_equal(found[name], arrays[name])


def test_numpy_shape_semantics_scalars_and_empty_arrays(tmp_path):
    arrays = {"s": np.float32(2.5).reshape(()), "e": np.empty((0, 3), np.float32)}
    data = shared_process().call("save_numpy_shape", arrays)
    assert struct.pack("<I", V3) in data
    found = read_bytes(tmp_path, data)
    for name, value in arrays.items():
        assert_equal(found[name], value)


@pytest.mark.parametrize("name", ALL_TYPES)
def test_every_type_goes_there_and_back(tmp_path, name):
    value = np.array([[0, 1, 2], [3, 100, 7]]).astype(name)
    write_params(tmp_path / "x.params", {"w": value})
    assert_equal(read_params(tmp_path / "x.params")["w"], value)


def test_big_endian_and_strided_arrays_are_written_in_order(tmp_path):
    value = np.arange(12, dtype=">f4").reshape(3, 4)[:, ::2]
    write_params(tmp_path / "x.params", {"w": value})
    np.testing.assert_array_equal(read_params(tmp_path / "x.params")["w"], value)


def test_bfloat16_is_widened(tmp_path):
    bits = np.array([0x3F80, 0xC000, 0x7F80], np.uint16)
    found = read_bytes(tmp_path, packed(stored((3,), bits.tobytes(), flag=12)))["a0"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [1.0, -2.0, np.inf])


def test_nothing_of_a_shape_too_large_to_widen(tmp_path):
    with pytest.raises(ModelFormatError, match="too large"):
        read_bytes(tmp_path, packed(stored((0, 2**61), b"", flag=12)))
    assert read_bytes(tmp_path, packed(stored((0, 2**60), b"", flag=12)))["a0"].size == 0


def test_forms_of_all_ages(tmp_path):
    data = np.arange(6, dtype=np.float32)
    shape = (2, 3)
    arrays = [
        legacy(shape, data.tobytes()),
        stored(shape, data.tobytes(), magic=V1),
        stored(shape, data.tobytes(), magic=V2, context=2),
        stored(shape, data.tobytes(), magic=V3),
    ]
    for value in read_bytes(tmp_path, packed(*arrays)).values():
        assert_equal(value, data.reshape(shape))
    assert len(shared_process().call("load", packed(*arrays[:3]))) == 3


def test_as_many_dimensions_as_there_may_be(tmp_path):
    shape, data = (1,) * 31 + (2,), np.ones(2, np.float32)
    arrays = [legacy(shape, data.tobytes()), stored(shape, data.tobytes())]
    for value in read_bytes(tmp_path, packed(*arrays)).values():
        assert value.shape == shape


def test_none_and_scalars_by_age(tmp_path):
    nothing = [
        struct.pack("<I", 0),
        struct.pack("<Ii", V1, 0),
        struct.pack("<Iii", V2, 0, 0),
        struct.pack("<Iii", V3, 0, -1),
        struct.pack("<Iiiq", V3, 0, 1, -1),
    ]
    found = read_bytes(tmp_path, packed(*nothing, stored((), struct.pack("<f", 3), magic=V3)))
    for i in range(len(nothing)):
        assert found[f"a{i}"].shape == (0,)
    assert found["a5"].shape == ()
    assert found["a5"] == 3


def test_views_are_read_only_and_outlive_everything(tmp_path):
    write_params(tmp_path / "x.params", {"w": np.arange(1000, dtype=np.float32)})
    found = read_params(tmp_path / "x.params")["w"]
    assert not found.flags.writeable
    assert not found.flags.owndata
    (tmp_path / "x.params").unlink()
    gc.collect()
    assert found.sum() == 499500


def test_every_array_is_aligned(tmp_path):
    odd = np.arange(3, dtype=np.uint8)
    value = np.arange(5, dtype=np.float32)
    sparse = RowSparseArray((9, 1), np.array([1, 4, 8]), np.ones((3, 1), np.float32))
    write_params(tmp_path / "x.params", {"a": value, "s": sparse, "odd": odd, "b": value})
    found = read_params(tmp_path / "x.params")
    assert found["a"].flags.aligned
    assert not found["a"].flags.owndata
    assert found["b"].flags.aligned
    assert not found["b"].flags.writeable
    assert found["s"].indices.flags.aligned
    assert_equal(found["b"], value)
    assert_equal(found["s"], sparse)


def test_opening_takes_no_longer_for_more_data(tmp_path):
    path = tmp_path / "x.params"
    shape = (1 << 18, 1 << 10)
    head = packed(stored(shape, b""))
    cut = len(head) - (8 + 8 + 2)
    with open(path, "wb") as stream:  # a sparse file of 1 GiB
        stream.write(head[:cut])
        stream.seek(4 << 28, os.SEEK_CUR)
        stream.write(head[cut:])
    start = time.process_time()
    found = read_params(path)
    assert time.process_time() - start < 0.05
    assert found["a0"].shape == shape


def sparse_array(storage: int, n_stored: int, shape, parts, data_shape=None, aux_flag=6) -> bytes:
    """A row_sparse (1) or csr (2) array from its parts: data, then index arrays."""
    data, *aux = parts
    data_shape = data_shape or (n_stored, *shape[1:])
    packed_shape = lambda s: struct.pack(f"<i{len(s)}q", len(s), *s)  # noqa: E731
    result = struct.pack("<Ii", V2, storage) + packed_shape(data_shape) + packed_shape(shape)
    result += struct.pack("<iii", 1, 0, 0)
    for part in aux:
        result += struct.pack("<i", aux_flag) + packed_shape((len(part),))
    result += np.asarray(data, np.float32).tobytes()
    kind = {6: np.int64, 4: np.int32, 0: np.float32}[aux_flag]
    return result + b"".join(np.asarray(part, kind).tobytes() for part in aux)


def test_narrow_indices_are_widened(tmp_path):
    data = sparse_array(1, 2, (5, 1), ([1, 2], [0, 3]), aux_flag=4)
    found = read_bytes(tmp_path, packed(data))["a0"]
    assert found.indices.dtype == np.int64
    np.testing.assert_array_equal(found.to_dense().ravel(), [1, 0, 0, 2, 0])


def test_a_csr_that_was_never_filled(tmp_path):
    data = sparse_array(2, 0, (3, 5), ([], [], []), data_shape=(0,))
    found = read_bytes(tmp_path, packed(data))["a0"]
    np.testing.assert_array_equal(found.indptr, [0, 0, 0, 0])


GOOD = stored((2,), b"12345678")
CORRUPT = {
    "empty": (b"", "empty file"),
    "foreign": (b"PK\3\4" + bytes(40), "magic number 0x112"),
    "short": (struct.pack("<Q", 0x112), "reserved word"),
    "no-count": (struct.pack("<QQ", 0x112, 0), "the number of arrays"),
    "huge-count": (struct.pack("<QQQ", 0x112, 0, 1 << 60), "announced"),
    "huge-names": (packed(GOOD)[: 24 + len(GOOD)] + struct.pack("<Q", 1 << 62), "announced"),
    "unnamed": (packed(GOOD, names=()), "unnamed"),
    "trailing": (packed(GOOD) + b"x", "expected the end"),
    "twice": (packed(GOOD, GOOD, names=(b"w", b"w")), "'w' occurs twice"),
    "not-utf8": (packed(GOOD, names=(b"\xff",)), "not UTF-8"),
    "cut-name": (packed(GOOD)[:-1], "a name"),
    "long-name": (packed(GOOD)[:-10] + struct.pack("<Q", 1 << 63), "a name"),
    "cut-data": (packed(GOOD)[: 24 + len(GOOD) - 3], "the data of array 0"),
    "bad-magic": (packed(struct.pack("<I", 0xDEADBEEF)), "magic number of array 0"),
    "bad-type": (packed(stored((2,), b"12345678", flag=13)), "unknown type number 13"),
    "negative-type": (packed(stored((2,), b"12345678", flag=-1)), "unknown type number -1"),
    "bad-storage": (packed(struct.pack("<Iii", V2, 3, 0)), "unknown storage type 3"),
    "v3-sparse": (packed(struct.pack("<Iii", V3, 1, 0)), "unknown storage type 1"),
    "many-dimensions": (packed(struct.pack("<Iii", V2, 0, 33)), "33"),
    "negative-dimensions": (packed(struct.pack("<Iii", V2, 0, -2)), "found -2"),
    "unknown-in-v2": (packed(struct.pack("<Iii", V2, 0, -1)), "found -1"),
    "negative-extent": (packed(stored((2, -3), b"")), "negative extent"),
    "huge-extent": (packed(stored((1 << 62, 1 << 62), b"")), "too large"),
    "huge-empty": (packed(stored((0, 1 << 62, 1 << 62), b"")), "too large"),
    "larger-than-the-file": (packed(stored((1 << 32, 1 << 28), b"")), "the data of array 0"),
    "overflowing": (packed(stored((1 << 32, 1 << 32), b"")), "too large"),
    "rows-descend": (packed(sparse_array(1, 2, (5, 1), ([1, 2], [3, 0]))), "do not ascend"),
    "rows-repeat": (packed(sparse_array(1, 2, (5, 1), ([1, 2], [3, 3]))), "do not ascend"),
    "row-outside": (packed(sparse_array(1, 2, (5, 1), ([1, 2], [3, 5]))), "outside 0 to 4"),
    "row-negative": (packed(sparse_array(1, 2, (5, 1), ([1, 2], [-1, 3]))), "outside 0 to 4"),
    "row-shapes": (
        packed(sparse_array(1, 2, (5, 1), ([1, 2, 3], [0, 3]), data_shape=(3, 1))),
        r"expected row_sparse data of shape \(2, 1\)",
    ),
    "row-types": (
        packed(sparse_array(1, 2, (5, 1), ([1, 2], [0, 3]), aux_flag=0)),
        "not integers",
    ),
    "csr-pointers": (
        packed(sparse_array(2, 1, (2, 5), ([1], [0, 1], [0]), data_shape=(1,))),
        "expected 3 row pointers, found 2",
    ),
    "csr-begin": (
        packed(sparse_array(2, 1, (2, 5), ([1], [1, 1, 1], [0]), data_shape=(1,))),
        "run from 1 to 1",
    ),
    "csr-decrease": (
        packed(sparse_array(2, 1, (3, 5), ([1], [0, 2, 1, 1], [0]), data_shape=(1,))),
        "decrease",
    ),
    "csr-column": (
        packed(sparse_array(2, 1, (2, 5), ([1], [0, 1, 1], [5]), data_shape=(1,))),
        "column number is outside 0 to 4",
    ),
    "csr-dimensions": (
        packed(sparse_array(2, 0, (2, 5, 1), ([], [0, 0, 0], []), data_shape=(0,))),
        "two dimensions",
    ),
    "csr-unpaid-rows": (
        packed(sparse_array(2, 0, (1 << 40, 5), ([], [], []), data_shape=(0,))),
        "without row pointers",
    ),
}


@pytest.mark.parametrize("name", CORRUPT)
def test_corrupt_files_are_refused_with_file_and_place(tmp_path, name):
    data, message = CORRUPT[name]
    with pytest.raises(ModelFormatError, match=message) as caught:
        read_bytes(tmp_path, data)
    assert str(tmp_path / "x.params") in str(caught.value)
    assert name == "empty" or "at byte" in str(caught.value)


def test_every_truncation_is_refused(tmp_path):
    write_params(tmp_path / "y.params", example(np.random.default_rng(3)))
    data = (tmp_path / "y.params").read_bytes()
    for length in range(0, len(data), 7):
        with pytest.raises(ModelFormatError):
            read_bytes(tmp_path, data[:length])


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_flipped_bytes_give_arrays_or_a_format_error(tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("flip")
    path = directory / "x.params"
    write_params(path, example(np.random.default_rng(4)))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    try:
        found = read_bytes(directory, bytes(content))
    except ModelFormatError:
        return
    for value in found.values():
        stored_bytes = value.nbytes if isinstance(value, np.ndarray) else value.data.nbytes
        assert stored_bytes <= 2 * len(content)


@settings(deadline=None, max_examples=40)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=8),
        hnp.arrays(
            st.sampled_from([np.dtype(name) for name in ALL_TYPES]),
            hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4),
        ),
        max_size=5,
    )
)
def test_any_dense_arrays_go_there_and_back(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("dense") / "x.params"
    write_params(path, arrays)
    found = read_params(path)
    assert list(found) == list(arrays)
    for name, value in arrays.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.params"
    write_params(path, {"w": np.ones(2, np.float32)})
    before = path.read_bytes()
    for value, error in (
        (np.array(1, np.float32), ShapeError),
        (np.ones(2, np.complex64), DTypeError),
        ([1.0, 2.0], InvalidInputError),
        (RowSparseArray((3, 2), np.arange(2), np.ones((3, 2), np.float32)), ShapeError),
        (CSR(np.zeros(2), np.empty(0), np.empty(0, np.float32), (3, 5)), ShapeError),
    ):
        with pytest.raises(error, match="'v'"):
            write_params(path, {"w": np.zeros(2, np.float32), "v": value})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.params"]


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_params(tmp_path / "none.params")


def test_a_row_sparse_array_too_big_to_be_dense_is_refused():
    # One byte an element and one element more than there may be.
    part = RowSparseArray((1 << 31,), np.array([0]), np.ones(1, np.int8))
    with pytest.raises(ModelFormatError, match="more than the 2147483647 elements"):
        part.to_dense()


def test_row_sparse_is_full():
    data = np.ones((3, 2), np.float32)
    assert RowSparseArray((3, 2), np.arange(3), data).is_full
    assert RowSparseArray((3, 2), np.arange(3), data).to_dense() is data
    assert not RowSparseArray((4, 2), np.arange(3), data).is_full
    assert not RowSparseArray((3, 2), np.array([0, 2, 1]), data).is_full
    none = np.arange(0)
    assert RowSparseArray((0, 2), none, data[:0]).is_full
    assert not RowSparseArray((1, 2), none, data[:0]).is_full
    partial = RowSparseArray((4, 2), np.array([0, 2, 3]), data).to_dense()
    np.testing.assert_array_equal(partial, [[1, 1], [0, 0], [1, 1], [1, 1]])

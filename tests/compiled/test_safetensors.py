"""The container: what is written reads back, and headers that lie are refused with the place."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fastprop import ModelFormatError
from fastprop.compiled.safetensors import check_data, read_safetensors, write_safetensors


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    return {
        "odd": np.arange(3, dtype=np.uint8),
        "weights": rng.standard_normal((5, 7)).astype(np.float32),
        "narrow": rng.integers(0, 1 << 16, (2, 3, 4)).astype(np.uint16),
        "empty": np.zeros((0, 4), np.int32),
        "large": rng.standard_normal((1 << 19, 1)).astype(np.float32),
        "één naam": np.array([-1, 5], np.int32),
    }


@pytest.fixture
def path(tmp_path, tensors):
    path = tmp_path / "file.safetensors"
    write_safetensors(path, tensors, {"note": "made by a test"})
    return path


def test_what_is_written_reads_back(path, tensors):
    file = read_safetensors(path)
    check_data(file)
    assert list(file.tensors) == list(tensors)
    assert file.metadata["note"] == "made by a test"
    for name, tensor in tensors.items():
        found = file.tensors[name]
        np.testing.assert_array_equal(found, tensor)
        assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
        assert not found.flags.writeable
        if found.size:
            assert found.ctypes.data % (4096 if tensor.nbytes >= 1 << 20 else 64) == 0, name


def test_the_format_has_no_gaps(path):
    """As its own readers demand: sorted by place, tensors cover the data."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert (8 + length) % 4096 == 0
    header = json.loads(content[8 : 8 + length])
    del header["__metadata__"]
    at = 0
    for begin, end in sorted(item["data_offsets"] for item in header.values()):
        assert begin == at
        at = end
    assert at == len(content) - 8 - length


def test_a_failed_write_leaves_the_old_file(path, tensors):
    before = path.read_bytes()
    with pytest.raises(KeyError):
        write_safetensors(path, {"bad": np.zeros(3, np.complex64)}, {})
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_damaged_data_is_found(path):
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFormatError, match="SHA-256"):
        check_data(read_safetensors(path))


def with_header(path, header):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(64))


def tensor(**changes):
    return {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64], **changes}


LIES = {
    "not JSON": (b"{", "not JSON at byte"),
    "not UTF-8": (b"\xff\xfe", "not UTF-8 at byte 8"),
    "deep": (b"[" * 100_000, "not JSON"),
    "a huge number": (b'{"t": ' + b"9" * 5000 + b"}", "not JSON|does not have dtype"),
    "a list": ([], "not an object"),
    "a name twice": (b'{"a": 1, "a": 2}', "occurs twice"),
    "metadata of numbers": ({"__metadata__": {"a": 1}, "t": tensor()}, "not an object of texts"),
    "no dtype": ({"t": {"shape": [4, 4], "data_offsets": [0, 64]}}, "tensor 't' does not have"),
    "more": ({"t": tensor(order="F")}, "tensor 't' does not have"),
    "a type": ({"t": tensor(dtype="F8")}, "tensor 't' is of type 'F8'"),
    "no type": ({"t": tensor(dtype=[1])}, "is of type"),
    "a shape": ({"t": tensor(shape=16)}, "no list of extents"),
    "a negative extent": ({"t": tensor(shape=[-4, -4])}, "no list of extents"),
    "a fraction": ({"t": tensor(shape=[4.0, 4])}, "no list of extents"),
    "a truth value": ({"t": tensor(shape=[True, 16])}, "no list of extents"),
    "too many dimensions": ({"t": tensor(shape=[1] * 40)}, "no list of extents"),
    "overflow": ({"t": tensor(shape=[1 << 47, 1 << 47, 1 << 47])}, "takes"),
    "another size": ({"t": tensor(shape=[4, 3])}, "takes 48 bytes, and has 64"),
    "one offset": ({"t": tensor(data_offsets=[0])}, "no begin and end"),
    "swapped offsets": ({"t": tensor(data_offsets=[64, 0])}, r"is at \[64, 0\)"),
    "past the end": ({"t": tensor(shape=[4, 5], data_offsets=[0, 80])}, "truncated"),
    "a gap": ({"t": tensor(shape=[4], data_offsets=[48, 64])}, "begins at 48"),
    "an overlap": ({"t": tensor(), "u": tensor(shape=[4], data_offsets=[16, 32])}, "begins at 16"),
    "data after the end": ({"t": tensor(shape=[4], data_offsets=[0, 16])}, "end after 16 bytes"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused(tmp_path, lie):
    header, message = LIES[lie]
    path = tmp_path / "file"
    with_header(path, header)
    with pytest.raises(ModelFormatError, match=message) as caught:
        read_safetensors(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_tensors_of_odd_places_are_refused(tmp_path):
    path = tmp_path / "file"
    text = json.dumps({"t": tensor()}).encode()
    text += b" " * (-len(text) % 4 + 1)
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(64))
    with pytest.raises(ModelFormatError, match="cannot be read from"):
        read_safetensors(path)


@pytest.mark.parametrize("content", [b"", b"1234567", b"\xff" * 8, b"\xff" * 100])
def test_what_is_no_such_file_is_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ModelFormatError):
        read_safetensors(path)
    with pytest.raises(ModelFormatError, match="cannot be read"):
        read_safetensors(tmp_path / "none")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no compiled model: the file is empty"),
        (b"123", "no compiled model: 3 bytes are too few for one"),
        (bytes(100), "no compiled model, nor .*a header of 0 bytes"),
        (b"hello, this is a text\n", "no compiled model, nor .* 8367736964726416744 bytes"),
        ((100).to_bytes(8, "little") + b"{", "truncated .*of 100 bytes is announced"),
    ],
)
def test_another_file_is_told_from_a_truncated_one(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ModelFormatError, match=message):
        read_safetensors(tmp_path / "file")


def test_every_truncation_is_refused(path):
    content = path.read_bytes()
    for length in [*range(40), 4095, 4096, 5000, len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(ModelFormatError):
            read_safetensors(path)

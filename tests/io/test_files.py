from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import fs

from fastprop.errors import DTypeError, InvalidInputError
from fastprop.io.errors import OutputError
from fastprop.io.files import Location, check_named_once, find_inputs, locate, replacing


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in (
        "a.parquet",
        "b.parquet",
        "c.jsonl",
        "_SUCCESS",
        ".hidden.parquet",
        "day=1/region=eu/part-0.parquet",
        "day=1/region=us/part-0.parquet",
        "day=2/part-0.parquet",
        "day=2/_temporary/part-0.parquet",
        "odd[1].parquet",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a.parquet"], ["a.parquet"]),
        (["b.parquet", "a.parquet"], ["b.parquet", "a.parquet"]),
        (["[ab].parquet"], ["a.parquet", "b.parquet"]),
        (["?.jsonl"], ["c.jsonl"]),
        (["day=1"], ["day=1/region=eu/part-0.parquet", "day=1/region=us/part-0.parquet"]),
        (["day=*/*.parquet"], ["day=2/part-0.parquet"]),
        (
            ["day=1/*/*.parquet"],
            ["day=1/region=eu/part-0.parquet", "day=1/region=us/part-0.parquet"],
        ),
        (
            ["day=*/**/*.parquet"],
            [
                "day=1/region=eu/part-0.parquet",
                "day=1/region=us/part-0.parquet",
                "day=2/part-0.parquet",
            ],
        ),
        (["odd[1].parquet"], ["odd[1].parquet"]),
        (["./[!a].parquet"], ["./b.parquet"]),
    ],
)
@pytest.mark.usefixtures("tree")
def test_what_paths_name(given, expected):
    assert [file.name for file in find_inputs(given)] == expected


def test_uris_and_absolute_patterns_name_the_same(tree):
    absolute = [file.name for file in find_inputs([f"{tree}/[ab].parquet"])]
    assert absolute == [f"{tree}/a.parquet", f"{tree}/b.parquet"]
    uris = find_inputs([f"file://{tree}/[ab].parquet"])
    assert [file.location.path for file in uris] == absolute
    assert [file.name for file in uris] == [f"file://{name}" for name in absolute]
    (single,) = find_inputs([f"file://{tree}/a.parquet"])
    assert single.location.path == f"{tree}/a.parquet"
    assert single.size == 1
    assert len(find_inputs([str(tree)])) == 7


@pytest.mark.parametrize("name", ["none.parquet", "*.csv", "none/*.parquet", "nosuch://x/y"])
@pytest.mark.usefixtures("tree")
def test_what_names_nothing_is_an_error(name):
    with pytest.raises(InvalidInputError, match=name.split("/")[0].replace("*", r"\*")):
        find_inputs([name])


def test_a_file_appears_when_it_is_whole(tmp_path):
    target = locate(str(tmp_path / "out.txt"))
    (tmp_path / "out.txt").write_text("old")

    def write_half():
        with replacing(target) as temporary, open(temporary.path, "w") as file:
            file.write("ne")
            assert (tmp_path / "out.txt").read_text() == "old"
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_half()
    assert os.listdir(tmp_path) == ["out.txt"]
    with replacing(target) as temporary, open(temporary.path, "w") as file:
        file.write("new")
    assert (tmp_path / "out.txt").read_text() == "new"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_a_file_that_was_not_written_is_an_output_error(tmp_path):
    target = locate(str(tmp_path / "out.txt"))
    with pytest.raises(OutputError, match=r"out\.txt: cannot be written"), replacing(target):
        pass


def test_a_file_that_is_named_twice_is_refused(tree):
    os.symlink("a.parquet", "link.parquet")
    for paths in (
        ["a.parquet", "a.parquet"],
        ["a.parquet", "./a.parquet"],
        [".", "c.jsonl"],
        ["a.parquet", "*.parquet"],
        ["a.parquet", "link.parquet"],
        ["a.parquet", os.path.abspath("a.parquet")],
        ["a.parquet", f"file://{os.path.abspath('a.parquet')}"],
    ):
        with pytest.raises(InvalidInputError, match="is named twice among the inputs"):
            check_named_once(find_inputs(paths))
    message = r"^link\.parquet: is named twice among the inputs \(it is a\.parquet as well\)$"
    with pytest.raises(InvalidInputError, match=message):
        check_named_once(find_inputs(["a.parquet", "link.parquet"]))
    # Files of the same content are several.
    check_named_once(find_inputs(["a.parquet", "b.parquet"]))


def test_what_is_no_list_of_paths_is_refused(tree):
    for paths in ("a.parquet", None, 5, b"a.parquet"):
        with pytest.raises(DTypeError, match="a list of paths is needed"):
            find_inputs(paths)
    with pytest.raises(DTypeError, match="an input is None, and a path is needed"):
        find_inputs(["a.parquet", None])
    with pytest.raises(DTypeError, match="a path is 5, and a str is needed"):
        locate(5)
    with pytest.raises(InvalidInputError, match="no path holds a NUL character"):
        locate("a\0b")
    for path in ("\ud800", "\udcff", "s3://b/\udcff"):
        with pytest.raises(InvalidInputError, match=r"is not UTF-8, .*: rename it"):
            locate(path)
    with pytest.raises(DTypeError, match="a list of paths is needed"):
        find_inputs(np.array("a.parquet"))


def test_a_name_that_is_not_utf8_in_a_folder_is_told(tree):
    Path(os.fsdecode(b"n\xff.parquet")).touch()
    for path in (".", "*.parquet"):
        with pytest.raises(
            InvalidInputError, match=r"the name of a file in it is not UTF-8: .*xff"
        ):
            find_inputs([path])


def test_local_paths_are_local():
    assert locate("a/b").is_local
    assert locate("file:///a/b").is_local
    assert isinstance(locate("mock://a").filesystem, fs.FileSystem)


def test_queries_and_credentials_of_uris(tree, monkeypatch):
    """A query goes to the file system and is no pattern; neither it nor a key is ever shown."""
    asked = []
    original = fs.FileSystem.from_uri

    def from_uri(uri):
        asked.append(uri)
        scheme, _, rest = uri.partition("://")
        inner = rest.partition("?")[0].partition("/")[2]
        assert scheme == "s3"
        return fs.SubTreeFileSystem(str(tree), fs.LocalFileSystem()), inner

    monkeypatch.setattr("fastprop.io.files.fs.FileSystem", SimpleNamespace(from_uri=from_uri))
    files = find_inputs(["s3://key:secret@bucket/day=*/**/*.parquet?region=eu-west-1"])
    assert [file.name for file in files] == [
        "s3://bucket/day=1/region=eu/part-0.parquet",
        "s3://bucket/day=1/region=us/part-0.parquet",
        "s3://bucket/day=2/part-0.parquet",
    ]
    assert [file.location.path for file in files][2] == "day=2/part-0.parquet"
    assert asked == ["s3://key:secret@bucket?region=eu-west-1"]
    (single,) = find_inputs(["s3://key:secret@bucket/a.parquet?region=eu-west-1"])
    assert (single.name, single.location.path) == ("s3://bucket/a.parquet", "a.parquet")
    with pytest.raises(InvalidInputError, match=r"^s3://bucket/none: no such file"):
        find_inputs(["s3://key:secret@bucket/none?region=eu-west-1"])
    monkeypatch.undo()
    assert original("file:///a")[1] == "/a"


def test_s3_needs_no_code_of_its_own():
    location = locate("s3://key:secret@bucket/in/a.parquet?region=us-east-1&scheme=http")
    assert location.path == "bucket/in/a.parquet"
    assert location.name == "s3://bucket/in/a.parquet"
    assert location.filesystem.type_name == "s3"
    assert not location.is_local


def test_folders_give_columns(tree):
    files = {file.name: file.partition for file in find_inputs(["day=1", "a.parquet"])}
    assert files["a.parquet"] == {}
    assert files["day=1/region=eu/part-0.parquet"] == {"day": "1", "region": "eu"}
    odd = tree / "region=a%2Fb c/day=__HIVE_DEFAULT_PARTITION__/x.parquet"
    odd.parent.mkdir(parents=True)
    odd.write_bytes(b"x")
    (file,) = find_inputs([str(tree / "region=a%2Fb c")])
    assert file.partition == {"region": "a/b c", "day": None}


class NoRename(fs.FileSystemHandler):
    """A file system that can write and not rename."""

    def __init__(self, base):
        self.base = base

    def move(self, src, dest):
        raise NotImplementedError

    def delete_file(self, path):
        self.base.delete_file(path)

    def get_type_name(self):
        return "norename"

    def open_output_stream(self, path, metadata):
        return pa.PythonFile(open(path, "wb"), mode="w")


for _name in fs.FileSystemHandler.__abstractmethods__ - set(vars(NoRename)):
    setattr(NoRename, _name, lambda self, *arguments: None)
NoRename.__abstractmethods__ = frozenset()


def test_a_file_system_that_cannot_rename_is_named(tmp_path):
    filesystem = fs.PyFileSystem(NoRename(fs.LocalFileSystem()))
    target = Location(filesystem, str(tmp_path / "out.txt"), "odd://out.txt")

    def write():
        with replacing(target) as temporary:
            filesystem.open_output_stream(temporary.path, compression=None).close()

    with pytest.raises(OutputError, match=r"odd://out\.txt: .* cannot rename files"):
        write()
    assert os.listdir(tmp_path) == []

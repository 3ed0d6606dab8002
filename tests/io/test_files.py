from __future__ import annotations

import os

import pytest
from pyarrow import fs

from fastprop.errors import InvalidInputError
from fastprop.io.errors import OutputError
from fastprop.io.files import find_inputs, locate, replacing


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


def test_local_paths_are_local():
    assert locate("a/b").is_local
    assert locate("file:///a/b").is_local
    assert isinstance(locate("mock://a").filesystem, fs.FileSystem)

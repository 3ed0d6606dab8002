from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest

from fastprop.checks import (
    as_path,
    column_name,
    flag,
    instance,
    integer,
    number,
    shown,
    whole_numbers,
)
from fastprop.errors import DTypeError, InvalidInputError


def test_long_values_are_cut():
    assert shown("a" * 100) == "'" + "a" * 56 + "..."
    assert shown([1, 2]) == "[1, 2]"

    class Broken:
        def __repr__(self):
            raise RuntimeError

    assert shown(Broken()) == "a Broken"


def test_paths():
    assert as_path("path", "a/b") == as_path("path", pathlib.Path("a/b")) == pathlib.Path("a/b")

    class Place(os.PathLike):
        def __init__(self, place):
            self.place = place

        def __fspath__(self):
            return self.place

    assert as_path("path", Place("a")) == pathlib.Path("a")
    with pytest.raises(DTypeError, match=r"os\.fsdecode"):
        as_path("path", Place(b"a"))
    assert as_path("path", "\udcff")  # of a file whose name is not UTF-8
    with pytest.raises(InvalidInputError, match="holds what no path can be written with"):
        as_path("path", "\ud800")


def test_flags_and_names_of_columns():
    assert [flag("f", given) for given in (True, 0, 1, np.bool_(True))] == [True, False, True, True]
    for given in (None, 2, 0.0, "yes", "", np.array([True, False]), np.array(True)):
        with pytest.raises(DTypeError, match=r"f is .*, and True or False is needed"):
            flag("f", given)
    assert column_name("c", "") == ""
    for given in (None, b"a", 5, ["a"]):
        with pytest.raises(DTypeError, match=r"c is .*, and the name of a column is needed"):
            column_name("c", given)


def test_numbers_and_objects():
    assert [number("n", n) for n in (1, 1.5, np.float32(0.5), np.int8(2))] == [1.0, 1.5, 0.5, 2.0]
    for given in (None, True, "1", b"1", [1], np.array(1.0), 1j):
        with pytest.raises(DTypeError, match=r"n is .*, and a number is needed"):
            number("n", given)
    for given in (float("nan"), float("inf"), 10**400):
        with pytest.raises(InvalidInputError, match=r"n is .*, and a finite number is needed"):
            number("n", given)
    for given in ([1, 2], (1, 2), np.array([1, 2])):
        assert whole_numbers("n", given, 2) == (1, 2)
    for given in (None, 3, "12", b"12", {1, 2}, [1, "2"], [[1]], np.ones((1, 1)), [3]):
        with pytest.raises(InvalidInputError, match=r"n(\[.\])? is "):
            whole_numbers("n", given, 2)
    assert instance("path", pathlib.Path("a"), pathlib.Path) == pathlib.Path("a")
    with pytest.raises(DTypeError, match=r"path is 'a', and pathlib.*Path is needed"):
        instance("path", "a", pathlib.Path)


def test_integers():
    assert [integer("n", n) for n in (3, np.int8(3), np.uint64(3), np.array(3))] == [3, 3, 3, 3]
    for given in (True, np.bool_(True), 3.0, "3", None, np.array([3])):
        with pytest.raises(DTypeError, match=r"n is .*, and a whole number is needed"):
            integer("n", given)

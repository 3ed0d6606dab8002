from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest

from fastprop.checks import as_path, integer, shown
from fastprop.errors import DTypeError


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


def test_integers():
    assert [integer("n", n) for n in (3, np.int8(3), np.uint64(3), np.array(3))] == [3, 3, 3, 3]
    for given in (True, np.bool_(True), 3.0, "3", None, np.array([3])):
        with pytest.raises(DTypeError, match=r"n is .*, and a whole number is needed"):
            integer("n", given)

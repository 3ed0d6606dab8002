"""Attributes as MXNet's parameter parser reads them."""

from __future__ import annotations

import pytest

from fastprop.graph.attributes import (
    AttributeFormatError,
    read_choice,
    read_flag,
    read_integer,
    read_number,
    read_optional_integer,
    read_tuple,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [("True", True), ("true", True), ("1", True), ("False", False), ("0", False), (" 1 ", True)],
)
def test_flags(text, value):
    assert read_flag({"k": text}, "k", not value) is value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(1, 2)", (1, 2)),
        ("[1,2]", (1, 2)),
        ("(1,)", (1,)),
        ("()", ()),
        ("( )", ()),
        ("3", (3,)),
        ("(-1, 0)", (-1, 0)),
        ("(None, 2)", (None, 2)),
        ("(2L, 3L)", (2, 3)),
        ("None", None),
    ],
)
def test_tuples(text, value):
    assert read_tuple({"k": text}, "k") == value


def test_numbers_and_defaults():
    assert read_integer({"k": "7"}, "k") == 7
    assert read_integer({"k": "7L"}, "k") == 7
    assert read_integer({}, "k", 5) == 5
    assert read_number({"k": "1e-3"}, "k") == 1e-3
    assert read_number({"k": "0.5f"}, "k") == 0.5
    assert read_number({}, "k", 2.0) == 2.0
    assert read_optional_integer({"k": "None"}, "k", 3) is None
    assert read_optional_integer({"k": "4"}, "k") == 4
    assert read_optional_integer({}, "k", 3) == 3
    assert read_choice({}, "k", ("a", "b"), "b") == "b"
    assert read_tuple({}, "k") is None


@pytest.mark.parametrize(
    "read",
    [
        lambda: read_flag({"k": "maybe"}, "k", True),
        lambda: read_integer({"k": "1.5"}, "k"),
        lambda: read_integer({"k": "9" * 40}, "k"),
        lambda: read_integer({}, "k"),
        lambda: read_number({"k": "much"}, "k"),
        lambda: read_number({}, "k"),
        lambda: read_choice({"k": "c"}, "k", ("a", "b")),
        lambda: read_choice({}, "k", ("a", "b")),
        lambda: read_tuple({"k": "(1, x)"}, "k"),
        lambda: read_tuple({"k": "(1"}, "k"),
        lambda: read_tuple({"k": "(" + "1," * 5000 + ")"}, "k"),
    ],
)
def test_what_cannot_be_read_is_said(read):
    with pytest.raises(AttributeFormatError, match="attribute k"):
        read()

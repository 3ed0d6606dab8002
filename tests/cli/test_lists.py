from __future__ import annotations

import click
import pytest

from fastprop.cli.lists import NameList, NumberList

NO_NUMBERS = ["", " ", ",", "1,", "x", "0", "-1", "1.5", "nan", "1,65", "²", "9" * 5000, "\udcff"]


@pytest.mark.parametrize("text", NO_NUMBERS, ids=lambda text: ascii(text)[:9])
def test_what_is_no_list_of_numbers(text):
    with pytest.raises(click.BadParameter, match="not a list of positive whole numbers, up to 64"):
        NumberList(64).convert(text, None, None)


def test_numbers():
    assert NumberList(64).convert(" 1, 64 ", None, None) == (1, 64)
    assert NumberList(64, none=True).convert("", None, None) == ()
    assert NumberList(64).convert((3,), None, None) == (3,)


def test_names():
    assert NameList().convert("a*, b,", None, None) == ("a*", "b")
    assert NameList(("a", "b")).convert("b", None, None) == ("b",)
    for text in ("", " ", ",,"):
        with pytest.raises(click.BadParameter, match="names nothing"):
            NameList().convert(text, None, None)
    with pytest.raises(click.BadParameter, match="'c' is none of a, b"):
        NameList(("a", "b")).convert("a,c", None, None)

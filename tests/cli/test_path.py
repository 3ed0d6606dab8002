from __future__ import annotations

from pathlib import Path

import click
import pytest

from fastprop.cli.app import cli
from fastprop.cli.path import PathType


@pytest.mark.parametrize(("text", "problem"), [("", "is empty"), ("a\0b", "holds a NUL")])
def test_what_is_no_path(text, problem):
    with pytest.raises(click.BadParameter, match=problem):
        PathType().convert(text, None, None)
    assert PathType().convert("a/b", None, None) == Path("a/b")


def test_every_option_that_is_a_path_says_so():
    context = click.Context(cli)
    for name in cli.list_commands(context):
        for parameter in cli.get_command(context, name).params:
            if isinstance(parameter.type, click.Path):
                assert isinstance(parameter.type, PathType), f"{name} {parameter.name}"

from __future__ import annotations

import click
import pytest

from fastprop.cli.app import cli
from fastprop.cli.number import NUMBER, NumberRange


@pytest.mark.parametrize("kind", [NUMBER, NumberRange(), NumberRange(min=0, max=2)], ids=str)
def test_nan_is_no_number(kind):
    for text in ("nan", "-NaN"):
        with pytest.raises(click.BadParameter, match="NaN is no number"):
            kind.convert(text, None, None)
    with pytest.raises(click.BadParameter):
        kind.convert("one", None, None)
    assert kind.convert("1.5", None, None) == 1.5


def test_no_option_is_a_number_that_may_be_nan():
    context = click.Context(cli)
    for name in cli.list_commands(context):
        for parameter in cli.get_command(context, name).params:
            kind = parameter.type
            if isinstance(kind, (click.FloatRange, click.types.FloatParamType)):
                assert isinstance(kind, (NumberRange, type(NUMBER))), f"{name} {parameter.name}"

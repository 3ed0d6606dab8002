"""Types of options that are numbers; NaN, which no comparison refuses, is none of them.

Counts and seeds end where 32 bits do, beyond which NumPy and MXNet fail in ways of their own.
"""

from __future__ import annotations

import math
from typing import Any

import click

__all__ = ["COUNT", "MOST", "NUMBER", "SEED", "NumberRange"]

MOST = (1 << 31) - 1


class _Number(click.types.FloatParamType):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return no_nan(self, super().convert(value, param, ctx), param, ctx)


class NumberRange(click.FloatRange):
    """A number between bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it; NaN is wrong usage."""
        return no_nan(self, super().convert(value, param, ctx), param, ctx)


def no_nan(kind: Any, number: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
    if math.isnan(number):
        kind.fail("NaN is no number that can be used.", param, ctx)
    return number


NUMBER = _Number()
COUNT = click.IntRange(min=1, max=MOST)
SEED = click.IntRange(min=0, max=MOST)

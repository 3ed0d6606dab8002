"""Types of options that are lists, with commas between their parts."""

from __future__ import annotations

from typing import Any

import click

from fastprop.checks import shown

__all__ = ["NameList", "NumberList"]


class NumberList(click.types.StringParamType):
    """Whole numbers from 1 to `most`; with `none`, an empty text is no number at all."""

    def __init__(self, most: int, *, none: bool = False) -> None:
        self._most = most
        self._none = none

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read them."""
        if not isinstance(value, str):
            return value
        parts = [part.strip() for part in value.split(",")]
        if self._none and parts == [""]:
            return ()
        # Python refuses to read a number of thousands of digits.
        if not all(part.isdecimal() and len(part) < 20 for part in parts) or not all(
            1 <= int(part) <= self._most for part in parts
        ):
            self.fail(
                f"{shown(value)} is not a list of positive whole numbers, up to {self._most:,}.",
                param,
                ctx,
            )
        return tuple(int(part) for part in parts)


class NameList(click.types.StringParamType):
    """Names, at least one; where there are choices, each is one of them."""

    def __init__(self, choices: tuple[str, ...] = ()) -> None:
        self._choices = choices

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read them."""
        if not isinstance(value, str):
            return value
        names = tuple(part.strip() for part in value.split(",") if part.strip())
        if not names:
            self.fail(f"{shown(value)} names nothing.", param, ctx)
        for name in names:
            if self._choices and name not in self._choices:
                self.fail(f"{shown(name)} is none of {', '.join(self._choices)}.", param, ctx)
        return names

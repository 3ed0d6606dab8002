"""The type of options that are paths; what can be none is wrong usage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fastprop.checks import as_path
from fastprop.errors import InvalidInputError

__all__ = ["PathType"]


class PathType(click.Path):
    """A path, as a `pathlib.Path`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        try:
            as_path("it", value)
        except InvalidInputError as error:
            self.fail(f"{error}.", param, ctx)
        return super().convert(value, param, ctx)

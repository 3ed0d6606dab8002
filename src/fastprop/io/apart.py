"""Whether a run would write over what it reads."""

from __future__ import annotations

from collections.abc import Sequence

from fastprop.errors import InvalidInputError
from fastprop.io.files import InputFile, Location, real_path

__all__ = ["check_outside", "check_unlike"]


def check_unlike(inputs: Sequence[InputFile], outputs: Sequence[Location]) -> None:
    """Refuse an output file that is one of the inputs.

    Raises
    ------
    InvalidInputError
        Naming both. Links are followed; nothing has been written.
    """
    for output in outputs:
        for file in inputs:
            if _same_system(file, output) and real_path(file.location) == real_path(output):
                raise InvalidInputError(
                    f"{output.name}: is the input {file.name}, which it would replace: choose "
                    "another output"
                )


def check_outside(inputs: Sequence[InputFile], folder: Location) -> None:
    """Refuse an output directory that holds one of the inputs; see `check_unlike`."""
    inside = real_path(folder).rstrip("/") + "/"
    for file in inputs:
        if _same_system(file, folder) and real_path(file.location).startswith(inside):
            raise InvalidInputError(
                f"{folder.name}: holds the input {file.name}: choose another output directory"
            )


def _same_system(file: InputFile, output: Location) -> bool:
    return bool(file.location.filesystem == output.filesystem)

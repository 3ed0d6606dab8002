"""Several models in one directory: which there are, and what they are called."""

from __future__ import annotations

import os
from pathlib import Path

from fastprop.checks import as_path
from fastprop.errors import InvalidInputError

__all__ = ["model_paths"]

COMPILED_SUFFIX = ".fastprop"


def model_paths(directory: str | os.PathLike[str]) -> dict[str, Path]:
    """The models in a directory, by name: directories, and compiled ones, `NAME.fastprop`.

    What begins with a dot or an underscore is none.

    Raises
    ------
    InvalidInputError
        There is none, or two have one name.
    """
    root = as_path("directory", directory)
    try:
        entries = sorted(root.iterdir())
    except OSError as error:
        raise InvalidInputError(f"{root}: cannot be read: {error.strerror}") from error
    found: dict[str, Path] = {}
    for entry in entries:
        is_folder = entry.is_dir()
        if entry.name.startswith((".", "_")) or not (is_folder or entry.suffix == COMPILED_SUFFIX):
            continue
        name = entry.name if is_folder else entry.stem
        if name in found:
            raise InvalidInputError(f"{root}: both {found[name].name} and {entry.name}")
        found[name] = entry
    if not found:
        raise InvalidInputError(
            f"{root}: no model in it: neither a directory nor a compiled file, "
            f"NAME{COMPILED_SUFFIX}"
        )
    return found

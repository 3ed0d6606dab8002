"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fastprop.errors import OutputError

__all__ = ["check_target", "replacing"]


def check_target(path: Path) -> Path:
    """Where a file of that name is to be written; links are followed.

    Raises
    ------
    OutputError
        It is a folder, a device or a pipe, or in a folder that is not there.
    """
    target = Path(os.path.realpath(path))
    if os.path.isdir(target):
        raise OutputError(f"{path}: cannot be written: Is a directory: {target}")
    if os.path.exists(target) and not os.path.isfile(target):
        # Renaming a file to its name would replace it: who may do so would have no /dev/null more.
        raise OutputError(f"{path}: cannot be written: is no regular file, which can be replaced")
    if not os.path.isdir(target.parent):
        folder = target.parent if path.is_symlink() else path.parent
        raise OutputError(f"{path}: cannot be written: there is no folder {folder}")
    return target


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` that takes its name when the block ends well.

    A reader sees the old file or the new one, never a part; when the block raises, the
    temporary file is removed and `path` stays as it was. A link stays one: what it leads to is
    replaced, if that is a file.
    """
    target = check_target(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        opened = open(temporary, "xb")  # noqa: SIM115
    except OSError as error:  # which names the temporary file
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with opened as stream:
            yield stream
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise

"""One run at a time in an output directory, where the file system can lock."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os

from fastprop.io.errors import OutputError
from fastprop.io.files import Location

__all__ = ["FolderLock"]

_NAME = ".lock"
_CANNOT_LOCK = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


class FolderLock:
    """Holds a directory until it is released or the process ends, in whatever way.

    Parameters
    ----------
    folder : Location
        Only local directories are locked.

    Raises
    ------
    OutputError
        If another run holds it.
    """

    def __init__(self, folder: Location) -> None:
        self._path: str | None = None
        self._file = -1
        if not folder.is_local:
            return
        path = folder.child(_NAME).path
        while True:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(file)
                if error.errno in _CANNOT_LOCK:
                    return
                if not isinstance(error, BlockingIOError):
                    raise
                raise OutputError(f"{folder.name}: another run is writing to it") from error
            if _is_at(file, path):
                break
            # Whoever held it took it away in between.
            os.close(file)
        self._path, self._file = path, file

    def release(self) -> None:
        """Let others in; doing so again does nothing."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            os.close(self._file)
            self._path = None


def _is_at(file: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False

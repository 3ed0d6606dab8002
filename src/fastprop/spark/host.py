"""One copy of a shipped model for all executors of a host.

Each executor has a copy of what is shipped, and pages of a file are shared only between those that
map the same file. The first executor to open a model therefore leaves a link to its copy where
the others look. The link holds no data: when that executor's folder goes, the next one to look
finds it dangling and puts its own in the place. What is mapped stays mapped.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile

from fastprop.spark.source import ModelSource

__all__ = ["shared_directory", "worker_directory"]


def worker_directory(source: ModelSource) -> str:
    """Return the directory where this worker finds a model's files."""
    if not source.is_shipped:
        return source.location
    from pyspark import SparkFiles

    return shared_directory(SparkFiles.get(source.location), source)


def shared_directory(own: str, source: ModelSource) -> str:
    """Return the directory of the host's copy of a model.

    Parameters
    ----------
    own : str
        The executor's own copy, which is used where nothing can be shared.
    source : ModelSource
        The model.

    Notes
    -----
    Links are in a folder of the user's own in the temporary directory; one that somebody else
    could write to is not used.
    """
    folder = os.path.join(tempfile.gettempdir(), f"fastprop-{os.getuid()}")
    if not _is_private(folder):
        return own
    link = os.path.join(folder, source.digest)
    try:
        with open(os.path.join(folder, "lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            target = _target(link)
            if target is not None and _has_files(target, source):
                return target
            temporary = f"{link}.{os.getpid()}"
            os.symlink(own, temporary)
            os.replace(temporary, link)
    except OSError:
        return own
    return own


def _target(link: str) -> str | None:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return None


def _is_private(folder: str) -> bool:
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        status = os.lstat(folder)
    except OSError:
        return False
    mine = status.st_uid == os.getuid() and stat.S_ISDIR(status.st_mode)
    return mine and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _has_files(directory: str, source: ModelSource) -> bool:
    try:
        return all(
            os.stat(os.path.join(directory, name)).st_size == size for name, size in source.files
        )
    except OSError:
        return False

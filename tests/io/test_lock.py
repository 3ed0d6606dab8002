"""The lock of an output directory where file systems, and other runs, get in the way."""

from __future__ import annotations

import errno
import fcntl
import os

import pyarrow.fs as fs
import pytest

from fastprop.io import lock
from fastprop.io.errors import OutputError
from fastprop.io.files import Location, locate
from fastprop.io.lock import FolderLock


def failing(code):
    def flock(file, how):
        raise OSError(code, os.strerror(code))

    return flock


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_that_cannot_lock_holds_nobody_up(tmp_path, monkeypatch, code):
    monkeypatch.setattr(lock.fcntl, "flock", failing(code))
    n_open = len(os.listdir("/proc/self/fd"))
    held = [FolderLock(locate(str(tmp_path))) for _ in range(2)]
    for one in held:
        one.release()
    assert len(os.listdir("/proc/self/fd")) == n_open


def test_another_fault_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.setattr(lock.fcntl, "flock", failing(errno.EIO))
    n_open = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Input/output error"):
        FolderLock(locate(str(tmp_path)))
    assert len(os.listdir("/proc/self/fd")) == n_open


def test_what_is_not_local_is_not_locked():
    folder = Location(fs._MockFileSystem(), "out", "mock://out")
    held = [FolderLock(folder) for _ in range(2)]
    assert folder.filesystem.get_file_info("out/.lock").type == fs.FileType.NotFound
    for one in held:
        one.release()


@pytest.mark.parametrize("meanwhile", ["gone", "another's"])
def test_a_lock_that_went_with_its_holder_is_taken_anew(tmp_path, monkeypatch, meanwhile):
    path = tmp_path / ".lock"
    files = []

    def flock(file, how):
        files.append(file)
        fcntl_flock(file, how)
        if len(files) == 1:  # the holder releases between our opening it and our locking it
            path.unlink()
            if meanwhile == "another's":
                path.write_text("")

    fcntl_flock = fcntl.flock
    monkeypatch.setattr(lock.fcntl, "flock", flock)
    held = FolderLock(locate(str(tmp_path)))
    assert len(files) == 2
    with pytest.raises(OutputError, match="another run is writing to it"):
        FolderLock(locate(str(tmp_path)))
    path.unlink()  # somebody tidied up
    held.release()
    held.release()
    FolderLock(locate(str(tmp_path))).release()
    assert not path.exists()

"""What makes a wheel with native code, and a model, reach the executors."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from fastprop.errors import InvalidInputError
from fastprop.spark.source import ModelSource, describe_model

__all__ = [
    "ARCHIVE",
    "SHIPPED",
    "is_connect",
    "scratch_folder",
    "ship_model",
    "ship_source",
    "ship_wheel",
    "shipped_source",
    "wheels_of",
]

ARCHIVE = "archive:"
SHIPPED = "fastprop-model-"

_lock = threading.Lock()
_sent: set[tuple[str, str]] = set()  # session, archive
_wheels: dict[str, tuple[str, ...]] = {}  # by session
_shipped: dict[str, ModelSource] = {}  # models of this process as they are here, by archive


def ship_model(
    spark: Any,
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    epoch: int | None = None,
) -> str:
    """Send a model to every executor of a session, now and later ones.

    Parameters
    ----------
    spark : SparkSession
        Classic or Connect.
    path : path
        A checkpoint directory or a compiled file on this machine. On a path that every host has,
        nothing need be shipped.
    name, epoch
        As for `fastprop.load_model`. Only this checkpoint's files are sent.

    Returns
    -------
    str
        What `PropensityModel.fromPath` and `propensity_udf` take instead of a path.

    Raises
    ------
    ModelFormatError
        There is no such checkpoint.

    Notes
    -----
    Sent once a session, as an archive that Spark unpacks on each executor; executors of one host
    map one copy.
    """
    return ARCHIVE + ship_source(spark, describe_model(path, name, epoch)).location


def ship_source(spark: Any, source: ModelSource) -> ModelSource:
    """Send a described model that is on this machine; return it as workers find it."""
    archive = f"{SHIPPED}{source.digest}"
    paths = [Path(source.location) / name for name, _ in source.files]
    _send(spark, archive, paths)
    _shipped[archive] = source
    return replace(source, location=archive, is_shipped=True)


def ship_wheel(spark: Any, wheel: str | os.PathLike[str], *more: str | os.PathLike[str]) -> None:
    """Send fastprop's wheel to every executor of a session that has NumPy and pyarrow.

    Parameters
    ----------
    spark : SparkSession
        Classic or Connect.
    wheel : path
        fastprop's wheel, for the executors' Python and platform.
    *more : path
        Further wheels that executors lack, such as MXNet's, which holds `libmxnet.so`.

    Raises
    ------
    InvalidInputError
        A file is no wheel.

    Notes
    -----
    `addPyFile` cannot be used: native code is not imported from a zip. What is made in this
    session after the call finds the wheels, with no change of `PYTHONPATH`.
    """
    archives = []
    for path in (wheel, *more):
        file = Path(path)
        if file.suffix != ".whl" or not zipfile.is_zipfile(file):
            raise InvalidInputError(f"{file}: not a wheel")
        digest = hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()
        archive = f"{file.name.split('-')[0]}-wheel-{digest}"
        _send(spark, archive, file)
        archives.append(archive)
    with _lock:
        _wheels[_session(spark)] = tuple(archives)


def wheels_of(spark: Any) -> tuple[str, ...]:
    """Return the archives that `ship_wheel` sent in a session."""
    return _wheels.get(_session(spark), ())


def shipped_source(archive: str) -> ModelSource:
    """Return a model that this process shipped as an archive, as it is on this machine.

    Raises
    ------
    InvalidInputError
        Another process shipped it.
    """
    source = _shipped.get(archive)
    if source is None:
        raise InvalidInputError(
            f"{ARCHIVE}{archive}: this process has not shipped it; call ship_model here first"
        )
    return source


def is_connect(spark: Any) -> bool:
    """Tell whether a session is of Spark Connect."""
    return ".connect." in f"{type(spark).__module__}."


def _session(spark: Any) -> str:
    if is_connect(spark):
        return str(spark.client._session_id)
    return str(spark.sparkContext.applicationId)


def _send(spark: Any, archive: str, content: Path | Sequence[Path]) -> None:
    """Add an archive to the session, unless it has it: a wheel as it is, or files in a new zip."""
    key = (_session(spark), archive)
    with _lock:
        if key in _sent:
            return
        # Spark tells an archive by its suffix.
        file = Path(scratch_folder()) / f"{archive}.zip"
        if isinstance(content, Path):
            shutil.copyfile(content, file)
        elif not file.exists():
            _zip(content, file)
        if is_connect(spark):
            spark.addArtifacts(f"{file}#{archive}", archive=True)
        else:
            spark.sparkContext.addArchive(f"{file}#{archive}")
        _sent.add(key)


def _zip(paths: Sequence[Path], target: Path) -> None:
    """Put files into a zip, as they are: parameters do not compress."""
    unfinished = target.with_suffix(".unfinished")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as zipped:
        for path in paths:
            zipped.write(path, path.name)
    unfinished.replace(target)


@cache
def scratch_folder() -> str:
    """Return where this process keeps what it ships: executors that start later fetch it there."""
    folder = tempfile.mkdtemp(prefix="fastprop-archives-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder

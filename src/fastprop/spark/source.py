"""Which checkpoint is scored with, and where a Python worker finds its files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastprop.checkpoint.directory import find_checkpoint
from fastprop.errors import InvalidInputError, ModelFormatError
from fastprop.model import Model, load_model

__all__ = ["ModelOptions", "ModelSource", "describe_model", "model_directories", "open_model"]

_BLOCK = 1 << 20


@dataclass(frozen=True)
class ModelOptions:
    """How a checkpoint is loaded; see `fastprop.load_model` and `Model.predictor`."""

    positive_index: int | None = 0
    allow_operators: str = "documented"
    engine: str = "auto"


@dataclass(frozen=True)
class ModelSource:
    """A checkpoint, as the driver saw it.

    Parameters
    ----------
    location : str
        A directory, or the name of an archive that Spark unpacks on each executor.
    is_archive : bool
        Which of the two.
    name : str
        Name of the checkpoint.
    epoch : int
        Its epoch.
    files : tuple of (str, int)
        Name and size of each of its files.
    digest : str
        Hash of their names and contents: what a worker loads a model by.
    options : ModelOptions
        How it is loaded.
    """

    location: str
    is_archive: bool
    name: str
    epoch: int
    files: tuple[tuple[str, int], ...]
    digest: str
    options: ModelOptions = ModelOptions()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size in self.files)


def describe_model(
    directory: str | os.PathLike[str],
    name: str | None = None,
    epoch: int | None = None,
    *,
    options: ModelOptions | None = None,
) -> ModelSource:
    """Choose a checkpoint in a directory and hash its files.

    Parameters
    ----------
    directory : path
        On this machine.
    name, epoch
        As for `fastprop.load_model`; the choice is fixed here, so that an epoch that is added
        later changes no job.
    options : ModelOptions, optional

    Raises
    ------
    ModelFormatError
        There is no such checkpoint, or its files cannot be read.
    """
    root = Path(os.path.abspath(directory))
    found = find_checkpoint(root, name, epoch)
    paths = [found.symbol, found.params, found.labels, found.features]
    digest = hashlib.blake2b(digest_size=16)
    files = []
    for path in paths:
        if path is not None:
            size = _hash_file(path, digest)
            files.append((path.name, size))
    assert found.epoch is not None  # a checkpoint found in a directory has one
    return ModelSource(
        location=str(root),
        is_archive=False,
        name=found.name,
        epoch=found.epoch,
        files=tuple(files),
        digest=digest.hexdigest(),
        options=options or ModelOptions(),
    )


def _hash_file(path: Path, digest: hashlib.blake2b) -> int:
    size = 0
    digest.update(path.name.encode("utf-8", "surrogateescape") + b"\0")
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
                size += len(block)
    except OSError as error:
        raise ModelFormatError(f"{path}: cannot be read: {error.strerror}") from error
    digest.update(size.to_bytes(8, "little"))
    return size


def open_model(source: ModelSource, directory: str | os.PathLike[str]) -> Model:
    """Load the checkpoint from a directory that holds its files; they are mapped, not read.

    Raises
    ------
    ModelFormatError
        A file is missing or has another size than where the source was described.
    """
    for name, size in source.files:
        path = Path(directory) / name
        try:
            found = path.stat().st_size
        except OSError as error:
            raise ModelFormatError(
                f"{path}: cannot be read: {error.strerror}; a model that is not on a path which "
                "every host has needs ship_model"
            ) from error
        if found != size:
            raise ModelFormatError(
                f"{path}: has {found} bytes here, and {size} where the job was described"
            )
    return load_model(
        directory,
        source.name,
        source.epoch,
        positive_index=source.options.positive_index,
        allow_operators=source.options.allow_operators,
    )


def model_directories(models: Mapping[str, str] | str | os.PathLike[str]) -> dict[str, str]:
    """Return the directory of each model: as given, or the directories in a directory by name.

    Raises
    ------
    InvalidInputError
        There is none.
    """
    if isinstance(models, Mapping):
        found = {str(key): str(path) for key, path in models.items()}
    else:
        root = Path(models)
        try:
            entries = sorted(root.iterdir())
        except OSError as error:
            raise InvalidInputError(f"{root}: cannot be read: {error.strerror}") from error
        found = {path.name: str(path) for path in entries if path.is_dir()}
    if not found:
        raise InvalidInputError(f"{models}: no model in it")
    return found

"""Which model is scored with, and where a Python worker finds its files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastprop.checkpoint.directory import find_checkpoint
from fastprop.errors import InvalidInputError, ModelFormatError
from fastprop.model import Model, load_model
from fastprop.model_paths import model_paths

__all__ = ["ModelOptions", "ModelSource", "describe_model", "models_by_name", "open_model"]

_BLOCK = 1 << 20


@dataclass(frozen=True)
class ModelOptions:
    """How a model is loaded; see `fastprop.load_model` and `Model.predictor`."""

    positive_index: int | None = 0
    allow_operators: str = "documented"
    engine: str = "auto"


@dataclass(frozen=True)
class ModelSource:
    """A checkpoint or a compiled file, as the driver saw it.

    Parameters
    ----------
    location : str
        The directory of its files.
    is_shipped : bool
        Whether the directory is relative to where Spark puts, on each executor, what it is sent.
    name : str
        Name of the checkpoint.
    epoch : int or None
        Its epoch.
    files : tuple of (str, int)
        Name and size of each of its files.
    digest : str
        Hash of their names and contents: what a worker loads a model by.
    options : ModelOptions
        How it is loaded.
    is_compiled : bool
        Whether the only file is a compiled one.
    """

    location: str
    is_shipped: bool
    name: str
    epoch: int | None
    files: tuple[tuple[str, int], ...]
    digest: str
    options: ModelOptions = ModelOptions()
    is_compiled: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size in self.files)

    def path_in(self, directory: str | os.PathLike[str]) -> Path:
        """What `load_model` takes, where the files are in this directory."""
        return Path(directory) / self.files[0][0] if self.is_compiled else Path(directory)


def describe_model(
    path: str | os.PathLike[str],
    name: str | None = None,
    epoch: int | None = None,
    *,
    options: ModelOptions | None = None,
) -> ModelSource:
    """Choose a checkpoint in a directory, or take a compiled file, and hash its files.

    Parameters
    ----------
    path : path
        A directory or a compiled file on this machine.
    name, epoch
        As for `fastprop.load_model`; the choice is fixed here, so that an epoch that is added
        later changes no job.
    options : ModelOptions, optional

    Raises
    ------
    ModelFormatError
        There is no such checkpoint, or its files cannot be read.
    InvalidInputError
        A compiled file does not allow what is asked for.
    """
    root = Path(os.path.abspath(path))
    options = options or ModelOptions()
    is_compiled = root.is_file()
    if is_compiled:
        paths: list[Path | None] = [root]
        name, epoch = _name_of_compiled(root, name, epoch, options)
        root = root.parent
    else:
        found = find_checkpoint(root, name, epoch)
        paths = [found.symbol, found.params, found.labels, found.features]
        name, epoch = found.name, found.epoch
    digest = hashlib.blake2b(digest_size=16)
    files = [(file.name, _hash_file(file, digest)) for file in paths if file is not None]
    return ModelSource(
        location=str(root),
        is_shipped=False,
        name=name,
        epoch=epoch,
        files=tuple(files),
        digest=digest.hexdigest(),
        options=options,
        is_compiled=is_compiled,
    )


def _name_of_compiled(
    file: Path, name: str | None, epoch: int | None, options: ModelOptions
) -> tuple[str, int | None]:
    """Load a compiled file, which refuses what it does not allow; return its name and epoch."""
    if options.engine == "mxnet":
        raise InvalidInputError(
            f"{file}: a compiled model has the native engine alone; the mxnet engine needs its "
            "checkpoint"
        )
    model = load_model(file, name, epoch, positive_index=options.positive_index)
    return model.name, model.epoch


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
    """Load the model from a directory that holds its files; they are mapped, not read.

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
        source.path_in(directory),
        source.name,
        source.epoch,
        positive_index=source.options.positive_index,
        allow_operators=source.options.allow_operators,
    )


def models_by_name(models: Mapping[str, str] | str | os.PathLike[str]) -> dict[str, str]:
    """Return the path of each model: as given, or those in a directory, see `model_paths`.

    Raises
    ------
    InvalidInputError
        There is none.
    """
    if not isinstance(models, Mapping):
        models = {name: str(path) for name, path in model_paths(models).items()}
    if not models:
        raise InvalidInputError("no model is given")
    return {str(name): str(path) for name, path in models.items()}

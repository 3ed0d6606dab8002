"""A checkpoint's files: found in a directory, read together, written together."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from fastprop.checkpoint.arrays import Parameter
from fastprop.checkpoint.atomic import replacing
from fastprop.checkpoint.params import read_params, write_params
from fastprop.checks import as_path, integer, shown
from fastprop.errors import InvalidInputError, ModelFormatError
from fastprop.graph.graph import parse_symbol
from fastprop.graph.network import Network, bind_parameters

__all__ = [
    "Checkpoint",
    "CheckpointFiles",
    "find_checkpoint",
    "read_checkpoint",
    "read_checkpoint_files",
    "write_checkpoint",
]

PathLike = Union[str, "os.PathLike[str]"]
SYMBOL = re.compile(r"(?P<name>.+)-symbol\.json\Z", re.DOTALL)
PARAMS = re.compile(r"(?P<name>.+)-(?P<epoch>\d{4,9})\.params\Z", re.DOTALL)
LISTED = 10


@dataclass(frozen=True)
class CheckpointFiles:
    """Where a checkpoint's parts are.

    Parameters
    ----------
    name : str
        The checkpoint's name, the prefix of its files.
    epoch : int or None
        The epoch; None where the parameter file was named explicitly and does not say.
    symbol, params : Path
        The symbol's JSON and the parameters.
    labels, features : Path or None
        A label, or a feature's name, a line.
    """

    name: str
    epoch: int | None
    symbol: Path
    params: Path
    labels: Path | None = None
    features: Path | None = None


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint that has been read.

    Parameters
    ----------
    files : CheckpointFiles
        Where it came from.
    network : Network
        The graph with its parameters, which are views of the mapped file.
    labels, feature_names : list of str or None
        What the text files beside it hold.
    """

    files: CheckpointFiles
    network: Network
    labels: list[str] | None = None
    feature_names: list[str] | None = None


def find_checkpoint(
    directory: PathLike, name: str | None = None, epoch: int | None = None
) -> CheckpointFiles:
    """Find `NAME-symbol.json` and `NAME-%04d.params` in a directory.

    Parameters
    ----------
    directory : path
        Where to look; not searched deeper.
    name : str, optional
        The checkpoint's name; by default the only one there.
    epoch : int, optional
        By default the latest.

    Raises
    ------
    ModelFormatError
        There is no such directory, checkpoint or epoch, or several names; says what is there.
    """
    root = as_path("directory", directory)
    if epoch is not None:
        epoch = integer("epoch", epoch)
    try:
        present = sorted(os.listdir(root))
    except OSError as error:
        raise ModelFormatError(f"{root}: cannot be read: {error.strerror}") from error
    names = [match["name"] for match in map(SYMBOL.match, present) if match]
    if not names:
        raise ModelFormatError(
            f"{root}: no checkpoint (no NAME-symbol.json); {listing('it holds', present)}"
        )
    if name is None:
        if len(names) > 1:
            raise ModelFormatError(
                f"{root}: several checkpoints; choose a {listing('name', names)}"
            )
        name = names[0]
    elif not isinstance(name, str) or name not in names:
        raise ModelFormatError(
            f"{root}: no checkpoint {shown(name)}; {listing('there are', names)}"
        )
    epochs: dict[int, str] = {}
    for file in present:
        match = PARAMS.match(file)
        if match and match["name"] == name:
            number = int(match["epoch"])
            if number in epochs:
                raise ModelFormatError(
                    f"{root}: epoch {number} of {name!r} is in both {epochs[number]} and {file}"
                )
            epochs[number] = file
    if not epochs:
        raise ModelFormatError(
            f"{root}: no parameters of {name!r} (no {name}-0000.params or the like); "
            f"{listing('it holds', present)}"
        )
    if epoch is None:
        epoch = max(epochs)
    elif epoch not in epochs:
        known = listing("there are", [str(number) for number in sorted(epochs)])
        raise ModelFormatError(f"{root}: no epoch {epoch} of {name!r}; {known}")
    return CheckpointFiles(
        name=name,
        epoch=epoch,
        symbol=root / f"{name}-symbol.json",
        params=root / epochs[epoch],
        labels=existing(root / f"{name}-labels.txt"),
        features=existing(root / f"{name}-features.txt"),
    )


def listing(what: str, items: Sequence[str]) -> str:
    """Join the first of `items` for an error message."""
    if not items:
        return f"{what}: nothing"
    more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return f"{what}: {', '.join(items[:LISTED])}{more}"


def existing(path: Path) -> Path | None:
    return path if path.exists() else None


def read_checkpoint(
    directory_or_files: Union[PathLike, CheckpointFiles],
    name: str | None = None,
    epoch: int | None = None,
) -> Checkpoint:
    """Read a checkpoint's symbol, parameters, labels and feature names.

    Parameters
    ----------
    directory_or_files : path or CheckpointFiles
        A directory, or what `find_checkpoint` found.
    name, epoch
        As `find_checkpoint` takes them; only with a directory.

    Returns
    -------
    Checkpoint
        Parameters are read-only views of the mapped file (see `read_params`).

    Raises
    ------
    ModelFormatError
        Something is missing, corrupt or does not fit together.
    """
    if isinstance(directory_or_files, CheckpointFiles):
        if name is not None or epoch is not None:
            raise InvalidInputError("name and epoch choose files, but files are given")
        files = directory_or_files
    else:
        files = find_checkpoint(directory_or_files, name, epoch)
    try:
        text = files.symbol.read_bytes()
        parameters = read_params(files.params)
        labels = None if files.labels is None else read_lines(files.labels, unique=True)
        features = None if files.features is None else read_lines(files.features)
    except OSError as error:
        raise ModelFormatError(f"{error.filename}: cannot be read: {error.strerror}") from error
    if not text:
        raise ModelFormatError(f"{files.symbol}: the file is empty")
    graph = parse_symbol(text, str(files.symbol))
    network = bind_parameters(graph, parameters, str(files.params))
    return Checkpoint(files=files, network=network, labels=labels, feature_names=features)


def read_checkpoint_files(
    symbol: PathLike,
    params: PathLike,
    *,
    labels: PathLike | None = None,
    features: PathLike | None = None,
) -> Checkpoint:
    """Read a checkpoint from explicit paths, whatever the files are called.

    Parameters
    ----------
    symbol, params : path
        The symbol's JSON and the parameters.
    labels, features : path, optional
        A label, or a feature's name, a line.

    Raises
    ------
    ModelFormatError
        As `read_checkpoint`.
    """
    symbol, params = as_path("symbol", symbol), as_path("params", params)
    match = PARAMS.match(params.name)
    named = SYMBOL.match(symbol.name)
    return read_checkpoint(
        CheckpointFiles(
            name=named["name"] if named else symbol.stem,
            epoch=int(match["epoch"]) if match else None,
            symbol=symbol,
            params=params,
            labels=None if labels is None else as_path("labels", labels),
            features=None if features is None else as_path("features", features),
        )
    )


def write_checkpoint(
    directory: PathLike,
    name: str,
    epoch: int,
    network: Network,
    *,
    labels: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
) -> CheckpointFiles:
    """Write a checkpoint as MXNet's `save_checkpoint` lays it out, with labels and features.

    Parameters
    ----------
    directory : path
        Made if it is missing. Each file appears whole or not at all, the parameters last.
    name : str
        Prefix of the files.
    epoch : int
        Number of the parameter file.
    network : Network
        Graph, arguments and auxiliary states.
    labels, feature_names : sequence of str, optional
        Written a line each, as UTF-8.

    Raises
    ------
    InvalidInputError
        The name holds a path separator, the epoch is negative, or a line is empty or has a line
        break.
    OSError
        A file cannot be written.
    """
    if not name or os.path.basename(name) != name:
        raise InvalidInputError(f"{name!r} is not a name for a checkpoint's files")
    if epoch < 0:
        raise InvalidInputError(f"epoch {epoch} is negative")
    root = as_path("directory", directory)
    texts = {}
    for suffix, lines in (("labels", labels), ("features", feature_names)):
        if lines is not None:
            texts[suffix] = joined(suffix, lines)
    root.mkdir(parents=True, exist_ok=True)
    paths = {}
    for suffix, text in texts.items():
        paths[suffix] = root / f"{name}-{suffix}.txt"
        with replacing(paths[suffix]) as stream:
            stream.write(text)
    symbol = root / f"{name}-symbol.json"
    with replacing(symbol) as stream:
        stream.write(network.graph.to_json().encode("utf-8"))
    params = root / f"{name}-{epoch:04d}.params"
    named: dict[str, Parameter] = {}
    for prefix, values in (("arg", network.arguments), ("aux", network.auxiliary)):
        named.update(prefixed(prefix, values))
    write_params(params, named)
    return CheckpointFiles(
        name=name,
        epoch=epoch,
        symbol=symbol,
        params=params,
        labels=paths.get("labels"),
        features=paths.get("features"),
    )


def prefixed(prefix: str, values: Mapping[str, Parameter]) -> dict[str, Parameter]:
    return {f"{prefix}:{name}": value for name, value in values.items()}


def joined(what: str, lines: Sequence[str]) -> bytes:
    for i, line in enumerate(lines):
        if not line or "\n" in line or "\r" in line:
            raise InvalidInputError(f"{what}[{i}] is empty or has a line break: {line!r}")
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


def read_lines(path: Path, *, unique: bool = False) -> list[str]:
    """Read a text file's lines; none may be empty, and none may repeat if they must be unique."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"{path}: not UTF-8 at byte {error.start}") from None
    lines = [line[:-1] if line.endswith("\r") else line for line in text.split("\n")]
    if lines[-1] == "":
        lines.pop()
    first: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line:
            raise ModelFormatError(f"{path}: line {number} is empty")
        if unique and first.setdefault(line, number) != number:
            raise ModelFormatError(f"{path}: line {number} repeats line {first[line]}, {line!r}")
    return lines

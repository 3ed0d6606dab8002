"""A saved model: Spark ML's metadata, and the models' files as a Parquet of pieces.

`PATH/metadata` holds the parameters and which files belong to which model, `PATH/model` the pieces
as (model, file, piece, content). Spark reads and writes both, so that any Hadoop file system will
do. Workers read the pieces when a model is saved; they pass through the driver when it is loaded.
"""

from __future__ import annotations

import posixpath
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.ml.util import DefaultParamsReader, DefaultParamsWriter, MLReader, MLWriter

from fastprop.errors import ModelFormatError
from fastprop.spark.bootstrap import on_workers
from fastprop.spark.pieces import PIECE
from fastprop.spark.shipping import is_connect, scratch_folder, ship_source, wheels_of
from fastprop.spark.source import ModelOptions, ModelSource, describe_model

if TYPE_CHECKING:
    from fastprop.spark.transformer import PropensityModel

__all__ = ["PropensityModelReader", "PropensityModelWriter"]

_PIECES_A_FILE = 16
_COLUMNS = "model string, file string, piece long, content binary"


class PropensityModelWriter(MLWriter):
    """Saves a `PropensityModel`."""

    def __init__(self, instance: PropensityModel) -> None:
        super().__init__()
        self._instance = instance

    def saveImpl(self, path: str) -> None:
        """Write the metadata and the files."""
        spark = self.sparkSession
        sources = self._instance._models
        DefaultParamsWriter.saveMetadata(
            self._instance, path, _context(spark), extraMetadata={"models": _described(sources)}
        )
        write_files(spark, list(sources.values()), posixpath.join(path, "model"))


class PropensityModelReader(MLReader[Any]):
    """Loads a `PropensityModel`."""

    def load(self, path: str) -> PropensityModel:
        """Read a saved model, and ship its files to the session's executors.

        Raises
        ------
        ModelFormatError
            The files are damaged or incomplete.
        """
        from fastprop.spark.transformer import PropensityModel

        spark = self.sparkSession
        metadata = DefaultParamsReader.loadMetadata(path, _context(spark))
        instance = PropensityModel()
        instance._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(instance, metadata)
        described = metadata["models"]
        folders = read_files(spark, posixpath.join(path, "model"), described)
        instance._models = {
            key: ship_source(spark, _found(folders[facts["digest"]], facts, path))
            for key, facts in described.items()
        }
        return instance


def write_files(spark: Any, sources: list[ModelSource], path: str) -> None:
    """Write checkpoints' files as pieces, each checkpoint once."""
    unique = {source.digest: source for source in sources}
    pieces = [
        (source.digest, name, piece)
        for source in unique.values()
        for name, size in source.files
        for piece in range(-(-size // PIECE))
    ]
    wanted = spark.createDataFrame(pieces, "model string, file string, piece long")
    wanted = wanted.repartition(-(-len(pieces) // _PIECES_A_FILE))  # 64 MiB a file
    reader = on_workers("fastprop.spark.pieces", "read_pieces", unique, archives=wheels_of(spark))
    wanted.mapInArrow(reader, _COLUMNS).write.parquet(path)


def read_files(spark: Any, path: str, described: dict[str, Any]) -> dict[str, Path]:
    """Copy saved files to this machine; return the folder of each checkpoint by its digest.

    Raises
    ------
    ModelFormatError
        A name leads elsewhere, or a piece is of no file.
    """
    root = Path(tempfile.mkdtemp(dir=scratch_folder()))
    folders, targets = {}, {}
    for facts in described.values():
        digest = _plain_name(facts["digest"], path)
        folder = folders[digest] = root / digest
        folder.mkdir(exist_ok=True)
        for name, size in facts["files"]:
            target = folder / _plain_name(name, path)
            with target.open("wb") as file:
                file.truncate(size)
            targets[digest, name] = target, size
    for row in spark.read.parquet(path).toLocalIterator():
        target, size = targets.get((row["model"], row["file"]), (root, 0))
        first = row["piece"] * PIECE
        if first < 0 or first + len(row["content"]) > size:
            raise ModelFormatError(f"{path}: a piece of {row['file']!r}, which is of no model")
        with target.open("r+b") as file:
            file.seek(first)
            file.write(row["content"])
    return folders


def _plain_name(name: Any, path: str) -> str:
    """Refuse a name that would lead out of its folder: what was saved can be changed by others."""
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ModelFormatError(f"{path}: {name!r} is no name of a file")
    return name


def _found(folder: Path, facts: dict[str, Any], path: str) -> ModelSource:
    """Describe a model that was read back, and compare it with what was saved."""
    options = ModelOptions(**facts["options"])
    path_here = folder / facts["files"][0][0] if facts["is_compiled"] else folder
    source = describe_model(path_here, facts["name"], facts["epoch"], options=options)
    if source.digest != facts["digest"]:
        raise ModelFormatError(f"{path}: the files of {facts['name']!r} are damaged or incomplete")
    return source


def _described(sources: dict[str, ModelSource]) -> dict[str, Any]:
    return {
        key: {
            "name": source.name,
            "epoch": source.epoch,
            "files": [list(file) for file in source.files],
            "digest": source.digest,
            "options": asdict(source.options),
            "is_compiled": source.is_compiled,
        }
        for key, source in sources.items()
    }


def _context(spark: Any) -> Any:
    """What Spark ML reads and writes metadata with: Connect has no context, Spark 3 needs it."""
    return spark if is_connect(spark) else spark.sparkContext

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
        try:
            described = _checked(metadata["models"], path)
            folders = read_files(spark, posixpath.join(path, "model"), described)
            instance._models = {
                key: ship_source(spark, _found(folders[facts["digest"]], facts, path))
                for key, facts in described.items()
            }
        except ModelFormatError:  # a ValueError too
            raise
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ModelFormatError(f"{path}: the metadata of the models is damaged") from error
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
        A piece is of no file, or one is missing.
    """
    root = Path(tempfile.mkdtemp(dir=scratch_folder()))
    missing: dict[tuple[str, str], int] = {}
    for facts in described.values():
        (root / facts["digest"]).mkdir(exist_ok=True)
        for name, size in facts["files"]:
            (root / facts["digest"] / name).touch()
            missing[facts["digest"], name] = int(size)
    sizes, seen = dict(missing), set()
    for row in spark.read.parquet(path).toLocalIterator():
        key, first = (row["model"], row["file"]), row["piece"] * PIECE
        wanted = min(PIECE, sizes.get(key, 0) - first)
        if first < 0 or not 0 < wanted == len(row["content"]) or (key, first) in seen:
            raise ModelFormatError(f"{path}: a piece of {row['file']!r}, which is of no model")
        with root.joinpath(*key).open("r+b") as file:
            file.seek(first)
            file.write(row["content"])
        seen.add((key, first))
        missing[key] -= wanted
    for facts in described.values():
        if any(missing[facts["digest"], name] for name, _ in facts["files"]):
            raise _damaged(path, facts)
    return {facts["digest"]: root / facts["digest"] for facts in described.values()}


def _checked(described: dict[str, Any], path: str) -> dict[str, Any]:
    """Refuse names that would lead out of their folder: others may have changed what was saved."""
    for facts in described.values():
        for name in (facts["digest"], *(name for name, _ in facts["files"])):
            if name in ("", ".", "..") or "/" in name or "\0" in name:
                raise ModelFormatError(f"{path}: {name!r} is no name of a file")
    return described


def _damaged(path: str, facts: dict[str, Any]) -> ModelFormatError:
    return ModelFormatError(f"{path}: the files of {facts['name']!r} are damaged or incomplete")


def _found(folder: Path, facts: dict[str, Any], path: str) -> ModelSource:
    """Describe a model that was read back, and compare it with what was saved."""
    options = ModelOptions(**facts["options"])
    path_here = folder / facts["files"][0][0] if facts["is_compiled"] else folder
    source = describe_model(path_here, facts["name"], facts["epoch"], options=options)
    if source.digest != facts["digest"]:
        raise _damaged(path, facts)
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

"""From what a user names a model by to files that driver and workers can open."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fastprop.checkpoint.directory import find_checkpoint
from fastprop.errors import InvalidInputError, ModelFormatError
from fastprop.spark.shipping import (
    ARCHIVE,
    archive_directory,
    is_connect,
    scratch_folder,
    ship_source,
)
from fastprop.spark.source import ModelOptions, ModelSource, describe_model

__all__ = ["local_directory", "locate_model"]


def locate_model(
    uri: str | os.PathLike[str],
    name: str | None = None,
    epoch: int | None = None,
    *,
    options: ModelOptions,
) -> ModelSource:
    """Find a checkpoint by a path, by what `ship_model` returned, or by a Hadoop URI.

    Raises
    ------
    ModelFormatError
        There is no such checkpoint.
    InvalidInputError
        The URI cannot be reached from here.
    """
    text = os.fspath(uri)
    if text.startswith(ARCHIVE):
        archive = text[len(ARCHIVE) :]
        source = describe_model(archive_directory(archive), name, epoch, options=options)
        return ship_source(active_session(), source)
    parts = urlsplit(text)
    if len(parts.scheme) < 2:
        return describe_model(text, name, epoch, options=options)
    if parts.scheme == "file":
        return describe_model(unquote(parts.path), name, epoch, options=options)
    spark = active_session()
    if is_connect(spark):
        raise InvalidInputError(
            f"{text}: on Spark Connect a model has to be on this machine (ship_model), or be one "
            "that was saved (PropensityModel.load)"
        )
    folder = fetch(spark, text, name, epoch)
    return ship_source(spark, describe_model(folder, name, epoch, options=options))


def local_directory(source: ModelSource) -> str:
    """Return the directory of a model on this machine."""
    return archive_directory(source.location) if source.is_archive else source.location


def active_session() -> Any:
    """Return the session in use.

    Raises
    ------
    InvalidInputError
        There is none.
    """
    from pyspark.sql import SparkSession

    spark = SparkSession.getActiveSession()
    if spark is None:
        raise InvalidInputError("there is no active SparkSession")
    return spark


def fetch(spark: Any, uri: str, name: str | None, epoch: int | None) -> str:
    """Copy a checkpoint's files from a Hadoop file system to a folder of this process."""
    from py4j.protocol import Py4JJavaError

    hadoop = spark.sparkContext._jvm.org.apache.hadoop.fs
    folder = Path(tempfile.mkdtemp(dir=scratch_folder()))
    try:
        path = hadoop.Path(uri)
        filesystem = path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
        # Empty files stand for what is there, until it is known which of them are needed.
        for status in filesystem.listStatus(path):
            if status.isFile():
                (folder / status.getPath().getName()).touch()
        found = find_checkpoint(folder, name, epoch)
        for file in (found.symbol, found.params, found.labels, found.features):
            if file is not None:
                here = hadoop.Path(file.as_uri())
                filesystem.copyToLocalFile(False, hadoop.Path(path, file.name), here, True)
    except Py4JJavaError as error:
        reason = error.java_exception.toString()
        raise ModelFormatError(f"{uri}: cannot be read: {reason}") from error
    except ModelFormatError as error:
        raise ModelFormatError(str(error).replace(str(folder), uri)) from error
    return str(folder)

"""From what a user names a model by to files that driver and workers can open."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fastprop.checkpoint.directory import find_checkpoint
from fastprop.errors import InvalidInputError, ModelFormatError
from fastprop.spark.shipping import (
    ARCHIVE,
    SHIPPED,
    is_connect,
    scratch_folder,
    ship_source,
    shipped_source,
)
from fastprop.spark.source import ModelOptions, ModelSource, describe_model

__all__ = ["local_directory", "locate_model"]

FILES = "files:"


def locate_model(
    uri: str | os.PathLike[str],
    name: str | None = None,
    epoch: int | None = None,
    *,
    options: ModelOptions,
) -> ModelSource:
    """Find a checkpoint or a compiled file.

    Parameters
    ----------
    uri : path
        A path, what `ship_model` returned, `files:NAME` of what `SparkContext.addFile` has sent, or
        a Hadoop URI.

    Raises
    ------
    ModelFormatError
        There is no such model.
    InvalidInputError
        The URI cannot be reached from here.
    """
    text = os.fspath(uri)
    if text.startswith(ARCHIVE):
        sent = shipped_source(text[len(ARCHIVE) :])
        chosen = (name or sent.name, sent.epoch if epoch is None else epoch)
        source = describe_model(sent.path_in(sent.location), *chosen, options=options)
        return ship_source(active_session(), source)
    if text.startswith(FILES):
        return find_sent(text[len(FILES) :], name, epoch, options=options)
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
    path = fetch(spark, text, name, epoch)
    return ship_source(spark, describe_model(path, name, epoch, options=options))


def local_directory(source: ModelSource) -> str:
    """Return the directory of a model on this machine."""
    if not source.is_shipped:
        return source.location
    if source.location.startswith(SHIPPED):
        return shipped_source(source.location).location
    from pyspark import SparkFiles

    return str(SparkFiles.get(source.location))


def find_sent(
    file: str, name: str | None, epoch: int | None, *, options: ModelOptions
) -> ModelSource:
    """Find a compiled file or a directory that `SparkContext.addFile` has sent."""
    from pyspark import SparkFiles

    if is_connect(active_session()):
        raise InvalidInputError(f"{FILES}{file}: on Spark Connect files are sent by ship_model")
    path = SparkFiles.get(file)
    if not os.path.exists(path):
        raise ModelFormatError(f"{FILES}{file}: SparkContext.addFile has sent no such file")
    source = describe_model(path, name, epoch, options=options)
    place = os.path.relpath(source.location, SparkFiles.getRootDirectory())
    return replace(source, location=place, is_shipped=True)


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
    """Copy a model from a Hadoop file system to a folder of this process, and return its path."""
    from py4j.protocol import Py4JJavaError

    hadoop = spark.sparkContext._jvm.org.apache.hadoop.fs
    folder = Path(tempfile.mkdtemp(dir=scratch_folder()))
    try:
        path = hadoop.Path(uri)
        filesystem = path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
        if filesystem.getFileStatus(path).isFile():
            file = folder / path.getName()
            filesystem.copyToLocalFile(False, path, hadoop.Path(file.as_uri()), True)
            return str(file)
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

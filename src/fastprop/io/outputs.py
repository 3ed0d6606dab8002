"""Where results go: one file, or a directory of parts with a manifest that a run resumes from.

In a directory, `part-00000.parquet` and its `_quarantine/part-00000.jsonl` get their names when
they are whole; then `_progress/part-00000.json` says so. A run that was killed at any moment
leaves whole parts, and temporary files that the next run removes. When all parts are there, the
records become `_manifest.json`. What two runs of the same job leave is the same, byte for byte.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import pyarrow as pa
from pyarrow import fs

from fastprop.errors import FastpropError, InvalidInputError
from fastprop.io.batches import BadRow
from fastprop.io.files import UNFINISHED, Location, rename, replacing, unfinished, writing
from fastprop.io.histogram import ScoreHistogram
from fastprop.io.lock import FolderLock
from fastprop.io.plan import Part
from fastprop.io.quarantine import quarantine_lines
from fastprop.io.writers import OutputSchema, Writer, extension_of, open_writer

__all__ = ["DirectoryOutput", "FileOutput", "Output", "PartCounts", "PartWriter"]

_MANIFEST = "_manifest.json"
_PROGRESS = "_progress"
_QUARANTINE = "_quarantine"
_HISTOGRAM = "_histogram"
_FOLDERS = (_PROGRESS, _QUARANTINE, _HISTOGRAM)
_JOB = "job.json"
_VERSION = 1


@dataclass
class PartCounts:
    """What became of a part's rows; `rows` have a line in the output, null or not."""

    rows: int = 0
    null_rows: int = 0
    bad_rows: int = 0
    bytes: int = 0


class PartWriter:
    """Writes the results of one part, and the rows that it leaves out."""

    def __init__(
        self,
        writer: Writer,
        quarantine: Any | None,
        name: str,
        histogram: ScoreHistogram | None = None,
    ) -> None:
        self._writer = writer
        self._histogram = histogram
        self._quarantine = quarantine
        self._name = name
        self.counts = PartCounts()

    def write(self, batch: Any, bad: tuple[BadRow, ...]) -> None:
        """Write the results of a batch, and its bad rows to the side file if there is one."""
        with writing(self._name):
            if len(batch.ids):
                self._writer.write(batch)
                if self._histogram is not None:
                    self._histogram.add(batch)
            if bad and self._quarantine is not None:
                in_order = sorted(bad, key=lambda row: row.number)
                self._quarantine.write(quarantine_lines(in_order))
        self.counts.rows += len(batch.ids)
        self.counts.bad_rows += len(bad)
        if batch.null_rows is not None:
            self.counts.null_rows += int(batch.null_rows.sum())


class Output(Protocol):
    """Where the parts of a run go."""

    def finished(self) -> Mapping[int, PartCounts]:
        """Return the parts that an earlier run has finished."""

    def part(self, part: Part) -> contextlib.AbstractContextManager[PartWriter]:
        """Write a part; it appears under its name when the body has ended well."""

    def finish(self) -> None:
        """Say that all parts are there."""

    def close(self) -> None:
        """Let other runs write there, whether this one has come to its end or not."""


@dataclass(frozen=True, eq=False)
class FileOutput:
    """A single file. An older file of that name is replaced when the new one is whole.

    Parameters
    ----------
    target : Location
    output_format : str
    schema : OutputSchema
    quarantine : bool
        Write bad rows to `NAME.quarantine.jsonl` beside it.
    histogram : bool
        Write the histogram of scores to `NAME.histogram.json` beside it.
    """

    target: Location
    output_format: str
    schema: OutputSchema
    quarantine: bool
    histogram: bool = False

    @property
    def files(self) -> list[Location]:
        """What is written: the file, and those beside it."""
        beside = (self._quarantine_file, self._histogram_file)
        return [self.target, *(file for file in beside if file is not None)]

    @property
    def _quarantine_file(self) -> Location | None:
        return self._beside("quarantine.jsonl") if self.quarantine else None

    @property
    def _histogram_file(self) -> Location | None:
        return self._beside("histogram.json") if self.histogram else None

    def _beside(self, suffix: str) -> Location:
        return self.target.sibling(self.target.path.rpartition("/")[2] + f".{suffix}")

    def finished(self) -> Mapping[int, PartCounts]:
        """Return nothing: a file is written whole or not at all."""
        return {}

    @contextlib.contextmanager
    def part(self, part: Part) -> Iterator[PartWriter]:  # noqa: ARG002
        """Write the file."""
        histogram = self._histogram_file
        counted = None if histogram is None else ScoreHistogram(self.schema.labels.to_pylist())
        with _write_part(
            self.target, self._quarantine_file, self.output_format, self.schema, counted
        ) as writer:
            yield writer
        if histogram is not None and counted is not None:
            _write_text(histogram, counted.to_json())

    def finish(self) -> None:
        """Do nothing more: the file has its name."""

    def close(self) -> None:
        """Do nothing: whoever is last has written the file."""


class DirectoryOutput:
    """A directory of parts.

    Parameters
    ----------
    folder : Location
    output_format : str
    schema : OutputSchema
    quarantine : bool
        Write bad rows to `_quarantine/`.
    histogram : bool
        Write histograms of scores: each part's to `_histogram/`, that of all to `_histogram.json`.
    job : mapping
        Everything that the results depend on, fit for JSON.
    parts : list of Part
        The plan.
    resume : bool
        Go on where an earlier run of the same job has stopped.
    overwrite : bool
        Remove the results of an earlier run first.

    Raises
    ------
    InvalidInputError
        If the directory holds results and neither `resume` nor `overwrite` is given, or those
        of another job.
    OutputError
        If the directory cannot be written, or another run is writing to it.

    Notes
    -----
    Where the file system cannot lock, as object stores cannot, two runs must not write to one
    directory at the same time.
    """

    def __init__(
        self,
        folder: Location,
        *,
        output_format: str,
        schema: OutputSchema,
        quarantine: bool,
        histogram: bool,
        job: Mapping[str, Any],
        parts: list[Part],
        resume: bool,
        overwrite: bool,
    ) -> None:
        self._folder = folder
        self._format = output_format
        self._schema = schema
        self._quarantine = quarantine
        self._histogram = histogram
        self._parts = parts
        self._counts: dict[int, PartCounts] = {}
        # As it will be read back, so that it can be compared.
        self._job = json.loads(json.dumps(dict(job)))
        with writing(folder.name):
            info = folder.info()
            if info.type == fs.FileType.File:
                raise InvalidInputError(f"{folder.name}: is a file, not a directory")
            folder.filesystem.create_dir(folder.path, recursive=True)
            self._lock = FolderLock(folder)
            try:
                self._prepare(resume, overwrite)
            except BaseException:
                self._lock.release()
                raise

    def finished(self) -> Mapping[int, PartCounts]:
        """Return the parts that an earlier run has finished."""
        return dict(self._counts)

    @contextlib.contextmanager
    def part(self, part: Part) -> Iterator[PartWriter]:
        """Write a part and then the record that it is there."""
        quarantine = None
        if self._quarantine:
            quarantine = self._folder.child(f"{_QUARANTINE}/{_name(part.number)}.jsonl")
        target = self._folder.child(_name(part.number) + extension_of(self._format))
        counted = ScoreHistogram(self._labels()) if self._histogram else None
        with _write_part(target, quarantine, self._format, self._schema, counted) as writer:
            yield writer
        if counted is not None:
            inner = f"{_HISTOGRAM}/{_name(part.number)}.json"
            _write_text(self._folder.child(inner), counted.to_json())
        counts = writer.counts
        with writing(target.name):
            counts.bytes = int(target.info().size)
        record = {"part": part.to_json(), "counts": asdict(counts)}
        self._write_json(f"{_PROGRESS}/{_name(part.number)}.json", record)
        self._counts[part.number] = counts

    def finish(self) -> None:
        """Write the manifest and remove the records that it replaces."""
        entries = [
            {
                "name": _name(part.number) + extension_of(self._format),
                "slices": part.to_json(),
                **asdict(self._counts[part.number]),
            }
            for part in self._parts
        ]
        totals = {
            key: sum(entry[key] for entry in entries) for key in ("rows", "null_rows", "bad_rows")
        }
        if self._histogram:
            self._write_histogram()
        manifest = {"version": _VERSION, "job": self._job, **totals, "parts": entries}
        self._write_json(_MANIFEST, manifest)
        with writing(self._folder.name):
            self._delete_folder(_PROGRESS)

    def close(self) -> None:
        """Let other runs write there."""
        self._lock.release()

    def _labels(self) -> list[str]:
        labels: list[str] = self._schema.labels.to_pylist()
        return labels

    def _write_histogram(self) -> None:
        labels = self._labels()
        total = ScoreHistogram(labels)
        for part in self._parts:
            name = f"{_HISTOGRAM}/{_name(part.number)}.json"
            total.merge(ScoreHistogram.from_json(self._read_json(name), labels, name))
        _write_text(self._folder.child(f"{_HISTOGRAM}.json"), total.to_json())

    def _prepare(self, resume: bool, overwrite: bool) -> None:
        filesystem = self._folder.filesystem
        names = self._names()
        if overwrite:
            self._remove_results(names)
            names = self._names()
        used = sorted(name for name in names if not name.startswith("."))
        if used and not resume:
            raise InvalidInputError(
                f"{self._folder.name}: holds files already ({used[0]}); resume the run that "
                "wrote them, overwrite its results, or choose another directory"
            )
        self._remove_unfinished(names)
        if used:
            self._load(names)
        else:
            filesystem.create_dir(self._folder.child(_PROGRESS).path)
            self._write_json(f"{_PROGRESS}/{_JOB}", {"version": _VERSION, "job": self._job})
        for wanted, name in ((self._quarantine, _QUARANTINE), (self._histogram, _HISTOGRAM)):
            if wanted:
                filesystem.create_dir(self._folder.child(name).path)

    def _load(self, names: list[str]) -> None:
        if _MANIFEST in names:
            manifest = self._read_json(_MANIFEST)
            self._compare(manifest)
            for part, entry in zip(self._parts, manifest["parts"]):
                counts = {key: entry[key] for key in asdict(PartCounts())}
                self._accept(part, {"part": entry["slices"], "counts": counts})
            filesystem = self._folder.filesystem
            filesystem.create_dir(self._folder.child(_PROGRESS).path)
            return
        present = self._names(_PROGRESS) if _PROGRESS in names else []
        if _JOB not in present:
            raise InvalidInputError(
                f"{self._folder.name}: there is no run to resume (no {_MANIFEST} and no "
                f"{_PROGRESS}/{_JOB})"
            )
        self._compare(self._read_json(f"{_PROGRESS}/{_JOB}"))
        for part in self._parts:
            name = f"{_name(part.number)}.json"
            if name in present:
                self._accept(part, self._read_json(f"{_PROGRESS}/{name}"))

    def _compare(self, record: Mapping[str, Any]) -> None:
        if record.get("version") != _VERSION:
            raise InvalidInputError(
                f"{self._folder.name}: written by another version of fastprop; it cannot be resumed"
            )
        job = record["job"]
        changed = [key for key in {**job, **self._job} if job.get(key) != self._job.get(key)]
        if changed:
            key = changed[0]
            raise InvalidInputError(
                f"{self._folder.name}: cannot be resumed, since this is another job: {key} was "
                f"{_brief(job.get(key))} and is {_brief(self._job.get(key))}"
            )

    def _accept(self, part: Part, record: Mapping[str, Any]) -> None:
        """Take a part as finished if its file is what the record says; else it is redone."""
        counts = PartCounts(**record["counts"])
        info = self._folder.child(_name(part.number) + extension_of(self._format)).info()
        whole = info.type == fs.FileType.File and int(info.size) == counts.bytes
        if whole and self._histogram:
            counted = self._folder.child(f"{_HISTOGRAM}/{_name(part.number)}.json").info()
            whole = counted.type == fs.FileType.File
        if whole:
            if record["part"] != part.to_json():
                raise InvalidInputError(
                    f"{self._folder.name}: cannot be resumed: {_name(part.number)} holds other "
                    "rows than it would now"
                )
            self._counts[part.number] = counts

    def _names(self, inner: str = "") -> list[str]:
        folder = self._folder.child(inner) if inner else self._folder
        infos = folder.filesystem.get_file_info(fs.FileSelector(folder.path))
        return [info.base_name for info in infos]

    def _remove_results(self, names: list[str]) -> None:
        for name in names:
            if name in _FOLDERS:
                self._delete_folder(name)
            elif name in (_MANIFEST, f"{_HISTOGRAM}.json") or name.startswith("part-"):
                self._folder.filesystem.delete_file(self._folder.child(name).path)

    def _remove_unfinished(self, names: list[str]) -> None:
        inner = [
            f"{folder}/{name}"
            for folder in _FOLDERS
            if folder in names
            for name in self._names(folder)
        ]
        for name in [*names, *inner]:
            if name.endswith(UNFINISHED):
                self._folder.filesystem.delete_file(self._folder.child(name).path)

    def _delete_folder(self, name: str) -> None:
        path = self._folder.child(name).path
        if self._folder.filesystem.get_file_info(path).type == fs.FileType.Directory:
            self._folder.filesystem.delete_dir(path)

    def _write_json(self, name: str, value: Any) -> None:
        text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
        _write_text(self._folder.child(name), text)

    def _read_json(self, name: str) -> Any:
        source = self._folder.child(name)
        try:
            with source.filesystem.open_input_stream(source.path) as stream:
                return json.loads(stream.read())
        except (OSError, ValueError, RecursionError, pa.ArrowException) as error:
            raise InvalidInputError(f"{source.name}: cannot be read: {error}") from error


def _write_text(target: Location, text: str) -> None:
    with replacing(target) as temporary, writing(target.name):
        sink = temporary.filesystem.open_output_stream(temporary.path, compression=None)
        with sink:
            sink.write(text.encode("utf-8"))


def _name(number: int) -> str:
    return f"part-{number:05d}"


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


@contextlib.contextmanager
def _write_part(
    target: Location,
    quarantine: Location | None,
    output_format: str,
    schema: OutputSchema,
    histogram: ScoreHistogram | None,
) -> Iterator[PartWriter]:
    """Write a file and its side file under temporary names; a side file without rows is removed."""
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(replacing(target))
        side = None
        if quarantine is not None:
            side = stack.enter_context(_side_file(quarantine))
        with writing(target.name):
            sink = temporary.filesystem.open_output_stream(temporary.path, compression=None)
            writer = open_writer(output_format, sink, schema)
        try:
            yield PartWriter(writer, side, target.name, histogram)
            with writing(target.name):
                writer.close()
        except BaseException:
            # The file is given up: that closing it fails as well, on a full disk, says nothing.
            with contextlib.suppress(OSError, pa.ArrowException, FastpropError):
                writer.abort()
            raise


class _SideFile:
    """Made at the first write, so that there is no empty side file."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._sink: Any = None

    @property
    def is_used(self) -> bool:
        return self._sink is not None

    def write(self, data: bytes) -> None:
        if self._sink is None:
            filesystem = self._location.filesystem
            self._sink = filesystem.open_output_stream(self._location.path, compression=None)
        self._sink.write(data)

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()


@contextlib.contextmanager
def _side_file(target: Location) -> Iterator[_SideFile]:
    temporary = unfinished(target)
    side = _SideFile(temporary)
    try:
        yield side
        with writing(target.name):
            side.close()
            if side.is_used:
                rename(temporary, target)
            elif target.info().type == fs.FileType.File:
                target.filesystem.delete_file(target.path)  # of an earlier run
    except BaseException:
        with contextlib.suppress(OSError):
            side.close()
        with contextlib.suppress(OSError):
            temporary.filesystem.delete_file(temporary.path)
        raise

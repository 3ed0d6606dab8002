"""Files by path or URI: what an input names, and outputs that appear only when they are whole."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs

from fastprop.checks import shown
from fastprop.errors import DTypeError, InvalidInputError
from fastprop.io.errors import OutputError

__all__ = [
    "UNFINISHED",
    "InputFile",
    "Location",
    "check_named_once",
    "check_target",
    "find_inputs",
    "is_uri",
    "locate",
    "reaching",
    "real_path",
    "rename",
    "replacing",
    "unfinished",
    "without_query",
    "writing",
]

UNFINISHED = ".unfinished"
_WILDCARD = re.compile(r"[*?\[]")
_URI_WILDCARD = re.compile(r"[*\[]")  # a URI has its query after a `?`
_PARTITION = re.compile(r"([^/=]+)=([^/]*)/")
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, eq=False)
class Location:
    """A path on a file system.

    Parameters
    ----------
    filesystem : pyarrow.fs.FileSystem
    path : str
        The path as that file system has it.
    name : str
        The path for people: of a URI without its query and credentials.
    """

    filesystem: Any
    path: str
    name: str

    @property
    def is_local(self) -> bool:
        """Whether the file system is that of this machine."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def child(self, name: str) -> Location:
        """Return the location of a file or directory in this directory."""
        return Location(
            self.filesystem,
            posixpath.join(self.path, name),
            posixpath.join(self.name, name),
        )

    def sibling(self, name: str) -> Location:
        """Return the location of another file in the same directory."""
        folder, shown = posixpath.dirname(self.path), posixpath.dirname(self.name)
        return Location(self.filesystem, posixpath.join(folder, name), posixpath.join(shown, name))

    def info(self) -> Any:
        """Return the file system's facts about the path."""
        return self.filesystem.get_file_info(self.path)


@dataclass(frozen=True, eq=False)
class InputFile:
    """One file to read.

    Parameters
    ----------
    location : Location
    size : int
        Bytes.
    modified : int
        Time of the last change, in nanoseconds since 1970; 0 where the file system keeps none.
    """

    location: Location
    size: int
    modified: int

    @property
    def name(self) -> str:
        """The file's name for people."""
        return self.location.name

    @property
    def partition(self) -> dict[str, str | None]:
        """Columns and values that the file's folders name in Hive's way: `region=eu/`."""
        pairs = _PARTITION.findall(self.name.rpartition("://")[2])
        return {
            unquote(key): None if value == _NULL_PARTITION else unquote(value)
            for key, value in pairs
        }


def real_path(location: Location) -> str:
    """The path that links lead to, where there can be links."""
    return os.path.realpath(location.path) if location.is_local else location.path


def check_target(target: Location) -> None:
    """Refuse to write a local file in the place of a device or pipe, or where there is no folder.

    Raises
    ------
    OutputError
        Naming the folder as it was given.
    """
    if not target.is_local:
        return
    if os.path.exists(target.path) and not os.path.isfile(target.path):
        raise OutputError(
            f"{target.name}: cannot be written: is no regular file, which can be replaced"
        )
    folder = posixpath.dirname(target.path)
    if folder and not os.path.isdir(folder):
        raise OutputError(
            f"{target.name}: cannot be written: there is no folder {posixpath.dirname(target.name)}"
        )


def locate(path: str) -> Location:
    """Resolve a local path or any URI that `pyarrow.fs` understands.

    Raises
    ------
    InvalidInputError
        If the path is empty, the URI's scheme is unknown or its file system cannot be reached.
    """
    if not isinstance(path, str):
        raise DTypeError(f"a path is {shown(path)}, and a str is needed")
    if not path:
        raise InvalidInputError("an empty path: name a file or a directory")
    if "\0" in path:
        raise InvalidInputError(f"{shown(path)}: no path holds a NUL character")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(
            f"{shown(path)}: is not UTF-8, and only such paths can be read and written: rename it"
        ) from None
    if not is_uri(path):
        return Location(fs.LocalFileSystem(), path, path)
    name = _shown(path)
    try:
        filesystem, inner = fs.FileSystem.from_uri(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInputError(f"{name}: {error}") from error
    return Location(filesystem, inner, name)


def is_uri(path: str) -> bool:
    """Tell a URI from a local path."""
    return "://" in path


def without_query(path: str) -> str:
    """Return a URI without its query, `?region=…`; and a local path as it is."""
    return path.partition("?")[0] if is_uri(path) else path


def _shown(uri: str) -> str:
    """A URI without what may be secret: keys before the host, and the query."""
    scheme, separator, rest = without_query(uri).partition("://")
    host, slash, inner = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{inner}"


def find_inputs(paths: Sequence[str]) -> list[InputFile]:
    """List the files that paths name.

    Parameters
    ----------
    paths : sequence of str
        Files, directories (searched in depth, such as hive-partitioned ones) and patterns with
        `*`, `?`, `[…]` and `**`; local or URIs, where a `?` begins the query.

    Returns
    -------
    list of InputFile
        In the order of `paths`, and by name within a directory or pattern. Names that begin
        with `_` or `.` are left out of directories, as Spark and Hive do.

    Raises
    ------
    InvalidInputError
        If a path names nothing.
    """
    if isinstance(paths, (str, bytes)) or not isinstance(paths, Iterable):
        raise DTypeError(f"the inputs are {shown(paths)}, and a list of paths is needed")
    try:
        listed = list(paths)
    except TypeError:  # of an array without dimensions
        raise DTypeError(f"the inputs are {shown(paths)}, and a list of paths is needed") from None
    found: list[InputFile] = []
    for path in listed:
        if not isinstance(path, str):
            raise DTypeError(f"an input is {shown(path)}, and a path is needed, as a str")
        files = _find(path)
        if not files:
            name = _shown(path) if is_uri(path) else path
            raise InvalidInputError(f"{name}: no such file, or nothing in it to read")
        found.extend(files)
    return found


def check_named_once(files: Sequence[InputFile]) -> None:
    """Refuse a file that is named twice, such as by overlapping patterns; links are followed."""
    seen: dict[str, InputFile] = {}
    for file in files:
        first = seen.setdefault(real_path(file.location), file)
        if first is not file and first.location.filesystem == file.location.filesystem:
            again = "" if first.name == file.name else f" (it is {first.name} as well)"
            raise InvalidInputError(f"{file.name}: is named twice among the inputs{again}")


def _find(path: str) -> list[InputFile]:
    if is_uri(path):
        has_pattern = _URI_WILDCARD.search(without_query(path))
        return _find_pattern(path) if has_pattern else _find_exact(path)
    if _WILDCARD.search(path):
        # A file may be called like a pattern; then it is that file.
        return _find_exact(path) or _find_pattern(path)
    return _find_exact(path)


def _find_exact(path: str) -> list[InputFile]:
    location = locate(path)
    with reaching(location.name):
        info = location.info()
        if info.type == fs.FileType.File:
            return [_input(location, info)]
        if info.type == fs.FileType.Directory:
            return _list(location, recursive=True)
    return []


def _find_pattern(path: str) -> list[InputFile]:
    plain = without_query(path)
    query = path[len(plain) :]
    scheme, separator, rest = plain.rpartition("://")
    parts = rest.split("/")
    fixed = next(number for number, part in enumerate(parts) if _WILDCARD.search(part))
    folder = "/".join(parts[:fixed])
    if not folder:
        folder = "/" if rest.startswith("/") else "."
    base = locate(f"{scheme}{separator}{folder}{query}")
    pattern = re.compile(_regular_expression("/".join(parts[fixed:])))
    deep = len(parts) - fixed > 1
    with reaching(base.name):
        if base.info().type != fs.FileType.Directory:
            return []
        entries = _list(base, recursive=deep)
    if folder == "." and not rest.startswith("./"):
        entries = [_renamed(entry, entry.name[2:]) for entry in entries]
    prefix = 0 if folder == "." and not rest.startswith("./") else len(base.name.rstrip("/")) + 1
    return [entry for entry in entries if pattern.fullmatch(entry.name[prefix:])]


def _renamed(entry: InputFile, name: str) -> InputFile:
    location = entry.location
    return InputFile(Location(location.filesystem, location.path, name), entry.size, entry.modified)


def _regular_expression(pattern: str) -> str:
    text = ""
    position = 0
    while position < len(pattern):
        if pattern.startswith("**/", position):
            text, position = text + "(?:[^/]+/)*", position + 3
        elif pattern[position] == "*":
            text, position = text + "[^/]*", position + 1
        elif pattern[position] == "?":
            text, position = text + "[^/]", position + 1
        elif pattern[position] == "[" and "]" in pattern[position + 2 :]:
            end = pattern.index("]", position + 2)
            inner = pattern[position + 1 : end].replace("\\", "\\\\")
            inner = "^" + inner[1:] if inner.startswith("!") else inner
            text, position = f"{text}[{inner}]", end + 1
        else:
            text, position = text + re.escape(pattern[position]), position + 1
    return text


def _list(folder: Location, *, recursive: bool) -> list[InputFile]:
    base = folder.path.rstrip("/")
    selector = fs.FileSelector(folder.path, recursive=recursive)
    files = []
    for info in folder.filesystem.get_file_info(selector):
        inner = info.path[len(base) :].lstrip("/") if base else info.path
        hidden = any(part.startswith(("_", ".")) for part in inner.split("/"))
        if info.type == fs.FileType.File and not hidden:
            files.append(_input(folder.child(inner), info))
    return sorted(files, key=lambda file: file.name)


def _input(location: Location, info: Any) -> InputFile:
    return InputFile(location, int(info.size), int(info.mtime_ns or 0))


@contextlib.contextmanager
def reaching(path: str) -> Iterator[None]:
    """Turn the errors of looking for a file into `InvalidInputError` with its name."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"{path}: the name of a file in it is not UTF-8: {error.object!r}; rename that file"
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise InvalidInputError(f"{path}: cannot be reached: {error}") from error


@contextlib.contextmanager
def writing(name: str) -> Iterator[None]:
    """Turn the errors of writing a file into `OutputError` with its name."""
    try:
        yield
    except OutputError:
        raise
    except (pa.ArrowException, OSError) as error:
        base = posixpath.basename(name)
        text = str(error).replace(f".{base}{UNFINISHED}", base)  # not the temporary file's name
        raise OutputError(f"{name}: cannot be written: {text}") from error


def unfinished(target: Location) -> Location:
    """Return the name that a file has until it is whole."""
    return target.sibling(f".{posixpath.basename(target.path)}{UNFINISHED}")


def rename(source: Location, target: Location) -> None:
    """Give a file that is whole its name.

    Raises
    ------
    OutputError
        If that fails, as on a file system that cannot rename.
    """
    with writing(target.name):
        try:
            target.filesystem.move(source.path, target.path)
        except NotImplementedError as error:
            raise OutputError(
                f"{target.name}: cannot be written: this file system cannot rename files, and an "
                "output gets its name when it is whole; write elsewhere and copy it"
            ) from error


@contextlib.contextmanager
def replacing(target: Location) -> Iterator[Location]:
    """Write a file under a temporary name beside it and rename it when the body has ended well.

    Yields
    ------
    Location
        Where to write. After an error in the body this file is removed and `target` is as before.
    """
    temporary = unfinished(target)
    try:
        yield temporary
        rename(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.filesystem.delete_file(temporary.path)
        raise

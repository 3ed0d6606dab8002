"""Operator attributes: text in the JSON, read as MXNet's parameter parser reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

__all__ = [
    "AttributeFormatError",
    "read_choice",
    "read_flag",
    "read_integer",
    "read_number",
    "read_optional_integer",
    "read_tuple",
]

REQUIRED = object()
INTEGER = re.compile(r"[+-]?\d{1,18}L?\Z")
SEQUENCE = re.compile(r"\s*[(\[](.*)[)\]]\s*\Z", re.DOTALL)
MAX_TUPLE = 4096


class AttributeFormatError(Exception):
    """An attribute is missing or cannot be read; the caller knows the node and says so."""


def read_flag(attributes: Mapping[str, str], key: str, default: bool) -> bool:
    """Read a truth value: `True`, `true`, `1` and their opposites."""
    text = attributes.get(key)
    if text is None:
        return default
    lowered = text.strip().lower()
    if lowered in ("true", "1"):
        return True
    if lowered in ("false", "0"):
        return False
    raise AttributeFormatError(f"attribute {key} is not a truth value: {shown(text)}")


def read_integer(attributes: Mapping[str, str], key: str, default: int | None = None) -> int:
    """Read an integer; missing without a default is an error."""
    text = attributes.get(key)
    if text is None:
        if default is None:
            raise AttributeFormatError(f"attribute {key} is missing")
        return default
    return parse_integer(text.strip(), key)


def read_optional_integer(
    attributes: Mapping[str, str], key: str, default: int | None = None
) -> int | None:
    """Read an integer or `None`."""
    text = attributes.get(key)
    if text is None:
        return default
    text = text.strip()
    return None if text == "None" else parse_integer(text, key)


def read_number(attributes: Mapping[str, str], key: str, default: float | None = None) -> float:
    """Read a real number; missing without a default is an error."""
    text = attributes.get(key)
    if text is None:
        if default is None:
            raise AttributeFormatError(f"attribute {key} is missing")
        return default
    try:
        return float(text.strip().rstrip("f"))
    except ValueError:
        raise AttributeFormatError(f"attribute {key} is not a number: {shown(text)}") from None


def read_choice(
    attributes: Mapping[str, str],
    key: str,
    choices: tuple[str, ...],
    default: str | None = None,
) -> str:
    """One of `choices`; missing without a default is an error."""
    text = attributes.get(key, default)
    if text is None:
        raise AttributeFormatError(f"attribute {key} is missing")
    if text not in choices:
        raise AttributeFormatError(
            f"attribute {key} is {shown(text)}, expected one of {', '.join(choices)}"
        )
    return text


def read_tuple(attributes: Mapping[str, str], key: str) -> tuple[int | None, ...] | None:
    """Read a tuple of integers (or `None` among them); a lone integer is a tuple of one.

    Returns None when the attribute is missing or is `None`.
    """
    text = attributes.get(key)
    if text is None or text.strip() == "None":
        return None
    return parse_tuple(text, key)


@lru_cache(maxsize=4096)
def parse_tuple(text: str, key: str) -> tuple[int | None, ...]:
    match = SEQUENCE.match(text)
    if match is None:
        return (parse_integer(text.strip(), key),)
    parts = [part.strip() for part in match.group(1).split(",", MAX_TUPLE)]
    if parts and not parts[-1]:
        parts.pop()
    if len(parts) > MAX_TUPLE:
        raise AttributeFormatError(f"attribute {key} has more than {MAX_TUPLE} elements")
    return tuple(None if part == "None" else parse_integer(part, key) for part in parts)


@lru_cache(maxsize=4096)
def parse_integer(text: str, key: str) -> int:
    if INTEGER.match(text) is None:
        raise AttributeFormatError(f"attribute {key} is not an integer: {shown(text)}")
    return int(text.rstrip("L"))


def shown(text: str) -> str:
    """`text` quoted, cut where it is long."""
    return repr(text if len(text) <= 60 else text[:57] + "...")

"""The side file of rows that were left out: a JSON line each, with id, place and reason."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from fastprop.io.batches import BadRow

__all__ = ["quarantine_lines"]


def quarantine_lines(rows: Iterable[BadRow]) -> bytes:
    """Describe rows as JSON lines: `id`, `file`, `row` (from 0) or `line` (from 1), `reason`."""
    return b"".join(
        json.dumps(_record(row), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        for row in rows
    )


def _record(row: BadRow) -> dict[str, Any]:
    plain = row.id is None or isinstance(row.id, (int, float, str))
    return {
        "id": row.id if plain else str(row.id),
        "file": row.file,
        row.unit: row.number,
        "reason": row.reason,
    }

"""The error of an output that cannot be written."""

from __future__ import annotations

from fastprop.errors import OutputError

__all__ = ["OutputError"]

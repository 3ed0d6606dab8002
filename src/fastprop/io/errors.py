"""The error of an output that cannot be written."""

from __future__ import annotations

from fastprop.errors import FastpropError

__all__ = ["OutputError"]


class OutputError(FastpropError, OSError):
    """An output cannot be written, such as on a full disk; what was finished stays whole."""

"""Contexts: scripts name one, and it is always the CPU."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Context", "cpu"]


@dataclass(frozen=True)
class Context:
    """Where MXNet would compute. fastprop computes on the CPU."""

    device_type: str = "cpu"
    device_id: int = 0


def cpu(device_id: int = 0) -> Context:
    """Return the context of the CPU."""
    return Context("cpu", device_id)

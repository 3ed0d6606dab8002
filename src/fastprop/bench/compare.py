"""Two runs compared by ratios, so that runs on machines of different speed can be held together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastprop.bench.registry import BASELINE
from fastprop.errors import InvalidInputError

__all__ = ["Change", "compare_reports"]

# Whom ratios are taken to: the first that both runs have measured.
YARDSTICKS = ("torch@2", "torch@1", "scipy@2", "scipy@1", "mxnet-batch", BASELINE)
SAME = ("name", "n_features", "n_labels", "n_rows", "nonzeros", "layers")


@dataclass(frozen=True)
class Change:
    """A contender in two runs.

    Parameters
    ----------
    name, yardstick : str
        Who, and whose rows a second it is divided by.
    before, after : float
        The ratios.
    tolerance : float
        Share of the earlier ratio that may be lost.
    """

    name: str
    yardstick: str
    before: float
    after: float
    tolerance: float

    @property
    def change(self) -> float:
        """Relative change: -0.1 is a loss of a tenth."""
        return self.after / self.before - 1

    @property
    def is_loss(self) -> bool:
        """Whether more was lost than is tolerated."""
        return self.change < -self.tolerance


def compare_reports(
    before: dict[str, Any],
    after: dict[str, Any],
    *,
    tolerance: float,
    yardstick: str | None = None,
) -> list[Change]:
    """Compare fastprop's contenders of two runs.

    Parameters
    ----------
    before, after : dict
        Reports of the same workload.
    tolerance : float
        Share of a ratio that may be lost.
    yardstick : str, optional
        The contender that ratios are taken to; by default PyTorch, or whoever else of the usual
        ones both runs have.

    Raises
    ------
    InvalidInputError
        The workloads differ, or nothing can be compared.
    """
    for name in SAME:
        earlier, later = before["workload"][name], after["workload"][name]
        if name == "layers":
            earlier, later = list(earlier), list(later)
        if earlier != later:
            raise InvalidInputError(
                f"the runs cannot be compared: {name} of the workload was {earlier} and is {later}"
            )
    old, new = rates_of(before), rates_of(after)
    both = [name for name in new if name in old]
    found = [name for name in ((yardstick,) if yardstick else YARDSTICKS) if name in both]
    compared = [name for name in both if name.startswith("fastprop")]
    if not found or not compared:
        raise InvalidInputError(
            "the runs cannot be compared: both need a contender of fastprop and one of "
            f"{yardstick or ', '.join(YARDSTICKS)}, and both have {', '.join(both) or 'nothing'}"
        )
    base = found[0]
    return [
        Change(name, base, old[name] / old[base], new[name] / new[base], tolerance)
        for name in compared
    ]


def rates_of(report: dict[str, Any]) -> dict[str, float]:
    return {
        entry["name"]: float(entry["rows_per_second"])
        for entry in report["contenders"]
        if "rows_per_second" in entry
    }

"""What a verification found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fastprop.verify.ways import Way

__all__ = ["Check", "VerifyReport"]


@dataclass(frozen=True)
class Check:
    """One way to score, held against the oracles.

    Parameters
    ----------
    way : Way
        Engine, precision and instruction set.
    status : {"passed", "failed", "unavailable"}
        Whether its scores are right, or it cannot run.
    reason : str
        Why it failed or cannot run; empty where it passed.
    tolerance : float
        Largest difference that passes.
    max_difference, mean_difference : float, optional
        From the judge.
    worst : str
        Row and label of the largest difference.
    mxnet_max_difference, mxnet_mean_difference : float, optional
        From MXNet running the graph as it was saved; None where it cannot.
    top_k_agreement : float, optional
        Share of the selected labels that are among the judge's best; those that float32 cannot
        tell from the last of them count.
    same_bits : bool, optional
        Whether every number of threads gave the same scores and selections, to the bit.
    """

    way: Way
    status: str
    reason: str
    tolerance: float
    max_difference: float | None = None
    mean_difference: float | None = None
    worst: str = ""
    mxnet_max_difference: float | None = None
    mxnet_mean_difference: float | None = None
    top_k_agreement: float | None = None
    same_bits: bool | None = None


@dataclass(frozen=True)
class VerifyReport:
    """The verdict on a model, and what it rests on.

    Parameters
    ----------
    model : str
        The model's name.
    epoch : int or None
        Its epoch.
    passed : bool
        Whether every way that can run passed, and one can.
    judge : {"numpy", "mxnet", "steps", "none"}
        What scores were held against: NumPy in float64 over the checkpoint's graph; MXNet where
        NumPy has no answer; NumPy over the steps and weights of a compiled file.
    oracles : mapping of str to str
        Of each oracle, why it has no answer; empty where it has one.
    checks : tuple of Check
        Every way, those that cannot run as well.
    scale : float
        Tolerances are multiplied by it: the largest right score, at least 1.
    n_given, n_random, n_edge_cases : int
        Rows.
    n_labels : int
        Scores a row.
    seed, k, threads, batch_size, min_agreement, int8_min_agreement
        As in the settings; `k` at most the number of labels.
    """

    model: str
    epoch: int | None
    passed: bool
    judge: str
    oracles: Mapping[str, str]
    checks: tuple[Check, ...]
    scale: float
    n_given: int
    n_random: int
    n_edge_cases: int
    n_labels: int
    seed: int
    k: int
    threads: tuple[int, ...]
    batch_size: int
    min_agreement: float
    int8_min_agreement: float

    def to_json(self) -> dict[str, Any]:
        """Everything, fit for JSON; a difference that is no number is null, its reason says why."""
        facts = asdict(self)
        facts["threads"] = list(self.threads)
        facts["oracles"] = dict(self.oracles)
        facts["checks"] = [check_facts(check) for check in self.checks]
        return facts


def check_facts(check: Check) -> dict[str, Any]:
    facts = asdict(check)
    way = facts.pop("way")
    for name, value in facts.items():
        if isinstance(value, float) and value in (float("inf"), float("-inf")):
            facts[name] = None
    return {**way, "precision": check.way.precision, "title": check.way.title, **facts}

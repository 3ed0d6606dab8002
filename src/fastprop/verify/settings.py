"""What a verification does: how many rows, which threads, what difference is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fastprop.errors import InvalidInputError

__all__ = ["DEFAULT_TOLERANCES", "VerifySettings"]

# Of a probability. Scores beyond 1 are allowed the same part of the largest one.
DEFAULT_TOLERANCES: Mapping[str, float] = {"float32": 2e-6, "bfloat16": 0.01, "int8": 0.05}


@dataclass(frozen=True)
class VerifySettings:
    """How a model is verified.

    Parameters
    ----------
    random_rows : int
        Rows that are made up, beside the edge cases.
    seed : int
        Of what is made up; the same seed gives the same rows.
    threads : tuple of int
        Numbers of worker threads, whose scores must be the same bits.
    k : int
        Labels that are selected, for the agreement of the best ones.
    tolerances : mapping of str to float
        Largest difference of a score that passes, by precision; the default where there is none.
    min_agreement : float
        Least share of the best `k` labels that must be the oracle's, from 0 to 1.
    int8_min_agreement : float
        The same for int8 weights, which exchange neighbours among the best sooner.
    batch_size : int
        Rows of a full tile: few, so that a modest number of rows makes many tiles.
    block_scores : int
        Most scores that are held at once; decides how much memory is used.
    """

    random_rows: int = 256
    seed: int = 0
    threads: tuple[int, ...] = (1, 2)
    k: int = 20
    tolerances: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_TOLERANCES))
    min_agreement: float = 0.99
    int8_min_agreement: float = 0.95
    batch_size: int = 64
    block_scores: int = 4 << 20

    def __post_init__(self) -> None:
        for name in ("k", "batch_size", "block_scores"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name} is {getattr(self, name)}: at least 1 is needed")
        if self.random_rows < 0:
            raise InvalidInputError(f"random_rows is {self.random_rows}: at least 0 is needed")
        if not self.threads or min(self.threads) < 1:
            raise InvalidInputError(f"threads is {self.threads}: positive numbers are needed")
        for name in ("min_agreement", "int8_min_agreement"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidInputError(f"{name} is {getattr(self, name)}: 0 to 1 can be asked")
        for precision, tolerance in self.tolerances.items():
            if not tolerance >= 0:
                raise InvalidInputError(f"the tolerance of {precision} is {tolerance}: not below 0")

    def tolerance(self, precision: str) -> float:
        """Largest difference that passes, by precision of the weights."""
        return self.tolerances.get(precision, DEFAULT_TOLERANCES[precision])

    def needed_agreement(self, precision: str) -> float:
        """Least share of right labels that passes, by precision of the weights."""
        return self.int8_min_agreement if precision == "int8" else self.min_agreement

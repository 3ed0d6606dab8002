"""What a verification does: how many rows, which threads, what difference is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fastprop.checks import check_choice, number, shown, whole_number, whole_numbers
from fastprop.errors import DTypeError, InvalidInputError
from fastprop.predictor import MAX_BATCH_SIZE, MAX_THREADS

__all__ = ["DEFAULT_TOLERANCES", "VerifySettings"]

MOST = (1 << 31) - 1

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
        for name, most in (("k", MOST), ("batch_size", MAX_BATCH_SIZE), ("block_scores", 1 << 62)):
            whole_number(name, getattr(self, name), most)
        whole_number("random_rows", self.random_rows, MOST, least=0)
        whole_number("seed", self.seed, 1 << 62, least=0)
        if not whole_numbers("threads", self.threads, MAX_THREADS):
            raise InvalidInputError(f"threads is {self.threads}: positive numbers are needed")
        for name in ("min_agreement", "int8_min_agreement"):
            number(name, getattr(self, name))
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidInputError(f"{name} is {getattr(self, name)}: 0 to 1 can be asked")
        if not isinstance(self.tolerances, Mapping):
            raise DTypeError(
                f"tolerances is {shown(self.tolerances)}, and a mapping of precisions to numbers "
                "is needed"
            )
        for precision, tolerance in self.tolerances.items():
            check_choice("a precision of tolerances", precision, tuple(DEFAULT_TOLERANCES))
            if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float, np.number)):
                raise DTypeError(
                    f"the tolerance of {precision} is {shown(tolerance)}, and a number is needed"
                )
            if not tolerance >= 0:
                raise InvalidInputError(f"the tolerance of {precision} is {tolerance}: not below 0")

    def tolerance(self, precision: str) -> float:
        """Largest difference that passes, by precision of the weights."""
        return self.tolerances.get(precision, DEFAULT_TOLERANCES[precision])

    def needed_agreement(self, precision: str) -> float:
        """Least share of right labels that passes, by precision of the weights."""
        return self.int8_min_agreement if precision == "int8" else self.min_agreement

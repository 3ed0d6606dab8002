"""How much machine a population needs: from measured rows/s to core-hours, bytes and memory.

The formulas, with c customers, z non-zeros a customer, r rows/s of a core that only scores, and s
the share of r that reading and writing leave:

    core-hours          c / (r s) / 3600
    hours               core-hours / cores
    cores for a deadline    core-hours / deadline in hours, rounded up to whole executors
    bytes read          c (8 + z b)                    b bytes a non-zero in the files
    bytes written       c (8 + k e)                    k scores kept, e bytes each
    memory              base + weights + batches + row group
      weights           4 bytes a parameter; processes of one host share the mapped file
      batches           (2 ahead + 3) rows (8 z + f k)     read, being scored, waiting to be written
      row group         rows f k, of the output, kept until it is written
                        f is 8 bytes, label and score, or 4 where all scores are kept
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastprop.errors import InvalidInputError

__all__ = ["Capacity", "Job", "Rate", "estimate", "parameter_bytes", "rate_of_report"]

MOST = 1e15  # of what is counted a row
# Bytes of the reference workload's files, zstd: benchmarks/score_parquet.py reports them.
BYTES_PER_NONZERO = 6.3
BYTES_PER_TOP_SCORE = 4.3
BYTES_PER_SCORE = 4.0  # float32; scores hardly compress
BYTES_PER_ID = 8
# What reading and writing leave of the rows/s of scoring alone, as benchmarks/score_parquet.py
# measures it.
SHARE = 0.8

BASE_MEMORY = 192 << 20  # the interpreter with NumPy, pyarrow and fastprop
SAFETY = 1.2  # of what an allocator keeps for later
ROW_GROUP_ROWS = 1 << 16
ROW_GROUP_SCORES = 4 << 20


@dataclass(frozen=True)
class Job:
    """What is to be scored.

    Parameters
    ----------
    customers : int
        Rows.
    nonzeros : float
        Entries a row.
    categories : int
        Labels of the model.
    top_k : int, optional
        Best labels that are kept of a row; all scores by default.
    parameter_bytes : int
        Bytes of the model's parameters.
    batch_rows : int, optional
        As `fastprop score` has it; by default what that takes.
    read_ahead : int
        The same.
    bytes_per_nonzero : float
        In the input files, compressed.
    """

    customers: int
    nonzeros: float
    categories: int
    top_k: int | None = None
    parameter_bytes: int = 0
    batch_rows: int | None = None
    read_ahead: int = 2
    bytes_per_nonzero: float = BYTES_PER_NONZERO

    def __post_init__(self) -> None:
        for name in ("customers", "categories", "read_ahead", "top_k", "batch_rows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInputError(f"{name}: expected at least 1, got {value}")
        for name in ("nonzeros", "bytes_per_nonzero"):
            value = getattr(self, name)
            if not 0 < value < MOST:
                raise InvalidInputError(
                    f"{name}: expected more than 0, below {MOST:g}, got {value}"
                )

    @property
    def scores_kept(self) -> int:
        """Scores of a row that are written."""
        return self.categories if self.top_k is None else min(self.top_k, self.categories)


@dataclass(frozen=True)
class Rate:
    """How fast a core scores, and what that was measured with.

    Parameters
    ----------
    rows_per_second : float
        Of one core.
    source : str
        Where the figure is from.
    nonzeros, categories : float and int, optional
        Of the rows and the model that were measured; None where that is not known.
    parameter_bytes : int
        Of the model that was measured; 0 where that is not known.
    """

    rows_per_second: float
    source: str
    nonzeros: float | None = None
    categories: int | None = None
    parameter_bytes: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.rows_per_second < MOST:
            raise InvalidInputError(
                f"rows/s a core: expected more than 0, below {MOST:g}, got {self.rows_per_second}"
            )

    def scaled_to(self, job: Job) -> float:
        """Rows/s of a core for a job of another size: slower by the larger of both ratios.

        That is an upper bound of the time, which grows with non-zeros and categories apart. Smaller
        jobs are not taken to be faster.
        """
        ratios = [1.0]
        if self.nonzeros:
            ratios.append(job.nonzeros / self.nonzeros)
        if self.categories:
            ratios.append(job.categories / self.categories)
        return self.rows_per_second / max(ratios)


@dataclass(frozen=True)
class Capacity:
    """What a job needs; sizes in bytes.

    Parameters
    ----------
    rows_per_second_per_core : float
        With reading and writing.
    core_hours : float
    hours : float or None
        On the cores that were named.
    bytes_read, bytes_written : int
    memory_per_executor : int
        Of a process that scores, its part of the weights included.
    executors : int or None
        For the deadline.
    cores : int or None
        Of these executors together.
    """

    rows_per_second_per_core: float
    core_hours: float
    hours: float | None
    bytes_read: int
    bytes_written: int
    memory_per_executor: int
    executors: int | None
    cores: int | None


def estimate(
    job: Job,
    rate: Rate,
    *,
    share: float = SHARE,
    cores: int | None = None,
    deadline_hours: float | None = None,
    cores_per_executor: int = 4,
) -> Capacity:
    """Work out what a job needs; see the formulas above.

    Parameters
    ----------
    job : Job
    rate : Rate
    share : float
        What reading and writing leave of the rate, above 0 and up to 1.
    cores : int, optional
        Cores that there are: gives the hours.
    deadline_hours : float, optional
        Hours that there are: gives the executors.
    cores_per_executor : int
        Cores of a process.
    """
    if not 0 < share <= 1:
        raise InvalidInputError(f"share: expected above 0 and up to 1, got {share}")
    for name, value in (("cores", cores), ("cores_per_executor", cores_per_executor)):
        if value is not None and value < 1:
            raise InvalidInputError(f"{name}: expected at least 1, got {value}")
    if deadline_hours is not None and not deadline_hours > 0:
        raise InvalidInputError(f"deadline: expected more than 0 hours, got {deadline_hours}")
    per_core = rate.scaled_to(job) * share
    if not per_core > job.customers / MOST:
        raise InvalidInputError(
            f"rows/s a core: {per_core:g} are too few to work out when {job.customers:,} customers "
            "are scored"
        )
    core_hours = job.customers / per_core / 3600
    executors = None
    if deadline_hours is not None:
        each_has = deadline_hours * cores_per_executor
        if not each_has > core_hours / MOST:
            raise InvalidInputError(f"deadline: {deadline_hours} hours are too few to score in")
        executors = math.ceil(core_hours / each_has - 1e-9)
    each = BYTES_PER_SCORE if job.top_k is None else BYTES_PER_TOP_SCORE
    return Capacity(
        rows_per_second_per_core=per_core,
        core_hours=core_hours,
        hours=None if cores is None else core_hours / cores,
        bytes_read=round(job.customers * (BYTES_PER_ID + job.nonzeros * job.bytes_per_nonzero)),
        bytes_written=round(job.customers * (BYTES_PER_ID + job.scores_kept * each)),
        memory_per_executor=memory_bytes(job),
        executors=executors,
        cores=None if executors is None else executors * cores_per_executor,
    )


def memory_bytes(job: Job) -> int:
    """The peak of a process of `fastprop score`, whatever the number of customers."""
    from fastprop.io.batches import default_batch_rows

    rows = job.batch_rows or default_batch_rows(job.categories, ranked=job.top_k is not None)
    result = job.scores_kept * (4 if job.top_k is None else 8)
    batches = (2 * job.read_ahead + 3) * rows * (8 * job.nonzeros + result)
    row_group = result * min(ROW_GROUP_ROWS, max(ROW_GROUP_SCORES // job.scores_kept, rows))
    return round(BASE_MEMORY + job.parameter_bytes + SAFETY * (batches + row_group))


def parameter_bytes(n_features: int, layers: Sequence[int]) -> int:
    """Bytes of the float32 weights of a chain of layers; `layers` are their widths, heads last.

    A head of two classes has two rows of weights.
    """
    widths = [n_features, *layers]
    sizes = [a * b for a, b in zip(widths, widths[1:])]
    return 4 * (sum(sizes) + sizes[-1])


def rate_of_report(report: Mapping[str, Any], *, top_k: bool, name: str = "the report") -> Rate:
    """Read the rate of a core out of a report of `fastprop bench`.

    Parameters
    ----------
    report : mapping
        As JSON has it.
    top_k : bool
        Take the figure for the best labels, where there is one.
    name : str
        What the report is called in messages.

    Raises
    ------
    InvalidInputError
        If it is no such report, or holds no figure of fastprop's.
    """
    try:
        found = {
            each["name"]: each
            for each in report["contenders"]
            if each["kind"] == "fastprop" and each["status"] == "measured" and not each["single"]
        }
        workload = report["workload"]
        n_features, layers = int(workload["n_features"]), list(workload["layers"])
        nonzeros, categories = float(workload["nonzeros_per_row"]), int(workload["n_labels"])
        figures = {
            key: (float(e["rows_per_second"]), int(e["threads"])) for key, e in found.items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(f"{name}: no report of fastprop bench ({error!r})") from error
    kinds = ["fastprop-top", "fastprop@"] if top_k else ["fastprop@"]
    for kind in kinds:
        chosen = [key for key in figures if key.startswith(kind)]
        if chosen:
            # With most threads: cores that share a memory are slower than one alone.
            key = max(chosen, key=lambda each: figures[each][1])
            rows_per_second, threads = figures[key]
            return Rate(
                rows_per_second / threads,
                f"{key} in {name}",
                nonzeros=nonzeros,
                categories=categories,
                parameter_bytes=parameter_bytes(n_features, layers) if layers else 0,
            )
    raise InvalidInputError(f"{name}: fastprop was not measured")

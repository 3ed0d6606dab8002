"""What is measured and how long: frozen settings, checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fastprop.checks import number, whole_number, whole_numbers
from fastprop.errors import InvalidInputError

__all__ = ["ONLINE_RETAIL", "WORKLOADS", "BenchSettings", "MeasureSettings", "WorkloadSettings"]

ONLINE_RETAIL = "online-retail"
MOST = (1 << 31) - 1
MOST_ELEMENTS = 1 << 40
MOST_SKEW = 10.0
PRECISIONS = ("float32", "bfloat16", "int8")


@dataclass(frozen=True)
class WorkloadSettings:
    """A made-up checkpoint and rows for it.

    Parameters
    ----------
    name : str
        What the workload is called in reports.
    n_features : int
        Width of a row.
    nonzeros : int
        Entries a row; their mean where `ragged` is set.
    skew : float
        A column is `floor(n_features * u ** skew)`, u uniform: 1 is uniform, 3 has popular columns.
    hidden : tuple of int
        Widths of the hidden layers; the first is the sparse one.
    categories : int
        Number of heads, each a softmax over two classes.
    n_rows : int
        Distinct rows that are scored again and again.
    ragged : bool
        Whether rows differ in length, log-normally with a standard deviation of 1.1 in the
        logarithm.
    seed : int
        Of the random parameters and rows.
    """

    name: str
    n_features: int
    nonzeros: int
    skew: float = 3.0
    hidden: tuple[int, ...] = (256, 128)
    categories: int = 3000
    n_rows: int = 32_768
    ragged: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_features", "nonzeros", "categories", "n_rows"):
            whole_number(name, getattr(self, name), MOST)
        if self.nonzeros > self.n_features:
            raise InvalidInputError(
                f"nonzeros: a row of {self.n_features} features cannot have {self.nonzeros}"
            )
        number("skew", self.skew)
        if not 0 < self.skew <= MOST_SKEW:  # beyond, distinct columns are not found
            raise InvalidInputError(
                f"skew: {self.skew} must be positive, and at most {MOST_SKEW:g}"
            )
        if not whole_numbers("hidden", self.hidden, MOST):
            raise InvalidInputError(f"hidden: {self.hidden} must be one or more positive widths")
        widths = (self.n_features, *self.hidden, 2 * self.categories)
        for name, size in (
            ("n_rows", self.n_rows * self.nonzeros),
            ("hidden", max(a * b for a, b in zip(widths, widths[1:]))),
        ):
            if size > MOST_ELEMENTS:
                raise InvalidInputError(
                    f"{name}: that is an array of {size:,} numbers, and {MOST_ELEMENTS:,} are the "
                    "most: make the workload smaller"
                )


WORKLOADS: Mapping[str, WorkloadSettings] = MappingProxyType(
    {
        settings.name: settings
        for settings in (
            WorkloadSettings("reference", n_features=300_000, nonzeros=200),
            WorkloadSettings(
                "small", n_features=20_000, nonzeros=50, hidden=(64, 32), categories=200
            ),
            WorkloadSettings("wide", n_features=1_000_000, nonzeros=200),
            WorkloadSettings(
                "many", n_features=300_000, nonzeros=200, categories=10_000, n_rows=8192
            ),
            # The shape of what fastprop.features makes of that data set.
            WorkloadSettings(
                ONLINE_RETAIL,
                n_features=24_670,
                nonzeros=380,
                skew=2.0,
                categories=1500,
                n_rows=4096,
                ragged=True,
            ),
        )
    }
)


@dataclass(frozen=True)
class MeasureSettings:
    """How contenders are timed.

    Parameters
    ----------
    window_seconds : float
        A contender is timed in windows of at least so long, in turn with the others.
    repetitions : int, optional
        Calls a window, in place of a duration.
    agreeing : int
        A contender is done when the rates of so many windows in a row agree.
    agreement : float
        They agree if the highest is at most this share above the lowest.
    max_windows : int
        Most windows; a contender whose windows never agreed is marked.
    time_limit : float
        No new round begins so many seconds after the start.
    prepare_seconds : float
        Most time for loading a contender, compilation included.
    """

    window_seconds: float = 0.5
    repetitions: int | None = None
    agreeing: int = 3
    agreement: float = 0.05
    max_windows: int = 10
    time_limit: float = 240.0
    prepare_seconds: float = 150.0

    def __post_init__(self) -> None:
        for name in ("window_seconds", "agreement", "time_limit", "prepare_seconds"):
            if not number(name, getattr(self, name)) > 0:
                raise InvalidInputError(f"{name}: {getattr(self, name)} must be positive")
        if self.repetitions is not None:
            whole_number("repetitions", self.repetitions, MOST)
        for name in ("agreeing", "max_windows"):
            whole_number(name, getattr(self, name), MOST)
        if not 1 <= self.agreeing <= self.max_windows:
            raise InvalidInputError(
                f"max_windows: {self.max_windows} must be at least {self.agreeing}"
            )


@dataclass(frozen=True)
class BenchSettings:
    """Everything that a run is told.

    Parameters
    ----------
    batch_size : int
        Rows a batch.
    batch_sizes : tuple of int
        Rows a call in the comparison by batch size; empty for none.
    threads : tuple of int
        Thread counts that contenders are run with.
    engines : tuple of str
        Engines of fastprop to run; what `Model.predictor` calls them.
    contenders : tuple of str
        Patterns of the names to run; all by default.
    precisions : tuple of str
        `"float32"`, and `"bfloat16"` and `"int8"` for contenders that hold weights in them.
    limits : bool
        Whether to measure what the machine can do.
    tolerance : float
        Largest difference from plain NumPy in float64 that is a right answer.
    measure : MeasureSettings
        How long.
    """

    batch_size: int = 512
    batch_sizes: tuple[int, ...] = (1, 8, 32, 128, 512, 2048)
    threads: tuple[int, ...] = (1, 2)
    engines: tuple[str, ...] = ("auto",)
    contenders: tuple[str, ...] = ("*",)
    precisions: tuple[str, ...] = PRECISIONS
    limits: bool = True
    tolerance: float = 2e-6
    measure: MeasureSettings = field(default_factory=MeasureSettings)

    def __post_init__(self) -> None:
        for name in ("batch_sizes", "threads"):
            whole_numbers(name, getattr(self, name), MOST)
        whole_number("batch_size", self.batch_size, MOST)
        for precision in self.precisions:
            if precision not in PRECISIONS:
                raise InvalidInputError(
                    f"precisions: {precision!r} is none of {', '.join(PRECISIONS)}"
                )
        if not self.threads:
            raise InvalidInputError("threads: at least one number of threads is needed")

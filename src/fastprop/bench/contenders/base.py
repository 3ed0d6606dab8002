"""What a contender is, seen from the process that it has to itself.

The rules are the same for all. Rows lie in memory in the layout that the contender's API takes,
made before the clock starts; what the API copies is timed. Scores are delivered to NumPy: a float32
matrix of all rows and labels that is allocated and touched beforehand, or the top-k arrays.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable

from fastprop.bench.oracle import check_scores
from fastprop.bench.plain import PlainNetwork, plain_network
from fastprop.bench.workload import Workload, empty_scores
from fastprop.cached import cached_property
from fastprop.csr_parts import row_range
from fastprop.errors import FastpropError
from fastprop.model import Model
from fastprop.typing import CSR, FloatArray

__all__ = ["Contender", "ContenderSpec", "Form", "MissingContenderError", "optional", "version_of"]

Call = Callable[[], object]


class MissingContenderError(FastpropError):
    """A contender cannot run here; the message says why."""


@dataclass(frozen=True)
class ContenderSpec:
    """One line of the comparison.

    Parameters
    ----------
    name : str
        Short and unique: what `--contenders` picks by.
    title : str
        For tables and pictures.
    kind : str
        Which class; a key of `contenders.KINDS`.
    threads : int
        Threads that it may use.
    batch_size : int
        Rows a batch.
    rows_per_call : int, optional
        Rows a call; by default as many as take about a quarter of a second.
    options : mapping
        The class's own options.
    environment : mapping of str to str or None
        Variables of its process; None takes one away.
    compiles : bool
        Loading takes long (compilation, thousands of executors): such contenders are loaded
        before the others, as many at once as there are processors.
    sweep : bool
        Whether it is also timed with other numbers of rows a call.
    tolerance : float, optional
        Largest error allowed, where it is not the run's.
    same_work : bool
        Whether it reads and delivers as many bytes as the others, so that it can be held against
        the roofline.
    """

    name: str
    title: str
    kind: str
    threads: int = 1
    batch_size: int = 512
    rows_per_call: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str | None] = field(default_factory=dict)
    compiles: bool = False
    sweep: bool = False
    tolerance: float | None = None
    same_work: bool = True


@dataclass(frozen=True)
class Form:
    """A way of using a contender's API; the fastest right one is timed.

    Parameters
    ----------
    name : str
        For people.
    batch_size : int
        Rows a batch.
    """

    name: str
    batch_size: int


class Contender(ABC):
    """A way of scoring, loaded in a process of its own. Not thread-safe.

    Parameters
    ----------
    spec : ContenderSpec
        What is asked for.
    workload : Workload
        What is scored.
    """

    def __init__(self, spec: ContenderSpec, workload: Workload) -> None:
        self.spec = spec
        self.workload = workload
        self.form = Form("", spec.batch_size)

    def import_library(self) -> None:  # noqa: B027 - most need nothing else
        """Import what is needed; `MissingContenderError` where it is not there."""

    @abstractmethod
    def load(self) -> None:
        """Load the checkpoint. Timed as the load time, together with the first answer."""

    @abstractmethod
    def call(self, begin: int, end: int) -> Call:
        """Make a call that scores rows [begin, end); making it is not timed, the call is."""

    def forms(self) -> Sequence[Form]:
        """Ways of use to choose from; there is one by default."""
        return [Form("", self.spec.batch_size)]

    def check(self, expected: Any, tolerance: float) -> float:
        """Score the first rows and compare; return the largest difference.

        Raises
        ------
        WrongAnswerError
            If it is beyond the tolerance.
        """
        self.out.fill(float("nan"))
        n = len(expected)
        for begin in range(0, n, self.spec.rows_per_call or n):
            self.call(begin, min(begin + (self.spec.rows_per_call or n), n))()
        return check_scores(self.out[:n], expected, tolerance)

    def facts(self) -> dict[str, Any]:
        """Versions, builds and settings, fit for JSON."""
        return {}

    def counters(self) -> dict[str, float]:
        """Counts and stage seconds so far; windows report their growth."""
        return {}

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Release what is held."""

    @cached_property
    def rows(self) -> CSR:
        """All rows of the workload."""
        return self.workload.load_rows()

    @cached_property
    def out(self) -> FloatArray:
        """Where scores are delivered, shape (n_rows, n_labels)."""
        return empty_scores(self.workload.n_rows, self.workload.n_labels)

    @cached_property
    def model(self) -> Model:
        """The checkpoint; parameters are mapped."""
        return self.workload.load_model()

    def plain(self) -> PlainNetwork:
        """Take the network apart; `MissingContenderError` where that is not possible."""
        found = plain_network(self.model)
        if isinstance(found, str):
            raise MissingContenderError(found)
        return found

    def some_rows(self, begin: int, end: int) -> CSR:
        """Rows [begin, end) as a CSR that starts at 0; views but for `indptr`."""
        return row_range(self.rows, begin, end)

    def batches(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Bounds of the batches of a call."""
        size = self.form.batch_size
        return [(start, min(start + size, end)) for start in range(begin, end, size)]


def optional(name: str, extra: str = "bench") -> Any:
    """Import a package that may not be there.

    Raises
    ------
    MissingContenderError
        Names the extra that installs it, or says why its import fails.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        raise MissingContenderError(
            f'{missing} is not installed: pip install "fastprop[{extra}]"'
        ) from error
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise MissingContenderError(f"import {name}: {error}") from error


def version_of(package: str) -> str | None:
    """Version of an installed distribution."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None

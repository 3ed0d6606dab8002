"""A whole training run described by a value: rows and a dictionary in, a checkpoint out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop.errors import InvalidInputError
from fastprop.features.dictionary import FeatureDictionary
from fastprop.features.hashing import CustomerSplit
from fastprop.features.rows import SparseRows
from fastprop.training.data import MemorySource, ParquetSource, RowSource
from fastprop.training.evaluate import own_history_scores
from fastprop.training.fit import EpochResult, FitResult, StepProgress, Validation, fit
from fastprop.training.settings import FitSettings, NetworkSettings
from fastprop.training.warm_start import FeatureRoles, warm_start

__all__ = ["TrainingJob", "run_job"]

_WARM_ROWS = 30_000
_VALIDATION_ROWS = 20_000


@dataclass(frozen=True)
class TrainingJob:
    """What to train on, and what to make of it.

    Parameters
    ----------
    rows : tuple of str
        Files that `fastprop features` wrote.
    dictionary : str
        The dictionary written with them.
    output, name : str
        Folder and name of the checkpoint.
    validation : tuple of str
        Files of rows to validate on. Without any, `validation_share` of the customers are kept
        from training for it, chosen by a hash.
    validation_share : float
    hidden : tuple of int
    activation : str
    dropout : float
        See `NetworkSettings`.
    heads : {"separate", "fused"}
        Form of the heads in the checkpoint. Training itself always uses fused ones, which compute
        the same, faster.
    warm_start : bool
        Begin with `fastprop.training.warm_start`, which needs a single hidden layer.
    stream : bool
        Read the rows anew in each epoch, through a shuffle buffer, and not into memory.
    fit : FitSettings
    """

    rows: tuple[str, ...]
    dictionary: str
    output: str
    name: str = "model"
    validation: tuple[str, ...] = ()
    validation_share: float = 0.1
    hidden: tuple[int, ...] = (256, 128)
    activation: str = "relu"
    dropout: float = 0.0
    heads: str = "separate"
    warm_start: bool = False
    stream: bool = False
    fit: FitSettings = field(default_factory=FitSettings)

    def to_json(self) -> str:
        """Return the job as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TrainingJob:
        """Read what `to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        for name in ("rows", "validation", "hidden"):
            values[name] = tuple(values[name])
        values["fit"] = FitSettings(**values["fit"])
        return cls(**values)


def run_job(
    job: TrainingJob,
    *,
    on_step: Callable[[StepProgress], None] | None = None,
    on_epoch: Callable[[EpochResult], None] | None = None,
) -> FitResult:
    """Train in this process.

    Parameters
    ----------
    job : TrainingJob
    on_step, on_epoch : callable, optional
        As for `fit`.

    Raises
    ------
    InvalidInputError, ModelFormatError
        If a file or a setting does not fit.
    EngineError
        If MXNet is missing.
    """
    dictionary = FeatureDictionary.load(job.dictionary)
    network = NetworkSettings(
        n_features=dictionary.n_features,
        n_labels=len(dictionary.labels),
        hidden=job.hidden,
        activation=job.activation,
        dropout=job.dropout,
        heads="fused",
    )
    if not 0 <= job.validation_share < 1:
        raise InvalidInputError(f"validation_share: {job.validation_share} must be in [0, 1)")
    share = 0.0 if job.validation else job.validation_share
    train = CustomerSplit(share, 1.0, seed=job.fit.seed) if share else None
    streamed = ParquetSource(job.rows, seed=job.fit.seed, split=train)
    source: RowSource = streamed
    if job.stream:
        sample = _first_rows(streamed, _WARM_ROWS)
    else:
        sample = _all_rows(ParquetSource(job.rows, split=train))
        source = MemorySource(sample, seed=job.fit.seed)
    initial: dict[str, npt.NDArray[np.float32]] | None = None
    if job.warm_start:
        roles = FeatureRoles(
            own=dictionary.own_columns(),
            customer=dictionary.customer_columns(),
            periods=dictionary.period_columns(),
        )
        initial = warm_start(sample, roles, network, seed=job.fit.seed)
    return fit(
        source,
        network,
        job.fit,
        directory=job.output,
        name=job.name,
        labels=dictionary.labels,
        feature_names=dictionary.names(),
        validation=_validation(job, dictionary, sample, share),
        initial=initial,
        save_heads=job.heads,
        on_step=on_step,
        on_epoch=on_epoch,
    )


def _validation(
    job: TrainingJob, dictionary: FeatureDictionary, train: SparseRows, share: float
) -> Validation | None:
    """Return the validation rows, of the last cut-off only, with the baselines to compare with."""
    if job.validation:
        held = ParquetSource(job.validation)
    elif share:
        held = ParquetSource(job.rows, split=CustomerSplit(0.0, share, seed=job.fit.seed))
    else:
        return None
    parts = [
        rows.take(np.flatnonzero(_in_last_period(rows, dictionary)))
        for rows in held.batches(1 << 14, 0)
    ]
    if not sum(map(len, parts)):
        raise InvalidInputError("validation: there is no row of the last cut-off")
    rows = SparseRows.concatenate(parts)
    rows = rows.take(np.arange(min(len(rows), _VALIDATION_ROWS)))
    return Validation(rows, _baselines(rows, train, dictionary))


def _baselines(
    rows: SparseRows, train: SparseRows, dictionary: FeatureDictionary
) -> Mapping[str, npt.NDArray[Any]]:
    last = train.take(np.flatnonzero(_in_last_period(train, dictionary)))
    if last.labels is None:
        raise InvalidInputError("training: the rows have no labels")
    popularity = np.bincount(last.labels.indices, minlength=len(dictionary.labels))
    baselines: dict[str, npt.NDArray[Any]] = {"popularity": popularity.astype(np.float64)}
    counts = dictionary.own_counts(rows.features)
    if counts is not None:
        baselines["own purchases"] = own_history_scores(counts, baselines["popularity"])
    return baselines


def _in_last_period(rows: SparseRows, dictionary: FeatureDictionary) -> npt.NDArray[np.bool_]:
    """Rows of earlier cut-offs carry a feature that says so; the last columns are these."""
    start = dictionary.start("period")
    earlier = np.zeros(len(rows) + 1, np.int64)
    row = np.repeat(np.arange(len(rows)), np.diff(rows.features.indptr))
    np.add.at(earlier, row, rows.features.indices >= start)
    last: npt.NDArray[np.bool_] = earlier[:-1] == 0
    return last


def _all_rows(source: ParquetSource) -> SparseRows:
    parts = list(source.batches(1 << 16, 0))
    if not parts:
        raise InvalidInputError("training: there are no rows")
    return SparseRows.concatenate(parts)


def _first_rows(source: ParquetSource, count: int) -> SparseRows:
    for rows in source.batches(count, 0):
        return rows
    raise InvalidInputError("training: there are no rows")

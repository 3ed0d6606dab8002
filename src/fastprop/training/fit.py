"""Training: a Module with a lazily updated sparse layer, checkpoints, early stopping.

One process trains one network at a time: MXNet's random state belongs to the process. Memory is
that of the parameters four times over (values, gradients, Adam's two means) and of a few batches.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop.errors import InvalidInputError, ShapeError
from fastprop.features.rows import SparseRows
from fastprop.training._mxnet import import_mxnet
from fastprop.training.data import MemorySource, RowSource, label_targets, sparse_iterator
from fastprop.training.evaluate import Evaluation, evaluate
from fastprop.training.metric import multi_label_log_loss
from fastprop.training.network import (
    build_symbol,
    initial_parameters,
    label_names,
    parameter_shapes,
    separate_parameters,
)
from fastprop.training.settings import FitSettings, NetworkSettings
from fastprop.training.warm_start import typical_row_length

__all__ = ["EpochResult", "FitResult", "StepProgress", "Validation", "fit"]

_METRIC_EVERY = 8
_FINAL_SHARE = 0.05
_SAMPLE_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Validation:
    """Rows that decide which epoch is the best; none of them may be among the training rows.

    Parameters
    ----------
    rows : SparseRows
        With labels.
    baselines : mapping of str to ndarray, optional
        Scores to compare with, of shape (n_rows, n_labels) or (n_labels,).
    """

    rows: SparseRows
    baselines: Mapping[str, npt.NDArray[Any]] | None = None


@dataclass(frozen=True)
class StepProgress:
    """Where training is.

    Attributes
    ----------
    epoch, epochs : int
        Epoch that runs, from 1, and how many there are at most.
    rows, total_rows : int
        Rows trained on, over all epochs; how many that may become.
    seconds, seconds_left : float
        Since the start; until the end, if no epoch is saved by early stopping.
    """

    epoch: int
    epochs: int
    rows: int
    total_rows: int
    seconds: float
    seconds_left: float


@dataclass(frozen=True)
class EpochResult:
    """What an epoch came to; epoch 0 is the network before training.

    Attributes
    ----------
    epoch : int
    train_log_loss : float
        Mean over every eighth batch of the epoch, as they passed; NaN for epoch 0.
    validation : Evaluation or None
    seconds : float
        Since the start.
    """

    epoch: int
    train_log_loss: float
    validation: Evaluation | None
    seconds: float


@dataclass(frozen=True)
class FitResult:
    """What training left behind.

    Attributes
    ----------
    directory : Path
        Folder of the checkpoint.
    name : str
        Its name.
    best_epoch : int
        Epoch with the best figure on the validation rows; the last one without such rows.
    epochs : tuple of EpochResult
    """

    directory: Path
    name: str
    best_epoch: int
    epochs: tuple[EpochResult, ...]


def fit(
    source: RowSource,
    network: NetworkSettings,
    settings: FitSettings,
    *,
    directory: str | os.PathLike[str],
    name: str,
    labels: Sequence[str],
    feature_names: Sequence[str] | None = None,
    validation: Validation | None = None,
    initial: Mapping[str, npt.NDArray[np.float32]] | None = None,
    save_heads: str | None = None,
    on_step: Callable[[StepProgress], None] | None = None,
    on_epoch: Callable[[EpochResult], None] | None = None,
) -> FitResult:
    """Train a network and write its checkpoints.

    Parameters
    ----------
    source : RowSource
        Training rows, such as `MemorySource(rows, seed=...)` or `ParquetSource(paths, seed=...)`.
    network : NetworkSettings
    settings : FitSettings
    directory : path
        Folder for `NAME-symbol.json`, `NAME-%04d.params` an epoch, `NAME-labels.txt` and
        `NAME-features.txt`; made if needed.
    name : str
        Name of the checkpoint.
    labels, feature_names : sequence of str
        A name a label and a name a feature.
    validation : Validation, optional
        Measured after each epoch, and for early stopping.
    initial : mapping of str to ndarray, optional
        Parameters to begin with, as `warm_start` returns them; by default random ones.
    save_heads : {"separate", "fused"}, optional
        Form of the heads in the checkpoint, where it is to differ from that in training. A network
        trained with fused heads can be saved with separate ones, not the other way round.
    on_step, on_epoch : callable, optional
        Told about progress: after each batch, and after each epoch with epoch 0 before the first.

    Returns
    -------
    FitResult

    Raises
    ------
    InvalidInputError
        If names do not fit the network, or the source has no rows.
    EngineError
        If MXNet is missing.
    """
    _check_names(name, labels, feature_names, network)
    if not source.n_rows:
        raise InvalidInputError("fit: there are no rows to train on")
    saved = _saved_form(network, save_heads)
    trainer = _Trainer(source, network, settings, initial)
    writer = _CheckpointWriter(Path(directory), name, network, saved, labels, feature_names)
    began = time.monotonic()

    def told(epoch: int, log_loss: float) -> EpochResult:
        figures = None
        if validation is not None:
            figures = _validate(trainer, validation, settings, network.classes)
        result = EpochResult(epoch, log_loss, figures, time.monotonic() - began)
        if on_epoch is not None:
            on_epoch(result)
        return result

    history = [told(0, float("nan"))] if validation is not None else []
    best, best_figure = 0, -np.inf
    total = source.n_rows * settings.epochs
    for epoch in range(1, settings.epochs + 1):

        def step(done: int, epoch: int = epoch) -> None:
            if on_step is not None:
                rows = (epoch - 1) * source.n_rows + done
                seconds = time.monotonic() - began
                left = seconds * (total - rows) / rows
                on_step(StepProgress(epoch, settings.epochs, rows, total, seconds, left))

        log_loss = trainer.epoch(step)
        history.append(told(epoch, log_loss))
        figure = _figure(history[-1], settings.monitor, epoch)
        improved = figure > best_figure
        if improved:
            outdated, best, best_figure = best, epoch, figure
            if outdated and settings.checkpoints == "best":
                writer.remove(outdated)
        if improved or settings.checkpoints == "every":
            writer.write(epoch, trainer.parameters())
        if settings.patience is not None and epoch - best >= settings.patience:
            break
    return FitResult(Path(directory), name, best, tuple(history))


class _Trainer:
    """A bound Module, its optimizer and its rows."""

    def __init__(
        self,
        source: RowSource,
        network: NetworkSettings,
        settings: FitSettings,
        initial: Mapping[str, npt.NDArray[np.float32]] | None,
    ) -> None:
        os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
        self._mx = mx = import_mxnet()
        self._network = network
        self._settings = settings
        self._source = source
        mx.random.seed(settings.seed)
        self._iterator = sparse_iterator(
            source,
            network,
            batch_size=settings.batch_size,
            label_smoothing=settings.label_smoothing,
        )
        self._module = mx.mod.Module(
            build_symbol(network),
            data_names=["data"],
            label_names=label_names(network),
            logger=logging.getLogger("fastprop.training"),
        )
        self._module.bind(self._iterator.provide_data, self._iterator.provide_label)
        values = dict(initial) if initial else _random_parameters(source, network, settings)
        self._module.set_params(_to_arrays(mx, values, network), {})
        self._module.init_optimizer(
            kvstore=None,
            optimizer=settings.optimizer,
            optimizer_params=self._optimizer_options(),
        )

    def _optimizer_options(self) -> dict[str, Any]:
        settings = self._settings
        steps = -(-self._source.n_rows // settings.batch_size) * settings.epochs
        options: dict[str, Any] = {
            "learning_rate": settings.learning_rate,
            "wd": settings.weight_decay,
            "lazy_update": True,
            "rescale_grad": 1.0 / settings.batch_size,
            "lr_scheduler": self._mx.lr_scheduler.CosineScheduler(
                max_update=max(steps, 1),
                base_lr=settings.learning_rate,
                final_lr=settings.learning_rate * _FINAL_SHARE,
            ),
        }
        if settings.optimizer == "sgd":
            options["momentum"] = settings.momentum
        return options

    def epoch(self, step: Callable[[int], None]) -> float:
        """Pass over the rows once; returns the log-loss of the batches looked at."""
        metric = multi_label_log_loss(every=_METRIC_EVERY)
        done = 0
        for batch in self._iterator:
            self._module.forward(batch, is_train=True)
            self._module.backward()
            self._module.update()
            self._module.update_metric(metric, batch.label)
            done += self._settings.batch_size - batch.pad
            step(done)
        self._iterator.reset()
        return float(metric.get()[1])

    def scores(self, rows: SparseRows) -> npt.NDArray[np.float32]:
        """Return the probability that each label is true, shape (n_rows, n_labels)."""
        batches = sparse_iterator(
            MemorySource(rows),
            self._network,
            batch_size=self._settings.batch_size,
            labelled=False,
        )
        parts = []
        for batch in batches:
            self._module.forward(batch, is_train=False)
            outputs = [output.asnumpy() for output in self._module.get_outputs()]
            stacked = outputs[0] if self._network.heads == "fused" else np.stack(outputs, axis=1)
            # The last class is that of a label which is not true.
            probability = stacked[..., 0] if self._network.classes == 2 else 1 - stacked[..., -1]
            parts.append(probability[: self._settings.batch_size - batch.pad])
        return np.concatenate(parts)

    def parameters(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return a copy of the parameters."""
        values = self._module.get_params()[0]
        return {
            name: (value if value.stype == "default" else value.tostype("default")).asnumpy()
            for name, value in values.items()
        }


class _CheckpointWriter:
    """Writes a checkpoint's four files through MXNet's own `save_checkpoint`."""

    def __init__(
        self,
        directory: Path,
        name: str,
        network: NetworkSettings,
        saved: NetworkSettings,
        labels: Sequence[str],
        feature_names: Sequence[str] | None,
    ) -> None:
        self._prefix = directory / name
        self._network = network
        self._saved = saved
        directory.mkdir(parents=True, exist_ok=True)
        for suffix, names in (("labels", labels), ("features", feature_names)):
            if names is not None:
                text = "".join(f"{entry}\n" for entry in names)
                (directory / f"{name}-{suffix}.txt").write_text(text, encoding="utf-8")

    def write(self, epoch: int, parameters: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Write the graph and the parameters of an epoch."""
        mx = import_mxnet()
        values = dict(parameters)
        if self._saved.heads != self._network.heads:
            values = separate_parameters(values, self._network)
        arrays = _to_arrays(mx, values, self._saved)
        mx.model.save_checkpoint(str(self._prefix), epoch, build_symbol(self._saved), arrays, {})

    def remove(self, epoch: int) -> None:
        """Remove the parameters of an epoch."""
        self._prefix.with_name(f"{self._prefix.name}-{epoch:04d}.params").unlink()


def _random_parameters(
    source: RowSource, network: NetworkSettings, settings: FitSettings
) -> dict[str, npt.NDArray[np.float32]]:
    """Draw parameters that suit the length of the rows, as the first of them show it."""
    first = next(iter(source.batches(_SAMPLE_ROWS, 0)))
    length = typical_row_length(first.features)
    return initial_parameters(network, seed=settings.seed, row_scale=length)


def _to_arrays(
    mx: Any, values: Mapping[str, npt.NDArray[np.float32]], network: NetworkSettings
) -> dict[str, Any]:
    shapes = parameter_shapes(network)
    if set(values) != set(shapes):
        odd = sorted(set(values) ^ set(shapes))[0]
        raise InvalidInputError(f"initial parameters: {odd!r} is missing or unknown")
    arrays = {}
    for key, shape in shapes.items():
        if values[key].shape != shape:
            raise ShapeError(f"initial parameter {key!r}: {values[key].shape}, expected {shape}")
        if key == "weight":
            arrays[key] = mx.nd.sparse.row_sparse_array(
                (np.asarray(values[key], np.float32), np.arange(shape[0])), shape=shape
            )
        else:
            arrays[key] = mx.nd.array(values[key])
    return arrays


def _validate(
    trainer: _Trainer, validation: Validation, settings: FitSettings, classes: int
) -> Evaluation:
    rows = validation.rows
    if rows.labels is None:
        raise InvalidInputError("validation: the rows have no labels")
    return evaluate(
        trainer.scores(rows),
        label_targets(rows.labels, classes=classes)[:, :, -1] == 0,
        k=settings.precision_k,
        baselines=validation.baselines,
    )


def _figure(result: EpochResult, monitor: str, epoch: int) -> float:
    """Return what is to grow: without validation rows the latest epoch is the best."""
    if result.validation is None:
        return float(epoch)
    if monitor == "precision":
        return result.validation.precision
    return -result.validation.log_loss


def _saved_form(network: NetworkSettings, save_heads: str | None) -> NetworkSettings:
    saved = NetworkSettings(**{**vars(network), "heads": save_heads or network.heads})
    if saved.heads == "fused" and network.heads == "separate":
        raise InvalidInputError("save_heads: separate heads cannot be saved as fused ones")
    return saved


def _check_names(
    name: str, labels: Sequence[str], features: Sequence[str] | None, network: NetworkSettings
) -> None:
    if not name or "/" in name:
        raise InvalidInputError(f"name: {name!r} is not a file name")
    if len(labels) != network.n_labels:
        raise InvalidInputError(f"labels: {len(labels)} names for {network.n_labels} labels")
    if features is not None and len(features) != network.n_features:
        raise InvalidInputError(
            f"feature_names: {len(features)} names for {network.n_features} features"
        )

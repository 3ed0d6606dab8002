"""Settings of networks and of training: frozen, checked when they are made, free of MXNet."""

from __future__ import annotations

from dataclasses import dataclass

from fastprop.checks import check_choice, number, whole_number, whole_numbers
from fastprop.errors import InvalidInputError

__all__ = ["ACTIVATIONS", "FitSettings", "NetworkSettings"]

MOST = (1 << 31) - 1
ACTIVATIONS = ("relu", "sigmoid", "softrelu", "softsign", "tanh")


@dataclass(frozen=True)
class NetworkSettings:
    """The shape of a network from a sparse row to a softmax a label.

    Parameters
    ----------
    n_features, n_labels : int
        Width of a row, number of heads.
    hidden : tuple of int
        Widths of the hidden layers. The first is the sparse one.
    activation : str
        Follows every hidden layer but the first, which has a relu; one of `ACTIVATIONS`.
    dropout : float
        Share of hidden values dropped while training, in [0, 1).
    classes : int
        Classes of a label. With two, the first says that the label is true.
    heads : {"separate", "fused"}
        `"separate"`: a FullyConnected and a SoftmaxOutput a label, grouped. `"fused"`: one
        FullyConnected for all, reshaped to (batch, labels, classes), and one SoftmaxOutput over
        the last axis. Losses and gradients are the same; MXNet runs thousands of fused heads about
        a hundred times as fast. `separate_parameters` turns one into the other.
    """

    n_features: int
    n_labels: int
    hidden: tuple[int, ...] = (256, 128)
    activation: str = "relu"
    dropout: float = 0.0
    classes: int = 2
    heads: str = "separate"

    def __post_init__(self) -> None:
        for name in ("n_features", "n_labels"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), MOST))
        object.__setattr__(self, "hidden", whole_numbers("hidden", self.hidden, MOST))
        if not self.hidden:
            raise InvalidInputError(f"hidden: {self.hidden} must be one or more positive widths")
        check_choice("activation", self.activation, ACTIVATIONS)
        object.__setattr__(self, "dropout", number("dropout", self.dropout))
        if not 0 <= self.dropout < 1:
            raise InvalidInputError(f"dropout: {self.dropout} must be in [0, 1)")
        object.__setattr__(self, "classes", whole_number("classes", self.classes, MOST, least=2))
        check_choice("heads", self.heads, ("separate", "fused"))


@dataclass(frozen=True)
class FitSettings:
    """How a network is trained.

    Parameters
    ----------
    epochs : int
        At most so many passes over the rows.
    batch_size : int
        Rows a step.
    optimizer : {"adam", "sgd"}
        Either updates only those rows of the first layer that the batch touched (lazy updates).
    learning_rate : float
        At the first step; it falls to a twentieth along half a cosine by the last.
    momentum : float
        Of `"sgd"`.
    weight_decay : float
        L2 penalty, on weights and not on biases.
    label_smoothing : float
        Share of the target that is spread evenly over the classes, in [0, 1).
    patience : int, optional
        Stop after so many epochs without a better figure on the validation rows.
    monitor : {"log_loss", "precision"}
        The figure that decides which epoch is the best.
    precision_k : int
        Labels a row of which precision is measured.
    seed : int
        Decides initial weights, the order of rows and dropout. The same seed gives the same
        parameters on the same machine.
    checkpoints : {"every", "best"}
        Whether to keep the checkpoint of every epoch, or of the best one so far only.
    """

    epochs: int = 5
    batch_size: int = 256
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    patience: int | None = None
    monitor: str = "log_loss"
    precision_k: int = 10
    seed: int = 0
    checkpoints: str = "every"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "precision_k"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), MOST))
        object.__setattr__(self, "seed", whole_number("seed", self.seed, MOST, least=0))
        for name, allowed in (
            ("optimizer", ("adam", "sgd")),
            ("monitor", ("log_loss", "precision")),
            ("checkpoints", ("every", "best")),
        ):
            check_choice(name, getattr(self, name), allowed)
        for name in ("learning_rate", "momentum", "weight_decay", "label_smoothing"):
            object.__setattr__(self, name, number(name, getattr(self, name)))
        if not self.learning_rate > 0:
            raise InvalidInputError(f"learning_rate: {self.learning_rate} must be positive")
        if not 0 <= self.label_smoothing < 1:
            raise InvalidInputError(f"label_smoothing: {self.label_smoothing} must be in [0, 1)")
        if self.patience is not None:
            whole_number("patience", self.patience, MOST)

"""The network as an MXNet Symbol, its initial parameters, and fused heads cut into separate ones.

    data (csr) . weight (row_sparse) + bias -> relu -> dropout
      -> hidden2, hidden3 ... : FullyConnected -> activation -> dropout
      -> label_0 ... label_N-1 : FullyConnected(classes) -> SoftmaxOutput     heads="separate"
      -> labels : FullyConnected(N * classes) -> Reshape -> SoftmaxOutput     heads="fused"

SoftmaxOutput's gradient for a label given as probabilities is output minus label, for either form
(MXNet 1.9.1, softmax_output-inl.h): nothing is divided by the number of heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop.errors import InvalidInputError
from fastprop.training._mxnet import import_mxnet
from fastprop.training.settings import NetworkSettings

__all__ = [
    "build_symbol",
    "initial_parameters",
    "label_names",
    "label_shapes",
    "parameter_shapes",
    "separate_parameters",
]

Parameters = Mapping[str, npt.NDArray[np.float32]]


def build_symbol(settings: NetworkSettings) -> Any:
    """Build the network.

    Parameters
    ----------
    settings : NetworkSettings

    Returns
    -------
    mxnet.symbol.Symbol
        With `separate` heads a group of N outputs of shape (batch, classes) named
        `label_0_softmax_output`, ...; with `fused` heads one output of shape (batch, N, classes).

    Raises
    ------
    EngineError
        If MXNet is missing.
    """
    sym = import_mxnet().sym
    width = settings.hidden[0]
    data = sym.Variable("data", stype="csr")
    # MXNet's optimizers decay only what is called "..._weight", unless told otherwise.
    weight = sym.Variable(
        "weight", stype="row_sparse", shape=(settings.n_features, width), wd_mult=1.0
    )
    bias = sym.Variable("bias", shape=(width,))
    hidden = sym.broadcast_add(sym.sparse.dot(data, weight), bias, name="hidden1")
    hidden = sym.Activation(hidden, act_type="relu", name="hidden1_relu")
    if settings.dropout:
        hidden = sym.Dropout(hidden, p=settings.dropout, name="hidden1_dropout")
    for number, width in enumerate(settings.hidden[1:], start=2):
        name = f"hidden{number}"
        hidden = sym.FullyConnected(hidden, num_hidden=width, name=name)
        hidden = sym.Activation(
            hidden, act_type=settings.activation, name=f"{name}_{settings.activation}"
        )
        if settings.dropout:
            hidden = sym.Dropout(hidden, p=settings.dropout, name=f"{name}_dropout")
    n_labels, classes = settings.n_labels, settings.classes
    if settings.heads == "fused":
        head = sym.FullyConnected(hidden, num_hidden=n_labels * classes, name="labels")
        head = sym.Reshape(head, shape=(-1, n_labels, classes), name="labels_reshape")
        return sym.SoftmaxOutput(head, preserve_shape=True, name="labels_softmax")
    heads = [
        sym.SoftmaxOutput(
            sym.FullyConnected(hidden, num_hidden=classes, name=f"label_{number}"),
            name=f"label_{number}_softmax",
        )
        for number in range(n_labels)
    ]
    return sym.Group(heads)


def label_names(settings: NetworkSettings) -> list[str]:
    """Return the names of the label inputs, in order; what `Module` calls `label_names`."""
    if settings.heads == "fused":
        return ["labels_softmax_label"]
    return [f"label_{number}_softmax_label" for number in range(settings.n_labels)]


def label_shapes(settings: NetworkSettings, batch_size: int) -> list[tuple[str, tuple[int, ...]]]:
    """Return the name and the shape of each label input."""
    if settings.heads == "fused":
        shape: tuple[int, ...] = (batch_size, settings.n_labels, settings.classes)
    else:
        shape = (batch_size, settings.classes)
    return [(name, shape) for name in label_names(settings)]


def parameter_shapes(settings: NetworkSettings) -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter, by its name in the network."""
    shapes: dict[str, tuple[int, ...]] = {
        "weight": (settings.n_features, settings.hidden[0]),
        "bias": (settings.hidden[0],),
    }
    for number, (before, width) in enumerate(zip(settings.hidden, settings.hidden[1:]), start=2):
        shapes[f"hidden{number}_weight"] = (width, before)
        shapes[f"hidden{number}_bias"] = (width,)
    width = settings.hidden[-1]
    if settings.heads == "fused":
        rows = settings.n_labels * settings.classes
        shapes["labels_weight"], shapes["labels_bias"] = (rows, width), (rows,)
        return shapes
    for number in range(settings.n_labels):
        shapes[f"label_{number}_weight"] = (settings.classes, width)
        shapes[f"label_{number}_bias"] = (settings.classes,)
    return shapes


def initial_parameters(
    settings: NetworkSettings, *, seed: int, row_scale: float = 1.0
) -> dict[str, npt.NDArray[np.float32]]:
    """Draw random parameters: normal weights, biases zero.

    Parameters
    ----------
    settings : NetworkSettings
    seed : int
        Separate and fused heads get the same numbers from the same seed.
    row_scale : float
        Typical Euclidean length of a row of features.

    Returns
    -------
    dict of str to ndarray of float32

    Notes
    -----
    The variances are those of He et al., "Delving Deep into Rectifiers" (2015), with the length of
    a sparse row in place of the number of inputs; heads start at a tenth of that, close to even
    odds.
    """
    generator = np.random.default_rng(seed)
    fused = NetworkSettings(**{**vars(settings), "heads": "fused"})
    parameters: dict[str, npt.NDArray[np.float32]] = {}
    for name, shape in parameter_shapes(fused).items():
        if len(shape) == 1:
            parameters[name] = np.zeros(shape, np.float32)
            continue
        scale = np.sqrt(2.0) / max(row_scale, 1e-6) if name == "weight" else np.sqrt(2 / shape[1])
        scale *= 0.1 if name == "labels_weight" else 1.0
        parameters[name] = generator.standard_normal(shape, np.float32) * np.float32(scale)
    return parameters if settings.heads == "fused" else separate_parameters(parameters, settings)


def separate_parameters(
    fused: Parameters, settings: NetworkSettings
) -> dict[str, npt.NDArray[np.float32]]:
    """Cut the parameters of fused heads into those of separate heads, which compute the same.

    Parameters
    ----------
    fused : mapping of str to ndarray
        Parameters of the network with `heads="fused"`.
    settings : NetworkSettings
        Of either form.

    Returns
    -------
    dict of str to ndarray
        Parameters of the network with `heads="separate"`; views of what was given.

    Raises
    ------
    InvalidInputError
        If the fused layer is missing or has another number of rows.
    """
    rows = settings.n_labels * settings.classes
    if "labels_weight" not in fused or len(fused["labels_weight"]) != rows:
        raise InvalidInputError(
            f"separate_parameters: expected labels_weight with {rows} rows "
            f"({settings.n_labels} labels of {settings.classes} classes)"
        )
    separate = {name: array for name, array in fused.items() if not name.startswith("labels_")}
    for number in range(settings.n_labels):
        part = slice(number * settings.classes, (number + 1) * settings.classes)
        separate[f"label_{number}_weight"] = fused["labels_weight"][part]
        separate[f"label_{number}_bias"] = fused["labels_bias"][part]
    return separate

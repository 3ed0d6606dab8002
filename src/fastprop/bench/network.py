"""Random checkpoints of the usual shape, without MXNet.

data (csr) . weight (row_sparse) + bias -> relu -> dropout
  -> FullyConnected -> relu -> dropout ...
  -> N x (FullyConnected(2) -> SoftmaxOutput)
"""

from __future__ import annotations

import numpy as np

from fastprop.bench.settings import WorkloadSettings
from fastprop.checkpoint.arrays import Parameter, RowSparseArray
from fastprop.graph.builder import GraphBuilder
from fastprop.graph.network import Network

__all__ = ["random_network"]


def random_network(settings: WorkloadSettings, *, longest: float | None = None) -> Network:
    """Make a network with random parameters; the same for the same settings.

    Parameters
    ----------
    settings : WorkloadSettings
        Its shape.
    longest : float, optional
        Euclidean length of the longest row, where rows differ much in length. The first layer is
        scaled by it, as training would scale it: activations beyond what float32 can add up to
        2e-6 of a probability would make every contender wrong.

    Notes
    -----
    Weights are normal, scaled to keep activations near 1 and scores spread over (0, 1), so that a
    wrong answer shows.
    """
    rng = np.random.default_rng(settings.seed)
    made = GraphBuilder()
    values: dict[str, Parameter] = {}

    def normal(name: str, shape: tuple[int, ...], scale: float) -> None:
        array = rng.standard_normal(shape, dtype=np.float32)
        array *= np.float32(scale)
        values[name] = array

    width = settings.hidden[0]
    shape = (settings.n_features, width)
    typical = settings.nonzeros**0.5 if longest is None else 2 * max(longest, 1e-6)
    normal("weight", shape, 2**0.5 / typical)
    dense = values["weight"]
    assert isinstance(dense, np.ndarray)
    values["weight"] = RowSparseArray(shape, np.arange(settings.n_features), dense)
    normal("bias", (width,), 0.1)
    data = made.variable("data", {"__storage_type__": "2"})
    weight = made.variable("weight", {"__storage_type__": "1", "__shape__": str(shape)})
    bias = made.variable("bias", {"__shape__": str((width,))})
    hidden = made.add("dot", [data, weight], name="dot0")
    hidden = made.add("broadcast_add", [hidden, bias], name="hidden1")
    for depth, extent in enumerate(settings.hidden, start=1):
        if depth > 1:
            normal(f"hidden{depth}_weight", (extent, width), (2 / width) ** 0.5)
            normal(f"hidden{depth}_bias", (extent,), 0.1)
            inputs = [made.variable(f"hidden{depth}_{part}") for part in ("weight", "bias")]
            hidden = made.add(
                "FullyConnected",
                [hidden, *inputs],
                name=f"hidden{depth}",
                attributes={"num_hidden": extent},
            )
        width = extent
        hidden = made.add(
            "Activation", [hidden], name=f"hidden{depth}_relu", attributes={"act_type": "relu"}
        )
        hidden = made.add("Dropout", [hidden], name=f"hidden{depth}_dropout", attributes={"p": 0.5})
    weights = rng.standard_normal((settings.categories, 2, width), dtype=np.float32)
    weights *= np.float32(width**-0.5)
    biases = rng.standard_normal((settings.categories, 2), dtype=np.float32)
    heads = []
    for number in range(settings.categories):
        name = f"label_{number}"
        values[f"{name}_weight"], values[f"{name}_bias"] = weights[number], biases[number]
        inputs = [made.variable(f"{name}_{part}") for part in ("weight", "bias")]
        head = made.add(
            "FullyConnected", [hidden, *inputs], name=name, attributes={"num_hidden": 2}
        )
        label = made.variable(f"{name}_softmax_label")
        heads.append(made.add("SoftmaxOutput", [head, label], name=f"{name}_softmax"))
    return Network(graph=made.build(heads), arguments=values, auxiliary={})

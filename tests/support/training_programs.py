"""What the tests of training ask of MXNet; each function runs in `MxnetProcess`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastprop.features import SparseRows
from fastprop.training import (
    FitSettings,
    MemorySource,
    NetworkSettings,
    Validation,
    build_symbol,
    fit,
    multi_label_log_loss,
    sparse_iterator,
)
from fastprop.training.network import label_names, label_shapes


def gradients(
    mx: Any, network: NetworkSettings, parameters: dict[str, Any], rows: SparseRows
) -> tuple[list[Any], dict[str, Any]]:
    """Outputs and gradients of a training step without dropout."""
    module = mx.mod.Module(
        build_symbol(network), data_names=["data"], label_names=label_names(network)
    )
    iterator = sparse_iterator(MemorySource(rows), network, batch_size=len(rows))
    module.bind(iterator.provide_data, iterator.provide_label)
    arrays = {name: mx.nd.array(value) for name, value in parameters.items()}
    arrays["weight"] = arrays["weight"].tostype("row_sparse")
    module.set_params(arrays, {})
    module.forward(next(iterator), is_train=True)
    module.backward()
    found = {}
    for name, (gradient,) in zip(module._exec_group.param_names, module._exec_group.grad_arrays):
        stored = gradient.stype
        found[name] = (stored, gradient.tostype("default").asnumpy())
    return [output.asnumpy() for output in module.get_outputs()], found


def symbol_facts(mx: Any, network: NetworkSettings) -> dict[str, Any]:
    """What a Module makes of the symbol."""
    symbol = build_symbol(network)
    shapes = {"data": (3, network.n_features), **dict(label_shapes(network, 3))}
    arguments, outputs, _ = symbol.infer_shape(**shapes)
    return {
        "arguments": dict(zip(symbol.list_arguments(), arguments)),
        "outputs": dict(zip(symbol.list_outputs(), outputs)),
        "attributes": symbol.attr_dict(),
    }


def batches(
    mx: Any, rows: SparseRows, network: NetworkSettings, options: dict[str, Any]
) -> list[list[dict[str, Any]]]:
    """Everything that two epochs of an iterator give."""
    seed = options.pop("seed", None)
    iterator = sparse_iterator(MemorySource(rows, seed=seed), network, **options)
    epochs = []
    for _ in range(2):
        epoch = [
            {
                "data": batch.data[0].asnumpy(),
                "stype": batch.data[0].stype,
                "label": [label.asnumpy() for label in batch.label],
                "pad": batch.pad,
                "index": batch.index,
            }
            for batch in iterator
        ]
        epochs.append(epoch)
        iterator.reset()
    assert [d.shape for d in iterator.provide_data] == [epochs[0][0]["data"].shape]
    assert [d.shape for d in iterator.provide_label] == [x.shape for x in epochs[0][0]["label"]]
    return epochs


def metric(mx: Any, labels: list[list[Any]], outputs: list[list[Any]], every: int) -> float:
    """The metric over some batches."""
    measured = multi_label_log_loss(every=every)
    for label, output in zip(labels, outputs):
        measured.update([mx.nd.array(x) for x in label], [mx.nd.array(x) for x in output])
    return float(measured.get()[1])


def train(
    _mx: Any,
    rows: SparseRows,
    validation: SparseRows | None,
    network: NetworkSettings,
    settings: FitSettings,
    options: dict[str, Any],
) -> Any:
    """Train; also returns how often progress was told."""
    steps: list[Any] = []
    result = fit(
        MemorySource(rows, seed=settings.seed),
        network,
        settings,
        validation=None if validation is None else Validation(validation),
        on_step=steps.append,
        **options,
    )
    return result, steps


def first_layer_update(mx: Any, rows: SparseRows, network: NetworkSettings, optimizer: str) -> Any:
    """The first layer before and after an epoch on rows that touch few features."""
    from fastprop.training.fit import _Trainer

    settings = FitSettings(epochs=1, batch_size=len(rows), optimizer=optimizer, weight_decay=0.1)
    trainer = _Trainer(MemorySource(rows), network, settings, None)
    before = trainer.parameters()["weight"]
    trainer.epoch(lambda _done: None)
    gradient = dict(zip(trainer._module._exec_group.param_names,
                        trainer._module._exec_group.grad_arrays))["weight"][0]  # fmt: skip
    return before, trainer.parameters()["weight"], gradient.stype


def scores(mx: Any, prefix: str, epoch: int, rows: SparseRows, heads: str) -> np.ndarray[Any, Any]:
    """A saved checkpoint's first class, through MXNet's own Module."""
    symbol = mx.sym.load(f"{prefix}-symbol.json")
    labels = [name for name in symbol.list_arguments() if name.endswith("_label")]
    module = mx.mod.Module.load(prefix, epoch, data_names=["data"], label_names=labels)
    content = (rows.features.data, rows.features.indices, rows.features.indptr)
    data = mx.nd.sparse.csr_matrix(content, shape=rows.features.shape)
    module.bind([mx.io.DataDesc("data", data.shape)], for_training=False)
    module.forward(mx.io.DataBatch([data]), is_train=False)
    outputs = [output.asnumpy() for output in module.get_outputs()]
    return outputs[0][..., 0] if heads == "fused" else np.stack(outputs, 1)[..., 0]

"""What tests ask of MXNet; each function runs in `MxnetProcess` and is given the package first."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np

from fastprop.checkpoint.arrays import RowSparseArray
from fastprop.typing import CSR


def to_mxnet(mx: Any, value: Any) -> Any:
    """Our array as an NDArray of the same storage."""
    if isinstance(value, RowSparseArray):
        return mx.nd.sparse.row_sparse_array(
            (value.data, value.indices), shape=value.shape, dtype=value.data.dtype
        )
    if isinstance(value, CSR):
        parts = (value.data, value.indices, value.indptr)
        return mx.nd.sparse.csr_matrix(parts, shape=value.shape, dtype=value.data.dtype)
    return mx.nd.array(value, dtype=value.dtype)


def from_mxnet(value: Any) -> Any:
    """An NDArray as our array of the same storage."""
    if value.stype == "row_sparse":
        return RowSparseArray(value.shape, value.indices.asnumpy(), value.data.asnumpy())
    if value.stype == "csr":
        return CSR(
            value.indptr.asnumpy(), value.indices.asnumpy(), value.data.asnumpy(), value.shape
        )
    return value.asnumpy()


def save(mx: Any, arrays: dict[str, Any]) -> bytes:
    """The bytes of `mx.nd.save`."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "x.params")
        mx.nd.save(path, {name: to_mxnet(mx, value) for name, value in arrays.items()})
        with open(path, "rb") as stream:
            return stream.read()


def save_list(mx: Any, arrays: list[Any]) -> bytes:
    """The bytes of `mx.nd.save` for a list, which has no names."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "x.params")
        mx.nd.save(path, [to_mxnet(mx, value) for value in arrays])
        with open(path, "rb") as stream:
            return stream.read()


def save_numpy_shape(mx: Any, arrays: dict[str, Any]) -> bytes:
    """The bytes of `mx.npx.save`, in NumPy's shape semantics (scalars, empty arrays)."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "x.params")
        with mx.util.np_shape(True), mx.util.np_array(True):
            values = {name: mx.np.array(v, dtype=v.dtype) for name, v in arrays.items()}
            mx.npx.save(path, values)
        with open(path, "rb") as stream:
            return stream.read()


def load(mx: Any, data: bytes) -> dict[str, Any]:
    """What `mx.nd.load` reads."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "x.params")
        with open(path, "wb") as stream:
            stream.write(data)
        return {name: from_mxnet(value) for name, value in mx.nd.load(path).items()}


def resave_symbol(mx: Any, text: str) -> str:
    """The symbol as MXNet 1.9.1 saves it after loading (and upgrading) it."""
    return str(mx.sym.load_json(text).tojson())


def list_variables(mx: Any, text: str) -> tuple[list[str], list[str]]:
    """`list_arguments` and `list_auxiliary_states` of a symbol."""
    symbol = mx.sym.load_json(text)
    return symbol.list_arguments(), symbol.list_auxiliary_states()


def infer_shape(
    mx: Any, text: str, known: dict[str, tuple[int, ...]]
) -> tuple[dict[str, tuple[int, ...]], list[tuple[int, ...]]]:
    """Shapes of all variables and of all outputs."""
    symbol = mx.sym.load_json(text)
    names = set(symbol.list_inputs())
    given = {name: shape for name, shape in known.items() if name in names}
    arguments, outputs, states = symbol.infer_shape(**given)
    if arguments is None:
        raise ValueError("MXNet cannot infer the shapes")
    found = dict(zip(symbol.list_arguments(), arguments))
    found.update(zip(symbol.list_auxiliary_states(), states))
    return found, outputs


def forward(
    mx: Any,
    text: str,
    arguments: dict[str, Any],
    auxiliary: dict[str, Any],
    feeds: dict[str, Any],
) -> list[np.ndarray]:
    """The outputs of one forward at inference; labels that are not fed are zero."""
    symbol = mx.sym.load_json(text)
    given = {**arguments, **feeds}
    shapes = {
        name: tuple(value.shape) for name, value in given.items() if name in symbol.list_arguments()
    }
    inferred, _, _ = symbol.infer_shape(**shapes)
    values = {}
    for name, shape in zip(symbol.list_arguments(), inferred):
        values[name] = to_mxnet(mx, given[name]) if name in given else mx.nd.zeros(shape)
    states = {name: to_mxnet(mx, value) for name, value in auxiliary.items()}
    executor = symbol.bind(mx.cpu(), args=values, aux_states=states, grad_req="null")
    return [output.asnumpy() for output in executor.forward(is_train=False)]


def module_forward(mx: Any, prefix: str, epoch: int, feeds: dict[str, Any]) -> list[np.ndarray]:
    """The outputs of `mx.mod.Module.load(prefix, epoch)` for one batch, without labels."""
    symbol, arguments, _ = mx.model.load_checkpoint(prefix, epoch)
    names = list(feeds)
    labels = [n for n in symbol.list_arguments() if n not in names and n not in arguments]
    module = mx.mod.Module.load(prefix, epoch, data_names=names, label_names=labels)
    shapes = [(name, tuple(value.shape)) for name, value in feeds.items()]
    module.bind(data_shapes=shapes, for_training=False)
    data = [to_mxnet(mx, feeds[name]) for name in names]
    module.forward(mx.io.DataBatch(data=data, label=None), is_train=False)
    return [output.asnumpy() for output in module.get_outputs()]


def operator_names(mx: Any) -> list[str]:
    """Every name that MXNet knows an operator by."""
    import ctypes

    count = ctypes.c_uint()
    names = ctypes.POINTER(ctypes.c_char_p)()
    mx.base.check_call(mx.base._LIB.MXListAllOpNames(ctypes.byref(count), ctypes.byref(names)))
    return [names[i].decode() for i in range(count.value)]


def gluon_export(mx: Any, hidden: int, classes: int, width: int) -> tuple[str, bytes]:
    """The files of a small Gluon block, exported."""
    from mxnet import gluon

    block = gluon.nn.HybridSequential(prefix="net_")
    with block.name_scope():
        block.add(gluon.nn.Dense(hidden, activation="relu"))
        block.add(gluon.nn.BatchNorm())
        block.add(gluon.nn.Dropout(0.5))
        block.add(gluon.nn.Dense(classes))
    block.initialize(mx.init.Xavier())
    block.hybridize()
    block(mx.nd.ones((2, width)))
    with tempfile.TemporaryDirectory() as directory:
        prefix = os.path.join(directory, "net")
        block.export(prefix, epoch=3)
        with open(f"{prefix}-symbol.json") as stream:
            text = stream.read()
        with open(f"{prefix}-0003.params", "rb") as stream:
            return text, stream.read()

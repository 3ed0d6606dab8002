"""What the fuzzers call: functions of bytes that end well or in a `FastpropError`.

Anything else that leaves one of them is a finding. They run as they are too, without a fuzzer:
tests/fuzz calls each with its seeds and with the findings of the past.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa

import fastprop
from fastprop.checkpoint.arrays import Parameter
from fastprop.checkpoint.directory import write_checkpoint
from fastprop.checkpoint.params import Reader
from fastprop.errors import FastpropError
from fastprop.features.dictionary import FeatureDictionary
from fastprop.features.settings import TransactionColumns
from fastprop.features.transactions import read_transactions
from fastprop.graph.admission import check_operators
from fastprop.graph.builder import GraphBuilder
from fastprop.graph.columns import score_columns
from fastprop.graph.describe import describe_graph
from fastprop.graph.graph import parse_symbol
from fastprop.graph.network import Network, bind_parameters
from fastprop.graph.optimize import optimize
from fastprop.graph.shapes import infer_shapes
from fastprop.io.arrow import arrow_faults, iter_arrow_rows
from fastprop.io.batches import ReadOptions
from fastprop.io.files import find_inputs
from fastprop.io.readers import open_reader

__all__ = ["TARGETS", "Target", "small_predictor"]

Target = Callable[[bytes], None]
N_FEATURES = 60
MAX_ELEMENTS = 1 << 16


def params(data: bytes) -> None:
    """The bytes of a `.params` file."""
    for value in Reader(data, len(data), "fuzz").read().values():
        for part in (value, *(getattr(value, name, None) for name in ("indptr", "indices"))):
            if isinstance(part, np.ndarray):
                part.tobytes()  # every byte of a view can be read


def symbol(data: bytes) -> None:
    """The JSON of a symbol, with parameters of whatever shapes it declares."""
    graph = parse_symbol(data)
    check_operators(graph, "all")
    check_operators(graph)
    network = bind_parameters(graph, declared_parameters(graph))
    describe_graph(network)
    for index in (0, 1, None):
        optimized = optimize(network, index)
        for version in (network, optimized):
            shapes = infer_shapes(version, batch=3)
            assert len(shapes.heads) == len(version.graph.heads)
        score_columns(network, infer_shapes(network, batch=3), index)


def compiled(data: bytes) -> None:
    """A compiled model's file, loaded, scored with and checked."""
    with file_of(data, ".fastprop") as path:
        model = fastprop.load_model(path)
        model.describe()
        if model.n_labels > MAX_ELEMENTS or model.n_features > 1 << 40:
            return
        with model.predictor(threads=1, batch_size=4, pool_limit=1 << 28) as predictor:
            shapes = model.input_row_shapes
            first, *further = model.inputs
            if sum(prod(shape) for shape in shapes.values() if shape) > 1 << 44:
                return
            rows: Any = [([], []), ([0, model.n_features - 1], [1.0, 2.0])]
            if first.storage != "csr":
                if prod(shapes[first.name]) > MAX_ELEMENTS:
                    return
                rows = np.ones((2, *shapes[first.name]), dtype=np.float32)
            if any(prod(shapes[spec.name]) > MAX_ELEMENTS for spec in further):
                return
            inputs = {spec.name: np.ones((2, *shapes[spec.name]), np.float32) for spec in further}
            predictor.predict(rows, inputs=inputs)
            predictor.predict_top_k(rows, k=2, inputs=inputs)


def declared_parameters(graph: Any) -> dict[str, Parameter]:
    """Zeros for the variables that declare a shape of moderate size."""
    found: dict[str, Parameter] = {}
    for node in graph.nodes:
        declared = node.attributes.get("__shape__") if node.is_variable else None
        if declared is None or declared.count(",") > 8:
            continue
        with contextlib.suppress(ValueError):
            shape = tuple(int(part) for part in declared.strip("() ").split(",") if part.strip())
            if shape and min(shape) > 0 and prod(shape) <= MAX_ELEMENTS:
                found[f"arg:{node.name}"] = np.zeros(shape, dtype=np.float32)
    return found


@lru_cache(maxsize=1)
def small_predictor() -> fastprop.Predictor:
    """A small model of the usual kind on our own kernels."""
    rng = np.random.default_rng(0)
    builder = GraphBuilder()
    rows = builder.variable("data", {"__storage_type__": "2"})
    weight = builder.variable("weight", {"__shape__": f"({N_FEATURES}, 8)"})
    hidden = builder.add("dot", [rows, weight], name="dot0")
    hidden = builder.add("Activation", [hidden], name="relu0", attributes={"act_type": "relu"})
    values: dict[str, Parameter] = {
        "weight": rng.standard_normal((N_FEATURES, 8)).astype(np.float32)
    }
    heads = []
    for head in range(3):
        inputs = [hidden]
        for name, shape in (("weight", (2, 8)), ("bias", (2,))):
            values[f"fc{head}_{name}"] = rng.standard_normal(shape).astype(np.float32)
            inputs.append(builder.variable(f"fc{head}_{name}"))
        layer = builder.add(
            "FullyConnected", inputs, name=f"fc{head}", attributes={"num_hidden": 2}
        )
        heads.append(builder.add("softmax", [layer], name=f"head{head}"))
    network = Network(graph=builder.build(heads), arguments=values, auxiliary={})
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(folder, "fuzz", 0, network)
        model = fastprop.load_model(folder)
    return model.predictor(engine="native", threads=1, batch_size=4, weights="copied")


class Source:
    """Choices out of bytes: what is not there reads as zeros."""

    def __init__(self, data: bytes) -> None:
        self.stream = io.BytesIO(data)

    def take(self, n: int) -> bytes:
        return self.stream.read(n).ljust(n, b"\0")

    def number(self, bound: int) -> int:
        return int(struct.unpack("<H", self.take(2))[0]) % bound

    def rest(self) -> bytes:
        return self.stream.read()


INDPTR_TYPES = ("i4", "i8", "u4", "u8", "i2", ">i8", "f4")
INDEX_TYPES = ("i4", "i8", "u1", "u4", "u8", ">i4", "f8", "?")
VALUE_TYPES = ("f4", "f8", "f2", "i4", "i8", ">f4", "?", "c8", "M8[s]", "O")


def array(source: Source, kinds: tuple[str, ...]) -> Any:
    """An array of some type, length and stride."""
    dtype = np.dtype(kinds[source.number(len(kinds))])
    length = source.number(40)
    step = (1, 1, 1, 2, -1, 3)[source.number(6)]
    if dtype.kind == "O":
        items = np.empty(length, dtype=object)
        items[:] = [(None, 1, 1.5, "x", b"", 10**30, [])[source.number(7)] for _ in range(length)]
        return items[::step]
    made = np.frombuffer(source.take(length * dtype.itemsize), dtype=dtype)
    if source.number(4) and dtype.kind in "iu":
        # Mostly small numbers in order, which get further.
        made = (np.abs(made.astype(np.int64)) % (N_FEATURES + 1)).astype(dtype)
        if source.number(2):
            made = np.sort(made)
    return made[::step]


def rows(data: bytes) -> None:
    """CSR triplets and lists of rows as callers may hold them, through the small predictor."""
    source = Source(data)
    predictor = small_predictor()
    if source.number(2):
        indptr = array(source, INDPTR_TYPES)
        indices = array(source, INDEX_TYPES)
        values = array(source, VALUE_TYPES)
        shape: Any = (len(indptr) - 1, N_FEATURES)
        if source.number(8) == 0:
            shape = (source.number(50) - 1, source.number(100), *[1] * (source.number(3) - 1))
        given: Any = fastprop.CSR(indptr, indices, values, shape)
    else:
        given = [row(source) for _ in range(source.number(12))]
    how = source.number(4)
    scores = None
    if how == 0:
        predictor.predict_top_k(given, k=1 + source.number(5))
    elif how == 1:
        predictor.predict_outputs(given)
    else:
        scores = predictor.predict(given)
    if scores is not None:
        # Sums beyond float32 may be NaN; what is not is a probability.
        assert bool((np.isnan(scores) | ((scores >= 0) & (scores <= 1))).all())


def row(source: Source) -> Any:
    kind = source.number(8)
    if kind == 0:
        keys = [(1, -1, 2**70, "a", 1.5, None, True, 59)[source.number(8)] for _ in range(4)]
        return {key: (1, 1.5, "x", None, np.float32(2))[source.number(5)] for key in keys}
    if kind == 1:
        return (None, 3, "row", b"", (), [1], (1, 2, 3), object())[source.number(8)]
    indices, values = array(source, INDEX_TYPES), array(source, VALUE_TYPES)
    if source.number(3) == 0:
        indices, values = list(indices), list(values)
    elif source.number(3):
        shortest = min(len(indices), len(values))
        indices, values = indices[:shortest], values[:shortest]
    if kind == 2:
        return fastprop.SparseVector(source.number(2) * N_FEATURES, indices, values)
    return (indices, values)


def arrow(data: bytes) -> None:
    """An Arrow stream of record batches, as `predict` and the readers take them."""
    try:
        with pa.ipc.open_stream(data) as stream:
            batches = list(stream)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        return  # Arrow's own errors are Arrow's
    for batch in batches:
        for use in (
            lambda batch=batch: list(iter_arrow_rows(batch, n_features=N_FEATURES)),
            lambda batch=batch: arrow_faults(batch, n_features=N_FEATURES),
            lambda batch=batch: small_predictor().predict(batch),
        ):
            with contextlib.suppress(FastpropError):
                use()


@contextlib.contextmanager
def file_of(data: bytes, suffix: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory_folder()) as folder:
        path = os.path.join(folder, f"fuzz{suffix}")
        with open(path, "wb") as file:
            file.write(data)
        yield path


@lru_cache(maxsize=1)
def memory_folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def reader(suffix: str, id_column: str) -> Target:
    """A file of rows: opened, cut, read with faults as errors and with faults collected."""

    def read(data: bytes) -> None:
        with file_of(data, suffix) as path:
            file = find_inputs([path])[0]
            for collect in (False, True):
                options = ReadOptions(
                    n_features=N_FEATURES,
                    id_column=id_column,
                    batch_rows=16,
                    collect_faults=collect,
                    svmlight_base=int(collect),
                )
                with contextlib.suppress(FastpropError):
                    opened = open_reader(file, options)
                    for part in opened.slices():
                        for batch in opened.read(part):
                            with contextlib.suppress(FastpropError):
                                small_predictor().predict(batch.rows.csr)

    return read


def transactions(data: bytes) -> None:
    """A CSV file of transactions."""
    columns = TransactionColumns(
        customer="c", item="i", time="t", quantity="q", price="p", order="o", category="k"
    )
    with file_of(data, ".csv") as path:
        read_transactions(path, columns)


def dictionary(data: bytes) -> None:
    """The JSON of a feature dictionary."""
    with file_of(data, ".json") as path:
        made = FeatureDictionary.load(path)
        assert made.n_features >= 0


def expecting_our_errors(target: Target) -> Target:
    def call(data: bytes) -> None:
        with contextlib.suppress(FastpropError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, of numbers that overflow
            target(data)

    return call


TARGETS: dict[str, Target] = {
    name: expecting_our_errors(target)
    for name, target in {
        "params": params,
        "symbol": symbol,
        "compiled": compiled,
        "rows": rows,
        "arrow": arrow,
        "jsonl": reader(".jsonl", "id"),
        "svmlight": reader(".svmlight", "id"),
        "npz": reader(".npz", "id"),
        "ipc": reader(".arrow", "id"),
        "parquet": reader(".parquet", "id"),
        "transactions": transactions,
        "dictionary": dictionary,
    }.items()
}

"""A checkpoint ready to score: its graph, parameters, labels and engines."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Union

from fastprop import _core
from fastprop.cached import cached_property
from fastprop.checkpoint.arrays import parameter_dtype, parameter_shape
from fastprop.checkpoint.directory import Checkpoint, read_checkpoint, read_checkpoint_files
from fastprop.checks import as_path, check_choice, flag, integer, shapes_by_name, shown
from fastprop.engine_plan import ENGINES, OUTPUTS, EnginePlan
from fastprop.errors import DTypeError, EngineError, InvalidInputError, ModelFormatError
from fastprop.fork_safe_lock import ForkSafeLock
from fastprop.graph.admission import check_operators
from fastprop.graph.columns import Column, score_columns
from fastprop.graph.describe import describe_graph
from fastprop.graph.network import InputSpec, Network
from fastprop.graph.optimize import optimize
from fastprop.graph.passes.split_sparse_layer import split_sparse_layer
from fastprop.graph.rows_apart import check_rows_apart
from fastprop.graph.shapes import infer_shapes, known_throughout
from fastprop.libmxnet.engine import make_mxnet_engine
from fastprop.libmxnet.shapes import network_shapes, row_shapes
from fastprop.native.compile import Compiled, compile_network
from fastprop.native.engine import make_native_engine
from fastprop.native.lowering import NotNativeError
from fastprop.postprocess import NativePostprocess
from fastprop.predictor import Predictor
from fastprop.sparse_weights import WEIGHTS
from fastprop.translator import Translator

__all__ = ["Model", "load_model"]

ADMITTED = ("documented", "all")
PathLike = Union[str, "os.PathLike[str]"]


def load_model(
    directory: PathLike,
    name: str | None = None,
    epoch: int | None = None,
    *,
    positive_index: int | None = 0,
    allow_operators: str = "documented",
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Model:
    """Load a checkpoint from a directory, or a compiled model from a file.

    Parameters
    ----------
    directory : path
        Holds `NAME-symbol.json`, `NAME-%04d.params` and, optionally, `NAME-labels.txt` and
        `NAME-features.txt`; or the file that `Model.compile` or `fastprop compile` wrote, where
        the other parameters have been chosen already.
    name : str, optional
        Which model; the only one there by default.
    epoch : int, optional
        Which epoch; the latest by default.
    positive_index : int or None
        Column of a two-class softmax head that is its score; None gives every class a column.
    allow_operators : {"documented", "all"}
        `"all"` admits operators beyond the documented ones; `Custom` is never admitted.
    input_shapes : mapping of str to tuple of int, optional
        Row shapes, without the batch axis, of inputs whose shapes do not follow from the
        checkpoint.

    Returns
    -------
    Model
        Parameters are memory-mapped, not read, so that their size does not count. The graph is
        read: milliseconds for a few heads, half a second to a second for 3,000 separate ones,
        which a compiled model spares.

    Raises
    ------
    InvalidInputError
        An argument cannot be used; a `DTypeError` where it is of another type.
    ModelFormatError
        Files are missing, damaged or contradict each other; names the file and the place.
    """
    path = as_path("directory", directory)
    if os.path.isfile(path):
        check_choice("allow_operators", allow_operators, ADMITTED)
        return load_compiled(path, name, epoch, positive_index, input_shapes)
    return Model(
        read_checkpoint(path, name, epoch),
        positive_index=positive_index,
        allow_operators=allow_operators,
        input_shapes=input_shapes,
    )


def load_compiled(
    path: Path,
    name: str | None,
    epoch: int | None,
    positive_index: int | None,
    input_shapes: Mapping[str, tuple[int, ...]] | None,
) -> Model:
    """Load a compiled model; what was chosen when it was compiled cannot be chosen otherwise."""
    from fastprop.compiled.model import CompiledModel

    if epoch is not None:
        epoch = integer("epoch", epoch)
    if positive_index is not None:
        positive_index = integer("positive_index", positive_index)
    input_shapes = shapes_by_name("input_shapes", input_shapes)
    try:
        model = CompiledModel(path)
    except ModelFormatError:
        if path.suffix not in (".params", ".json", ".txt"):
            raise
        raise InvalidInputError(
            f"{path}: no compiled model; where it is one file of a checkpoint, give the directory "
            f"that holds them, {path.parent}"
        ) from None
    chosen = (model.name if name is None else name, model.epoch if epoch is None else epoch)
    if not isinstance(name, (str, type(None))) or chosen != (model.name, model.epoch):
        raise InvalidInputError(
            f"{path}: compiled from {model.name!r}, epoch {model.epoch}, not {shown(chosen[0])}, "
            f"epoch {chosen[1]}"
        )
    if positive_index not in (0, model.positive_index):
        raise InvalidInputError(
            f"{path}: compiled with positive_index {model.positive_index}, not {positive_index}"
        )
    if input_shapes:
        raise InvalidInputError(f"{path}: compiled, so that input_shapes cannot be given any more")
    return model


class Model:
    """A checkpoint that can be scored with. Immutable; safe to share between threads.

    Parameters
    ----------
    checkpoint : Checkpoint
        Graph and parameters, as read.
    positive_index, allow_operators, input_shapes
        See `load_model`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        positive_index: int | None = 0,
        allow_operators: str = "documented",
        input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        if not isinstance(checkpoint, Checkpoint):
            raise DTypeError(
                f"checkpoint is {shown(checkpoint)}, and one that has been read is needed: "
                "load_model reads it and makes the model"
            )
        if positive_index is not None:
            positive_index = integer("positive_index", positive_index)
        check_choice("allow_operators", allow_operators, ADMITTED)
        self._checkpoint = checkpoint
        self._positive_index = positive_index
        self._allow_unknown = allow_operators == "all"
        self._input_shapes = shapes_by_name("input_shapes", input_shapes)
        self._lock = ForkSafeLock()
        self._engines: dict[EnginePlan, _core.Engine] = {}
        check_operators(checkpoint.network.graph, allow_operators)
        if not self.network.inputs:
            raise ModelFormatError(f"{checkpoint.files.symbol}: the graph has no input")
        self._shapes = network_shapes(self.network, self._input_shapes, 1, self._allow_unknown)
        more = None if self._input_shapes else known_throughout(self.network)
        if more is None:
            more = infer_shapes(self.network, self._input_shapes, 3, self._allow_unknown)
        check_rows_apart(self.network, self._shapes, more)
        self.columns: tuple[Column, ...] = score_columns(
            self.network,
            self._shapes,
            positive_index,
            labels=checkpoint.labels,
            labels_file=str(checkpoint.files.labels),
        )
        names = checkpoint.feature_names
        if names is not None and len(names) != self.n_features:
            raise ModelFormatError(
                f"{checkpoint.files.features}: {len(names)} names, but the model has "
                f"{self.n_features} features"
            )

    @classmethod
    def from_files(
        cls,
        symbol: PathLike,
        params: PathLike,
        *,
        labels: PathLike | None = None,
        features: PathLike | None = None,
        positive_index: int | None = 0,
        allow_operators: str = "documented",
        input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> Model:
        """Load a checkpoint from explicitly named files; see `load_model`."""
        return cls(
            read_checkpoint_files(symbol, params, labels=labels, features=features),
            positive_index=positive_index,
            allow_operators=allow_operators,
            input_shapes=input_shapes,
        )

    def __reduce__(self) -> NoReturn:
        raise DTypeError(
            "a Model cannot be pickled: load the model in each process, whose mapped files they "
            "then share"
        )

    @property
    def name(self) -> str:
        """Name of the checkpoint."""
        return self._checkpoint.files.name

    @property
    def epoch(self) -> int | None:
        """Epoch of the checkpoint; None where its files were named explicitly."""
        return self._checkpoint.files.epoch

    @property
    def path(self) -> Path:
        """The parameter file."""
        return self._checkpoint.files.params

    @property
    def network(self) -> Network:
        """Graph and parameters as saved."""
        return self._checkpoint.network

    @property
    def positive_index(self) -> int | None:
        """Which class of a softmax over two is the score; None for both."""
        return self._positive_index

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """What a row consists of: the rows' own input first, then further inputs."""
        return self.network.inputs

    @cached_property
    def input_row_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of a row of each input, without the batch axis."""
        variables = self._shapes.variables
        return {spec.name: variables[spec.name][1:] for spec in self.inputs}

    @cached_property
    def n_features(self) -> int:
        """Number of columns of the rows."""
        width = 1
        for extent in self.input_row_shapes[self.inputs[0].name]:
            width *= extent
        return width

    @property
    def n_labels(self) -> int:
        """Number of score columns."""
        return len(self.columns)

    @cached_property
    def labels(self) -> list[str]:
        """Name of each score column."""
        return [column.label for column in self.columns]

    @property
    def feature_names(self) -> list[str] | None:
        """Name of each feature, where the checkpoint has them."""
        return self._checkpoint.feature_names

    @cached_property
    def optimized(self) -> Network:
        """The network as it is run by default: training parts gone, heads fused."""
        return optimize(self.network, self._positive_index)

    @cached_property
    def head_row_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of a row of each of the checkpoint's own heads, without the batch axis."""
        return row_shapes(
            self.network, self._input_shapes, allow_unknown_operators=self._allow_unknown
        )

    def predictor(
        self,
        engine: str = "auto",
        threads: int | None = None,
        batch_size: int | None = None,
        optimize: bool = True,
        nonfinite: str = "error",
        translator: Translator | None = None,
        *,
        whole_graph: bool = False,
        weights: str = "mapped",
        pool_limit: int | None = None,
        isa: str | None = None,
        null_rows: str = "keep",
        postprocess: NativePostprocess | None = None,
    ) -> Predictor:
        """Make a predictor; a context manager.

        Parameters
        ----------
        engine : {"auto", "native", "mxnet"}
            What runs the graph: our own kernels alone, or MXNet behind our sparse layer. `"auto"`
            is native where every layer is known to it, else MXNet; `describe` says which.
        threads : int, optional
            Worker threads; by default the processors that this process may use (affinity mask
            and cgroup quota).
        batch_size : int, optional
            Rows that go through the layers together, 512 by default.
        optimize : bool
            False runs the checkpoint's own graph, whole, through MXNet.
        nonfinite : {"error", "propagate"}
            Whether NaN and infinite values in rows are refused or computed with.
        translator : Translator, optional
            Turns records into rows and scores into results.
        whole_graph : bool
            Run the optimised graph whole through MXNet, instead of its sparse input layer in our
            kernel.
        weights : {"mapped", "copied", "bfloat16", "int8"}
            How our kernels hold weights: in place in the mapped file, which all processes of a
            host share; copied into huge pages; copied and rounded to bfloat16, at half the memory
            and with an error of its own; or the dense layers in steps of 8 bits, with a larger
            error, and the sparse layer as bfloat16 (the native engine alone).
        pool_limit : int, optional
            Most bytes of pool memory; `PoolLimitError` beyond. No cap by default.
        isa : str, optional
            Instruction set of our kernels; the best one by default, or `FASTPROP_ISA`.
        null_rows : {"keep", "error"}
            Whether rows that are null in Arrow data have a null result (NaN in arrays) or are
            refused.
        postprocess : NativePostprocess, optional
            What `native_postprocess` makes: the workers call it on the scores of each tile, and
            `predict` and `stream` give its result instead of the scores. A null row's is NaN, or 0
            where the type has none.

        Raises
        ------
        EngineError
            The engine is missing or refuses the graph.
        """
        check_choice("engine", engine, ENGINES)
        check_choice("weights", weights, WEIGHTS)
        optimize, whole_graph = flag("optimize", optimize), flag("whole_graph", whole_graph)
        self._check_choices(engine, optimize=optimize, whole_graph=whole_graph, weights=weights)
        return Predictor(
            self,
            engine=engine,
            threads=threads,
            batch_size=batch_size,
            optimize=optimize,
            nonfinite=nonfinite,
            translator=translator,
            pool_limit=pool_limit,
            whole_graph=whole_graph,
            weights=weights,
            isa=isa if isa is not None else os.environ.get("FASTPROP_ISA") or "best",
            null_rows=null_rows,
            postprocess=postprocess,
        )

    def _check_choices(
        self,
        engine: str,
        *,
        optimize: bool,
        whole_graph: bool,
        weights: str,
    ) -> None:
        """Refuse choices that contradict each other."""
        if engine == "native" and (whole_graph or not optimize):
            raise InvalidInputError("whole_graph and optimize=False are for the mxnet engine")
        if weights == "int8" and (engine == "mxnet" or whole_graph or not optimize):
            raise InvalidInputError("int8 weights are for the native engine")

    def compile(self, path: PathLike, *, weights: str = "float32") -> None:
        """Write the model to one file that loads in milliseconds and needs no MXNet.

        Parameters
        ----------
        path : path
            The file, which `load_model` takes; it appears whole or not at all.
        weights : {"float32", "bfloat16", "int8"}
            How weights are held: as they are, rounded at half the memory, or the dense layers in
            steps of 8 bits and the sparse one as bfloat16.

        Raises
        ------
        EngineError
            The native engine cannot run the model; names the node.
        OutputError
            The file cannot be written, such as into a folder that is not there.
        """
        from fastprop.compiled.write import write_compiled

        write_compiled(self, as_path("path", path), weights=weights)

    def compiled(self, output: str) -> Compiled:
        """Compile the scores, or the heads side by side, for the native engine.

        Raises
        ------
        NotNativeError
            It cannot run the model; names the node.
        """
        check_choice("output", output, OUTPUTS)
        network, columns = self._graph_of(output)
        return compile_network(network, columns, input_shapes=self._input_shapes)

    def engine(self, plan: EnginePlan) -> _core.Engine:
        """Return an engine of the core, made once and shared by all predictors."""
        if not isinstance(plan, EnginePlan):
            raise DTypeError(f"plan is {shown(plan)}, and an EnginePlan is needed")
        with self._lock:
            made = self._engines.get(plan)
            if made is None:
                made = self._engines[plan] = self._make_engine(plan)
            return made

    def release_engines(self) -> None:
        """Let go of the engines made so far, and of the weights that they hold.

        Predictors that use one keep it; a predictor made later has it made anew.
        """
        with self._lock:
            self._engines.clear()

    def _make_engine(self, plan: EnginePlan) -> _core.Engine:
        if plan.engine == "mxnet" or plan.graph != "split":
            return self._make_mxnet_engine(plan)
        try:
            compiled = self.compiled(plan.output)
        except NotNativeError as error:
            refusal = f"the native engine cannot run {self.name!r}: {error}"
            if plan.engine == "native":
                raise EngineError(refusal) from None
            if plan.weights == "int8":
                raise EngineError(f"int8 weights are for the native engine: {refusal}") from None
            try:
                return self._make_mxnet_engine(plan)
            except EngineError as other:
                raise EngineError(f"{other}. MXNet is needed because {refusal}") from other
        return make_native_engine(compiled, isa=plan.isa, weights=plan.weights)

    def _make_mxnet_engine(self, plan: EnginePlan) -> _core.Engine:
        network, columns = self._graph_of(plan.output)
        if plan.graph == "saved":
            network, columns = self.network, self.columns if plan.output == "scores" else ()
        split = split_sparse_layer(network) if plan.graph == "split" else None
        return make_mxnet_engine(
            network,
            columns,
            input_shapes=self._input_shapes,
            allow_unknown_operators=self._allow_unknown,
            isa=plan.isa,
            split=split,
            weights=plan.weights,
        )

    def _graph_of(self, output: str) -> tuple[Network, Sequence[Column]]:
        """The network that gives the scores or the heads, and the columns to pick from it."""
        if output == "heads":
            return optimize(self.network, None), ()
        return self.optimized, self._columns_of(self.optimized)

    def _columns_of(self, network: Network) -> Sequence[Column]:
        """Columns to pick from an optimised network: none where its heads are the scores."""
        shapes = row_shapes(
            network, self._input_shapes, allow_unknown_operators=self._allow_unknown
        )
        width = 0
        for shape in shapes:
            head = 1
            for extent in shape:
                head *= extent
            width += head
        if width == len(self.columns):
            return ()
        if len(shapes) == len(self.network.graph.heads):
            return self.columns
        raise ModelFormatError(
            f"the optimised graph gives {width} columns, and {len(self.columns)} were expected"
        )

    def _describe_engine(self) -> str:
        """Which engine `"auto"` takes, and why."""
        try:
            compiled = self.compiled("scores")
        except NotNativeError as error:
            split = split_sparse_layer(self.optimized)
            kernel = "the whole graph" if split is None else "behind our sparse kernel"
            return f"mxnet, {kernel}; not native: {error}"
        steps = [f"  {step}" for step in compiled.plan.steps]
        return "\n".join([f"native, {len(steps)} steps", *steps])

    def describe(self) -> str:
        """Describe the model: files, inputs, graph before and after, engine, parameters, memory."""
        files = self._checkpoint.files
        lines = [
            f"model {self.name}" + ("" if self.epoch is None else f", epoch {self.epoch}"),
            f"  symbol      {files.symbol}",
            f"  parameters  {files.params}",
            f"  labels      {files.labels or 'named after the heads'}",
            f"  scores      {self.n_labels} columns a row",
            "  inputs      "
            + ", ".join(
                f"{spec.name} ({spec.storage}, row shape {self.input_row_shapes[spec.name]})"
                for spec in self.inputs
            ),
            "engine: " + self._describe_engine(),
            "",
            "graph as saved",
            indent(describe_graph(self.network)),
            "",
            "graph as run",
            indent(describe_graph(self.optimized)),
            "",
            "parameters",
        ]
        total = 0
        values = {**self.network.arguments, **self.network.auxiliary}
        for name, value in sorted(values.items(), key=lambda item: -stored_bytes(item[1]))[:12]:
            size = stored_bytes(value)
            lines.append(
                f"  {name:<28} {parameter_shape(value)} {parameter_dtype(value)} "
                f"{type(value).__name__}, {size:,} bytes"
            )
        for value in values.values():
            total += stored_bytes(value)
        if len(values) > 12:
            lines.append(f"  and {len(values) - 12} more")
        lines.append(f"  {total:,} bytes in all, mapped from the file and shared by processes")
        return "\n".join(lines)


def stored_bytes(value: object) -> int:
    """Bytes that a parameter takes in its file."""
    parts = [
        getattr(value, part, None) for part in ("indptr", "indices", "data") if hasattr(value, part)
    ]
    arrays = [part for part in parts if hasattr(part, "nbytes")]
    if hasattr(value, "nbytes"):
        return int(value.nbytes)
    return sum(int(array.nbytes) for array in arrays if array is not None)


def indent(text: str) -> str:
    return "\n".join("  " + line for line in text.splitlines())

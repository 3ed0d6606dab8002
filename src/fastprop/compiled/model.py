"""A compiled model: the same face as a checkpoint's, the native engine alone."""

from __future__ import annotations

from pathlib import Path

from fastprop import _core
from fastprop.cached import cached_property
from fastprop.checks import as_path
from fastprop.compiled.document import Document, read_document
from fastprop.compiled.safetensors import SafetensorsFile, check_data, read_safetensors
from fastprop.engine_plan import EnginePlan
from fastprop.errors import EngineError, InvalidInputError, ModelFormatError
from fastprop.fork_safe_lock import ForkSafeLock
from fastprop.graph.network import InputSpec, Network
from fastprop.model import Model
from fastprop.native.engine import start_native_engine

__all__ = ["CompiledModel"]


class CompiledModel(Model):
    """A model that has been compiled to one file. Immutable; safe to share between threads.

    Parameters
    ----------
    path : path
        The file, which is mapped and must not be truncated while the model lives.

    Raises
    ------
    ModelFormatError
        The file is damaged, no compiled model, or one of another version. Data is not looked at;
        `check` does that.
    """

    def __init__(self, path: Path) -> None:
        path = as_path("path", path)
        self._file: SafetensorsFile = read_safetensors(path)
        self._document: Document = read_document(self._file.metadata, str(path))
        self._lock = ForkSafeLock()
        self._engines: dict[EnginePlan, _core.Engine] = {}
        if len(self.labels) != self.n_labels:
            raise ModelFormatError(
                f"{path}: {len(self.labels)} labels for {self.n_labels} columns of scores"
            )

    @property
    def name(self) -> str:
        """Name of the checkpoint that it was compiled from."""
        return self._document.name

    @property
    def epoch(self) -> int | None:
        """Epoch of the checkpoint."""
        return self._document.epoch

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    @property
    def file(self) -> SafetensorsFile:
        """The file and its tensors."""
        return self._file

    @property
    def document(self) -> Document:
        """What the file says of the model."""
        return self._document

    @property
    def network(self) -> Network:
        """There is none: raises EngineError."""
        raise EngineError(f"{self.path}: a compiled model holds no graph; load its checkpoint")

    @property
    def optimized(self) -> Network:
        """There is none: raises EngineError."""
        return self.network

    @property
    def positive_index(self) -> int | None:
        """Which class of a softmax over two is the score; None for both."""
        return self._document.positive_index

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """What a row consists of: the rows' own input first, then further inputs."""
        return self._document.inputs

    @cached_property
    def input_row_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of a row of each input, without the batch axis."""
        return {
            spec.name: tuple(extent or 0 for extent in spec.shape or ()) for spec in self.inputs
        }

    @property
    def n_labels(self) -> int:
        """Number of score columns."""
        return self._document.plans["scores"].n_scores

    @cached_property
    def labels(self) -> list[str]:
        """Name of each score column."""
        labels = self._lines("labels")
        if labels is None:
            raise ModelFormatError(f"{self.path}: has no labels")
        return labels

    @cached_property
    def feature_names(self) -> list[str] | None:
        """Name of each feature, where the checkpoint has them."""
        names = self._lines("features")
        if names is not None and len(names) != self.n_features:
            raise ModelFormatError(
                f"{self.path}: {len(names)} feature names for {self.n_features} features"
            )
        return names

    @property
    def head_row_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of a row of each of the checkpoint's own heads, without the batch axis."""
        return self._document.head_shapes

    def check(self) -> None:
        """Read all data and compare it with its checksum.

        Raises
        ------
        ModelFormatError
            The file is damaged.
        """
        check_data(self._file)

    def describe(self) -> str:
        """Describe the model: file, inputs, steps, memory."""
        document = self._document
        mapped = sum(tensor.nbytes for tensor in self._file.tensors.values())
        inputs = ", ".join(
            f"{spec.name} ({spec.storage}, row shape {self.input_row_shapes[spec.name]})"
            for spec in self.inputs
        )
        return "\n".join(
            [
                f"model {self.name}" + ("" if self.epoch is None else f", epoch {self.epoch}"),
                f"  compiled    {self.path}, by fastprop {document.made_by}",
                f"  weights     {document.weights}",
                f"  scores      {self.n_labels} columns a row",
                f"  inputs      {inputs}",
                f"engine: native, {len(document.plans['scores'].steps)} steps",
                *(f"  {step}" for step in document.plans["scores"].steps),
                f"{mapped:,} bytes of tensors, mapped from the file and shared by processes",
            ]
        )

    def _check_choices(
        self, engine: str, *, optimize: bool, whole_graph: bool, weights: str
    ) -> None:
        """Refuse what needs the checkpoint."""
        if engine == "mxnet" or whole_graph or not optimize:
            raise InvalidInputError(
                f"{self.path}: a compiled model has the native engine alone; load its checkpoint "
                "for MXNet"
            )
        if weights != "mapped":
            raise InvalidInputError(
                f"{self.path}: weights are held as they were compiled ({self._document.weights}); "
                "compile the checkpoint again for others"
            )
        super()._check_choices(engine, optimize=optimize, whole_graph=whole_graph, weights=weights)

    def _make_engine(self, plan: EnginePlan) -> _core.Engine:
        chosen = self._document.plans[plan.output]
        names = {name for step in chosen.steps for name in step.tensors.values()}
        tensors = {name: self._file.tensors[name] for name in names & set(self._file.tensors)}
        try:
            return start_native_engine(chosen, tensors, isa=plan.isa)
        except ModelFormatError as error:
            raise ModelFormatError(f"{self.path}: plan {plan.output}: {error}") from None

    def _lines(self, name: str) -> list[str] | None:
        """Names that the file holds a line each."""
        tensor = self._file.tensors.get(f"text/{name}")
        if tensor is None:
            return None
        try:
            return tensor.tobytes().decode("utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise ModelFormatError(f"{self.path}: {name} not UTF-8 at byte {error.start}") from None

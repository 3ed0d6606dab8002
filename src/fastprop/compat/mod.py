"""`Module`: the inference face of `mx.mod.Module` over a predictor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import index
from typing import Any, Union

import numpy as np

from fastprop.checks import as_path, flag, shown, whole_number
from fastprop.compat.io import DataBatch
from fastprop.compat.nd import NDArray, csr_matrix, to_rows
from fastprop.errors import DTypeError, FastpropError, InvalidInputError
from fastprop.model import Model, load_model
from fastprop.predictor import Predictor
from fastprop.typing import FloatArray

__all__ = ["Module"]


class Module:
    """A loaded checkpoint with the methods by which scripts score with `mx.mod.Module`.

    Make it with `Module.load`. What MXNet allocates at `bind` is not needed here: `bind` checks
    names and widths, and batches may have any number of rows.

    Parameters
    ----------
    model : Model
        The checkpoint.
    data_names : sequence of str
        Names of the inputs, in the order in which batches hold them.
    """

    def __init__(self, model: Model, *, data_names: Sequence[str] = ("data",)) -> None:
        self._model = model
        self._data_names = list(data_names)
        known = [spec.name for spec in model.inputs]
        if sorted(self._data_names) != sorted(known):
            raise InvalidInputError(
                f"data_names is {self._data_names}, and the checkpoint takes {known}"
            )
        self._predictor: Predictor | None = None
        self._outputs: list[FloatArray] | None = None
        self._data_shapes: list[tuple[str, tuple[int, ...]]] = []
        self.params_initialized = True

    @staticmethod
    def load(
        prefix: str,
        epoch: int,
        load_optimizer_states: bool = False,
        data_names: Sequence[str] = ("data",),
        label_names: Sequence[str] | None = None,  # noqa: ARG004
        logger: Any = None,  # noqa: ARG004
        context: Any = None,  # noqa: ARG004
        work_load_list: Any = None,  # noqa: ARG004
        fixed_param_names: Any = None,  # noqa: ARG004
        positive_index: int | None = 0,
    ) -> Module:
        """Load `prefix-symbol.json` and `prefix-%04d.params` of an epoch.

        Labels, context and the settings of training are accepted and not looked at; optimizer
        states cannot be had.
        """
        if flag("load_optimizer_states", load_optimizer_states):
            raise InvalidInputError("there is nothing to train here: load_optimizer_states")
        path = as_path("prefix", prefix)
        model = load_model(path.parent, path.name, epoch, positive_index=positive_index)
        return Module(model, data_names=data_names)

    @property
    def binded(self) -> bool:
        """Whether `bind` has been called."""
        return self._predictor is not None

    @property
    def data_names(self) -> list[str]:
        """Names of the inputs."""
        return self._data_names

    @property
    def output_names(self) -> list[str]:
        """Names of the heads, as MXNet gives them."""
        graph = self._model.network.graph
        return [f"{graph.nodes[head.node].name}_output" for head in graph.heads]

    @property
    def data_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """Names and shapes that `bind` was given."""
        return self._data_shapes

    @property
    def output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """Names and shapes of the heads for the batch that `bind` was given."""
        n_rows = self._data_shapes[0][1][0] if self._data_shapes else 0
        shapes = self._model.head_row_shapes
        return [(name, (n_rows, *shape)) for name, shape in zip(self.output_names, shapes)]

    def bind(
        self,
        data_shapes: Sequence[Any],
        label_shapes: Any = None,  # noqa: ARG002
        for_training: bool = False,
        inputs_need_grad: bool = False,  # noqa: ARG002
        force_rebind: bool = False,  # noqa: ARG002
        shared_module: Any = None,  # noqa: ARG002
        grad_req: str = "write",  # noqa: ARG002
    ) -> None:
        """Check names and widths of the inputs and start the predictor."""
        if flag("for_training", for_training):
            raise InvalidInputError("there is nothing to train here: bind(for_training=False)")
        try:
            given = [(each[0], tuple(map(index, each[1]))) for each in data_shapes]
        except (TypeError, LookupError):
            raise DTypeError(
                f"data_shapes is {shown(data_shapes)}, and pairs of a name and a shape are needed, "
                "such as [('data', (512, 300))]"
            ) from None
        shapes = []
        for name, shape in given:
            if not isinstance(name, str) or name not in self._data_names:
                raise InvalidInputError(
                    f"{shown(name)} is not an input; they are {self._data_names}"
                )
            wanted = self._model.input_row_shapes[name]
            if shape[1:] != wanted:
                raise InvalidInputError(f"{name!r} has row shape {shape[1:]}, and takes {wanted}")
            shapes.append((name, shape))
        self._data_shapes = shapes
        if self._predictor is None:
            self._predictor = self._model.predictor(nonfinite="propagate")

    def forward(
        self,
        data_batch: DataBatch,
        is_train: bool | None = None,
    ) -> None:
        """Score a batch; `get_outputs` gives the result."""
        if is_train is not None and flag("is_train", is_train):
            raise InvalidInputError("there is nothing to train here: forward(is_train=False)")
        if self._predictor is None:
            raise FastpropError("call bind before forward")
        arrays = getattr(data_batch, "data", None)
        if not isinstance(arrays, (list, tuple)):
            raise DTypeError(
                f"data_batch is {shown(data_batch)}, and a batch is needed: DataBatch([array])"
            )
        given = dict(zip(self._data_names, map(to_rows, arrays)))
        for spec in self._model.inputs:
            if spec.storage == "csr" and isinstance(given.get(spec.name), np.ndarray):
                # As MXNet does: its own iterator hands out dense slices of sparse data.
                given[spec.name] = csr_matrix(given[spec.name])
        if len(given) != len(arrays) or len(given) != len(self._data_names):
            raise InvalidInputError(
                f"the batch has {len(arrays)} arrays, and {self._data_names} are needed"
            )
        rows = given.pop(self._model.inputs[0].name)
        self._outputs = self._predictor.predict_outputs(rows, inputs=given)

    def get_outputs(
        self,
        merge_multi_context: bool = True,  # noqa: ARG002 - the face of MXNet
    ) -> list[NDArray]:
        """Return the heads for the last batch."""
        if self._outputs is None:
            raise FastpropError("call forward before get_outputs")
        return [NDArray(output) for output in self._outputs]

    def predict(
        self,
        eval_data: Union[Iterable[DataBatch], Any],
        num_batch: int | None = None,
        merge_batches: bool = True,
        reset: bool = True,
        always_output_list: bool = False,
    ) -> Any:
        """Score all batches of an iterator, or one array.

        Returns
        -------
        NDArray or list of NDArray
            The heads, batches joined and padding dropped; the only head itself unless
            `always_output_list`. With `merge_batches=False` a list a batch.
        """
        if isinstance(eval_data, (np.ndarray, NDArray)) or hasattr(eval_data, "indptr"):
            eval_data = [DataBatch([eval_data])]
        elif reset and hasattr(eval_data, "reset"):
            eval_data.reset()
        if isinstance(eval_data, (str, bytes)) or not isinstance(eval_data, Iterable):
            raise DTypeError(
                f"eval_data is {shown(eval_data)}, and an array or an iterator over batches is "
                "needed"
            )
        if num_batch is not None:
            num_batch = whole_number("num_batch", num_batch, 1 << 62, least=0)
        batches: list[list[FloatArray]] = []
        for number, batch in enumerate(eval_data):
            if num_batch is not None and number == num_batch:
                break
            self.forward(batch)
            outputs = self._outputs or []
            pad = batch.pad or 0
            batches.append([output[: len(output) - pad] for output in outputs])
        if not batches:
            return []
        if not merge_batches:
            return [[NDArray(output) for output in outputs] for outputs in batches]
        merged = [NDArray(np.concatenate(parts)) for parts in zip(*batches)]
        return merged[0] if len(merged) == 1 and not always_output_list else merged

    def get_params(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return the parameters and the auxiliary states; read-only views."""
        return self._model.network.arguments, self._model.network.auxiliary

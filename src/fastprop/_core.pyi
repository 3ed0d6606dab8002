from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

Parameter = tuple[str, str, npt.NDArray[Any]]
Input = tuple[str, bool, Sequence[int]]
# n_features, weight, row_of_column, bias, activation, alpha
SparseLayer = tuple[
    int,
    npt.NDArray[Any],
    Optional[npt.NDArray[np.int32]],
    Optional[npt.NDArray[np.float32]],
    str,
    float,
]

def cpu_count() -> int: ...
def cpu_count_under(root: str, affinity: int) -> int: ...
def fork_generation() -> int: ...
def worker_count() -> int: ...
def instruction_sets() -> list[str]: ...
def round_to_bf16(source: npt.NDArray[np.float32], target: npt.NDArray[np.uint16]) -> None: ...

class LibraryInfo:
    @property
    def path(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def naive_engine(self) -> bool: ...

def load_library(path: str) -> LibraryInfo: ...
def library_loaded() -> bool: ...
def library_info() -> LibraryInfo: ...
def set_csr_aux_enabled(enabled: bool) -> None: ...

class Lease:
    @property
    def nbytes(self) -> int: ...

class Engine:
    @property
    def n_scores(self) -> int: ...
    @property
    def n_columns(self) -> int: ...
    @property
    def sparse(self) -> bool: ...

class MxnetEngine(Engine):
    def __init__(
        self,
        *,
        symbol_json: str,
        arguments: Sequence[Parameter],
        auxiliary: Sequence[Parameter],
        inputs: Sequence[Input],
        zero_inputs: Sequence[Input],
        head_widths: Sequence[int],
        columns: Sequence[tuple[int, int]],
        canonical_rows: bool,
        sparse_layer: Optional[SparseLayer],
        isa: str,
        owner: object,
    ) -> None: ...
    def head_shapes(self, batch: int) -> list[list[int]]: ...

# place, number, stride, first, width
Operand = tuple[str, int, int, int, int]
# name, op, function, inputs, output, tensors, numbers
Step = tuple[str, str, str, Sequence[Operand], Operand, dict[str, str], dict[str, float]]

class NativeEngine(Engine):
    def __init__(
        self,
        *,
        sparse: bool,
        n_columns: int,
        further: Sequence[tuple[str, int]],
        slots: Sequence[int],
        steps: Sequence[Step],
        n_scores: int,
        tensors: dict[str, npt.NDArray[Any]],
        isa: str,
    ) -> None: ...

MAX_INT8_INPUTS: int

def panels_shape(outputs: int, inputs: int, dtype: np.dtype[Any]) -> tuple[int, ...]: ...
def pack_dense(weight: npt.NDArray[np.float32], panels: npt.NDArray[Any]) -> None: ...

class Pending:
    @property
    def done(self) -> bool: ...
    def wait(self) -> None: ...

class Predictor:
    def __init__(
        self,
        engine: Engine,
        *,
        threads: int,
        batch_size: int,
        pool_limit: int,
        finite: bool,
        isa: str,
    ) -> None: ...
    def score(
        self,
        rows: Any,
        further: Sequence[npt.NDArray[np.float32]],
        out: npt.NDArray[np.float32],
        first_row: int,
    ) -> None: ...
    def start_scores(
        self,
        rows: Any,
        further: Sequence[npt.NDArray[np.float32]],
        out: npt.NDArray[np.float32],
        first_row: int,
    ) -> Pending: ...
    def start_postprocessed(
        self,
        rows: Any,
        further: Sequence[npt.NDArray[np.float32]],
        out: npt.NDArray[Any],
        *,
        address: int,
        data: int,
        width: Optional[int],
        owner: object,
        first_row: int,
    ) -> Pending: ...
    def start_top_k(
        self,
        rows: Any,
        further: Sequence[npt.NDArray[np.float32]],
        scores: npt.NDArray[np.float32],
        indices: npt.NDArray[np.int32],
        threshold: Optional[float],
        thresholds: Optional[npt.NDArray[np.float32]],
        allowed: Optional[npt.NDArray[np.bool_]],
        first_row: int,
    ) -> Pending: ...
    def start_check(
        self,
        rows: Any,
        further: Sequence[npt.NDArray[np.float32]],
        first_row: int,
    ) -> Pending: ...
    def start_warm_up(self) -> Pending: ...
    def lease(self, bytes: int) -> Lease: ...
    def stats(self) -> dict[str, Any]: ...
    def close(self) -> None: ...
    def release(self) -> None: ...
    @property
    def closed(self) -> bool: ...
    @property
    def n_scores(self) -> int: ...

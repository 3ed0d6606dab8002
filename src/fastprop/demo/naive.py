"""The baseline that speed is compared with: MXNet's Module, one record a call.

It runs in a process of its own with MXNet's default environment. The Module is bound once at batch
1; each record is made a CSR NDArray, run forward, and all outputs are read. The parent asks for a
number of records on the child's standard input and gets the seconds that they took, so that it can
take turns with what it compares.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from fastprop.errors import EngineError
from fastprop.features.rows import SparseRows, read_rows
from fastprop.training._mxnet import import_mxnet
from fastprop.training.process import mxnet_environment

__all__ = ["NaiveBaseline", "child_main"]


class NaiveBaseline:
    """A child process that scores record by record; a context manager.

    Parameters
    ----------
    prefix : str
        Folder and name of the checkpoint, as `mx.mod.Module.load` takes it.
    epoch : int
    rows : path
        File of rows, whose first ones are scored.
    count : int
        How many different records to use.

    Raises
    ------
    EngineError
        If the child dies; with the last line that it printed.
    """

    def __init__(self, prefix: str, epoch: int, rows: Path, *, count: int) -> None:
        arguments = [prefix, str(epoch), str(rows), str(count)]
        # Closed in __exit__, like the child that writes to it.
        self._stderr = tempfile.TemporaryFile(  # noqa: SIM115
            "w+", encoding="utf-8", errors="replace"
        )
        self._child = subprocess.Popen(
            [sys.executable, "-m", "fastprop.demo.naive", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            encoding="utf-8",
            env=mxnet_environment(),
        )

    def __enter__(self) -> NaiveBaseline:
        """Wait until the Module is bound and warm."""
        try:
            self._answer()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def run(self, records: int) -> float:
        """Score so many records, one a call; returns the seconds that took."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(f"{records}\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            pass  # the missing answer says what happened
        return float(self._answer()["seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            code = self._child.wait()
            self._stderr.seek(0)
            tail = self._stderr.read().strip().splitlines()[-1:]
            raise EngineError(f"baseline process ended with code {code}: {''.join(tail)}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the child."""
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                stream.close()
        if self._child.poll() is None:
            self._child.terminate()
        self._child.wait()
        self._stderr.close()


def child_main(prefix: str, epoch: int, path: str, count: int) -> None:
    """Bind the Module, then score as many records as each line of standard input says."""
    mx = import_mxnet()
    rows = _first_rows(path, count)
    symbol = mx.sym.load(f"{prefix}-symbol.json")
    labels = [name for name in symbol.list_arguments() if name.endswith("_label")]
    module = mx.mod.Module.load(prefix, epoch, data_names=["data"], label_names=labels)
    shape = (1, rows.features.shape[1])
    module.bind([mx.io.DataDesc("data", shape)], for_training=False)
    records = [_record(rows, number) for number in range(len(rows))]

    def score(number: int) -> None:
        indices, values = records[number % len(records)]
        content = (values, indices, np.array([0, len(indices)]))
        record = mx.nd.sparse.csr_matrix(content, shape=shape)
        module.forward(mx.io.DataBatch([record]), is_train=False)
        for output in module.get_outputs():
            output.asnumpy()

    score(0)
    print(json.dumps({"ready": True}), flush=True)
    done = 1
    for line in sys.stdin:
        wanted = int(line)
        began = time.perf_counter()
        for number in range(done, done + wanted):
            score(number)
        seconds = time.perf_counter() - began
        done += wanted
        print(json.dumps({"seconds": seconds}), flush=True)


def _first_rows(path: str, count: int) -> SparseRows:
    for rows in read_rows(path, batch_rows=count):
        return rows
    raise EngineError(f"{path}: no rows to score")


def _record(rows: SparseRows, number: int) -> tuple[Any, Any]:
    start, end = rows.features.indptr[number : number + 2]
    return rows.features.indices[start:end].astype(np.int64), rows.features.data[start:end]


if __name__ == "__main__":
    child_main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))

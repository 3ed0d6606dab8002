"""A contender's process, seen from the command: requests out, replies in, with a time limit."""

from __future__ import annotations

import os
import pickle
import select
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

from fastprop.bench.worker import packed_message
from fastprop.errors import FastpropError

__all__ = ["THREAD_VARIABLES", "ContenderError", "ContenderProcess"]

SERVE = "from fastprop.bench.worker import serve; serve()"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
GRACE_SECONDS = 5.0


class ContenderError(FastpropError):
    """A contender cannot go on.

    Parameters
    ----------
    status : {"missing", "wrong", "failed"}
        It is not there, its answer is wrong, or it broke.
    message : str
        Why.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


class ContenderProcess:
    """A process that serves one contender; a context manager. Not thread-safe.

    Parameters
    ----------
    environment : mapping of str to str or None
        Variables to set, or to take away; those that set numbers of threads are taken away first.
    """

    def __init__(self, environment: Mapping[str, str | None]) -> None:
        variables = {key: value for key, value in os.environ.items() if key not in THREAD_VARIABLES}
        variables["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        for key, value in environment.items():
            if value is None:
                variables.pop(key, None)
            else:
                variables[key] = value
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=variables,
        )

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def call(self, method: str, *arguments: Any, timeout: float) -> Any:
        """Ask for a method of `Worker` and wait for its result.

        Raises
        ------
        ContenderError
            It failed, died, or took longer; then the process has been ended.
        """
        self.send(method, *arguments)
        return self.receive(method, timeout=timeout)

    def send(self, method: str, *arguments: Any) -> None:
        """Ask for a method without waiting."""
        stream = self._process.stdin
        assert stream is not None
        try:
            stream.write(packed_message((method, arguments)))
            stream.flush()
        except BrokenPipeError:
            raise self._death(method) from None

    def receive(self, method: str, *, timeout: float) -> Any:
        """Wait for the reply to the oldest request."""
        deadline = time.monotonic() + timeout
        size = struct.unpack("<Q", self._read(8, method, deadline, timeout))[0]
        status, result = pickle.loads(self._read(size, method, deadline, timeout))
        if status != "ok":
            raise ContenderError(status, result)
        return result

    def _read(self, size: int, method: str, deadline: float, timeout: float) -> bytes:
        stream = self._process.stdout
        assert stream is not None
        received = bytearray()
        while len(received) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([stream], [], [], left)[0]:
                self._process.kill()
                raise ContenderError("failed", f"{method} took longer than {timeout:g} seconds")
            part = os.read(stream.fileno(), size - len(received))
            if not part:
                raise self._death(method)
            received += part
        return bytes(received)

    def _death(self, method: str) -> ContenderError:
        code = self._process.wait()
        self._log.seek(0)
        tail = " ".join(self._log.read()[-600:].decode(errors="replace").split())
        return ContenderError("failed", f"the process ended with code {code} in {method}: {tail}")

    def close(self) -> None:
        """End the process: by the end of its input, or by force if it does not listen."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> ContenderProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

"""MXNet in a process of its own, because a process has one engine and keeps it.

    with MxnetProcess() as mxnet:
        outputs = mxnet.call("forward", symbol, arguments, auxiliary, feeds)

The functions that can be called by name are those of `support.mxnet_programs`; arguments and
results are pickled. `shared_process()` is one process for all tests of a session with the default
settings.
"""

from __future__ import annotations

import atexit
import importlib
import os
import pickle
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import lru_cache
from typing import Any

MAX_DEATHS = 5
WORKER = "from support.mxnet_process import serve; serve()"


class MxnetError(Exception):
    """MXNet raised, or its process died; the message is its own."""


class MxnetProcess:
    """A Python process in which MXNet is imported; a context manager. Not thread-safe.

    By default it runs operators one after the other, each in one thread, so that results are the
    same bits each time.
    """

    def __init__(
        self, *, engine: str = "NaiveEngine", omp_threads: int = 1, environment: Any = None
    ) -> None:
        settings = {
            **os.environ,
            "MXNET_ENGINE_TYPE": engine,
            "OMP_NUM_THREADS": str(omp_threads),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "DMLC_LOG_STACK_TRACE_DEPTH": "0",
            **(environment or {}),
        }
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=settings,
        )

    def call(self, program: str | Callable[..., Any], *arguments: Any) -> Any:
        """Run a function there, given the package `mxnet` first, and return what it returns.

        `program` is the name of a function of `support.mxnet_programs`, or a function of any
        module that can be imported there (those in `support`; test modules cannot).
        """
        name = program
        if not isinstance(program, str):
            name = f"{program.__module__}:{program.__name__}"
        try:
            send(self.process.stdin, (name, arguments))
            succeeded, result = receive(self.process.stdout)
        except (BrokenPipeError, EOFError):
            code = self.process.wait()
            self.log.seek(0)
            tail = self.log.read()[-2000:].decode(errors="replace")
            raise MxnetError(f"the MXNet process died with code {code} in {name}: {tail}") from None
        if not succeeded:
            raise MxnetError(result)
        return result

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=30)
        self.log.close()

    def __enter__(self) -> MxnetProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@lru_cache(maxsize=1)
def _shared() -> list[MxnetProcess]:
    held: list[MxnetProcess] = []
    atexit.register(lambda: [process.close() for process in held])
    return held


def shared_process() -> MxnetProcess:
    """The session's MXNet process; a new one if it died, but not again and again."""
    held = _shared()
    if not held or not held[-1].is_alive:
        if len(held) >= MAX_DEATHS:
            raise MxnetError(f"{MAX_DEATHS} MXNet processes of this session have died")
        held.append(MxnetProcess())
    return held[-1]


def send(stream: Any, message: Any) -> None:
    data = pickle.dumps(message, protocol=5)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def receive(stream: Any) -> Any:
    header = stream.read(8)
    if len(header) < 8:
        raise EOFError
    return pickle.loads(stream.read(struct.unpack("<Q", header)[0]))


def serve() -> None:
    """What the process does: answer calls until its input ends."""
    requests = sys.stdin.buffer
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    from fastprop.training._mxnet import import_mxnet

    mx = import_mxnet()
    while True:
        try:
            name, arguments = receive(requests)
        except EOFError:
            return
        try:
            module, _, function = name.rpartition(":")
            programs = importlib.import_module(module or "support.mxnet_programs")
            reply = (True, getattr(programs, function)(mx, *arguments))
        except Exception as error:
            reply = (False, f"{type(error).__name__}: {error}")
        send(replies, reply)

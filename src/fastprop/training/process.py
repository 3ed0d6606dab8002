"""Training in a process of its own, so that the calling one keeps its choice of MXNet engine.

The child reads a job from its standard input and tells its progress in JSON lines:
`python -m fastprop.training`. Whatever MXNet itself prints goes to standard error, which is kept
and shown only if the child fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from fastprop import errors
from fastprop.errors import EngineError, FastpropError
from fastprop.training.evaluate import Evaluation
from fastprop.training.fit import EpochResult, FitResult, StepProgress
from fastprop.training.job import TrainingJob, run_job

__all__ = ["child_main", "mxnet_environment", "run_job_in_process"]

_STDERR_LINES = 20


def mxnet_environment() -> dict[str, str]:
    """Return this process's environment without a choice of MXNet engine or thread count."""
    chosen = ("MXNET_ENGINE_TYPE", "OMP_NUM_THREADS", "MXNET_CPU_WORKER_NTHREADS")
    return {name: value for name, value in os.environ.items() if name not in chosen}


def run_job_in_process(
    job: TrainingJob,
    *,
    on_step: Callable[[StepProgress], None] | None = None,
    on_epoch: Callable[[EpochResult], None] | None = None,
) -> FitResult:
    """Train in a child process; the same arguments, result and errors as `run_job`.

    Raises
    ------
    EngineError
        If the child dies; with the last lines that it printed.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as printed:
        child = subprocess.Popen(
            [sys.executable, "-m", "fastprop.training"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            text=True,
            encoding="utf-8",
            env=mxnet_environment(),
        )
        try:
            result = _follow(child, job, on_step, on_epoch)
        finally:
            # An interrupt or an error of a callback must not leave the child training.
            if child.poll() is None:
                child.kill()
            for stream in (child.stdin, child.stdout):
                if stream is not None:
                    stream.close()
            child.wait()
        if result is None:
            printed.seek(0)
            tail = "".join(printed.readlines()[-_STDERR_LINES:]).strip()
            raise EngineError(f"training process ended with code {child.returncode}: {tail}")
        return result


def _follow(
    child: subprocess.Popen[str],
    job: TrainingJob,
    on_step: Callable[[StepProgress], None] | None,
    on_epoch: Callable[[EpochResult], None] | None,
) -> FitResult | None:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(job.to_json())
        child.stdin.close()
    except BrokenPipeError:
        return None
    for line in child.stdout:
        event = json.loads(line)
        kind = event.pop("event")
        if kind == "step" and on_step is not None:
            on_step(StepProgress(**event))
        elif kind == "epoch" and on_epoch is not None:
            on_epoch(_epoch_result(event))
        elif kind == "error":
            raise getattr(errors, event["kind"], FastpropError)(event["message"])
        elif kind == "done":
            child.wait()
            return FitResult(
                directory=Path(event["directory"]),
                name=event["name"],
                best_epoch=event["best_epoch"],
                epochs=tuple(map(_epoch_result, event["epochs"])),
            )
    child.wait()
    return None


def _epoch_result(event: dict[str, Any]) -> EpochResult:
    validation = event.pop("validation")
    return EpochResult(**event, validation=None if validation is None else Evaluation(**validation))


def child_main() -> int:
    """Run the job on standard input; the exit code of `python -m fastprop.training`."""
    # MXNet prints to standard output too: the events get that stream for themselves.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as events:
        os.dup2(2, 1)

        def tell(kind: str, content: dict[str, Any]) -> None:
            _send(events, {"event": kind, **content})

        try:
            result = run_job(
                TrainingJob.from_json(sys.stdin.read()),
                on_step=lambda step: tell("step", asdict(step)),
                on_epoch=lambda epoch: tell("epoch", asdict(epoch)),
            )
        except (FastpropError, OSError) as error:
            kind = type(error).__name__ if isinstance(error, FastpropError) else "FastpropError"
            tell("error", {"kind": kind, "message": str(error)})
            return 1
        tell("done", {**asdict(result), "directory": str(result.directory)})
    return 0


def _send(stream: IO[str], event: dict[str, Any]) -> None:
    stream.write(json.dumps(event) + "\n")
    stream.flush()

"""Programs that run beside the tests, each under a time limit that also ends what they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["environment", "run_program", "start_program"]

# Says where every thread was shortly before the time is up, and ends the process.
WATCHED = "import faulthandler; faulthandler.dump_traceback_later({seconds}, exit=True)\n"


def environment(**more: str) -> dict[str, str]:
    """This process's environment, with what the tests can import."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **more}


def start_program(program: str, *arguments: Any, seconds: float = 60, **more: Any) -> Any:
    """Start Python source in a session of its own."""
    source = WATCHED.format(seconds=seconds) + program
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
        **more,
    )


def run_program(program: str | Path, *arguments: Any, seconds: float = 60) -> str:
    """Run a Python file or Python source to its end, and give what it printed.

    It has to end well within `seconds`; what it started is killed with it.
    """
    if isinstance(program, Path):
        # As a file, so that it can be imported again by the processes that it spawns.
        command = [sys.executable, str(program)]
    else:
        command = [sys.executable, "-c", WATCHED.format(seconds=seconds) + program]
    process = subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=seconds + 10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        raise AssertionError(f"it hung for {seconds} s: {output}{errors}") from None
    assert process.returncode == 0, (process.returncode, output + errors)
    return output

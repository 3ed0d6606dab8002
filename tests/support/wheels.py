"""The wheel of the running Python, built once a session by the documented command."""

from __future__ import annotations

import atexit
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def can_build() -> bool:
    """Whether the extra `wheel` is installed."""
    return all(importlib.util.find_spec(name) for name in ("auditwheel", "pip", "ziglang"))


@lru_cache(maxsize=1)
def built_wheel() -> Path:
    output = tempfile.mkdtemp(prefix="fastprop-dist-")
    atexit.register(shutil.rmtree, output, ignore_errors=True)
    command = [sys.executable, str(ROOT / "tools" / "build_wheels.py"), "--no-isolation"]
    done = subprocess.run(
        [*command, "--output", output], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.splitlines()[-1])


def clean_environment(directory: Path, wheel: Path, beside: Sequence[str]) -> Path:
    """The Python of a new environment: the wheel, and of this one the packages `beside` it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)
    python = directory / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    (packages,) = directory.glob("lib/python*/site-packages")
    for name in beside:
        files = distribution(name).files or []
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            (packages / top).symlink_to(Path(distribution(name).locate_file(top)))
    return python

"""Builds the extensions with switches of setup.py, in a copy of the sources of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("csrc", "src", "LICENSE", "README.md", "pyproject.toml", "setup.py")
BUILT = shutil.ignore_patterns("*.so", "*.egg-info", "__pycache__", "_csr.c")


def build(directory: Path, switches: Mapping[str, str]) -> Path:
    """Build in `directory`, which is replaced; return what to put on PYTHONPATH."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, directory / name, ignore=BUILT)
        else:
            shutil.copy2(ROOT / name, directory / name)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=directory, env={**os.environ, **switches}, check=True)
    return directory / "src"

"""A Python that has some of this one's packages, and nothing else."""

from __future__ import annotations

import importlib.metadata
import sys
import venv
from pathlib import Path


def bare_python(folder: Path, packages: tuple[str, ...]) -> str:
    """Make an environment with links to installed packages; return its interpreter.

    fastprop is in none of them, however it is installed here.
    """
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "lib" / version / "site-packages"
    for package in packages:
        distribution = importlib.metadata.distribution(package)
        for top in sorted(
            {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
        ):
            (site / top).symlink_to(Path(str(distribution.locate_file(top))).resolve())
    return str(folder / "bin" / "python")

"""fastprop's wheel, for tests of what happens where only the wheel is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def find_or_build_wheel(folder: Path) -> Path:
    """The wheel that `FASTPROP_WHEEL` names, or one built of these sources."""
    given = os.environ.get("FASTPROP_WHEEL")
    if given:
        return Path(given)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("fastprop-*.whl")
    return wheel

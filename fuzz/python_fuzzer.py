"""One target under atheris: python fuzz/python_fuzzer.py TARGET [libFuzzer's arguments].

Every branch of `fastprop`'s Python code counts as coverage; what is compiled (Arrow, our core)
does not.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent))
with atheris.instrument_imports(include=["fastprop", "targets"]):
    from targets import TARGETS


def main() -> None:
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()

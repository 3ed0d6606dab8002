"""`python -m fastprop.training`: one training run, described on standard input."""

from __future__ import annotations

import sys

from fastprop.training.process import child_main

if __name__ == "__main__":
    sys.exit(child_main())

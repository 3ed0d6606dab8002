"""`python -m fastprop.cli`, the same as the `fastprop` command."""

from __future__ import annotations

from fastprop.cli import main

if __name__ == "__main__":
    main()

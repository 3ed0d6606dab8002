"""The command line: one file a subcommand, found when it is asked for.

A command module holds a click command named `command`; click and rich are imported here alone.
"""

from __future__ import annotations

from fastprop.cli.app import main

__all__ = ["main"]

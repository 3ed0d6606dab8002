"""The `fastprop` command: subcommands loaded on demand, errors as one sentence, exit codes."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from fastprop.errors import FastpropError

__all__ = [
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_TERMINATED",
    "EXIT_USAGE",
    "LazyGroup",
    "cli",
    "main",
]

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

# The order is the order of a first session. What is not there yet is not listed.
_COMMANDS = {
    "demo": "Train, load, score and compare, on made-up or your own transactions.",
    "features": "Transactions to sparse feature vectors and labels.",
    "train": "Train a network on feature vectors and labels.",
    "score": "Score files of sparse rows with a checkpoint.",
    "inspect": "Show what is in a checkpoint.",
    "compile": "Compile a checkpoint to one file that loads in milliseconds.",
    "plan": "Work out core-hours, executors, bytes and memory for a population.",
    "verify": "Hold every engine's scores of a checkpoint against plain NumPy and MXNet.",
    "bench": "Measure scoring on this machine.",
    "doctor": "Say whether scoring works here, and what is missing if not.",
}


class LazyGroup(click.Group):
    """A group whose commands are modules `fastprop.cli.NAME`, imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names of the commands that are installed, in the order of the table."""
        return [name for name in _COMMANDS if _module_exists(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command's module and return its `command`."""
        if cmd_name not in _COMMANDS or not _module_exists(cmd_name):
            return None
        command = importlib.import_module(f"fastprop.cli.{cmd_name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"fastprop.cli.{cmd_name}.command is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing one of them."""
        rows = [(name, _COMMANDS[name]) for name in self.list_commands(ctx)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _module_exists(name: str) -> bool:
    return importlib.util.find_spec(f"fastprop.cli.{name}") is not None


class _Version(click.Option):
    """`--version`, read from the installed package only when it is asked for."""

    def __init__(self) -> None:
        super().__init__(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_print_version,
            help="Show the version and exit.",
        )


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    import fastprop

    click.echo(f"fastprop {fastprop.__version__}")
    ctx.exit()


cli = LazyGroup(
    name="fastprop",
    help=(
        "Bulk scoring of sparse multi-label MXNet checkpoints.\n\n"
        "\b\n"
        "Examples:\n"
        "  fastprop demo\n"
        "  fastprop score models/retail customers.parquet --output scores/ --top-k 20\n"
        "  fastprop inspect models/retail\n"
        "  fastprop doctor\n\n"
        "Every command answers --help. Exit codes: 0 done, 1 failed, 2 wrong usage, "
        "130 interrupted, 143 terminated. FASTPROP_DEBUG=1 shows where an error came from."
    ),
    params=[_Version()],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments after the program's name; by default those of the process.

    Raises
    ------
    SystemExit
        Always: 0 done, 1 failed (a `FastpropError`, an `OSError` or a lack of memory is shown as
        one sentence), 2 wrong usage, 130 interrupted, 143 terminated. Anything else is a defect
        and keeps its traceback.
    """
    debug = os.environ.get("FASTPROP_DEBUG", "") not in ("", "0")
    args = None if arguments is None else list(arguments)
    try:
        with _termination_as_exit():
            code = cli.main(args=args, prog_name="fastprop", standalone_mode=False)
    except click.Abort:
        click.echo("interrupted", err=True)
        code = EXIT_INTERRUPTED
    except _Terminated:
        click.echo("terminated", err=True)
        code = EXIT_TERMINATED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except BrokenPipeError:
        # The reader of our output left (`fastprop inspect … | head`): nobody is there to be told.
        # Standard output now points nowhere, so that its flush at exit cannot fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_FAILED
    except (FastpropError, OSError, MemoryError) as error:
        if debug:
            raise
        click.echo(f"error: {_sentence(error)}", err=True)
        code = EXIT_FAILED
    sys.exit(code if isinstance(code, int) else 0)


class _Terminated(SystemExit):
    """The process was told to end; nothing is said of it before everything has been put away."""


@contextmanager
def _termination_as_exit() -> Iterator[None]:
    """Let SIGTERM end the command as an interrupt does: what is unfinished is removed.

    A second one ends the process on the spot.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return

    def leave(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise _Terminated(EXIT_TERMINATED)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _sentence(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    text = " ".join(text.split())
    if isinstance(error, MemoryError) and not isinstance(error, FastpropError):
        text = f"out of memory: {text}" if text else "out of memory"
    return text or type(error).__name__

from __future__ import annotations

import subprocess
import sys
import types
from importlib.machinery import ModuleSpec

import click
import pytest

import fastprop
from fastprop.cli import app, main
from fastprop.errors import FastpropError, InvalidInputError, PoolLimitError


def run(*arguments):
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


@pytest.fixture
def command_that(monkeypatch):
    """Installs a command `trial` that does what it is given."""

    def install(action):
        module = types.ModuleType("fastprop.cli.trial")
        module.__spec__ = ModuleSpec("fastprop.cli.trial", None)
        module.command = click.Command("trial", callback=action)
        monkeypatch.setitem(sys.modules, "fastprop.cli.trial", module)
        monkeypatch.setitem(app._COMMANDS, "trial", "Try something.")

    return install


def raises(error):
    def action():
        raise error

    return action


def test_help_lists_the_commands_that_there_are(capsys, monkeypatch):
    monkeypatch.setitem(app._COMMANDS, "later", "Comes later.")
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert "Score files of sparse rows" in text
    assert "later" not in text
    assert run("later") == app.EXIT_USAGE


@pytest.mark.parametrize("module", ["fastprop", "fastprop.cli"])
def test_modules_are_the_command_line(module):
    command = [sys.executable, "-m", module]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[-1]) == (0, fastprop.__version__)
    done = subprocess.run([*command, "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == app.EXIT_USAGE
    assert "No such command 'nothing'" in done.stderr


@pytest.mark.parametrize("name", ["score", "inspect", "doctor"])
def test_every_command_has_help_with_examples(capsys, name):
    assert run(name, "--help") == 0
    text = capsys.readouterr().out
    assert "Examples:" in text
    assert f"fastprop {name} " in text


def test_help_does_not_import_what_commands_need():
    code = (
        "import sys\n"
        "from fastprop.cli import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "print(sorted({'pyarrow', 'rich', 'mxnet', 'scipy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"fastprop {fastprop.__version__}\n"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InvalidInputError("a.parquet, row 7:\n bad"), 1, "error: a.parquet, row 7: bad\n"),
        (FastpropError(), 1, "error: FastpropError\n"),
        (FileNotFoundError(2, "No such file", "x"), 1, "error: x: No such file\n"),
        (
            MemoryError("unable to allocate 8 TiB"),
            1,
            "error: out of memory: unable to allocate 8 TiB\n",
        ),
        (MemoryError(), 1, "error: out of memory\n"),
        (PoolLimitError("no memory for it"), 1, "error: no memory for it\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted\n"),
        (click.UsageError("no"), 2, "Error: no\n"),
    ],
)
def test_errors_are_one_sentence(command_that, capsys, error, code, message):
    command_that(raises(error))
    assert run("trial") == code
    assert capsys.readouterr().err.endswith(message)


def test_defects_and_debugging_keep_the_traceback(command_that, monkeypatch):
    command_that(raises(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["trial"])
    monkeypatch.setenv("FASTPROP_DEBUG", "1")
    command_that(raises(InvalidInputError("x")))
    with pytest.raises(InvalidInputError):
        main(["trial"])


def test_exit_codes_of_commands(command_that):
    command_that(lambda: click.get_current_context().exit(1))
    assert run("trial") == 1
    command_that(lambda: None)
    assert run("trial") == 0
    assert run("trial", "--nonsense") == app.EXIT_USAGE


def test_a_reader_that_leaves_early_is_no_defect():
    code = (
        "import sys\n"
        "from fastprop.cli import app\n"
        "app.cli.main = lambda **_: [print('x' * 80) for _ in range(100000)] and 0\n"
        "app.main([])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.read(100)
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (1, b"")

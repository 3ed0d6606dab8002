"""Options that several commands share."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from fastprop.cli.options import model_options, row_options
from fastprop.io.readers import INPUT_FORMATS


@click.command()
@click.argument("inputs", nargs=-1)
@model_options
@row_options
def command(inputs, choice, columns):
    print((choice.name, choice.epoch, choice.positive_index), columns.input_format, columns.names)


def run(*arguments):
    return CliRunner().invoke(command, arguments)


def test_the_formats_offered_are_those_that_are_read():
    (option,) = [found for found in command.params if found.name == "input_format"]
    assert tuple(option.type.choices) == INPUT_FORMATS


@pytest.mark.parametrize(
    ("given", "lists"),
    [
        ([], (None, None)),
        (["--indices-column", "a"], ("a", "values")),
        (["--values-column", "b"], ("indices", "b")),
        (["--indices-column", "a", "--values-column", "b"], ("a", "b")),
    ],
)
def test_one_list_column_has_the_usual_other(given, lists):
    wanted = {
        "id_column": "customer_id",
        "indices_column": lists[0],
        "values_column": lists[1],
        "features_column": None,
    }
    assert run(*given).output == f"(None, None, 0) None {wanted}\n"


def test_a_model_is_chosen():
    result = run("--name", "retail", "--epoch", "3", "--positive-index", "all")
    assert result.output.startswith("('retail', 3, None) None")


def test_wrong_usage():
    both = run("--features-column", "f", "--values-column", "v")
    assert (both.exit_code, "does not go with" in both.output) == (2, True)
    for given in ("b", "", "-1", "9" * 5000):
        index = run("--positive-index", given)
        assert (index.exit_code, "neither a number nor 'all'" in index.output) == (2, True)

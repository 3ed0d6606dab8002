from __future__ import annotations

import os
import sys

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from support.transactions import random_table

from fastprop.checkpoint.directory import read_checkpoint
from fastprop.cli.demo import command as demo
from fastprop.cli.features import command as features
from fastprop.cli.train import command as train
from fastprop.demo.ranking import CustomerView, RankingRow, TopCategory
from fastprop.demo.run import DemoResult
from fastprop.demo.speed import Speed
from fastprop.errors import InvalidInputError
from fastprop.features import FeatureDictionary, read_rows
from fastprop.training import FitResult

COLUMNS = [
    "--category-column", "category", "--quantity-column", "quantity", "--price-column", "price",
    "--order-column", "order", "--attribute-column", "country",
]  # fmt: skip


def run(command, *arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.parquet"
    pq.write_table(random_table(3, lines=2000, customers=100), path)
    return path


def test_features_train_and_the_daily_job(tmp_path, lines, monkeypatch):
    done = run(
        features, lines, "--output", tmp_path / "rows", *COLUMNS, "--horizon-days", 30,
        "--cutoffs", 2, "--min-label-customers", 3, "--half-life-days", 45, "--window-days", 30,
    )  # fmt: skip
    assert done.exit_code == 0
    assert "2,000" in done.stdout
    dictionary = FeatureDictionary.load(tmp_path / "rows" / "dictionary.json")
    assert dictionary.settings.half_lives_days == (45.0,)
    assert dictionary.settings.windows_days == (30,)
    assert next(read_rows(tmp_path / "rows" / "rows.parquet")).labels is not None

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    done = run(
        train, tmp_path / "rows", "--output", tmp_path / "model", "--name", "shop", "--hidden", 48,
        "--warm-start", "--epochs", 1, "--batch-size", 32, "--validation-share", 0.3,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "best epoch 1" in done.stdout
    checkpoint = read_checkpoint(tmp_path / "model", "shop")
    assert checkpoint.labels == list(dictionary.labels)
    assert checkpoint.feature_names == dictionary.names()

    done = run(
        features, lines, "--output", tmp_path / "daily", *COLUMNS,
        "--dictionary", tmp_path / "rows" / "dictionary.json", "--cutoff", "2024-06-01",
    )  # fmt: skip
    assert done.exit_code == 0
    rows = next(read_rows(tmp_path / "daily" / "rows.parquet"))
    assert rows.labels is None
    assert rows.features.shape[1] == dictionary.n_features
    assert not (tmp_path / "daily" / "dictionary.json").exists()


def test_wrong_columns_are_named(tmp_path, lines):
    with pytest.raises(InvalidInputError, match=r"lines\.parquet: no column 'sku'"):
        run(features, lines, "--output", tmp_path / "rows", "--item-column", "sku")
    with pytest.raises(InvalidInputError, match="expected a date"):
        run(features, lines, "--output", tmp_path / "rows", "--cutoff", "soon")


@pytest.mark.parametrize("command", [features, train, demo])
def test_help_has_examples(command):
    done = run(command, "--help")
    assert done.exit_code == 0
    assert "Examples:" in done.stdout
    assert f"fastprop {command.name}" in done.stdout


def test_demo_shows_its_tables(tmp_path, monkeypatch):
    line = TopCategory("85123A", "a white heart", 0.25, 3, bought=True)
    other = TopCategory("22423", "a cake stand", 0.125, 0, bought=False)
    found = DemoResult(
        model_directory=tmp_path / "model",
        scores=tmp_path / "scores.parquet",
        customers=1234,
        n_features=10,
        n_labels=1500,
        train_rows=99,
        cutoff="2011-11-12",
        training=FitResult(tmp_path, "demo", 1, ()),
        evaluated=331,
        rankings=(RankingRow("model", 0.31, 0.0129, 2.5), RankingRow("popularity", 0.124, 0.01, 1)),
        view=CustomerView("12345", (line, other)),
        scored_rows_per_second=5000.0,
        speed=Speed(20_000.0, 10.0, threads=2, turns=3, rows=8192, records=20),
        seconds=61.0,
    )
    asked = []
    monkeypatch.setattr(
        "fastprop.demo.run.run_demo", lambda settings, reporter: asked.append(settings) or found
    )
    done = run(
        demo, "--output", tmp_path, "--seed", 3, "--items", 70, "--weeks", 2, "--epochs", 4,
        "--order-column", "", "--attribute-column", "region", "--attribute-column", "shop",
    )  # fmt: skip
    assert done.exit_code == 0
    (settings,) = asked
    assert (settings.seed, settings.epochs, settings.hidden) == (3, 4, None)
    assert (settings.labels.max_labels, settings.labels.horizon_days) == (70, 14)
    assert settings.columns.order is None
    assert settings.columns.attributes == ("region", "shop")
    text = " ".join(done.stdout.split())
    for part in (
        "1 85123A a white heart 0.250 3 x bought",
        "2 22423 a cake stand 0.125 - -",
        "model 0.3100 0.0129 2.50",
        "popularity 0.1240 0.0100 1.00",
        "331 held-out customers, 1,500 items, the 14 days from 2011-11-12",
        "fastprop, 2 threads 20,000 2,000",
        "MXNet Module, one record a call 10.0 1",
        "1 min 01 s",
    ):
        assert part in text

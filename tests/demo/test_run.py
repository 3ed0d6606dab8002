from __future__ import annotations

import os
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.reporter import Recorder

import fastprop
from fastprop.demo.naive import NaiveBaseline
from fastprop.demo.population import PopulationSettings, make_population
from fastprop.demo.run import DemoSettings, run_demo
from fastprop.errors import EngineError, InvalidInputError
from fastprop.features import CustomerSplit, LabelSettings, TransactionColumns, read_rows
from fastprop.features.sparse import to_dense

SHOP = PopulationSettings(
    customers=600, items=40, categories=8, segments=3, weeks=26, lines_a_week=2.5
)
LABELS = LabelSettings(cutoffs=3)


@pytest.fixture(scope="module", autouse=True)
def _children_find_the_package():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        yield


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    output = tmp_path_factory.mktemp("demo") / "shop"
    reporter = Recorder()
    settings = DemoSettings(
        output=output, population=SHOP, labels=LABELS, epochs=1, speed_seconds=0.05
    )
    return settings, run_demo(settings, reporter), reporter


def test_the_whole_chain(demo):
    settings, result, reporter = demo
    assert "mxnet" not in sys.modules
    rankings = {row.name: row for row in result.rankings}
    assert rankings["popularity"].lift == 1
    assert rankings["model"].lift > 1.15
    ideal = rankings["ideal: the shop's own expectation"]
    assert rankings["model"].precision < ideal.precision
    assert 60 < result.evaluated < 200
    assert 30 <= result.n_labels <= 40
    assert result.speed.fastprop > result.speed.naive > 0
    assert result.speed.ratio == result.speed.fastprop / result.speed.naive
    assert any("validation log-loss" in line for line in reporter.lines)
    assert {bar[0] for bar in reporter.bars} >= {
        "making up a shop", "features and labels", "training", "scoring", "comparing speed",
    }  # fmt: skip
    scoring = next(bar for bar in reporter.bars if bar[0] == "scoring")
    assert scoring[1] == scoring[3] == pq.read_metadata(result.scores).num_rows
    assert settings.output == result.model_directory.parent


def test_what_it_leaves_can_be_used(demo):
    settings, result, _ = demo
    model = fastprop.load_model(result.model_directory)
    assert len(list(result.model_directory.glob("*.params"))) == 1
    rows = next(read_rows(settings.output / "features" / "population.parquet"))
    table = pq.read_table(result.scores)
    assert table.schema.field("top").type == pa.list_(
        pa.struct([("label", pa.string()), ("score", pa.float32())])
    )
    np.testing.assert_array_equal(table["customer_id"].to_numpy(), rows.customer_ids)
    with model.predictor() as predictor:
        scores = predictor.predict(rows.features)
    best = scores[7].argmax()
    first = table["top"][7].as_py()[0]
    assert first["label"] == model.labels[best]
    assert first["score"] == pytest.approx(scores[7, best], abs=2e-6)
    assert len(table["top"][7]) == 20
    assert result.customers == len(table)


def test_held_out_customers_are_not_trained_on(demo):
    settings, _, _ = demo
    held = CustomerSplit(0, 0.25, seed=0)
    middle = CustomerSplit(0.25, 0.35, seed=0)
    found = {
        name: next(read_rows(settings.output / "features" / f"{name}.parquet"))
        for name in ("train", "validation", "population")
    }
    train = found["train"].customer_ids
    assert not (held.mask(train) | middle.mask(train)).any()
    assert middle.mask(found["validation"].customer_ids).all()
    assert held.mask(found["population"].customer_ids).any()


def test_the_naive_baseline_scores_and_dies_loudly(demo):
    settings, result, _ = demo
    rows = settings.output / "features" / "population.parquet"
    prefix, epoch = str(result.model_directory / "demo"), result.training.best_epoch
    with NaiveBaseline(prefix, epoch, rows, count=5) as naive:
        assert naive.run(7) > 0
        naive._child.kill()
        with pytest.raises(EngineError, match="ended with code"):
            naive.run(1)
    broken = NaiveBaseline(prefix + "x", epoch, rows, count=5)
    with pytest.raises(EngineError, match="ended with code 1"):
        broken.__enter__()


def test_data_of_ones_own(tmp_path):
    shop = make_population(SHOP)
    names = {
        "customer_id": "CustomerID", "item": "StockCode", "time": "InvoiceDate",
        "order_id": "InvoiceNo", "quantity": "Quantity", "price": "UnitPrice", "region": "Country",
    }  # fmt: skip
    table = shop.table.select(list(names)).rename_columns(list(names.values()))
    table = table.append_column("Description", pa.array([f"thing {i}" for i in table["StockCode"]]))
    pq.write_table(table, tmp_path / "retail.parquet")
    settings = DemoSettings(
        output=tmp_path / "out", data=tmp_path / "retail.parquet", labels=LABELS, epochs=1,
        speed_seconds=0.01, hidden=64,
    )  # fmt: skip
    reporter = Recorder()
    result = run_demo(settings, reporter)
    assert [row.name for row in result.rankings] == ["model", "own past purchases", "popularity"]
    assert all(line.description == f"thing {line.label}" for line in result.view.top)
    assert reporter.lines[0].startswith(f"{len(table):,} lines read")
    model = fastprop.load_model(result.model_directory)
    features = next(read_rows(tmp_path / "out" / "features" / "population.parquet")).features
    assert to_dense(features).shape[1] == model.n_features


def test_shares_must_leave_someone_to_train_on(tmp_path):
    with pytest.raises(InvalidInputError, match="held_out"):
        DemoSettings(output=tmp_path, held_out=0.9, validation=0.1)
    assert TransactionColumns.online_retail().customer == "CustomerID"


@pytest.mark.parametrize("output", [None, b"demo", "", "a\0b", "\udcff"], ids=ascii)
def test_the_demo_needs_a_folder(output):
    with pytest.raises(InvalidInputError, match=r"^output is "):
        DemoSettings(output=output)

"""The whole chain of `fastprop demo`: transactions, features, training, scoring, comparison.

Training and the naive baseline run in processes of their own; everything else in this one, where
MXNet's Python package is never imported.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fastprop.demo.population import Population, PopulationSettings, make_population
from fastprop.demo.ranking import CustomerView, RankingRow, compare_rankings, pick_customer
from fastprop.demo.speed import Speed, compare_speed
from fastprop.errors import InvalidInputError
from fastprop.features.build import fit_dictionary, plan_cutoffs, training_rows
from fastprop.features.dictionary import FeatureDictionary
from fastprop.features.extract import Extractor
from fastprop.features.files import data_path, writing
from fastprop.features.hashing import CustomerSplit
from fastprop.features.rows import RowWriter, SparseRows
from fastprop.features.settings import FeatureSettings, LabelSettings, TransactionColumns
from fastprop.features.transactions import Transactions, read_transactions
from fastprop.training.fit import FitResult
from fastprop.training.job import TrainingJob
from fastprop.training.process import run_job_in_process
from fastprop.training.report import Reporter, TrainingDisplay
from fastprop.training.settings import FitSettings

__all__ = ["DemoResult", "DemoSettings", "run_demo"]

_TOP = 10
_NAME = "demo"


@dataclass(frozen=True)
class DemoSettings:
    """What to run the demo on.

    Parameters
    ----------
    output : path
        Folder for everything that the demo writes.
    data : path, optional
        Transactions; by default a made-up shop.
    columns : TransactionColumns
        What the columns of `data` are.
    seed : int
        Decides the shop, who is held out, and training.
    held_out, validation : float
        Shares of the customers. The held-out ones are looked at once, at the end; the others
        decide when training stops.
    hidden : int, optional
        Width of the hidden layer; by default a unit for each item and some more, at most 1,024.
    epochs : int
        At most so many.
    learning_rate : float, optional
        By default one that did well on validation customers, for the made-up shop or for data.
    features : FeatureSettings
    labels : LabelSettings
    population : PopulationSettings
        The made-up shop; its seed is replaced.
    speed_seconds : float
        About so long a turn of the comparison of speed takes; there are three of each.
    """

    output: Path
    data: Path | None = None
    columns: TransactionColumns = field(default_factory=TransactionColumns.online_retail)
    seed: int = 0
    held_out: float = 0.25
    validation: float = 0.1
    hidden: int | None = None
    epochs: int = 2
    learning_rate: float | None = None
    features: FeatureSettings = field(
        default_factory=lambda: FeatureSettings(half_lives_days=(60.0,), windows_days=(28,))
    )
    labels: LabelSettings = field(default_factory=lambda: LabelSettings(max_labels=1500))
    population: PopulationSettings = field(default_factory=PopulationSettings)
    speed_seconds: float = 2.0

    def __post_init__(self) -> None:
        data_path("output", self.output)
        if not (self.held_out > 0 and self.validation > 0 and self.held_out + self.validation < 1):
            raise InvalidInputError(
                f"held_out {self.held_out} and validation {self.validation}: each must be "
                "positive, and customers must be left to train on"
            )


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What the demo found.

    Attributes
    ----------
    model_directory : Path
        Folder of the checkpoint.
    scores : Path
        Parquet file of each customer's top categories.
    customers, n_features, n_labels, train_rows : int
    cutoff : str
        Last cut-off; labels are what was bought in the days after it.
    training : FitResult
    evaluated : int
        Held-out customers with a history and a purchase in the label period.
    rankings : tuple of RankingRow
        Precision at 10 of the model and of what it is compared with.
    view : CustomerView
        One held-out customer's top categories.
    scored_rows_per_second : float
        Scoring everyone and writing the results.
    speed : Speed
        Throughput beside the naive baseline.
    seconds : float
        All of it.
    """

    model_directory: Path
    scores: Path
    customers: int
    n_features: int
    n_labels: int
    train_rows: int
    cutoff: str
    training: FitResult
    evaluated: int
    rankings: tuple[RankingRow, ...]
    view: CustomerView
    scored_rows_per_second: float
    speed: Speed
    seconds: float


@dataclass(frozen=True, eq=False)
class _Prepared:
    dictionary: FeatureDictionary
    everyone: SparseRows
    popularity: npt.NDArray[np.float64]
    cutoff: np.datetime64
    train_rows: int


def run_demo(settings: DemoSettings, reporter: Reporter) -> DemoResult:
    """Run the whole chain.

    Parameters
    ----------
    settings : DemoSettings
    reporter : Reporter
        Is told what happens.

    Returns
    -------
    DemoResult

    Raises
    ------
    InvalidInputError
        If the data cannot be used.
    EngineError
        If MXNet is missing.
    """
    began = time.monotonic()
    output = Path(settings.output)
    (output / "features").mkdir(parents=True, exist_ok=True)
    transactions, shop, descriptions = _transactions(settings, reporter)
    prepared = _prepare(settings, transactions, reporter)
    training = _train(settings, len(prepared.dictionary.labels), reporter)
    scores, rate = _score_everyone(settings, prepared, training, reporter)

    held = CustomerSplit(0.0, settings.held_out, seed=settings.seed)
    chosen = np.flatnonzero(held.mask(prepared.everyone.customer_ids))
    rows = prepared.everyone.take(chosen)
    ideal = None
    if shop is not None:
        column = {name: number for number, name in enumerate(shop.item_names)}
        columns = [column[label] for label in prepared.dictionary.labels]
        ideal = shop.expected[np.asarray(rows.customer_ids, np.int64) - 1][:, columns]
    model_scores = _predict(output / "model", training, rows)
    evaluated, rankings = compare_rankings(
        model_scores, rows, prepared.dictionary, prepared.popularity, k=_TOP, ideal=ideal
    )
    view = pick_customer(model_scores, rows, prepared.dictionary, k=_TOP, descriptions=descriptions)
    reporter.say("comparing speed with one record a call through MXNet's Module")
    speed = compare_speed(
        output / "model",
        training.name,
        training.best_epoch,
        output / "features" / "population.parquet",
        prepared.everyone.features,
        seconds=settings.speed_seconds,
        progress=reporter.progress,
    )
    return DemoResult(
        model_directory=output / "model",
        scores=scores,
        customers=len(prepared.everyone),
        n_features=prepared.dictionary.n_features,
        n_labels=len(prepared.dictionary.labels),
        train_rows=prepared.train_rows,
        cutoff=str(prepared.cutoff.astype("M8[D]")),
        training=training,
        evaluated=evaluated,
        rankings=rankings,
        view=view,
        scored_rows_per_second=rate,
        speed=speed,
        seconds=time.monotonic() - began,
    )


def _transactions(
    settings: DemoSettings, reporter: Reporter
) -> tuple[Transactions, Population | None, dict[str, str]]:
    if settings.data is not None:
        with reporter.progress(f"reading {settings.data}", unit="lines"):
            transactions = read_transactions(settings.data, settings.columns)
        report = transactions.report
        reporter.say(
            f"{report.lines:,} lines read: {report.purchases:,} purchases of "
            f"{len(transactions.customer_ids):,} customers; left out {report.without_customer:,} "
            f"without a customer, {report.cancellations:,} cancellations, {report.unpriced:,} "
            "without a price"
        )
        return transactions, None, _descriptions(settings.data, settings.columns.item)
    with reporter.progress("making up a shop", unit="lines"):
        options = {**vars(settings.population), "seed": settings.seed}
        shop = make_population(PopulationSettings(**options))
    path = settings.output / "transactions.parquet"
    with writing(path):
        pq.write_table(shop.table, path)
    transactions = Transactions.from_table(shop.table, shop.columns)
    reporter.say(
        f"{transactions.n_lines:,} made-up purchases of {len(transactions.customer_ids):,} "
        f"customers in {path}"
    )
    return transactions, shop, {}


def _prepare(settings: DemoSettings, transactions: Transactions, reporter: Reporter) -> _Prepared:
    """Write the rows; only training customers decide what the dictionary holds."""
    folder = settings.output / "features"
    ids = transactions.customer_ids
    first, second = settings.held_out, settings.held_out + settings.validation
    with reporter.progress("features and labels", total=4, unit="steps") as bar:
        cutoffs = plan_cutoffs([transactions], settings.labels)
        train = transactions.of_customers(CustomerSplit(second, 1.0, seed=settings.seed).mask(ids))
        dictionary = fit_dictionary(
            [train], features=settings.features, labels=settings.labels, cutoffs=cutoffs
        )
        dictionary.save(folder / "dictionary.json")
        bar.update(1)
        rows, _ = training_rows(train, dictionary, labels=settings.labels, cutoffs=cutoffs)
        _write(folder / "train.parquet", rows)
        bar.update(2)
        everyone, _ = Extractor(transactions, dictionary).labelled(
            cutoffs[-1], horizon_days=settings.labels.horizon_days
        )
        _write(folder / "population.parquet", everyone)
        bar.update(3)
        middle = CustomerSplit(first, second, seed=settings.seed).mask(everyone.customer_ids)
        _write(folder / "validation.parquet", everyone.take(np.flatnonzero(middle)))
        bar.update(4)
    assert rows.labels is not None
    last = rows.take(np.flatnonzero(rows.cutoffs == cutoffs[-1]))
    assert last.labels is not None
    popularity = np.bincount(last.labels.indices, minlength=len(dictionary.labels))
    reporter.say(
        f"{len(rows):,} training rows at {len(cutoffs)} cut-offs up to "
        f"{cutoffs[-1].astype('M8[D]')}: {dictionary.n_features:,} features, "
        f"{len(dictionary.labels):,} items to predict for the {settings.labels.horizon_days} days "
        "that follow"
    )
    return _Prepared(dictionary, everyone, popularity.astype(np.float64), cutoffs[-1], len(rows))


def _train(settings: DemoSettings, n_labels: int, reporter: Reporter) -> FitResult:
    folder, model = settings.output / "features", settings.output / "model"
    for stale in model.glob(f"{_NAME}-[0-9]*.params"):
        stale.unlink()
    job = TrainingJob(
        rows=(str(folder / "train.parquet"),),
        dictionary=str(folder / "dictionary.json"),
        output=str(model),
        name=_NAME,
        validation=(str(folder / "validation.parquet"),),
        hidden=(settings.hidden or min(-(-(n_labels + 128) // 64) * 64, 1024),),
        warm_start=True,
        fit=FitSettings(
            epochs=settings.epochs,
            learning_rate=settings.learning_rate or (3e-4 if settings.data is None else 1e-4),
            patience=1,
            seed=settings.seed,
            checkpoints="best",
        ),
    )
    with TrainingDisplay(reporter) as display:
        return run_job_in_process(job, on_step=display.on_step, on_epoch=display.on_epoch)


def _predict(model: Path, training: FitResult, rows: SparseRows) -> npt.NDArray[np.float32]:
    from fastprop.model import load_model

    loaded = load_model(model, training.name, training.best_epoch)
    with loaded.predictor() as predictor:
        scores: npt.NDArray[np.float32] = predictor.predict(rows.features)
    return scores


def _score_everyone(
    settings: DemoSettings, prepared: _Prepared, training: FitResult, reporter: Reporter
) -> tuple[Path, float]:
    """Score all customers and write their top categories."""
    from fastprop.io.results import top_k_to_arrow
    from fastprop.model import load_model

    path = settings.output / "scores.parquet"
    partial = path.with_name(f".{path.name}.partial")
    model = load_model(settings.output / "model", training.name, training.best_epoch)
    rows = prepared.everyone
    schema = pa.schema(
        [
            ("customer_id", pa.array(rows.customer_ids[:1]).type),
            ("top", pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())]))),
        ]
    )
    part = 1 << 14
    with model.predictor() as predictor, reporter.progress("scoring", total=len(rows)) as bar:
        predictor.warm_up()
        began = time.perf_counter()
        with pq.ParquetWriter(partial, schema) as writer:
            for start in range(0, len(rows), part):
                piece = rows.take(np.arange(start, min(start + part, len(rows))))
                top = predictor.predict_top_k(piece.features, k=20)
                lists = top_k_to_arrow(top.indices, top.scores, model.labels)
                columns = [pa.array(piece.customer_ids), lists.cast(schema.field("top").type)]
                writer.write_table(pa.table(columns, schema=schema))
                bar.update(start + len(piece))
        seconds = time.perf_counter() - began
    os.replace(partial, path)
    reporter.say(f"{len(rows):,} customers scored: {path}")
    return path, len(rows) / seconds


def _write(path: Path, rows: SparseRows) -> None:
    with RowWriter(path) as writer:
        writer.write(rows)


def _descriptions(path: Path, item: str) -> dict[str, str]:
    """Return the most frequent text beside each item, if the file has a column of that name."""
    if path.suffix.lower() != ".parquet" or "Description" not in pq.read_schema(path).names:
        return {}
    table = pq.read_table(path, columns=[item, "Description"]).drop_null()
    counts = table.group_by([item, "Description"]).aggregate([([], "count_all")])
    counts = counts.sort_by([("count_all", "ascending"), ("Description", "descending")])
    names = counts.column(item).to_pylist()
    return {str(name): text for name, text in zip(names, counts.column("Description").to_pylist())}

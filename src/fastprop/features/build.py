"""The pipeline: transactions to a dictionary and rows for training, or to rows for the daily job.

`fit_dictionary`, `training_rows` and `scoring_rows` work on transactions in memory;
`build_training_files` and `build_scoring_file` do the same from files, a partition at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from os.path import realpath
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop.checks import instance, shown, whole_number
from fastprop.errors import DTypeError, InvalidInputError
from fastprop.features.dictionary import FeatureDictionary, check_names
from fastprop.features.extract import Extractor, ExtractReport, microseconds
from fastprop.features.files import data_path, data_paths, writing
from fastprop.features.partition import MOST_PARTITIONS, TransactionFiles
from fastprop.features.rows import RowWriter, SparseRows
from fastprop.features.settings import FeatureSettings, LabelSettings, TransactionColumns
from fastprop.features.transactions import ReadReport, Transactions

__all__ = [
    "BuildReport",
    "build_scoring_file",
    "build_training_files",
    "fit_dictionary",
    "plan_cutoffs",
    "scoring_rows",
    "training_rows",
]

Progress = Callable[[str, int, int], None]
_DAY = 86_400_000_000


@dataclass(frozen=True)
class BuildReport:
    """What was read and made.

    Attributes
    ----------
    read : ReadReport
        Lines read, and those that do not count.
    extract : ExtractReport
        Customers, summed over cut-offs, and what the dictionary did not know.
    cutoffs : tuple of str
        Cut-offs, oldest first.
    rows, positives : int
        Rows made; labels that are true in them.
    n_features, n_labels : int
        Widths.
    """

    read: ReadReport
    extract: ExtractReport
    cutoffs: tuple[str, ...]
    rows: int
    positives: int
    n_features: int
    n_labels: int


def plan_cutoffs(
    transactions: Iterable[Transactions],
    settings: LabelSettings,
    *,
    last: np.datetime64 | str | None = None,
) -> tuple[np.datetime64, ...]:
    """Choose the cut-offs, oldest first.

    Parameters
    ----------
    transactions : iterable of Transactions
        All partitions.
    settings : LabelSettings
        Number of cut-offs, their distance, and the length of a label period.
    last : datetime64 or str, optional
        The last cut-off. By default it lies `horizon_days` before the midnight that ends the day
        of the last purchase.

    Raises
    ------
    InvalidInputError
        If a cut-off has no purchase before it.
    """
    first_line, last_line = _time_range(transactions)
    if last is None:
        end = -(-(last_line + 1) // _DAY) * _DAY - settings.horizon_days * _DAY
    else:
        end = microseconds(last)
    moments = [end - i * settings.step_days * _DAY for i in reversed(range(settings.cutoffs))]
    if moments[0] <= first_line:
        raise InvalidInputError(
            f"cut-off {_iso(moments[0])}: no purchase before it (the first is at "
            f"{_iso(first_line)}): ask for fewer or closer cut-offs, or a shorter label period"
        )
    return tuple(np.datetime64(moment, "us") for moment in moments)


def fit_dictionary(
    transactions: Iterable[Transactions],
    *,
    features: FeatureSettings,
    labels: LabelSettings,
    cutoffs: Sequence[np.datetime64],
) -> FeatureDictionary:
    """Decide which features and labels there are.

    Parameters
    ----------
    transactions : iterable of Transactions
        Partitions of the customers to learn from; leave out those that are held out.
    features : FeatureSettings
        Features come from lines before the last cut-off.
    labels : LabelSettings
        Labels are what is bought in the label periods by at least `min_customers`.
    cutoffs : sequence of datetime64
        Cut-offs, oldest first.

    Raises
    ------
    InvalidInputError
        If no label is left, or a name holds a line break.
    """
    starts = np.array([microseconds(cutoff) for cutoff in cutoffs])
    counts: dict[str, Counter[str]] = {"item": Counter(), "category": Counter(), "label": Counter()}
    attributes: dict[str, Counter[str]] = {}
    has_categories = True
    for part in transactions:
        before = part.time < starts[-1]
        has_categories = has_categories and part.categories is not None
        counts["item"].update(_customers_by_name(part, "item", before))
        if part.categories is not None:
            counts["category"].update(_customers_by_name(part, "category", before))
        age = part.time[:, None] - starts
        labelled = ((age >= 0) & (age < labels.horizon_days * _DAY)).any(axis=1)
        counts["label"].update(_customers_by_name(part, labels.level, labelled))
        for name, codes in part.attributes.items():
            found = _count_pairs(part.customer, codes.codes, before, codes.names)
            attributes.setdefault(name, Counter()).update(found)
    ranked = sorted(counts["label"].items(), key=lambda pair: (-pair[1], pair[0]))
    chosen = [name for name, customers in ranked if customers >= labels.min_customers]
    if not chosen:
        raise InvalidInputError(
            f"no {labels.level} was bought by {labels.min_customers} customers in a label period"
        )
    hashed = features.hash_width is not None
    use_attributes = features.attributes
    return FeatureDictionary(
        settings=features,
        items=() if hashed else _frequent(counts["item"], features, "item"),
        categories=() if hashed else _frequent(counts["category"], features, "category"),
        attributes=tuple(
            (check_names([name], "column")[0], _frequent(found, features, name))
            for name, found in attributes.items()
            if use_attributes
        ),
        periods=tuple(_iso(int(start)) for start in starts[:-1]),
        has_categories=has_categories,
        label_level=labels.level,
        labels=check_names(chosen[: labels.max_labels], labels.level),
    )


def training_rows(
    transactions: Transactions,
    dictionary: FeatureDictionary,
    *,
    labels: LabelSettings,
    cutoffs: Sequence[np.datetime64],
) -> tuple[SparseRows, ExtractReport]:
    """Make a labelled row for each customer and cut-off with a purchase before it.

    Rows of the same cut-off are together, oldest cut-off first, sorted by customer.
    """
    extractor = Extractor(transactions, dictionary)
    parts = [
        extractor.labelled(
            cutoff, horizon_days=labels.horizon_days, period=_iso(microseconds(cutoff))
        )
        for cutoff in cutoffs
    ]
    report = parts[0][1]
    for _, further in parts[1:]:
        report = report + further
    return SparseRows.concatenate([rows for rows, _ in parts]), report


def scoring_rows(
    transactions: Transactions, dictionary: FeatureDictionary, *, cutoff: np.datetime64 | str
) -> tuple[SparseRows, ExtractReport]:
    """Make a row without labels for each customer with a purchase before the cut-off."""
    return Extractor(transactions, dictionary).features(cutoff)


def _folder(
    output: str | PathLike[str], paths: Sequence[str | PathLike[str]], names: Sequence[str]
) -> Path:
    """Make the folder, unless a file that is to be written there is one of those to be read."""
    folder = data_path("output", output)
    read = {realpath(path) for path in data_paths("paths", paths)}
    for name in names:
        if realpath(folder / name) in read:
            raise InvalidInputError(
                f"{folder / name}: is an input, which the output would replace: choose another "
                "folder"
            )
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def build_training_files(
    paths: Sequence[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    columns: TransactionColumns,
    features: FeatureSettings | None = None,
    labels: LabelSettings | None = None,
    last_cutoff: np.datetime64 | str | None = None,
    partitions: int | None = None,
    progress: Progress | None = None,
) -> tuple[FeatureDictionary, BuildReport]:
    """Make `dictionary.json` and `rows.parquet` from files of transactions.

    Parameters
    ----------
    paths : sequence of paths
        Parquet or CSV files.
    output : path
        Folder for the two files; made if needed.
    columns : TransactionColumns
        What each column is.
    features : FeatureSettings, optional
    labels : LabelSettings, optional
    last_cutoff : datetime64 or str, optional
        See `plan_cutoffs`.
    partitions : int, optional
        See `TransactionFiles`. Memory is that of one partition.
    progress : callable, optional
        Called with a description, the number of partitions done, and their total.

    Returns
    -------
    FeatureDictionary
    BuildReport
    """
    instance("columns", columns, TransactionColumns)
    features = FeatureSettings() if features is None else features
    labels = LabelSettings() if labels is None else labels
    instance("features", features, FeatureSettings)
    instance("labels", labels, LabelSettings)
    tell = _progress(progress)
    last_cutoff, partitions = _moment(last_cutoff), _partitions(partitions)
    output = _folder(output, paths, ("rows.parquet", "dictionary.json"))
    tell("reading transactions", 0, 1)
    with TransactionFiles(paths, columns, partitions=partitions, temporary=output) as files:
        cutoffs = plan_cutoffs(files, labels, last=last_cutoff)
        dictionary = fit_dictionary(files, features=features, labels=labels, cutoffs=cutoffs)
        read, extract, positives = ReadReport(), _NOTHING, 0
        with RowWriter(output / "rows.parquet") as writer:
            for number, part in enumerate(files):
                tell("making rows", number, len(files))
                rows, report = training_rows(part, dictionary, labels=labels, cutoffs=cutoffs)
                writer.write(rows)
                read, extract = read + part.report, extract + report
                positives += 0 if rows.labels is None else int(rows.labels.indptr[-1])
        tell("making rows", len(files), len(files))
    dictionary.save(output / "dictionary.json")
    return dictionary, BuildReport(
        read=read,
        extract=extract,
        cutoffs=tuple(_iso(microseconds(cutoff)) for cutoff in cutoffs),
        rows=writer.n_rows,
        positives=positives,
        n_features=dictionary.n_features,
        n_labels=len(dictionary.labels),
    )


def build_scoring_file(
    paths: Sequence[str | PathLike[str]],
    output: str | PathLike[str],
    dictionary: FeatureDictionary,
    *,
    columns: TransactionColumns,
    cutoff: np.datetime64 | str | None = None,
    partitions: int | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Apply a saved dictionary to new transactions, and write `rows.parquet` for scoring.

    Parameters
    ----------
    paths, columns, partitions, progress
        As for `build_training_files`.
    output : path
        Folder for the file; made if needed.
    dictionary : FeatureDictionary
        The one that the model was trained with.
    cutoff : datetime64 or str, optional
        Nothing at or after it is looked at; by default the midnight that ends the day of the last
        purchase.
    """
    instance("columns", columns, TransactionColumns)
    instance("dictionary", dictionary, FeatureDictionary)
    tell = _progress(progress)
    cutoff, partitions = _moment(cutoff), _partitions(partitions)
    output = _folder(output, paths, ("rows.parquet",))
    tell("reading transactions", 0, 1)
    with TransactionFiles(paths, columns, partitions=partitions, temporary=output) as files:
        if cutoff is None:
            end = -(-(_time_range(files)[1] + 1) // _DAY) * _DAY
        else:
            end = microseconds(cutoff)
        moment = np.datetime64(end, "us")
        read, extract = ReadReport(), _NOTHING
        with RowWriter(output / "rows.parquet") as writer:
            for number, part in enumerate(files):
                tell("making rows", number, len(files))
                rows, report = scoring_rows(part, dictionary, cutoff=moment)
                writer.write(rows)
                read, extract = read + part.report, extract + report
        tell("making rows", len(files), len(files))
    return BuildReport(
        read=read,
        extract=extract,
        cutoffs=(_iso(end),),
        rows=writer.n_rows,
        positives=0,
        n_features=dictionary.n_features,
        n_labels=len(dictionary.labels),
    )


_NOTHING = ExtractReport(
    customers=0, lines=0, unseen_items=(), unseen_item_lines=0, unseen_attribute_values=0
)


def _silent(_description: str, _done: int, _total: int) -> None:
    return None


def _moment(given: Any) -> np.datetime64 | None:
    return None if given is None else np.datetime64(microseconds(given), "us")


def _partitions(given: Any) -> int | None:
    return None if given is None else whole_number("partitions", given, MOST_PARTITIONS)


def _progress(given: Any) -> Progress:
    if given is None:
        return _silent
    if not callable(given):
        raise DTypeError(f"progress is {shown(given)}, and a function is needed")
    progress: Progress = given
    return progress


def _iso(moment: int) -> str:
    """Write a moment as a date, or with its time of day where it is not midnight."""
    return str(np.datetime64(moment, "us").astype("M8[D]" if moment % _DAY == 0 else "M8[us]"))


def _time_range(transactions: Iterable[Transactions]) -> tuple[int, int]:
    ranges = [(part.time.min(), part.time.max()) for part in transactions if part.n_lines]
    if not ranges:
        raise InvalidInputError("transactions: there is no purchase among the lines")
    return int(min(low for low, _ in ranges)), int(max(high for _, high in ranges))


def _customers_by_name(
    part: Transactions, level: str, chosen: npt.NDArray[np.bool_]
) -> dict[str, int]:
    codes = part.level(level)
    return _count_pairs(part.customer, codes.codes, chosen, codes.names)


def _count_pairs(
    customer: npt.NDArray[np.int32],
    codes: npt.NDArray[np.int32],
    chosen: npt.NDArray[np.bool_],
    names: npt.NDArray[Any],
) -> dict[str, int]:
    """Count the distinct customers of each name."""
    chosen = chosen & (codes >= 0)
    width = max(len(names), 1)
    pairs = np.unique(customer[chosen].astype(np.int64) * width + codes[chosen])
    counts = np.bincount(pairs % width, minlength=width)
    return {str(names[code]): int(counts[code]) for code in np.flatnonzero(counts)}


def _frequent(counts: Counter[str], settings: FeatureSettings, what: str) -> tuple[str, ...]:
    kept = sorted(name for name, count in counts.items() if count >= settings.min_customers)
    return check_names(kept, what)

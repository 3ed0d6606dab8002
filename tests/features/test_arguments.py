"""Arguments that features cannot be made with, each refused by its name; nothing is written."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.transactions import COLUMNS, random_table

from fastprop import DTypeError, InvalidInputError, ModelFormatError, OutputError
from fastprop.features import (
    FeatureDictionary,
    FeatureSettings,
    LabelSettings,
    RowWriter,
    Transactions,
    build_scoring_file,
    build_training_files,
    hash_ids,
    read_rows,
    read_transactions,
)

TWO = np.array([1, 2])
LABELS = LabelSettings(horizon_days=30, cutoffs=2, min_customers=3)
BAD_PATHS = [None, 5, b"lines.parquet", TWO, "", "a\0b", "\ud800"]
BAD = {
    "paths": [None, 5, "lines.parquet", b"lines.parquet", np.array(3), [None]],
    "output": BAD_PATHS,
    "columns": [None, {}, "item", TWO],
    "partitions": ["2", 1.5, 0, -1, True, TWO, 10**30],
    "progress": [5, "bar", TWO],
}
CUTOFFS = [5.5, "soon", "", [1], TWO, 10**30, np.datetime64("NaT"), object()]
TRAINING = {**BAD, "features": [{}, False, TWO], "labels": [{}, 0, TWO], "last_cutoff": CUTOFFS}
SCORING = {**BAD, "dictionary": [None, {}, "dictionary.json", TWO], "cutoff": CUTOFFS}
PLACES = {"last_cutoff": "expected a date|not a moment", "cutoff": "expected a date|not a moment"}


def cases(bad):
    return pytest.mark.parametrize(
        ("name", "given"),
        [(name, given) for name, values in bad.items() for given in values],
        ids=lambda given: ascii(given)[:20],
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    pq.write_table(random_table(3, lines=2000, customers=100), folder / "lines.parquet")
    lines = [folder / "lines.parquet"]
    dictionary, _ = build_training_files(lines, folder / "rows", columns=COLUMNS, labels=LABELS)
    return lines, dictionary


@cases(TRAINING)
def test_what_no_rows_for_training_are_made_with(made, tmp_path, monkeypatch, name, given):
    monkeypatch.chdir(tmp_path)
    usual = {"paths": made[0], "output": "out", "columns": COLUMNS, "labels": LABELS}
    with pytest.raises(InvalidInputError, match=PLACES.get(name, name)):
        build_training_files(**{**usual, name: given})
    assert os.listdir() == []


@cases(SCORING)
def test_what_no_rows_for_scoring_are_made_with(made, tmp_path, monkeypatch, name, given):
    monkeypatch.chdir(tmp_path)
    lines, dictionary = made
    usual = {"paths": lines, "output": "out", "dictionary": dictionary, "columns": COLUMNS}
    with pytest.raises(InvalidInputError, match=PLACES.get(name, name)):
        build_scoring_file(**{**usual, name: given})
    assert os.listdir() == []


@pytest.mark.parametrize("path", BAD_PATHS, ids=ascii)
def test_what_is_no_path(made, path):
    for use in (
        lambda: list(read_rows(path)),
        lambda: RowWriter(path),
        lambda: FeatureDictionary.load(path),
        lambda: made[1].save(path),
        lambda: read_transactions([path], COLUMNS),
    ):
        with pytest.raises(InvalidInputError, match=r"^paths?(\[0\])? is "):
            use()


def test_files_that_cannot_be_read_or_written_are_named(made, tmp_path):
    gone = tmp_path / "gone" / "x"
    for read in (lambda: list(read_rows(gone)), lambda: read_transactions([gone], COLUMNS)):
        with pytest.raises(InvalidInputError, match=r"gone/x: cannot be read: .*No such file"):
            read()
    with pytest.raises(ModelFormatError, match="gone/x: cannot be read: No such file"):
        FeatureDictionary.load(gone)
    with pytest.raises(OutputError, match="gone/x: cannot be written: No such file"):
        made[1].save(gone)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file/rows: cannot be written: Not a directory"):
        build_training_files(made[0], tmp_path / "file" / "rows", columns=COLUMNS, labels=LABELS)
    (rows,) = read_rows(made[0][0].parent / "rows" / "rows.parquet")
    message = r"gone/x: cannot be written: .*No such file"
    with pytest.raises(OutputError, match=message), RowWriter(gone) as writer:
        writer.write(rows)
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ModelFormatError, match=r"deep\.json: damaged"):
        FeatureDictionary.load(tmp_path / "deep.json")


def test_numbers_of_numpy_go_into_a_dictionarys_file(made, tmp_path):
    features = FeatureSettings(
        half_lives_days=[np.float32(30)], windows_days=np.array([28]), min_customers=np.int8(2)
    )
    labels = LabelSettings(
        horizon_days=np.int64(30), cutoffs=np.int64(2), min_customers=np.int64(3)
    )
    dictionary, _ = build_training_files(
        made[0], tmp_path, columns=COLUMNS, features=features, labels=labels
    )
    assert FeatureDictionary.load(tmp_path / "dictionary.json").settings == dictionary.settings


def test_other_tables_identifiers_and_seeds():
    with pytest.raises(DTypeError, match=r"table is None, and a pyarrow\.Table is needed"):
        Transactions.from_table(None, COLUMNS)
    for ids in (None, 5, np.array(3), object(), [[1]]):
        with pytest.raises(DTypeError, match="hash_ids: expected integers or strings, got"):
            hash_ids(ids)
    for seed in (None, "1", 1.5, TWO):
        with pytest.raises(DTypeError, match=r"seed is .*, and a whole number is needed"):
            hash_ids(pa.array(["a"]), seed=seed)

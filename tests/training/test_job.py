from __future__ import annotations

import json
import os
import sys

import pyarrow.parquet as pq
import pytest
from support.reporter import Recorder
from support.transactions import COLUMNS, random_table

from fastprop.checkpoint.directory import read_checkpoint
from fastprop.errors import EngineError, InvalidInputError, ModelFormatError
from fastprop.features import FeatureSettings, LabelSettings, build_training_files
from fastprop.training import FitSettings, TrainingJob, run_job_in_process
from fastprop.training.report import TrainingDisplay


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    pq.write_table(random_table(5, lines=3000, customers=150), folder / "lines.parquet")
    build_training_files(
        [folder / "lines.parquet"], folder, columns=COLUMNS,
        features=FeatureSettings(half_lives_days=(30.0,), windows_days=()),
        labels=LabelSettings(horizon_days=30, cutoffs=2, step_days=30, min_customers=2),
    )  # fmt: skip
    return folder


@pytest.fixture(autouse=True)
def _child_finds_the_package(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))


def job(folder, output, **options):
    return TrainingJob(
        **{
            "rows": (str(folder / "rows.parquet"),),
            "dictionary": str(folder / "dictionary.json"),
            "output": str(output),
            "validation_share": 0.3,
            "hidden": (64,),
            "fit": FitSettings(epochs=2, batch_size=64, learning_rate=0.01),
            **options,
        }
    )


def test_a_job_survives_json(tmp_path):
    one = job(tmp_path, tmp_path, hidden=(3, 2), validation=("a", "b"), warm_start=True)
    assert TrainingJob.from_json(one.to_json()) == one


@pytest.mark.parametrize("stream", [False, True])
def test_training_in_a_process_of_its_own(folder, tmp_path, stream):
    recorder = Recorder()
    with TrainingDisplay(recorder) as display:
        result = run_job_in_process(
            job(folder, tmp_path, warm_start=not stream, stream=stream),
            on_step=display.on_step, on_epoch=display.on_epoch,
        )  # fmt: skip
    assert "mxnet" not in sys.modules
    assert [epoch.epoch for epoch in result.epochs] == [0, 1, 2]
    figures = result.epochs[-1].validation
    assert set(figures.baselines) == {"popularity", "own purchases"}
    dictionary = json.loads((folder / "dictionary.json").read_text())
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.labels == dictionary["labels"]
    assert len(checkpoint.feature_names) == checkpoint.network.arguments["weight"].shape[0]
    assert len(recorder.lines) == 3
    assert "before training: validation log-loss" in recorder.lines[0]
    assert recorder.bars[0][0] == "preparing to train"
    assert recorder.bars[1][:3] == ["training", recorder.bars[1][3], "rows"]
    assert recorder.bars[1][1] > 0


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"dictionary": "nowhere.json"}, Exception, "nowhere.json"),
        ({"rows": ("nowhere.parquet",)}, Exception, "nowhere.parquet"),
        ({"hidden": (8, 8), "warm_start": True}, InvalidInputError, "one hidden layer"),
        ({"validation_share": 2.0}, InvalidInputError, "validation_share"),
    ],
)
def test_errors_come_back_as_they_were(folder, tmp_path, options, kind, message):
    with pytest.raises(kind, match=message):
        run_job_in_process(job(folder, tmp_path, **options))


def test_a_damaged_dictionary_is_a_format_error(folder, tmp_path):
    (tmp_path / "d.json").write_text("{}")
    with pytest.raises(ModelFormatError, match=r"d\.json"):
        run_job_in_process(job(folder, tmp_path, dictionary=str(tmp_path / "d.json")))


def test_a_child_that_dies_is_told(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text("import os; os.write(2, b'gone'); os._exit(7)\n")
    with pytest.raises(EngineError, match=r"code 7: gone"):
        run_job_in_process(job(folder, tmp_path))


def test_an_error_of_a_callback_ends_the_child(folder, tmp_path):
    def stop(_step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job_in_process(job(folder, tmp_path), on_step=stop)

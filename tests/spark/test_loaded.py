"""What a Python worker keeps: one predictor for a checkpoint's content, one model a host."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pytest
from support.models import retail

import fastprop.spark
from fastprop.errors import ModelFormatError
from fastprop.spark import host, loaded
from fastprop.spark.source import ModelOptions, describe_model


@pytest.fixture
def source(tmp_path):
    retail(tmp_path / "model")
    return describe_model(tmp_path / "model")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(loaded, "_process", loaded._Process())


def test_a_model_is_opened_once_by_its_content(source, tmp_path):
    first = loaded.predictor_for(source, threads=1)
    assert loaded.predictor_for(source, threads=1) is first
    shutil.copytree(source.location, tmp_path / "copy")
    copy = describe_model(tmp_path / "copy")
    assert copy.digest == source.digest
    assert loaded.predictor_for(copy, threads=1) is first
    assert loaded.loaded_models() == [source.digest]
    assert loaded.predictor_for(source, threads=2) is not first
    other = replace(source, options=ModelOptions(positive_index=1))
    assert loaded.predictor_for(other, threads=1) is not first


def test_another_epoch_is_another_model(source):
    params = os.path.join(source.location, "model-0001.params")
    shutil.copy(params, params.replace("0001", "0002"))
    later = describe_model(source.location)
    assert (source.epoch, later.epoch) == (1, 2)
    assert later.digest != source.digest
    assert describe_model(source.location, epoch=1) == source


def test_a_forked_child_starts_anew_even_while_the_lock_is_held(source):
    first = loaded.predictor_for(source, threads=1)
    expected = first.predict([([1, 2], [1.0, 1.0])]).tobytes()
    with loaded._process.lock:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                mine = loaded.predictor_for(source, threads=1)
                if mine is not first and mine.predict([([1, 2], [1.0, 1.0])]).tobytes() == expected:
                    code = 0
            finally:
                os._exit(code)
        os.close(writing)
        os.close(reading)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert loaded.predictor_for(source, threads=1) is first


def test_a_package_that_is_missing_is_named(monkeypatch):
    def broken(name):
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr("importlib.import_module", broken)
    missing = "pyspark.ml"
    with pytest.raises(ImportError, match=r'needs pyspark.ml: pip install "fastprop\[spark\]"'):
        fastprop.spark.build_features  # noqa: B018
    missing = "fastprop.spark.nothing"
    with pytest.raises(ModuleNotFoundError, match=r"'fastprop.spark.nothing'"):
        fastprop.spark.ship_model  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'shipModel'"):
        fastprop.spark.shipModel  # noqa: B018
    assert {"PropensityModel", "propensity_udf", "ship_wheel"} <= set(dir(fastprop.spark))


def test_a_file_that_cannot_be_read_is_named(source):
    symbol = os.path.join(source.location, "model-symbol.json")
    os.unlink(symbol)
    os.mkdir(symbol)
    with pytest.raises(ModelFormatError, match=r"model-symbol\.json"):
        describe_model(source.location)


def test_files_that_are_not_those_of_the_driver_are_refused(source):
    params = os.path.join(source.location, "model-0001.params")
    with open(params, "ab") as file:
        file.write(b"x")
    with pytest.raises(ModelFormatError, match=r"model-0001\.params: has \d+ bytes here, and"):
        loaded.predictor_for(source, threads=1)
    os.unlink(params)
    with pytest.raises(ModelFormatError, match=r"No such file.*needs ship_model"):
        loaded.predictor_for(source, threads=1)


@pytest.fixture
def shared(tmp_path, monkeypatch):
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(host.tempfile, "gettempdir", lambda: str(folder))
    return folder / f"fastprop-{os.getuid()}"


def test_executors_of_a_host_share_the_first_copy(source, tmp_path, shared):
    copies = [str(tmp_path / name) for name in ("one", "two", "three")]
    for copy in copies:
        shutil.copytree(source.location, copy)
    assert host.shared_directory(copies[0], source) == copies[0]
    assert host.shared_directory(copies[1], source) == copies[0]
    shutil.rmtree(copies[0])
    assert host.shared_directory(copies[1], source) == copies[1]
    assert host.shared_directory(copies[2], source) == copies[1]
    os.unlink(os.path.join(copies[1], source.files[0][0]))
    assert host.shared_directory(copies[2], source) == copies[2]
    assert sorted(os.listdir(shared)) == [source.digest, "lock"]


@pytest.mark.parametrize("obstacle", ["no folder", "no lock", "no link"])
def test_where_nothing_can_be_shared_the_own_copy_is_used(source, shared, obstacle):
    if obstacle == "no folder":
        shared.write_text("a file")
    else:
        name = {"no lock": "lock", "no link": source.digest}[obstacle]
        (shared / name).mkdir(parents=True)
    assert host.shared_directory(source.location, source) == source.location
    assert host.shared_directory("own", replace(source, files=())) == "own"


def test_a_folder_that_others_can_write_to_is_not_trusted(source, tmp_path, shared):
    shared.mkdir()
    shared.chmod(0o777)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(source.location, elsewhere)
    (shared / source.digest).symlink_to(elsewhere)
    assert host.shared_directory(source.location, source) == source.location
    shared.chmod(0o700)
    assert host.shared_directory(source.location, source) == str(elsewhere)

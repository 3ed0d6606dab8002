"""One session for all tests, two cores, small data."""

from __future__ import annotations

import gc
import sys
import warnings
from pathlib import Path

import pytest
from support.models import retail, rows_for
from support.spark import frame, settings

N_ROWS = 60
STARTED = []
IGNORED = (
    "ignore:distutils Version classes are deprecated",  # Spark 3.5 compares versions with them
    "ignore:unclosed <socket",  # where a job fails
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning",
)


def pytest_itemcollected(item):
    for ignored in IGNORED:
        item.add_marker(pytest.mark.filterwarnings(ignored))


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]")
    for name, value in settings(tmp_path_factory.mktemp("spark")).items():
        builder = builder.config(name, value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        STARTED.append(builder.getOrCreate())
    return STARTED[0]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """Stop the session after the last test here, so that its sockets are no other test's matter."""
    yield
    if nextitem is None or not nextitem.path.is_relative_to(Path(__file__).parent):
        while STARTED:
            STARTED.pop().stop()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@pytest.fixture(scope="session")
def directory(tmp_path_factory):
    """A checkpoint."""
    folder = tmp_path_factory.mktemp("model")
    retail(folder)
    return folder


@pytest.fixture(scope="session")
def model(directory):
    import fastprop

    return fastprop.load_model(directory)


@pytest.fixture(scope="session")
def rows(model):
    return rows_for(model, N_ROWS)


@pytest.fixture(scope="session")
def customers(spark, rows):
    """The rows as a DataFrame of three partitions; cached, so that its order stays."""
    made = frame(spark, rows).cache()
    assert made.count() == N_ROWS
    return made


@pytest.fixture(scope="session")
def expected(model, rows):
    """What `predict` gives for them."""
    with model.predictor() as predictor:
        return predictor.predict(rows)

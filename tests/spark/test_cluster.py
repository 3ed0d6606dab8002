"""Two real executor processes, to which the wheel and the model are shipped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.python import bare_python
from support.spark import require_spark
from support.wheel import find_or_build_wheel

require_spark()

pytestmark = pytest.mark.timeout(900)
PROGRAM = Path(__file__).parent.parent / "support" / "spark_cluster.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What the driver of `local-cluster[2,1,1024]` saw."""
    folder = tmp_path_factory.mktemp("cluster")
    wheel = find_or_build_wheel(tmp_path_factory.mktemp("wheel"))
    python = bare_python(folder / "python", ("numpy", "pyarrow"))
    missing = subprocess.run([python, "-c", "import fastprop"], capture_output=True, check=False)
    assert b"No module named 'fastprop'" in missing.stderr
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), str(wheel), python],
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_executors_without_fastprop_give_the_scores_of_predict(run):
    assert run["scores_equal"]


def test_executors_score_a_compiled_file_sent_by_addFile(run):
    assert run["compiled_equal"]


def test_executors_have_no_mxnet(run):
    for worker in (*run["workers"], *run["compiled_workers"]):
        assert not worker["has_mxnet"]
        assert not worker["finds_libmxnet"]
        assert not worker["maps_libmxnet"]


@pytest.mark.parametrize("workers", ["workers", "compiled_workers"])
def test_it_was_executors_that_scored_with_what_was_shipped(run, workers):
    one, other = run[workers]
    for worker in (one, other):
        assert "pyspark.daemon" in worker["parent_command"]
        assert "CoarseGrainedExecutorBackend" in worker["grandparent_command"]
        assert worker["folder"].startswith(run["work"])
        assert worker["extension"].startswith(worker["folder"])
        assert "/fastprop-wheel-" in worker["extension"]
        assert worker["rows"] == 200
    assert one["models"][-1] == other["models"][-1]
    for process in ("pid", "parent", "grandparent", "folder"):
        assert one[process] != other[process]
    assert run["driver"] not in (one["grandparent"], other["grandparent"])


def test_a_worker_killed_in_mid_partition_loses_and_doubles_nothing(run):
    attempts = {name.rpartition("-")[2] for name in run["attempts"]}
    assert attempts == {"0", "1"}, "one partition was begun again"
    assert run["written_ids"] == list(range(len(run["written_ids"])))
    assert len(run["written_ids"]) == 400
    assert run["written_equal"]


@pytest.mark.parametrize(
    ("workers", "suffix"), [("workers", "params"), ("compiled_workers", "fastprop")]
)
def test_two_workers_of_a_host_hold_one_copy_of_the_first_layer(run, workers, suffix):
    mapped = [worker["mapped"][suffix] for worker in run[workers]]
    for own in mapped:
        assert own["Rss"] > 0.9 * run["weights"]  # each has read nearly all of it
        assert own["Private_Dirty"] == 0
    assert sum(own["Pss"] for own in mapped) < 1.1 * run["weights"]

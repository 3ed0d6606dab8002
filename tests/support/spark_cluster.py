"""A driver on two real executors, which have neither fastprop nor the model until they are shipped,
and never MXNet.

python spark_cluster.py FOLDER WHEEL PYTHON: prints what happened as a line of JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.models import retail
from support.networks import random_rows
from support.spark import settings

N_FEATURES, HIDDEN = 100_000, 256  # a first layer of 102 MB
N_ROWS = 400
NAMES = ["customer_id", "indices", "values"]


def write_rows(rows, folder):
    """Two files, so that there are two partitions."""
    folder.mkdir()
    lists = [
        pa.ListArray.from_arrays(
            pa.array(rows.indptr.astype(np.int32)), pa.array(values.astype(kind))
        )
        for values, kind in ((rows.indices, np.int32), (rows.data, np.float32))
    ]
    table = pa.table([pa.array(np.arange(N_ROWS)), *lists], names=NAMES)
    for number in range(2):
        half = table.slice(number * N_ROWS // 2, N_ROWS // 2)
        pq.write_table(half, folder / f"{number}.parquet")


def slowly(folder):
    """Hand batches on, but the third only after a file appears."""

    def feed(batches):
        import os
        import time

        from pyspark import TaskContext

        task = TaskContext.get()
        open(f"{folder}/attempt-{task.partitionId()}-{task.attemptNumber()}", "w").close()
        for number, batch in enumerate(batches):
            while number == 2 and not os.path.exists(f"{folder}/go"):
                time.sleep(0.02)
            yield batch

    return feed


def workers_that_score():
    """Processes that have loaded fastprop's extension, this one left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if "/fastprop/_core." in (entry / "maps").read_text():
                    parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                    daemon = Path(f"/proc/{parent}/cmdline").read_text()
                    if "pyspark.daemon" in daemon:
                        found.append(int(entry.name))
            except OSError:
                continue
    return found


def kill_one(folder):
    """Kill a worker that has scored a batch of its partition and waits for more."""
    deadline = time.monotonic() + 90
    while len(workers_that_score()) < 2:
        if time.monotonic() > deadline:
            raise TimeoutError("no two workers have begun to score")
        time.sleep(0.1)
    victim = workers_that_score()[0]
    os.kill(victim, signal.SIGKILL)
    (folder / "go").touch()
    return victim


def describe_worker():
    """What this worker process is, and how much memory of the model is its own."""
    import importlib.util
    import os
    import sys

    def parent_of(pid):
        with open(f"/proc/{pid}/stat") as stat:
            return int(stat.read().rpartition(")")[2].split()[1])

    def command_of(pid):
        with open(f"/proc/{pid}/cmdline") as command:
            return command.read().replace("\0", " ")

    mapped = {suffix: {"Rss": 0, "Pss": 0, "Private_Dirty": 0} for suffix in ("params", "fastprop")}
    with open("/proc/self/smaps") as smaps:
        own = {}
        for line in smaps:
            first = line.split()[0]
            if not first.endswith(":"):
                own = mapped.get(line.rstrip().rpartition(".")[2], {})
            elif first[:-1] in own:
                own[first[:-1]] += int(line.split()[1]) * 1024
    daemon = parent_of(os.getpid())
    return {
        "pid": os.getpid(),
        "parent": daemon,
        "parent_command": command_of(daemon),
        "grandparent": parent_of(daemon),
        "grandparent_command": command_of(parent_of(daemon)),
        "folder": os.getcwd(),
        "extension": sys.modules["fastprop._core"].__file__,
        "models": sys.modules["fastprop.spark.loaded"].loaded_models(),
        "mapped": mapped,
        "has_mxnet": importlib.util.find_spec("mxnet") is not None,
        "finds_libmxnet": sys.modules["fastprop.libmxnet.library"].find_mxnet_library() is not None,
        "maps_libmxnet": "libmxnet" in open("/proc/self/maps").read(),
    }


def then_describe(score, describe):
    """Score a partition; then, while all workers are alive, say what this one is."""

    def call(batches):
        import json

        import pyarrow as pa
        from pyspark import BarrierTaskContext

        n_rows = sum(batch.num_rows for batch in score(batches))
        BarrierTaskContext.get().barrier()
        facts = json.dumps({**describe(), "rows": n_rows})
        BarrierTaskContext.get().barrier()
        yield pa.RecordBatch.from_arrays([pa.array([facts])], names=["facts"])

    return call


def main(folder, wheel, python):
    os.environ["PYSPARK_PYTHON"] = python
    os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    from fastprop.spark import PropensityModel, ship_model, ship_wheel
    from fastprop.spark.bootstrap import on_workers
    from fastprop.spark.shipping import wheels_of

    model = retail(folder / "model", n_features=N_FEATURES, hidden=(HIDDEN,))
    rows = random_rows(np.random.default_rng(1), N_ROWS, N_FEATURES, density=0.005, empty=0.02)
    with model.predictor() as predictor:
        expected = predictor.predict(rows)
    write_rows(rows, folder / "rows")

    builder = SparkSession.builder.master("local-cluster[2,1,1024]")
    options = {
        **settings(folder),
        "spark.scheduler.minRegisteredResourcesRatio": "1.0",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "40",
        "spark.executor.memory": "512m",
    }
    for name, value in options.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    work = (
        Path(os.environ.get("SPARK_HOME") or Path(sys.modules["pyspark"].__file__).parent) / "work"
    )
    try:
        ship_wheel(spark, wheel)
        options_of_model = {
            "indicesCol": "indices",
            "valuesCol": "values",
            "passthroughCols": ["customer_id"],
            "engine": "native",
        }
        scorer = PropensityModel.fromPath(ship_model(spark, folder / "model"), **options_of_model)
        customers = spark.read.parquet(str(folder / "rows"))

        # First, so that a worker with fastprop in it is one that is in the middle of a partition.
        fed = customers.mapInArrow(slowly(str(folder)), customers.schema)
        scored = scorer.transform(fed)
        writing = threading.Thread(
            target=lambda: scored.write.parquet(str(folder / "scored")), daemon=True
        )
        writing.start()
        victim = kill_one(folder)
        writing.join(150)
        written = pq.read_table(folder / "scored").sort_by("customer_id").to_pydict()

        # Then undisturbed, on both executors.
        def on_both(scorer):
            found = scorer.transform(customers).orderBy("customer_id").collect()
            scores = np.array([row["probability"] for row in found], np.float32)
            score = on_workers(
                "fastprop.spark.worker",
                "score_batches",
                scorer._made(customers, ["customer_id"], NAMES)[1],
                archives=wheels_of(spark),
            )
            described = customers.select(*NAMES).mapInArrow(
                then_describe(score, describe_worker), "facts string", barrier=True
            )
            workers = [json.loads(row["facts"]) for row in described.collect()]
            return bool(np.array_equal(scores, expected)), workers

        scores_equal, workers = on_both(scorer)
        file = folder / "retail.fastprop"
        model.compile(file)
        spark.sparkContext.addFile(str(file))
        compiled_equal, compiled_workers = on_both(
            PropensityModel.fromPath(f"files:{file.name}", **options_of_model)
        )
        print(
            json.dumps(
                {
                    "victim": victim,
                    "attempts": sorted(file.name for file in folder.glob("attempt-*")),
                    "written_ids": written["customer_id"],
                    "written_equal": bool(
                        np.array_equal(np.array(written["probability"], np.float32), expected)
                    ),
                    "scores_equal": scores_equal,
                    "workers": workers,
                    "compiled_equal": compiled_equal,
                    "compiled_workers": compiled_workers,
                    "weights": model.path.stat().st_size,
                    "work": str(work / spark.sparkContext.applicationId),
                    "driver": os.getpid(),
                }
            )
        )
    finally:
        application = spark.sparkContext.applicationId
        spark.stop()
        shutil.rmtree(work / application, ignore_errors=True)
        if work.is_dir() and not any(work.iterdir()):
            work.rmdir()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])

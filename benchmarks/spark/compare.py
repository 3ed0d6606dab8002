"""Scoring in Spark against what a team would write instead, and against moving the bytes alone.

    python benchmarks/spark/compare.py --json out.json

On `local[N]`, from zstd Parquet of the reference workload (two array columns) to Spark's `noop`
sink:

fastprop   `PropensityModel` with top-20 output
constants  a `mapInArrow` that reads the same columns and gives the same schema, all constants
scipy      a `pandas_udf` around SciPy and NumPy: scores, then the best 20
mxnet      a `pandas_udf` around the batched MXNet Module, likewise

A job that loads and warms up comes first; fastprop and constants then take turns, and medians
count. CPU seconds are those of the JVM and of all Python workers. Scoring alone is `predict_top_k`
of the same rows in memory on one thread. The two pandas UDFs give the scores of the best 20 without
their labels, which spares them the conversion of structs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fastprop import CSR
from fastprop.bench.machine import machine_facts
from fastprop.bench.settings import WORKLOADS
from fastprop.bench.workload import Workload, prepare_workload

TOP_K = 20
BATCH = 512
TOP = "array<struct<label:string,score:float>>"


def write_rows(rows: CSR, path: Path) -> None:
    lists = [
        pa.ListArray.from_arrays(
            pa.array(np.asarray(rows.indptr, np.int32)), pa.array(np.asarray(values, kind))
        )
        for values, kind in ((rows.indices, np.int32), (rows.data, np.float32))
    ]
    ids = pa.array(np.arange(rows.shape[0]))
    table = pa.table([ids, *lists], names=["customer_id", "indices", "values"])
    pq.write_table(table, path, compression="zstd", row_group_size=max(rows.shape[0] // 8, 1))


def constants(batches: Any) -> Any:
    """The same columns in, the same schema out, nothing computed."""
    import numpy as np
    import pyarrow as pa

    for batch in batches:
        n_rows = batch.num_rows
        values = pa.StructArray.from_arrays(
            [
                pa.array(["category0000"]).take(pa.array(np.zeros(n_rows * 20, np.int32))),
                pa.array(np.zeros(n_rows * 20, np.float32)),
            ],
            ["label", "score"],
        )
        offsets = pa.array(np.arange(0, n_rows * 20 + 1, 20, dtype=np.int32))
        yield pa.RecordBatch.from_arrays(
            [batch.column(0), pa.ListArray.from_arrays(offsets, values)],
            names=["customer_id", "top"],
        )


def around(kind: str, workload: Workload) -> Any:
    """A pandas UDF around one of the benchmark's contenders, loaded once a worker process."""

    def score(indices: Any, values: Any) -> Any:
        import sys

        import numpy as np
        import pandas as pd

        from fastprop.bench.contenders import contender_class
        from fastprop.bench.contenders.base import ContenderSpec
        from fastprop.typing import CSR

        contender = getattr(sys, "_contender", None)
        if contender is None or contender.spec.kind != kind:
            spec = ContenderSpec(name=kind, title=kind, kind=kind, batch_size=512)
            contender = contender_class(kind)(spec, workload)
            contender.import_library()
            contender.load()
            sys._contender = contender  # type: ignore[attr-defined]
        lengths = np.fromiter(map(len, indices), np.int32, len(indices))
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        contender.rows = CSR(
            indptr,
            np.concatenate(list(indices)),
            np.concatenate(list(values)),
            (len(indices), workload.n_features),
        )
        contender.out = np.empty((len(indices), workload.n_labels), np.float32)
        contender.call(0, len(indices))()
        best = np.partition(contender.out, workload.n_labels - 20, axis=1)[:, -20:]
        return pd.Series(list(np.sort(best, axis=1)[:, ::-1]))

    import pandas as pd

    score.__annotations__ = dict.fromkeys(("indices", "values", "return"), pd.Series)
    return score


def cpu_seconds(root: int) -> float:
    """CPU seconds of a process and its descendants, also of those that have ended."""
    children: dict[int, list[int]] = {}
    seconds: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            ticks = sum(map(int, fields[11:15]))
            seconds[int(entry.name)] = ticks / os.sysconf("SC_CLK_TCK")
    found, waiting = 0.0, [root]
    while waiting:
        process = waiting.pop()
        found += seconds.get(process, 0.0)
        waiting += children.get(process, [])
    return found


def measure(job: Any) -> tuple[float, float]:
    """Wall and CPU seconds of a job."""
    cpu, wall = cpu_seconds(os.getpid()), time.perf_counter()
    job()
    return time.perf_counter() - wall, cpu_seconds(os.getpid()) - cpu


def scoring_seconds(workload: Workload, rows: CSR, n_rows: int) -> float:
    """CPU seconds to score rows in memory, one thread."""
    from fastprop.bench.workload import first_rows

    with workload.load_model().predictor(threads=1) as predictor:
        part = first_rows(rows, n_rows)
        predictor.predict_top_k(part, TOP_K)
        taken = []
        for _ in range(3):
            begin = time.process_time()
            predictor.predict_top_k(part, TOP_K)
            taken.append(time.process_time() - begin)
    return median(taken)


def start(names: list[str], workload: Workload, folder: str, given: argparse.Namespace) -> Any:
    """Begin a session and return the job of each contender."""
    from pyspark.sql import SparkSession
    from pyspark.sql.functions import pandas_udf

    from fastprop.spark import PropensityModel

    spark = (
        SparkSession.builder.master(f"local[{given.cores}]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "2g")
        .config("spark.log.level", "ERROR")
        .config("spark.python.worker.faulthandler.enabled", "true")
        .getOrCreate()
    )

    def frame(name: str) -> Any:
        path = str(Path(folder, name))
        if not Path(path).exists():
            source = spark.read.parquet(str(Path(folder, "rows.parquet"))).limit(given.sizes[name])
            source.repartition(given.cores).write.parquet(path, compression="zstd")
        rows = spark.read.parquet(path)
        if name == "constants":
            return rows.mapInArrow(constants, f"customer_id long, top {TOP}")
        if name == "fastprop":
            return PropensityModel.fromPath(
                workload.model_directory,
                indicesCol="indices",
                valuesCol="values",
                topKCol="top",
                topK=TOP_K,
                passthroughCols=["customer_id"],
            ).transform(rows)
        function = pandas_udf(around(name, workload), "array<float>")
        return rows.select("customer_id", function("indices", "values").alias("top"))

    def job(scored: Any) -> Any:
        return lambda: scored.write.format("noop").mode("overwrite").save()

    return {name: job(frame(name)) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000, help="rows of fastprop and constants")
    parser.add_argument("--scipy-rows", type=int, default=20_000)
    parser.add_argument("--mxnet-rows", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--contenders", default="fastprop,constants,scipy,mxnet")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["OPENBLAS_NUM_THREADS"] = "1"

    from pyspark.sql import SparkSession

    given.sizes = {
        "fastprop": given.rows,
        "constants": given.rows,
        "scipy": given.scipy_rows,
        "mxnet": given.mxnet_rows,
    }
    settings = replace(WORKLOADS["reference"], n_rows=given.rows)
    with prepare_workload(settings) as workload, tempfile.TemporaryDirectory() as folder:
        rows = workload.load_rows()
        write_rows(rows, Path(folder, "rows.parquet"))
        chosen = given.contenders.split(",")
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
        # A session and Python workers of their own: libraries that meet in one process interfere.
        for together in (["fastprop", "constants"], ["scipy"], ["mxnet"]):
            names = [name for name in together if name in chosen]
            if names:
                jobs = start(names, workload, folder, given)
                for name in names:
                    jobs[name]()
                for _ in range(given.rounds):
                    for name in names:
                        taken[name].append(measure(jobs[name]))
                SparkSession.getActiveSession().stop()
        result: dict[str, Any] = {
            "command": " ".join(["python", "benchmarks/spark/compare.py", *sys.argv[1:]]),
            "machine": machine_facts(),
            "contenders": {
                name: {
                    "rows": given.sizes[name],
                    "rows_per_second": round(
                        given.sizes[name] / median(wall for wall, _ in times), 1
                    ),
                    "cpu_microseconds_a_row": round(
                        median(cpu for _, cpu in times) / given.sizes[name] * 1e6, 2
                    ),
                    "rounds": times,
                }
                for name, times in taken.items()
            },
        }
        if "fastprop" in chosen:
            alone = scoring_seconds(workload, rows, min(given.rows, 20_000))
            alone = alone / min(given.rows, 20_000) * 1e6
            result["scoring_microseconds_a_row"] = round(alone, 2)
            found = result["contenders"]
            beyond = found["fastprop"]["cpu_microseconds_a_row"] - alone
            result["beyond_scoring_microseconds_a_row"] = round(beyond, 2)
            if "constants" in chosen:
                result["beyond_scoring_to_constants"] = round(
                    beyond / found["constants"]["cpu_microseconds_a_row"], 3
                )
            for name in ("scipy", "mxnet"):
                if name in chosen:
                    result[f"times_{name}"] = round(
                        found["fastprop"]["rows_per_second"] / found[name]["rows_per_second"], 2
                    )
    text = json.dumps(result, indent=1, default=str)
    if given.json:
        given.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

"""`fastprop score` against scoring in memory: throughput, peak memory, and killed runs.

    python benchmarks/score_parquet.py --rows 1000000 --json out.json

Makes the reference workload as a zstd Parquet file in a temporary folder (`--folder` keeps it for
the next time), and asks three things of the command line program:

speed   rows/s from Parquet to a top-20 Parquet file, beside `predict_top_k` of the same rows in
        memory; both in turn, the input in the page cache
memory  the program's peak for a tenth of the rows and for all
kill    `kill -9` at random moments, then `--resume`: the same bytes as a run left alone

Prints a JSON object and ends with 1 where a bar was missed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fastprop import CSR, load_model
from fastprop.bench.machine import machine_facts
from fastprop.bench.network import random_network
from fastprop.bench.settings import WORKLOADS, WorkloadSettings
from fastprop.bench.workload import MODEL, random_rows
from fastprop.checkpoint.directory import write_checkpoint

LEAST_SHARE = 0.5  # of the rows/s in memory
MEMORY_TOLERANCE = 0.15
KILLS = 3
ROW_GROUP = 65_536
CHUNK = 65_536


def make_model(settings: WorkloadSettings, folder: Path) -> Path:
    model = folder / "model"
    if not model.exists():
        made = folder / "model.unfinished"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        write_checkpoint(made, MODEL, 1, random_network(settings))
        made.rename(model)
    return model


def make_rows(settings: WorkloadSettings, n_rows: int, folder: Path) -> Path:
    """Write rows as the usual tools would: two list columns, zstd, everything else by default."""
    path = folder / f"rows-{n_rows}.parquet"
    if path.exists():
        return path
    made = path.with_suffix(".unfinished")
    writer = None
    for start in range(0, n_rows, CHUNK):
        count = min(CHUNK, n_rows - start)
        rows = random_rows(replace(settings, n_rows=count, seed=settings.seed + start))
        offsets = pa.array(np.asarray(rows.indptr, np.int32))
        table = pa.table(
            {
                "customer_id": np.arange(start, start + count),
                "indices": pa.ListArray.from_arrays(offsets, pa.array(rows.indices)),
                "values": pa.ListArray.from_arrays(offsets, pa.array(rows.data)),
            }
        )
        writer = writer or pq.ParquetWriter(made, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=ROW_GROUP)
    assert writer is not None
    writer.close()
    made.rename(path)
    return path


def read_rows(path: Path, n_features: int) -> CSR:
    """All rows in memory, as one CSR matrix."""
    parts: dict[str, list[Any]] = {"indptr": [np.zeros(1, np.int64)], "indices": [], "values": []}
    end = 0
    for batch in pq.ParquetFile(path).iter_batches(CHUNK, columns=["indices", "values"]):
        lists = {name: batch.column(name) for name in ("indices", "values")}
        parts["indptr"].append(lists["indices"].offsets.to_numpy()[1:].astype(np.int64) + end)
        for name, column in lists.items():
            parts[name].append(column.flatten().to_numpy())
        end = int(parts["indptr"][-1][-1])
    indptr, indices, values = (np.concatenate(part) for part in parts.values())
    return CSR(indptr, indices, values, (indptr.size - 1, n_features))


def command(model: Path, rows: Path, output: Path, arguments: argparse.Namespace) -> list[str]:
    return [
        *(sys.executable, "-m", "fastprop", "score", str(model), str(rows)),
        *("--output", str(output), "--top-k", str(arguments.top_k)),
        *("--threads", str(arguments.threads), "--json"),
    ]


def run_command(words: list[str]) -> dict[str, Any]:
    began = time.perf_counter()
    done = subprocess.run(words, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr.decode())
    summary: dict[str, Any] = json.loads(done.stdout)
    summary["process_seconds"] = time.perf_counter() - began
    return summary


def in_page_cache(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def measure_speed(model: Path, rows: Path, folder: Path, arguments: argparse.Namespace) -> Any:
    loaded = load_model(str(model))
    matrix = read_rows(rows, loaded.n_features)
    n_rows = matrix.shape[0]
    in_page_cache(rows)
    windows = []
    with loaded.predictor(threads=arguments.threads) as predictor:
        predictor.predict_top_k(
            CSR(matrix.indptr[:4097], matrix.indices, matrix.data, (4096, loaded.n_features)),
            arguments.top_k,
        )
        for _ in range(arguments.rounds):
            began, processor = time.perf_counter(), time.process_time()
            top = predictor.predict_top_k(matrix, arguments.top_k)
            memory = n_rows / (time.perf_counter() - began)
            processor = time.process_time() - processor
            del top
            output = folder / "speed.parquet"
            summary = run_command(command(model, rows, output, arguments))
            windows.append(
                {
                    "in_memory": memory,
                    "pipeline": summary["rows_per_second"],
                    "pipeline_with_start": n_rows / summary["process_seconds"],
                    "share": summary["rows_per_second"] / memory,
                    "in_memory_processor_seconds": processor,
                    "pipeline_processor_seconds": summary["processor_seconds"],
                }
            )
    share = median(window["share"] for window in windows)
    return {
        "rows": n_rows,
        "input_bytes": rows.stat().st_size,
        "output_bytes": (folder / "speed.parquet").stat().st_size,
        "rounds": windows,
        "in_memory": median(window["in_memory"] for window in windows),
        "pipeline": median(window["pipeline"] for window in windows),
        "share": share,
        "passed": share >= LEAST_SHARE,
    }


def measure_memory(model: Path, rows: Path, fewer: Path, folder: Path, arguments: Any) -> Any:
    peaks = {}
    for path in (fewer, rows):
        summary = run_command(command(model, path, folder / "memory.parquet", arguments))
        peaks[summary["rows"]] = summary["peak_memory"]
    low, high = sorted(peaks.values())
    return {"peak_bytes": peaks, "passed": high <= low * (1 + MEMORY_TOLERANCE)}


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def measure_kills(model: Path, rows: Path, folder: Path, arguments: Any) -> Any:
    """Kill a run at random moments and resume it; compare every file with a run left alone."""
    chooser = random.Random(arguments.seed)
    whole, killed = folder / "whole", folder / "killed"
    parts = ["--part-rows", str(ROW_GROUP)]
    began = time.perf_counter()
    summary = run_command([*command(model, rows, whole, arguments), *parts])
    seconds = time.perf_counter() - began
    words = [*command(model, rows, killed, arguments), *parts, "--resume"]
    killed.mkdir()
    moments = []
    for _ in range(KILLS):
        moment = chooser.uniform(0.1, 1.2) * seconds / KILLS
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            moments.append({"seconds": moment, "parts_there": len(list(killed.glob("part-*")))})
    last = run_command(words)
    same = digests(whole) == digests(killed)
    return {
        "parts": summary["parts"],
        "kills": moments,
        "resumed_parts": last["resumed_parts"],
        "rows": last["rows"],
        "identical": same,
        "passed": same and len(moments) == KILLS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--workload", choices=sorted(WORKLOADS), default="reference")
    parser.add_argument("--top-k", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the moments to kill at")
    parser.add_argument("--only", choices=["data", "speed", "memory", "kill"], action="append")
    parser.add_argument("--folder", type=Path, help="where data is kept; else a temporary one")
    parser.add_argument("--json", type=Path, help="write the report here as well")
    arguments = parser.parse_args()
    wanted = arguments.only or ["speed", "memory", "kill"]
    settings = WORKLOADS[arguments.workload]

    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    place = nullcontext(arguments.folder) if arguments.folder else tempfile.TemporaryDirectory()
    with place as kept, tempfile.TemporaryDirectory(dir=kept) as outputs:
        folder, output = Path(kept), Path(outputs)
        model = make_model(settings, folder)
        rows = make_rows(settings, arguments.rows, folder)
        fewer = make_rows(settings, max(arguments.rows // 10, 1), folder)
        report: dict[str, Any] = {
            "command": " ".join(["python", *sys.argv]),
            "machine": machine_facts(),
            "pyarrow": pa.__version__,
        }
        if "speed" in wanted:
            report["speed"] = measure_speed(model, rows, output, arguments)
        if "memory" in wanted:
            report["memory"] = measure_memory(model, rows, fewer, output, arguments)
        if "kill" in wanted:
            report["kill"] = measure_kills(model, rows, output, arguments)
    print(json.dumps(report, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    results = [report[part] for part in ("speed", "memory", "kill") if part in report]
    sys.exit(0 if all(result["passed"] for result in results) else 1)


if __name__ == "__main__":
    main()

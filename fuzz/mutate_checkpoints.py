"""Valid checkpoints and compiled models, damaged: each ends in scores or in a `FastpropError`.

python fuzz/mutate_checkpoints.py --count 1000000 [--first N] [--jobs 1] [--engine native]

Case N is the same each time: `--first N --count 1` runs one again. Cases run in child processes
that are ended after some thousands, may map --memory MiB more than they begin with, and are killed
when a case takes longer than --seconds. What crashes, hangs, runs out of memory or leaves with any
other exception is kept under --findings, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "fuzz"))
sys.path.insert(0, str(ROOT / "tests"))

import numpy as np  # noqa: E402
from graph.test_mutations import mutate as mutate_symbol  # noqa: E402
from seeds import checkpoints, compiled_models  # noqa: E402

import fastprop  # noqa: E402
from fastprop.errors import FastpropError  # noqa: E402

EDGES = (
    0,
    1,
    2,
    3,
    7,
    12,
    32,
    33,
    255,
    2**15,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**62,
    2**63,
    2**64 - 1,
)
MAGICS = tuple(struct.pack("<I", 0xF993FAC8 + age) for age in range(3))
N_ROWS = 3
COMPILED = "m.fastprop"


class Cases:
    """Everything that the cases are made of; case N depends on N alone."""

    def __init__(self) -> None:
        self.seeds = list(checkpoints().items())
        self.compiled = list(compiled_models().items())

    def make(self, number: int) -> tuple[str, dict[str, bytes]]:
        """What was done in a case, and the files that it gave."""
        choice = random.Random(number)
        if number % 4 == 3:
            return self.compiled_case(choice)
        name, (symbol, params) = choice.choice(self.seeds)
        done = [name]
        for _ in range(choice.choice((1, 1, 1, 2, 2, 3, 5))):
            if choice.random() < 0.5:
                if choice.random() < 0.6:
                    symbol, how = self.structured(symbol, choice)
                else:
                    symbol, how = damaged(symbol, self.other(choice, 0), choice)
                done.append(f"symbol {how}")
            else:
                params, how = damaged(params, self.other(choice, 1), choice)
                done.append(f"params {how}")
        return ", ".join(done), {"m-symbol.json": symbol, "m-0000.params": params}

    def compiled_case(self, choice: random.Random) -> tuple[str, dict[str, bytes]]:
        name, data = choice.choice(self.compiled)
        done = [f"compiled {name}"]
        for _ in range(choice.choice((1, 1, 2, 3))):
            if choice.random() < 0.75:
                data, how = lying(data, choice)
            else:
                data, how = damaged(data, choice.choice(self.compiled)[1], choice)
            done.append(how)
        return ", ".join(done), {COMPILED: data}

    def other(self, choice: random.Random, part: int) -> bytes:
        return choice.choice(self.seeds)[1][part]

    def structured(self, symbol: bytes, choice: random.Random) -> tuple[bytes, str]:
        """A symbol that is still JSON."""
        try:
            document = json.loads(symbol)
            kind = choice.randrange(12)
            nodes = document["nodes"]
            if kind < 7:
                mutate_symbol(document, choice)
            elif kind == 7:
                nodes.insert(choice.randrange(len(nodes) + 1), choice.choice(nodes))
            elif kind == 8:
                del nodes[choice.randrange(len(nodes))]
            elif kind == 9:
                document["heads"] = [choice.choice(document["heads"])] * choice.choice((1, 2, 300))
            elif kind == 10:
                item = choice.choice(nodes)
                item[choice.choice(list(item))] = choice.choice(
                    (None, [], {}, "", 0, -1, 1.5, True)
                )
            else:
                one, two = choice.choice(nodes), choice.choice(nodes)
                one["name"], two["name"] = two["name"], one["name"]
        except (ValueError, LookupError, TypeError, AttributeError):
            return damaged(symbol, symbol, choice)
        return json.dumps(document).encode(), f"structured {kind}"


def damaged(data: bytes, other: bytes, choice: random.Random) -> tuple[bytes, str]:
    """Bytes with one thing wrong."""
    if not data:
        return other[: choice.randrange(64)], "refilled"
    at = choice.randrange(len(data))
    kind = choice.randrange(9)
    if kind == 0:
        flipped = bytes([data[at] ^ (1 << choice.randrange(8))])
        return data[:at] + flipped + data[at + 1 :], f"flip at {at}"
    if kind == 1:
        return data[:at], f"truncate at {at}"
    if kind == 2:
        begin = choice.randrange(len(other) or 1)
        return data[:at] + other[begin:], f"splice {begin} of another at {at}"
    if kind == 3:
        length = choice.randrange(1, 64)
        return data[:at] + data[at + length :], f"cut {length} at {at}"
    if kind == 4:
        length = choice.randrange(1, 256)
        return data[:at] + data[at : at + length] + data[at:], f"repeat {length} at {at}"
    if kind == 5:
        length = choice.randrange(1, 9)
        noise = bytes(choice.randrange(256) for _ in range(length))
        return data[:at] + noise + data[at + length :], f"overwrite {length} at {at}"
    # The numbers of headers: counts, dimensions, extents, types.
    width = choice.choice((4, 8))
    number = struct.pack("<Q", choice.choice(EDGES))[:width]
    places = [place for magic in MAGICS for place in every(data, magic)]
    if kind == 6 and places:
        at = choice.choice(places) + 4 * choice.randrange(14)
    elif kind == 7:
        at = 8 * choice.randrange(3)
    else:
        at -= at % 4
    return data[:at] + number + data[at + width :], f"number {number.hex()} at {at}"


def lying(data: bytes, choice: random.Random) -> tuple[bytes, str]:
    """A compiled model whose header is as it should be, but for one thing that it says."""
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        model = json.loads(header["__metadata__"]["model"])
        if choice.random() < 0.2:
            place = header[choice.choice([name for name in header if name != "__metadata__"])]
            how = f"tensor {edit(place, choice)}"
        else:
            how = edit(model, choice)
            header["__metadata__"]["model"] = json.dumps(model)
        text = json.dumps(header).encode()
        text += b" " * (-(len(text) + 8) % 4096)
        return len(text).to_bytes(8, "little") + text + data[8 + length :], how
    except (ValueError, LookupError, TypeError, AttributeError):
        return damaged(data, data, choice)


def edit(document: Any, choice: random.Random) -> str:
    """Change one value somewhere in a document; says where."""
    place, path = document, ""
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = choice.choice(keys)
        path += f"/{key}"
        value = place[key]
        if isinstance(value, (dict, list)) and value and choice.random() < 0.93:
            place = value
            continue
        if isinstance(place, list) and choice.random() < 0.3:
            other = choice.choice(keys)
            kind = choice.randrange(3)
            if kind == 0:
                place.pop(key)
            elif kind == 1:
                place.insert(other, value)
            else:
                place[key], place[other] = place[other], value
        elif isinstance(value, int) and choice.random() < 0.8:
            small = (value + 1, value - 1, 2 * value, value + 16, value // 2)
            place[key] = choice.choice((*small, *EDGES))
        elif isinstance(value, str) and choice.random() < 0.8:
            place[key] = choice.choice((*texts(document), ""))
        else:
            place[key] = choice.choice((None, [], {}, "", 0, -1, 1.5, True, value))
        return path


def texts(document: Any) -> list[str]:
    """Every text in a document: names of operators, of functions, of tensors."""
    if isinstance(document, str):
        return [document]
    items = document.values() if isinstance(document, dict) else document
    if not isinstance(document, (dict, list)):
        return []
    return [text for item in items for text in texts(item)]


def every(data: bytes, part: bytes) -> list[int]:
    found, at = [], data.find(part)
    while at >= 0:
        found.append(at)
        at = data.find(part, at + 1)
    return found


def run(files: dict[str, bytes], folder: Path, engine: str, number: int) -> str:
    """Load and score; what it ended in."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    options: dict[str, Any] = {"threads": 1, "batch_size": 2}
    try:
        if COMPILED in files:
            model = fastprop.load_model(folder / COMPILED)
        else:
            model = fastprop.load_model(folder, positive_index=(0, 1, None)[number % 3])
            options["engine"] = engine
            options["weights"] = ("mapped", "copied", "bfloat16")[number % 5 % 3]
        with model.predictor(**options) as predictor:
            rows, inputs = rows_of(model, number)
            scores = predictor.predict(rows, inputs=inputs)
            predictor.predict_top_k(rows, k=2, inputs=inputs)
        assert scores.shape == (N_ROWS, model.n_labels), scores.shape
    except FastpropError as error:
        return type(error).__name__
    return "scores"


def rows_of(model: fastprop.Model, number: int) -> tuple[Any, dict[str, Any]]:
    rng = np.random.default_rng(number)
    first, *further = model.inputs
    shapes = model.input_row_shapes
    if first.storage == "csr":
        rows: Any = [([], []), ([0], [1.0]), ([model.n_features - 1], [2.0])][:N_ROWS]
    else:
        rows = rng.integers(0, 4, (N_ROWS, *shapes[first.name])).astype(np.float32)
    return rows, {
        spec.name: np.ones((N_ROWS, *shapes[spec.name]), dtype=np.float32) for spec in further
    }


def child(cases: Cases, numbers: range, options: argparse.Namespace, report: int) -> None:
    """Run some cases, telling the parent what begins and how it ended."""
    folder = Path(tempfile.mkdtemp(prefix="mutate-", dir=memory_folder()))
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = mapped + (options.memory << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        for number in numbers:
            os.write(report, f"begin {number}\n".encode())
            _, files = cases.make(number)
            try:
                ended = run(files, folder, options.engine, number)
            except BaseException:
                text = traceback.format_exc()
                os.write(report, f"raised {number} {json.dumps(text)[:3000]}\n".encode())
            else:
                os.write(report, f"ended {number} {ended}\n".encode())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    os.write(report, b"done\n")


def memory_folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Worker:
    """A child process, seen from its parent."""

    def __init__(self, cases: Cases, numbers: range, options: argparse.Namespace) -> None:
        self.numbers = numbers
        self.current: int | None = None
        self.since = time.monotonic()
        self.finished = False
        self.buffer = b""
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        self.pipe, report = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self.pipe)
            os.dup2(self.log.fileno(), 1)
            os.dup2(self.log.fileno(), 2)
            with contextlib.suppress(BaseException):
                child(cases, numbers, options, report)
            os._exit(0)
        os.close(report)

    def lines(self) -> list[bytes] | None:
        """Whole lines of what the child has written by now; None at the end of it."""
        more = os.read(self.pipe, 1 << 16)
        if not more:
            return None
        self.buffer += more
        *lines, self.buffer = self.buffer.split(b"\n")
        return lines

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read()[-3000:].decode(errors="replace")

    def close(self) -> int:
        os.close(self.pipe)
        if not self.finished:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        return os.waitpid(self.pid, 0)[1]


class Driver:
    """Keeps children at work and counts how cases end."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.cases = Cases()
        self.ended: Counter[str] = Counter()
        self.findings = 0
        self.slowest = 0.0

    def keep(self, number: int, what: str, text: str) -> None:
        """Keep a finding: what happened, and the files."""
        self.findings += 1
        self.ended[what] += 1
        how, files = self.cases.make(number)
        folder = Path(self.options.findings) / f"{what}-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        (folder / "what.txt").write_text(f"case {number}: {how}\n{text}\n")
        print(f"{what}: case {number} ({how}): {text.strip().splitlines()[-1:]}", flush=True)

    def run(self) -> None:
        options = self.options
        waiting = [
            range(begin, min(begin + options.recycle, options.first + options.count))
            for begin in range(options.first, options.first + options.count, options.recycle)
        ]
        waiting.reverse()
        workers: list[Worker] = []
        last = began = time.monotonic()
        while waiting or workers:
            while waiting and len(workers) < options.jobs:
                workers.append(Worker(self.cases, waiting.pop(), options))
            ready, _, _ = select.select([worker.pipe for worker in workers], [], [], 0.5)
            for worker in list(workers):
                rest = self.watch(worker, worker.pipe in ready)
                if rest is not None:
                    workers.remove(worker)
                    if rest:
                        waiting.append(rest)
            if time.monotonic() - last > options.report:
                last = time.monotonic()
                print(self.summary(last - began), flush=True)
        print(self.summary(time.monotonic() - began), flush=True)

    def watch(self, worker: Worker, readable: bool) -> range | None:
        """What is left of a worker's cases once it has ended; None while it works."""
        if readable:
            lines = worker.lines()
            for line in lines or ():
                word, _, rest = line.decode().partition(" ")
                if word == "begin":
                    worker.current, worker.since = int(rest), time.monotonic()
                    continue
                if word == "done":
                    worker.finished = True
                    continue
                self.slowest = max(self.slowest, time.monotonic() - worker.since)
                number, _, text = rest.partition(" ")
                if word == "ended":
                    self.ended[text] += 1
                else:
                    self.keep(int(number), "raised", text.encode().decode("unicode_escape"))
                worker.current = None
            if lines is not None:
                return None
            status = worker.close()
            if worker.finished:
                return range(0)
            return self.lost(worker, "crashed", f"status {status:#x}: {worker.said()}")
        if time.monotonic() - worker.since > self.options.seconds:
            worker.close()
            return self.lost(worker, "hung", worker.said())
        return None

    def lost(self, worker: Worker, what: str, text: str) -> range:
        number = worker.numbers.start if worker.current is None else worker.current
        self.keep(number, what, text)
        return range(number + 1, worker.numbers.stop)

    def summary(self, seconds: float) -> str:
        cases = sum(self.ended.values())
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.ended.most_common())
        return (
            f"{cases:,} cases in {seconds / 60:.1f} min ({kinds}); slowest "
            f"{self.slowest:.2f} s; {self.findings} findings"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="cases")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--engine", default="native", choices=("native", "auto", "mxnet"))
    parser.add_argument("--memory", type=int, default=1024, help="MiB that a child may map more")
    parser.add_argument("--seconds", type=float, default=20, help="most that a case may take")
    parser.add_argument("--recycle", type=int, default=5_000, help="cases a child")
    parser.add_argument("--report", type=float, default=60, help="seconds between reports")
    parser.add_argument("--findings", default="findings", help="folder for what was found")
    driver = Driver(parser.parse_args())
    driver.run()
    return 1 if driver.findings else 0


if __name__ == "__main__":
    sys.exit(main())

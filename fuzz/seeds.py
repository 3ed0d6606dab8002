"""Seed corpora: valid inputs of every target, small ones, made here and kept nowhere.

python fuzz/seeds.py FOLDER writes one folder a target.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.networks import FACTORIES  # noqa: E402

import fastprop  # noqa: E402
from fastprop.checkpoint.directory import write_checkpoint  # noqa: E402
from fastprop.features.dictionary import FeatureDictionary  # noqa: E402
from fastprop.features.settings import FeatureSettings  # noqa: E402

__all__ = ["checkpoints", "compiled_models", "seeds", "write_seeds"]

N_FEATURES = 60


def checkpoints() -> dict[str, tuple[bytes, bytes]]:
    """Symbol and parameters of one small network of each kind."""
    made = {}
    for name, factory in FACTORIES.items():
        with tempfile.TemporaryDirectory() as folder:
            files = write_checkpoint(folder, "seed", 0, factory(np.random.default_rng(0)))
            made[name] = files.symbol.read_bytes(), files.params.read_bytes()
    return made


def compiled_models() -> dict[str, bytes]:
    """The same networks, compiled to one file each."""
    made = {}
    for name, factory in FACTORIES.items():
        with tempfile.TemporaryDirectory() as folder:
            write_checkpoint(folder, "seed", 0, factory(np.random.default_rng(0)))
            path = Path(folder, "seed.fastprop")
            try:
                fastprop.load_model(folder).compile(path)
            except fastprop.EngineError:
                continue  # not one for the native engine
            made[name] = path.read_bytes()
    return made


def seeds(target: str) -> Iterator[bytes]:
    """Seeds of one target."""
    yield from {
        "params": lambda: [params for _, params in checkpoints().values()],
        "symbol": lambda: [symbol for symbol, _ in checkpoints().values()],
        "compiled": lambda: list(compiled_models().values()),
        "rows": rows,
        "csr": csr,
        "arrow": lambda: [stream(batch) for batch in batches()],
        "jsonl": jsonl,
        "svmlight": svmlight,
        "npz": npz,
        "ipc": lambda: [*map(file, batches()), *map(stream, batches())],
        "parquet": lambda: [parquet(batch) for batch in batches()],
        "transactions": transactions,
        "dictionary": dictionary,
    }[target]()


def rows() -> Iterator[bytes]:
    """Any bytes are rows: a few lengths of noise."""
    rng = np.random.default_rng(0)
    for length in (0, 8, 64, 300, 1000):
        for _ in range(8):
            yield rng.integers(0, 256, length, dtype=np.uint8).tobytes()


def csr() -> Iterator[bytes]:
    """Noise, behind the small numbers that the C++ fuzzer reads first."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        head = rng.integers(0, 9, 16, dtype=np.uint8).tobytes()
        yield head + rng.integers(0, 9, rng.integers(0, 400), dtype=np.uint8).tobytes()


def batches() -> Iterator[Any]:
    """Record batches in every layout that holds rows."""
    indices = [[0, 3, 59], [], [5], None, [7, 2]]
    values = [[1.0, -2.0, 0.5], [], [3.0], None, [1.0, 1.0]]
    ids = pa.array([10, 11, 12, 13, 14])
    for index, value, make in (
        (pa.int32(), pa.float32(), pa.list_),
        (pa.int64(), pa.float64(), pa.large_list),
        (pa.uint8(), pa.float16(), pa.list_),
    ):
        given = [None if row is None else np.array(row, np.float16) for row in values]
        columns = pa.array(indices, make(index))
        numbers = pa.array(given if value == pa.float16() else values, make(value))
        yield pa.record_batch({"id": ids, "indices": columns, "values": numbers})
        yield pa.record_batch(
            {
                "id": ids,
                "features": pa.StructArray.from_arrays([columns, numbers], ["indices", "values"]),
            }
        )
    pairs = [None if row is None else list(zip(row, value)) for row, value in zip(indices, values)]
    yield pa.record_batch(
        {"id": ids, "features": pa.array(pairs, pa.map_(pa.int32(), pa.float32()))}
    )
    pair = pa.struct([("k", pa.int32()), ("v", pa.float32())])
    listed = [
        None if row is None else [{"k": key, "v": value} for key, value in row] for row in pairs
    ]
    yield pa.record_batch({"id": ids, "features": pa.array(listed, pa.list_(pair))})
    vector = pa.struct(
        [
            ("type", pa.int8()),
            ("size", pa.int32()),
            ("indices", pa.list_(pa.int32())),
            ("values", pa.list_(pa.float64())),
        ]
    )
    vectors = [
        {"type": 0, "size": N_FEATURES, "indices": [0, 3], "values": [1.0, 2.0]},
        {"type": 1, "size": None, "indices": None, "values": [0.0] * (N_FEATURES - 1) + [2.0]},
        None,
    ]
    yield pa.record_batch({"id": ids[:3], "features": pa.array(vectors, vector)})


def stream(batch: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch.slice(1))
    return sink.getvalue()


def file(batch: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch.slice(1))
    return sink.getvalue()


def parquet(batch: Any) -> bytes:
    sink = io.BytesIO()
    table = pa.Table.from_batches([batch])
    numbers = [
        number for number, field in enumerate(table.schema) if "halffloat" not in str(field.type)
    ]
    pq.write_table(table.select(numbers), sink, row_group_size=2)
    return sink.getvalue()


def jsonl() -> Iterator[bytes]:
    records = [
        {"id": 1, "indices": [0, 59, 3], "values": [1.0, 2.5, -1e30]},
        {"id": 2, "indices": [], "values": []},
        {"id": 3, "indices": None, "values": None},
    ]
    yield b"".join(json.dumps(record).encode() + b"\n" for record in records)
    records = [{"id": "a", "features": {"0": 1.0, "59": 2}}, {"id": "b", "features": {}}]
    yield b"\r\n".join(json.dumps(record).encode() for record in records)
    yield b'{"customerId": 7, "features": {"indices": [1], "values": [2e-3]}}\n\n# no\n'


def svmlight() -> Iterator[bytes]:
    yield b"1 0:1.5 3:-2 59:1e-3 # comment\n0\n-1 qid:4 5:1\n\n"
    yield b"# head\n1,2 1:1 60:2\r\n+1 7:nan\n"


def npz() -> Iterator[bytes]:
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        for index, value in (("i4", "f4"), ("i8", "f8"), ("i4", "i8")):
            sink = io.BytesIO()
            with zipfile.ZipFile(sink, "w", compression) as archive:
                for name, array in {
                    "format": np.array(b"csr"),
                    "shape": np.array([3, N_FEATURES]),
                    "indptr": np.array([0, 2, 2, 3], index),
                    "indices": np.array([0, 59, 3], index),
                    "data": np.array([1, 2, 3], value),
                }.items():
                    with archive.open(f"{name}.npy", "w") as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
            yield sink.getvalue()


def transactions() -> Iterator[bytes]:
    yield (
        b"c,i,t,q,p,o,k\n"
        b"1,milk,2024-01-01 10:00:00,2,1.5,o1,food\n"
        b"1,soap,2024-01-02 10:00:00,-1,1.5,C2,home\n"
        b",soap,2024-01-02,1,1.5,,home\n"
        b'2,"a ""b""",2024-01-03T10:00:00Z,1,0,o3,\n'
    )
    yield b"c,i,t,q,p,o,k\n"


def dictionary() -> Iterator[bytes]:
    for width in (None, 60):
        made = FeatureDictionary(
            settings=FeatureSettings(hash_width=width) if width else FeatureSettings(),
            items=() if width else ("milk", "soap"),
            categories=() if width else ("food",),
            attributes=(("country", ("de", "fr")),),
            periods=("2024-01-01T00:00:00",),
            has_categories=True,
            label_level="category",
            labels=("food", "home"),
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "features.json")
            made.save(path)
            yield path.read_bytes()


def write_seeds(folder: Path, target: str) -> Path:
    """Write the seeds of a target into a folder of its own."""
    place = folder / target
    place.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds(target)):
        (place / f"seed-{number:03d}").write_bytes(data)
    return place


if __name__ == "__main__":
    from targets import TARGETS

    for name in (*TARGETS, "csr"):
        print(write_seeds(Path(sys.argv[1]), name))

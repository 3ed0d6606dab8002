"""Random sparse rows, and files of them in every format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse

N_FEATURES = 50


def random_rows(n_rows: int, *, seed: int = 0, n_features: int = N_FEATURES) -> Any:
    """A SciPy matrix of float32 rows, some of them empty."""
    rng = np.random.default_rng(seed)
    rows = scipy.sparse.random(
        n_rows, n_features, density=0.1, format="csr", dtype=np.float32, random_state=rng
    )
    rows.sort_indices()
    return rows


def as_table(rows: Any, *, first_id: int = 1000) -> pa.Table:
    offsets = pa.array(rows.indptr.astype(np.int32))
    return pa.table(
        {
            "customer_id": pa.array(np.arange(first_id, first_id + rows.shape[0])),
            "indices": pa.ListArray.from_arrays(offsets, pa.array(rows.indices.astype(np.int32))),
            "values": pa.ListArray.from_arrays(offsets, pa.array(rows.data)),
        }
    )


def write_parquet(path: Path, rows: Any, *, row_group_size: int = 40, first_id: int = 1000) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(as_table(rows, first_id=first_id), path, row_group_size=row_group_size)
    return str(path)


def write_jsonl(path: Path, rows: Any, *, form: str = "lists", first_id: int = 1000) -> str:
    lines = []
    for row in range(rows.shape[0]):
        begin, end = rows.indptr[row], rows.indptr[row + 1]
        indices, values = rows.indices[begin:end].tolist(), rows.data[begin:end].tolist()
        record: dict[str, Any] = {"customer_id": first_id + row}
        if form == "lists":
            record.update(indices=indices, values=values)
        else:
            record["features"] = {str(index): value for index, value in zip(indices, values)}
        lines.append(json.dumps(record) + "\n")
    path.write_text("".join(lines))
    return str(path)


def write_svmlight(path: Path, rows: Any, *, base: int = 0) -> str:
    lines = ["# a comment\n"]
    for row in range(rows.shape[0]):
        begin, end = rows.indptr[row], rows.indptr[row + 1]
        pairs = zip(rows.indices[begin:end].tolist(), rows.data[begin:end].tolist())
        lines.append(f"{row % 2} " + " ".join(f"{i + base}:{v!r}" for i, v in pairs) + "\n")
    path.write_text("".join(lines))
    return str(path)


def csr_to_dense(csr: Any) -> Any:
    """The dense matrix of a CSR whose indptr may start above 0."""
    dense = np.zeros(csr.shape)
    for row in range(csr.shape[0]):
        for entry in range(int(csr.indptr[row]), int(csr.indptr[row + 1])):
            dense[row, csr.indices[entry]] += csr.data[entry]
    return dense

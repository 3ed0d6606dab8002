"""JSON lines: `{"customerId": 1, "predictions": {"category_a": 0.8136}}`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastprop.io.writers.base import OutputSchema, ScoredBatch, present_entries
from fastprop.io.writers.text import float_text, json_text, rows_at_once, text_bytes

__all__ = ["JsonLinesWriter"]


class JsonLinesWriter:
    """Writes a line a row; ranked labels are in their order, best first.

    Parameters
    ----------
    sink : pyarrow.NativeFile
        Where to write; closed by the writer.
    schema : OutputSchema

    Notes
    -----
    A row without a result has `"predictions": null`, and a score that is not finite is null.
    """

    def __init__(self, sink: Any, schema: OutputSchema) -> None:
        self._sink = sink
        # Keys of the columns that are kept, and what stands between their values.
        self._kept = [f", {json.dumps(name, ensure_ascii=False)}: " for name, _ in schema.kept]
        self._keys = pc.binary_join_element_wise(json_text(schema.labels), "", ": ")

    def write(self, batch: ScoredBatch) -> None:
        """Write the lines of a batch."""
        step = rows_at_once(batch.scores.shape[1])
        for start in range(0, len(batch.ids), step):
            self._sink.write(text_bytes(self._lines(batch.slice(start, start + step))))

    def _lines(self, batch: ScoredBatch) -> Any:
        lengths, numbers, scores = present_entries(batch)
        keys = self._keys.take(pa.array(numbers))
        entries = pc.binary_join_element_wise(keys, float_text(scores, not_finite="null"), "")
        offsets = np.zeros(lengths.size + 1, dtype=np.int32)
        np.cumsum(lengths, out=offsets[1:])
        rows = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), entries), ", ")
        values = pc.binary_join_element_wise("{", rows, "}", "")
        if batch.null_rows is not None and batch.null_rows.any():
            values = pc.if_else(pa.array(batch.null_rows), "null", values)
        kept = [
            part for key, column in zip(self._kept, batch.kept) for part in (key, json_text(column))
        ]
        return pc.binary_join_element_wise(
            '{"customerId": ', json_text(batch.ids), *kept, ', "predictions": ', values, "}\n", ""
        )

    def close(self) -> None:
        """Close the file."""
        self._sink.close()

    def abort(self) -> None:
        """Close the file as it is."""
        self._sink.close()

"""Parquet: the id, what is kept, and `scores list<float>` or `top list<struct<label, score>>`."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fastprop.io.results import scores_to_arrow, top_k_to_arrow
from fastprop.io.writers.base import OutputSchema, ScoredBatch

__all__ = ["ParquetWriter"]

# Scores that make a row group. What is kept until then is all the memory that writing takes.
_ROW_GROUP_SCORES = 4 << 20
_ROW_GROUP_ROWS = 1 << 16


class ParquetWriter:
    """Writes a row a row; the labels of full scores are in the file's metadata, as JSON.

    Parameters
    ----------
    sink : pyarrow.NativeFile
        Where to write; closed by the writer.
    schema : OutputSchema
    """

    def __init__(self, sink: Any, schema: OutputSchema) -> None:
        self._sink = sink
        self._schema = schema
        self._kept: list[Any] = []
        self._kept_rows = 0
        self._kept_scores = 0
        name = "top" if schema.ranked else "scores"
        # Labels are handed over by number: no string is copied, and the file holds strings.
        label = pa.dictionary(pa.int32(), pa.string())
        item = (
            pa.struct([("label", label), ("score", pa.float32())])
            if schema.ranked
            else pa.float32()
        )
        fields = pa.schema(
            [(schema.id_column, schema.id_type), *schema.kept, (name, pa.list_(item))]
        )
        if not schema.ranked:
            labels = json.dumps(schema.labels.to_pylist(), ensure_ascii=False)
            fields = fields.with_metadata({"fastprop.labels": labels})
        self._arrow_schema = fields
        self._writer = pq.ParquetWriter(
            sink,
            fields,
            compression=schema.compression,
            use_dictionary=["top.list.element.label"] if schema.ranked else False,
            write_statistics=[schema.id_column],
            # Arrow's own schema would tell readers of dictionaries; the labels are kept with it.
            store_schema=not schema.ranked,
        )

    def write(self, batch: ScoredBatch) -> None:
        """Keep the results of a batch, and write a row group when there is enough for one."""
        if batch.indices is None:
            column = scores_to_arrow(batch.scores, null_rows=batch.null_rows)
        else:
            column = top_k_to_arrow(
                batch.indices,
                batch.scores,
                self._schema.labels,
                null_rows=batch.null_rows,
                dictionary=True,
            )
        self._kept.append(
            pa.RecordBatch.from_arrays([batch.ids, *batch.kept, column], schema=self._arrow_schema)
        )
        self._kept_rows += len(batch.ids)
        self._kept_scores += batch.scores.size
        if self._kept_rows >= _ROW_GROUP_ROWS or self._kept_scores >= _ROW_GROUP_SCORES:
            self._flush()

    def close(self) -> None:
        """Write what was kept and the footer, and close the file."""
        if self._kept:
            self._flush()
        self._writer.close()
        self._sink.close()

    def abort(self) -> None:
        """Close the file as it is."""
        self._kept.clear()
        self._writer.close()
        self._sink.close()

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._kept, self._arrow_schema)
        self._kept.clear()
        self._kept_rows = self._kept_scores = 0
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))

"""Rows that a user brings: a file of sparse rows, or transactions to make features of."""

from __future__ import annotations

import numpy as np

from fastprop.errors import InvalidInputError
from fastprop.model import Model
from fastprop.typing import CSR

__all__ = ["read_rows", "retail_rows"]


def read_rows(model: Model, paths: list[str], n_rows: int) -> CSR:
    """Read the first rows of files in any format that `fastprop score` reads.

    Raises
    ------
    InvalidInputError
        A file cannot be read, or a row does not fit the model.
    """
    from fastprop.io.batches import ReadOptions, RowBatch
    from fastprop.io.files import find_inputs
    from fastprop.io.readers import open_reader

    options = ReadOptions(n_features=model.n_features, batch_rows=n_rows)
    parts: list[CSR] = []
    wanted = n_rows
    for file in find_inputs(paths):
        reader = open_reader(file, options)
        for part in reader.slices():
            for batch in reader.read(part):
                assert isinstance(batch, RowBatch)
                taken = head(batch.rows.csr, wanted)
                parts.append(taken)
                wanted -= taken.shape[0]
                if not wanted:
                    return joined(parts, model.n_features)
    return joined(parts, model.n_features)


def head(rows: CSR, n: int) -> CSR:
    n = min(n, rows.shape[0])
    begin, end = int(rows.indptr[0]), int(rows.indptr[n])
    indptr = np.asarray(rows.indptr[: n + 1]).astype(np.int64) - begin
    return CSR(indptr, rows.indices[begin:end], rows.data[begin:end], (n, rows.shape[1]))


def joined(parts: list[CSR], n_features: int) -> CSR:
    if not parts:
        raise InvalidInputError("the input has no rows")
    starts = np.cumsum([0, *(part.indptr[-1] for part in parts)])
    return CSR(
        np.concatenate([[0], *(part.indptr[1:] + at for part, at in zip(parts, starts))]),
        np.concatenate([part.indices for part in parts]),
        np.concatenate([part.data for part in parts]),
        (sum(part.shape[0] for part in parts), n_features),
    )


def retail_rows(path: str, n_rows: int) -> tuple[CSR, int]:
    """Make features of the Online Retail transactions, as the daily job would.

    Returns
    -------
    CSR
        A row a customer, at most `n_rows`.
    int
        Number of labels that the transactions give.
    """
    from fastprop.features import (
        FeatureSettings,
        LabelSettings,
        TransactionColumns,
        fit_dictionary,
        plan_cutoffs,
        read_transactions,
        scoring_rows,
    )

    transactions = read_transactions(path, TransactionColumns.online_retail())
    labels = LabelSettings()
    dictionary = fit_dictionary(
        [transactions],
        features=FeatureSettings(),
        labels=labels,
        cutoffs=plan_cutoffs([transactions], labels),
    )
    end = np.datetime64(int(transactions.time.max()) + 1, "us")
    rows, _ = scoring_rows(transactions, dictionary, cutoff=end)
    return head(rows.features, n_rows), len(dictionary.labels)

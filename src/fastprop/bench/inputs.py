"""Rows that a user brings: a file of sparse rows, or transactions to make features of."""

from __future__ import annotations

import numpy as np

from fastprop.csr_parts import row_range
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
    from fastprop.io.batches import ReadOptions
    from fastprop.io.first_rows import read_first_rows

    options = ReadOptions(n_features=model.n_features, batch_rows=n_rows)
    return read_first_rows(paths, n_rows, options)


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
    n_rows = min(n_rows, rows.features.shape[0])
    return row_range(rows.features, 0, n_rows), len(dictionary.labels)

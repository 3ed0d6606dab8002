"""Transactions to sparse feature vectors and labels; needs NumPy and pyarrow only.

One pipeline serves all categories. For training it makes a dictionary of features and labelled
rows at several cut-offs; the daily job applies the saved dictionary to new transactions.
"""

from __future__ import annotations

from fastprop.features.build import (
    BuildReport,
    build_scoring_file,
    build_training_files,
    fit_dictionary,
    plan_cutoffs,
    scoring_rows,
    training_rows,
)
from fastprop.features.dictionary import FeatureDictionary
from fastprop.features.extract import Extractor, ExtractReport
from fastprop.features.hashing import CustomerSplit, hash_ids, hash_unit
from fastprop.features.partition import TransactionFiles
from fastprop.features.rows import RowWriter, SparseRows, read_rows
from fastprop.features.settings import FeatureSettings, LabelSettings, TransactionColumns
from fastprop.features.transactions import ReadReport, Transactions, read_transactions

__all__ = [
    "BuildReport",
    "CustomerSplit",
    "ExtractReport",
    "Extractor",
    "FeatureDictionary",
    "FeatureSettings",
    "LabelSettings",
    "ReadReport",
    "RowWriter",
    "SparseRows",
    "TransactionColumns",
    "TransactionFiles",
    "Transactions",
    "build_scoring_file",
    "build_training_files",
    "fit_dictionary",
    "hash_ids",
    "hash_unit",
    "plan_cutoffs",
    "read_rows",
    "read_transactions",
    "scoring_rows",
    "training_rows",
]

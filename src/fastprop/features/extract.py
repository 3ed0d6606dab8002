"""Transactions and a dictionary to feature vectors and labels, at any cut-off.

The one rule of this file: features are computed from lines whose time is before the cut-off, and
labels from lines at or after it. A test changes the future and looks for a difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastprop.checks import shown
from fastprop.errors import InvalidInputError
from fastprop.features import sparse
from fastprop.features.dictionary import FeatureDictionary
from fastprop.features.rows import SparseRows
from fastprop.features.transactions import Transactions
from fastprop.typing import CSR

__all__ = ["ExtractReport", "Extractor", "microseconds"]

_Int64 = npt.NDArray[np.int64]
_DAY = 86_400_000_000
_RECENCY_HALF_LIFE_DAYS = 90.0
_SPEND_SCALE = 0.2
_CUSTOMER_SCALE = 0.25


def microseconds(moment: np.datetime64 | str) -> int:
    """Return microseconds since 1970-01-01 UTC of a date or time, such as `"2011-11-11"`.

    Raises
    ------
    InvalidInputError
        If the text is no ISO 8601 date or time.
    """
    try:
        value = np.datetime64(moment, "us")
    except Exception as error:  # NumPy has several for what it cannot take
        raise InvalidInputError(f"{shown(moment)}: expected a date such as 2011-11-11") from error
    if value.shape or np.isnat(value):
        raise InvalidInputError(f"{shown(moment)}: not a moment in time")
    return int(value.astype(np.int64))


@dataclass(frozen=True)
class ExtractReport:
    """What a dictionary did not know of the lines before the cut-off.

    Attributes
    ----------
    customers : int
        Customers with a purchase before the cut-off; each has a row.
    lines : int
        Purchase lines before the cut-off.
    unseen_items : tuple of str
        Items without columns, sorted. Always empty under a `hash_width`.
    unseen_item_lines : int
        Lines that name them. They count in the features of their category and of the customer.
    unseen_attribute_values : int
        Customers with an attribute value that has no column.
    """

    customers: int
    lines: int
    unseen_items: tuple[str, ...]
    unseen_item_lines: int
    unseen_attribute_values: int

    def __add__(self, other: ExtractReport) -> ExtractReport:
        """Merge the reports of two sets of customers, or of two cut-offs."""
        return ExtractReport(
            customers=self.customers + other.customers,
            lines=self.lines + other.lines,
            unseen_items=tuple(sorted({*self.unseen_items, *other.unseen_items})),
            unseen_item_lines=self.unseen_item_lines + other.unseen_item_lines,
            unseen_attribute_values=self.unseen_attribute_values + other.unseen_attribute_values,
        )


class Extractor:
    """Feature vectors and labels of a set of customers.

    Parameters
    ----------
    transactions : Transactions
        Lines of the customers; borrowed.
    dictionary : FeatureDictionary
        Which features and labels there are.

    Notes
    -----
    Lines are sorted once here and used for every cut-off. Reads only: safe to share between
    threads. Memory: about 60 bytes a line beyond the transactions.
    """

    def __init__(self, transactions: Transactions, dictionary: FeatureDictionary) -> None:
        self._transactions = transactions
        self._dictionary = dictionary
        self._levels: dict[str, tuple[_Int64, _Int64]] = {}
        for level in dictionary.levels:
            codes = transactions.level(level)
            keys = np.append(dictionary.keys(level, codes.names), -1)[codes.codes]
            order = np.lexsort((keys, transactions.customer))
            self._levels[level] = (keys, order[keys[order] >= 0])
        self._labels = self._label_numbers()

    def features(
        self, cutoff: np.datetime64 | str, *, period: str | None = None
    ) -> tuple[SparseRows, ExtractReport]:
        """Make a feature vector for each customer with a purchase before the cut-off.

        Parameters
        ----------
        cutoff : datetime64 or str
            Nothing at or after this moment is looked at.
        period : str, optional
            The training period the rows belong to, if it is one of the dictionary's.

        Returns
        -------
        SparseRows
            Sorted by customer, without labels; columns ascend within a row.
        ExtractReport
        """
        end = microseconds(cutoff)
        data, dictionary = self._transactions, self._dictionary
        before = data.time < end
        n_customers = len(data.customer_ids)
        active = np.flatnonzero(np.bincount(data.customer[before], minlength=n_customers))
        row_of = np.full(n_customers, -1, np.int64)
        row_of[active] = np.arange(len(active))
        blocks = [self._level_block(level, end, row_of, active) for level in dictionary.levels]
        if dictionary.settings.customer:
            blocks.append(self._customer_block(end, row_of, active))
        unknown = 0
        for name, values in dictionary.attributes:
            block, missed = self._attribute_block(name, values, before, row_of, active)
            blocks.append(block)
            unknown += missed
        blocks.append(self._period_block(period, len(active)))
        features = sparse.join_columns(blocks, n_columns=dictionary.n_features)
        if dictionary.settings.hash_width is not None and len(dictionary.levels) > 1:
            features = sparse.sum_duplicates(features)
        rows = SparseRows(
            customer_ids=data.customer_ids[active],
            features=features,
            cutoffs=np.full(len(active), np.datetime64(end, "us")),
        )
        unseen = before & (self._levels["item"][0] < 0)
        report = ExtractReport(
            customers=len(active),
            lines=int(before.sum()),
            unseen_items=tuple(data.items.names[np.unique(data.items.codes[unseen])]),
            unseen_item_lines=int(unseen.sum()),
            unseen_attribute_values=unknown,
        )
        return rows, report

    def labels(self, customer_ids: npt.NDArray[np.generic], start: int, end: int) -> CSR:
        """Say what each customer bought in a period.

        Parameters
        ----------
        customer_ids : ndarray, shape (n_rows,)
            Customers of the transactions, sorted.
        start, end : int
            The period [start, end) in microseconds.

        Returns
        -------
        CSR, shape (n_rows, n_labels)
            An entry of value 0 (the first class) for each label bought.
        """
        data = self._transactions
        n_labels = len(self._dictionary.labels)
        position = np.searchsorted(data.customer_ids, customer_ids)
        row_of = np.full(len(data.customer_ids), -1, np.int64)
        row_of[position] = np.arange(len(customer_ids))
        row = row_of[data.customer]
        inside = (data.time >= start) & (data.time < end) & (self._labels >= 0) & (row >= 0)
        pairs = np.unique(row[inside] * n_labels + self._labels[inside])
        rows, columns = np.divmod(pairs, max(n_labels, 1))
        shape = (len(customer_ids), n_labels)
        return sparse.from_pairs(rows, columns, np.zeros(len(pairs), np.float32), shape=shape)

    def labelled(
        self, cutoff: np.datetime64 | str, *, horizon_days: int, period: str | None = None
    ) -> tuple[SparseRows, ExtractReport]:
        """Make features up to the cut-off and labels of the days that follow it."""
        rows, report = self.features(cutoff, period=period)
        start = microseconds(cutoff)
        labels = self.labels(rows.customer_ids, start, start + horizon_days * _DAY)
        return SparseRows(rows.customer_ids, rows.features, labels, rows.cutoffs), report

    def _label_numbers(self) -> _Int64:
        """Return the label of each line, -1 for none."""
        labels = self._dictionary.labels
        if not labels:
            return np.full(self._transactions.n_lines, -1, np.int64)
        codes = self._transactions.level(self._dictionary.label_level)
        number = {name: position for position, name in enumerate(labels)}
        of_name = np.array([number.get(name, -1) for name in codes.names] + [-1], np.int64)
        return of_name[codes.codes]

    def _level_block(self, level: str, end: int, row_of: _Int64, active: _Int64) -> CSR:
        data, settings = self._transactions, self._dictionary.settings
        keys, order = self._levels[level]
        order = order[data.time[order] < end]
        n_features = self._dictionary.n_features
        if not len(order):
            return sparse.empty_csr(len(active), n_features)
        customer, key = data.customer[order], keys[order]
        new = np.ones(len(order), np.bool_)
        new[1:] = (np.diff(customer) != 0) | (np.diff(key) != 0)
        starts = np.flatnonzero(new)
        age = (end - data.time[order]) / _DAY

        measures: list[npt.NDArray[np.float64]] = []
        if settings.bought:
            measures.append(np.ones(len(starts)))
        if settings.counts:
            measures.append(np.log1p(np.diff(np.append(starts, len(order)))))
        measures += [
            np.add.reduceat(np.exp2(-age / half_life), starts)
            for half_life in settings.half_lives_days
        ]
        if settings.spend:
            measures.append(_SPEND_SCALE * np.log1p(np.add.reduceat(data.spend[order], starts)))
        edges = (0, *settings.windows_days)
        measures += [
            np.log1p(np.add.reduceat(((age > low) & (age <= high)).astype(np.float64), starts))
            for low, high in zip(edges, edges[1:])
        ]
        values = np.stack(measures, axis=1)
        group, measure = np.nonzero(values)
        columns = key[starts][group] * values.shape[1] + measure + self._dictionary.start(level)
        rows = row_of[customer[starts]][group]
        shape = (len(active), n_features)
        return sparse.from_pairs(rows, columns, values[group, measure], shape=shape)

    def _customer_block(self, end: int, row_of: _Int64, active: _Int64) -> CSR:
        data = self._transactions
        before = data.time < end
        customer = row_of[data.customer[before]]
        n_rows = len(active)
        last = np.full(n_rows, np.iinfo(np.int64).min)
        np.maximum.at(last, customer, data.time[before])
        cancelled = row_of[data.cancelled_customer[data.cancelled_time < end]]
        values = np.stack(
            [
                np.ones(n_rows),
                np.exp2(-(end - last) / (_RECENCY_HALF_LIFE_DAYS * _DAY)),
                _log_count(customer[data.opens_order[before]], n_rows),
                _log_count(customer, n_rows),
                _CUSTOMER_SCALE
                * np.log1p(np.bincount(customer, data.spend[before], minlength=n_rows)),
                _log_count(cancelled[cancelled >= 0], n_rows),
            ],
            axis=1,
        )
        rows, measure = np.nonzero(values)
        columns = measure + self._dictionary.start("customer")
        shape = (n_rows, self._dictionary.n_features)
        return sparse.from_pairs(rows, columns, values[rows, measure], shape=shape)

    def _attribute_block(
        self,
        name: str,
        values: tuple[str, ...],
        before: npt.NDArray[np.bool_],
        row_of: _Int64,
        active: _Int64,
    ) -> tuple[CSR, int]:
        """One-hot of the last value before the cut-off; the second result counts unknown ones."""
        data = self._transactions
        codes = data.attributes.get(name)
        if codes is None:
            raise InvalidInputError(f"transactions: no attribute column {name!r}")
        known = np.flatnonzero(before & (codes.codes >= 0))
        latest = np.full(len(active), -1, np.int64)
        # Lines come sorted by customer and time, so that the last assignment is the latest value.
        latest[row_of[data.customer[known]]] = codes.codes[known]
        number = {value: position for position, value in enumerate(values)}
        of_code = np.array([number.get(value, -1) for value in codes.names] + [-1], np.int64)
        column = of_code[latest]
        rows = np.flatnonzero(column >= 0)
        start = self._dictionary.start(f"attribute {name}")
        shape = (len(active), self._dictionary.n_features)
        block = sparse.from_pairs(rows, column[rows] + start, np.ones(len(rows)), shape=shape)
        return block, int(((latest >= 0) & (column < 0)).sum())

    def _period_block(self, period: str | None, n_rows: int) -> CSR:
        periods = self._dictionary.periods
        if period is None or period not in periods:
            return sparse.empty_csr(n_rows, self._dictionary.n_features)
        column = self._dictionary.start("period") + periods.index(period)
        shape = (n_rows, self._dictionary.n_features)
        return sparse.from_pairs(
            np.arange(n_rows), np.full(n_rows, column), np.ones(n_rows), shape=shape
        )


def _log_count(rows: _Int64, n_rows: int) -> npt.NDArray[np.float64]:
    counts: npt.NDArray[np.float64] = _CUSTOMER_SCALE * np.log1p(
        np.bincount(rows, minlength=n_rows)
    )
    return counts

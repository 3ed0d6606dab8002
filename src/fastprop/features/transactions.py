"""Transactions in memory: purchase lines as integer codes, sorted by customer and time.

What counts as a purchase is decided here, once, and everything that is left out is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from fastprop.checks import instance, shown
from fastprop.errors import DTypeError, InvalidInputError
from fastprop.features.files import data_paths, reading
from fastprop.features.settings import TransactionColumns

__all__ = ["Codes", "ReadReport", "Transactions", "read_batches", "read_transactions"]

_Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ReadReport:
    """How many lines were read, and what became of those that are not purchases.

    Attributes
    ----------
    lines : int
        Lines read.
    purchases : int
        Lines that count.
    without_customer, without_item_or_time : int
        Lines that name no customer; lines that lack an item or a time.
    cancellations : int
        Negative quantity, or an order that begins with `C`. They take nothing back: what was
        bought before keeps counting, as it did show an interest. A customer's cancellations are
        counted in a feature of their own.
    unpriced : int
        Quantity zero, or a price that is missing or not positive (samples, corrections).
    """

    lines: int = 0
    purchases: int = 0
    without_customer: int = 0
    without_item_or_time: int = 0
    cancellations: int = 0
    unpriced: int = 0

    def __add__(self, other: ReadReport) -> ReadReport:
        """Sum two reports."""
        return ReadReport(
            *(getattr(self, field.name) + getattr(other, field.name) for field in fields(self))
        )


@dataclass(frozen=True, eq=False)
class Codes:
    """A column of names as numbers: `names[codes[i]]` is the name of line `i`, -1 is null.

    The names are sorted and each occurs.
    """

    names: npt.NDArray[Any]
    codes: npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Transactions:
    """Purchase lines, sorted by customer, then time, then item; safe to share between threads.

    Attributes
    ----------
    customer_ids : ndarray of int64 or object (str), shape (n_customers,)
        Sorted. Customers who only cancelled are among them.
    customer : ndarray of int32, shape (n_lines,)
        Customer of each line, as a number in `customer_ids`.
    time : ndarray of int64, shape (n_lines,)
        Microseconds since 1970-01-01 UTC.
    items : Codes, shape (n_lines,)
    categories : Codes, shape (n_lines,), or None
    spend : ndarray of float64, shape (n_lines,)
        Quantity times price.
    opens_order : ndarray of bool, shape (n_lines,)
        Whether the line is the first of its order; their count is the number of orders.
    attributes : mapping of str to Codes
    cancelled_customer, cancelled_time : ndarray
        Customer and time of each cancelled line.
    report : ReadReport
    """

    customer_ids: npt.NDArray[Any]
    customer: npt.NDArray[np.int32]
    time: _Int64
    items: Codes
    categories: Codes | None
    spend: npt.NDArray[np.float64]
    opens_order: npt.NDArray[np.bool_]
    attributes: Mapping[str, Codes]
    cancelled_customer: npt.NDArray[np.int32]
    cancelled_time: _Int64
    report: ReadReport

    @property
    def n_lines(self) -> int:
        """Number of purchase lines."""
        return len(self.customer)

    def level(self, name: str) -> Codes:
        """Return the codes of level `"item"` or `"category"`.

        Raises
        ------
        InvalidInputError
            If the transactions have no categories.
        """
        if name == "item":
            return self.items
        if self.categories is None:
            raise InvalidInputError(
                "level 'category': the transactions have no category column "
                "(TransactionColumns.category names it)"
            )
        return self.categories

    def of_customers(self, chosen: npt.NDArray[np.bool_]) -> Transactions:
        """Copy the lines of the customers chosen by a mask over `customer_ids`."""
        keep = chosen[self.customer]
        number = (np.cumsum(chosen) - 1).astype(np.int32)
        cancelled = chosen[self.cancelled_customer]
        return Transactions(
            customer_ids=self.customer_ids[chosen],
            customer=number[self.customer[keep]],
            time=self.time[keep],
            items=_subset(self.items, keep),
            categories=None if self.categories is None else _subset(self.categories, keep),
            spend=self.spend[keep],
            opens_order=self.opens_order[keep],
            attributes={name: _subset(codes, keep) for name, codes in self.attributes.items()},
            cancelled_customer=number[self.cancelled_customer[cancelled]],
            cancelled_time=self.cancelled_time[cancelled],
            report=self.report,
        )

    @classmethod
    def from_table(cls, table: Any, columns: TransactionColumns) -> Transactions:
        """Make transactions of a `pyarrow.Table`.

        Parameters
        ----------
        table : pyarrow.Table
            Lines in any order. Identifiers are integers or strings (an item and a category become
            strings), the time a timestamp, a date or ISO 8601 text; with a time zone it becomes
            UTC.
        columns : TransactionColumns
            What each column is.

        Raises
        ------
        InvalidInputError
            If a column is missing.
        DTypeError
            If a column has a type that cannot be used.
        """
        instance("columns", columns, TransactionColumns)
        if not isinstance(table, pa.Table):
            raise DTypeError(f"table is {shown(table)}, and a pyarrow.Table is needed")
        _require(table.column_names, columns, "transactions")
        table = table.select(columns.names)
        kinds, report = _classify(table, columns)
        known = table.filter(pa.array(kinds != _LEFT_OUT))
        kinds = kinds[kinds != _LEFT_OUT]
        customers = _encode(_identifiers(known.column(columns.customer), columns.customer))
        time = _microseconds(known.column(columns.time), columns.time)
        items = _encode(_text(known.column(columns.item), columns.item))
        order = np.lexsort((items.codes, time, customers.codes))
        buys = order[kinds[order] == _PURCHASE]
        cancels = order[kinds[order] == _CANCELLED]
        bought = known.take(pa.array(buys))
        order_codes = (
            None
            if columns.order is None
            else _encode(_text(known.column(columns.order), columns.order)).codes[buys]
        )
        category = columns.category
        return cls(
            customer_ids=customers.names,
            customer=customers.codes[buys],
            time=time[buys],
            items=_subset(items, buys),
            categories=None if category is None else _encode(_text(bought[category], category)),
            spend=_numbers(bought, columns.quantity) * _numbers(bought, columns.price),
            opens_order=_first_of_order(customers.codes[buys], time[buys], order_codes),
            attributes={n: _encode(_text(bought[n], n)) for n in columns.attributes},
            cancelled_customer=customers.codes[cancels],
            cancelled_time=time[cancels],
            report=report,
        )


def read_batches(
    paths: Sequence[str | PathLike[str]], columns: TransactionColumns, *, batch_rows: int = 1 << 18
) -> Iterator[Any]:
    """Read the columns needed from Parquet or CSV files (by suffix), a `pyarrow.Table` a batch.

    Raises
    ------
    InvalidInputError
        If a file cannot be read, or lacks a column; names the file.
    """
    instance("columns", columns, TransactionColumns)
    for path in data_paths("paths", paths):
        with reading(path):
            if path.suffix.lower() in (".csv", ".tsv", ".txt"):
                yield from _read_csv(path, columns)
            else:
                with pq.ParquetFile(path) as file:
                    _require(file.schema_arrow.names, columns, str(path))
                    for batch in file.iter_batches(batch_size=batch_rows, columns=columns.names):
                        yield pa.Table.from_batches([batch])


def read_transactions(
    paths: str | PathLike[str] | Sequence[str | PathLike[str]], columns: TransactionColumns
) -> Transactions:
    """Read transactions whole from one or several Parquet or CSV files.

    Parameters
    ----------
    paths : path or sequence of paths
        Files of the same columns.
    columns : TransactionColumns
        What each column is.

    Raises
    ------
    InvalidInputError
        If a file cannot be read, lacks a column, or there is no line at all.
    """
    several: Any = [paths] if isinstance(paths, (str, PathLike)) else paths
    return concatenate_batches(read_batches(several, columns), columns)


def concatenate_batches(batches: Iterable[Any], columns: TransactionColumns) -> Transactions:
    """Make transactions of tables that belong together."""
    tables = list(batches)
    if not tables:
        raise InvalidInputError("transactions: there is no line to read")
    options = "default" if _schemas_agree(tables) else "permissive"
    return Transactions.from_table(pa.concat_tables(tables, promote_options=options), columns)


def _schemas_agree(tables: Sequence[Any]) -> bool:
    return all(table.schema.equals(tables[0].schema) for table in tables)


def _read_csv(path: Path, columns: TransactionColumns) -> Iterator[Any]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    # Identifiers of digits and letters look like numbers in a first block: they are read as text.
    text = [columns.item, columns.category, columns.order, *columns.attributes]
    reader = pacsv.open_csv(
        path,
        parse_options=pacsv.ParseOptions(delimiter=delimiter),
        convert_options=pacsv.ConvertOptions(
            column_types={name: pa.string() for name in text if name is not None},
            strings_can_be_null=True,
        ),
    )
    with reader:
        _require(reader.schema.names, columns, str(path))
        for batch in reader:
            yield pa.Table.from_batches([batch]).select(columns.names)


def _require(names: Sequence[str], columns: TransactionColumns, place: str) -> None:
    for name in columns.names:
        if (count := names.count(name)) != 1:
            problem = "more than one column" if count else "no column"
            raise InvalidInputError(f"{place}: {problem} {name!r}; there are {', '.join(names)}")


_PURCHASE, _CANCELLED, _LEFT_OUT = 0, 1, 2


def _classify(table: Any, columns: TransactionColumns) -> tuple[npt.NDArray[np.int8], ReadReport]:
    """Say of each line whether it is a purchase, a cancellation, or neither."""
    n_lines = len(table)
    nobody = _mask(pc.is_null(table.column(columns.customer)))
    incomplete = ~nobody & (
        _mask(pc.is_null(table.column(columns.item)))
        | _mask(pc.is_null(table.column(columns.time)))
    )
    usable = ~nobody & ~incomplete
    quantity = _numbers(table, columns.quantity)
    cancelled = quantity < 0
    if columns.order is not None:
        text = _text(table.column(columns.order), columns.order)
        cancelled |= _mask(pc.fill_null(pc.starts_with(text, "C"), False))
    cancelled &= usable
    price = _numbers(table, columns.price)
    unpriced = usable & ~cancelled & ~((quantity > 0) & (price > 0))
    kinds = np.full(n_lines, _PURCHASE, np.int8)
    kinds[cancelled] = _CANCELLED
    kinds[nobody | incomplete | unpriced] = _LEFT_OUT
    report = ReadReport(
        lines=n_lines,
        purchases=int((kinds == _PURCHASE).sum()),
        without_customer=int(nobody.sum()),
        without_item_or_time=int(incomplete.sum()),
        cancellations=int(cancelled.sum()),
        unpriced=int(unpriced.sum()),
    )
    return kinds, report


def _mask(column: Any) -> npt.NDArray[np.bool_]:
    return np.asarray(column.to_numpy(), dtype=np.bool_)


def _numbers(table: Any, name: str | None) -> npt.NDArray[np.float64]:
    """Return a column as float64, null as NaN; ones where there is no such column."""
    if name is None:
        return np.ones(len(table))
    column = table.column(name)
    try:
        return np.asarray(pc.cast(column, pa.float64()).to_numpy(), dtype=np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DTypeError(f"column {name!r}: expected numbers, got {column.type}") from error


def _identifiers(column: Any, name: str) -> Any:
    if pa.types.is_integer(column.type):
        return pc.cast(column, pa.int64())
    if pa.types.is_floating(column.type):  # integers with nulls, as other tools write them
        try:
            return pc.cast(column, pa.int64())
        except pa.ArrowInvalid as error:
            raise DTypeError(f"column {name!r}: a fractional identifier: {error}") from error
    return _text(column, name)


def _text(column: Any, name: str) -> Any:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)
    ):
        raise DTypeError(f"column {name!r}: expected strings or integers, got {column.type}")
    return pc.cast(column, pa.string())


def _microseconds(column: Any, name: str) -> _Int64:
    kind = column.type
    if not (
        pa.types.is_timestamp(kind)
        or pa.types.is_date(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
    ):
        raise DTypeError(f"column {name!r}: expected timestamps, got {kind}")
    try:
        moments = pc.cast(column, pa.timestamp("us"), safe=False)
    except pa.ArrowInvalid as error:
        raise DTypeError(f"column {name!r}: {error}") from error
    return np.asarray(pc.cast(moments, pa.int64()).to_numpy(), dtype=np.int64)


def _encode(column: Any) -> Codes:
    """Give numbers to the names of a column in sorted order; the order of lines has no effect."""
    encoded = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = pc.dictionary_encode(encoded)
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    names = encoded.dictionary.to_numpy(zero_copy_only=False)
    order = np.argsort(names, kind="stable")
    rank = np.empty(len(names) + 1, np.int32)
    rank[order] = np.arange(len(names), dtype=np.int32)
    rank[-1] = -1
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    return Codes(names=names[order], codes=rank[codes])


def _subset(codes: Codes, chosen: npt.NDArray[Any]) -> Codes:
    """Take some lines, and drop the names that none of them has."""
    taken = codes.codes[chosen]
    used = np.zeros(len(codes.names) + 1, np.bool_)
    used[taken] = True
    used = used[:-1] if len(used) > 1 else used[:0]
    number = np.append(np.cumsum(used) - 1, -1).astype(np.int32)
    return Codes(names=codes.names[used], codes=number[taken])


def _first_of_order(
    customer: npt.NDArray[np.int32], time: _Int64, order: npt.NDArray[np.int32] | None
) -> npt.NDArray[np.bool_]:
    """Mark a line of each order that no other line of it precedes; lines come sorted by time."""
    key: npt.NDArray[Any] = time if order is None else order
    by_order = np.lexsort((np.arange(len(key)), key, customer))
    new = np.ones(len(key), np.bool_)
    new[1:] = (np.diff(key[by_order]) != 0) | (np.diff(customer[by_order]) != 0)
    first = np.zeros(len(key), np.bool_)
    first[by_order[new]] = True
    return first

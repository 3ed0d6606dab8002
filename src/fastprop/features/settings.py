"""What a feature vector and a label are made of: frozen settings, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastprop.checks import (
    check_choice,
    column_name,
    flag,
    number,
    shown,
    whole_number,
    whole_numbers,
)
from fastprop.errors import DTypeError, InvalidInputError

__all__ = ["FeatureSettings", "LabelSettings", "TransactionColumns"]

_LEVELS = ("item", "category")
_MOST = (1 << 31) - 1
_MOST_DAYS = 100_000  # times are microseconds in 64 bits
_MOST_CUTOFFS = 1000


@dataclass(frozen=True)
class TransactionColumns:
    """Which column of a transaction table plays which part.

    Parameters
    ----------
    customer, item, time : str
        Names of the columns that are needed: whose line it is, what was bought, and when.
    category : str, optional
        The group an item belongs to. It gives features of its own, and labels if asked.
    quantity, price : str, optional
        How many, and at how much each. Spend is their product; a missing one counts as 1.
    order : str, optional
        What lines of one visit share. Without it, lines of the same moment are one order.
    attributes : tuple of str
        Further columns that describe the customer, such as a country; the last value known before
        the cut-off becomes a one-hot feature.

    Notes
    -----
    A line is a cancellation if its quantity is negative, or if its order begins with `C` (as the
    invoice numbers of many shops do). See `fastprop.features.Transactions` for what becomes of it.
    """

    customer: str = "customer_id"
    item: str = "item"
    time: str = "time"
    category: str | None = None
    quantity: str | None = None
    price: str | None = None
    order: str | None = None
    attributes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("customer", "item", "time"):
            column_name(name, getattr(self, name))
        for name in ("category", "quantity", "price", "order"):
            if getattr(self, name) is not None:
                column_name(name, getattr(self, name))
        if not isinstance(self.attributes, (tuple, list)):
            raise DTypeError(
                f"attributes is {shown(self.attributes)}, and a tuple of names is needed"
            )
        for place, name in enumerate(self.attributes):
            column_name(f"attributes[{place}]", name)

    @property
    def names(self) -> list[str]:
        """Every column that is read, each once, in a fixed order."""
        named = (
            self.customer,
            self.item,
            self.time,
            self.category,
            self.quantity,
            self.price,
            self.order,
        )
        return list(dict.fromkeys([n for n in named if n is not None] + list(self.attributes)))

    @classmethod
    def online_retail(cls) -> TransactionColumns:
        """Return the columns of the UCI Online Retail data set."""
        return cls(
            customer="CustomerID",
            item="StockCode",
            time="InvoiceDate",
            quantity="Quantity",
            price="UnitPrice",
            order="InvoiceNo",
            attributes=("Country",),
        )


@dataclass(frozen=True)
class FeatureSettings:
    """Which features are made of a customer's purchases before the cut-off.

    Each item (and each category, where the transactions have one) gives a column a measure:

    ==============  ==============================================================
    `bought`        1
    `count`         log(1 + lines)
    `recent<H>`     sum over lines of 2 ** (-age / H), age in days, half-life H
    `spend`         log(1 + spend) / 5
    `days<A>-<B>`   log(1 + lines more than A and at most B days old)
    ==============  ==============================================================

    Parameters
    ----------
    bought, counts, spend : bool
        Whether to make `bought`, `count` and `spend`.
    half_lives_days : tuple of float
        The `recent` measures.
    windows_days : tuple of int
        Ends of the windows, increasing; the first window begins at the cut-off.
    customer : bool
        Whether to describe the customer: recency, orders, lines, spend, cancellations.
    attributes : bool
        Whether to use the attribute columns.
    min_customers : int
        Items, categories and attribute values of fewer customers get no column.
    hash_width : int, optional
        Give the items and categories together at most this many columns, by a hash of the name,
        in place of a column for each that was seen. Those that share a column count together.
    """

    bought: bool = True
    counts: bool = True
    half_lives_days: tuple[float, ...] = (30.0, 120.0)
    spend: bool = True
    windows_days: tuple[int, ...] = (28, 84, 365)
    customer: bool = True
    attributes: bool = True
    min_customers: int = 5
    hash_width: int | None = None

    def __post_init__(self) -> None:
        lives = self.half_lives_days
        if not isinstance(lives, (tuple, list)):
            raise DTypeError(f"half_lives_days is {shown(lives)}, and a tuple of numbers is needed")
        checked: dict[str, Any] = {
            name: flag(name, getattr(self, name))
            for name in ("bought", "counts", "spend", "customer", "attributes")
        }
        checked["half_lives_days"] = tuple(
            number(f"half_lives_days[{place}]", each) for place, each in enumerate(lives)
        )
        checked["windows_days"] = whole_numbers("windows_days", self.windows_days, _MOST_DAYS)
        checked["min_customers"] = whole_number("min_customers", self.min_customers, 1 << 62)
        if self.hash_width is not None:
            checked["hash_width"] = whole_number("hash_width", self.hash_width, _MOST)
        # Numbers of NumPy among them would not go into a dictionary's file.
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if any(not half_life > 0 for half_life in self.half_lives_days):
            raise InvalidInputError(f"half_lives_days: {self.half_lives_days} must be positive")
        edges = (0, *self.windows_days)
        if any(after <= before for before, after in zip(edges, edges[1:])):
            raise InvalidInputError(
                f"windows_days: {self.windows_days} must be positive and increasing"
            )
        if not self.measures:
            raise InvalidInputError("FeatureSettings: every measure of an item is switched off")
        if self.hash_width is not None and self.hash_width < len(self.measures):
            raise InvalidInputError(
                f"hash_width: {self.hash_width} holds not even one item's {len(self.measures)} "
                "measures"
            )

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures of an item, in the order of their columns."""
        names = ["bought"] if self.bought else []
        names += ["count"] if self.counts else []
        names += [f"recent{half_life:g}" for half_life in self.half_lives_days]
        names += ["spend"] if self.spend else []
        edges = (0, *self.windows_days)
        names += [f"days{low}-{high}" for low, high in zip(edges, edges[1:])]
        return tuple(names)


@dataclass(frozen=True)
class LabelSettings:
    """What is predicted, and from how many cut-offs rows for training are made.

    Parameters
    ----------
    level : {"item", "category"}
        Whether a label is an item or a category of the transactions.
    horizon_days : int
        Length of the label period, which begins at the cut-off.
    max_labels : int
        At most so many labels, those bought by the most customers.
    min_customers : int
        What fewer customers have bought is no label.
    cutoffs : int
        Number of cut-offs. The last is chosen so that its label period ends with the data, unless
        it is given where the rows are made.
    step_days : int
        Days between cut-offs. A step shorter than the horizon makes the label periods overlap.
    """

    level: str = "item"
    horizon_days: int = 28
    max_labels: int = 1500
    min_customers: int = 10
    cutoffs: int = 6
    step_days: int = 28

    def __post_init__(self) -> None:
        check_choice("level", self.level, _LEVELS)
        for name, most in (
            ("horizon_days", _MOST_DAYS),
            ("max_labels", 1 << 62),
            ("min_customers", 1 << 62),
            ("cutoffs", _MOST_CUTOFFS),
            ("step_days", _MOST_DAYS),
        ):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), most))

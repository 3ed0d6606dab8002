"""A made-up shop whose customers behave in a known way, so that one can tell what was learned.

Each customer belongs to a segment, which likes some categories more than others; has favourites,
which are bought again and again; and buys the companions of what was bought in the weeks before.
Categories have a season, which favourites follow too. The generator knows what everyone may be
expected to buy in the last weeks, and no model can be expected to rank better than by that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fastprop.errors import InvalidInputError
from fastprop.features.settings import TransactionColumns

__all__ = ["Population", "PopulationSettings", "make_population"]

_START = np.datetime64("2024-01-01T00:00:00", "us")
_DAY = 86_400_000_000
_REGIONS = ("North", "East", "South", "West")
_Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PopulationSettings:
    """The size of the shop and the habits of its customers.

    Parameters
    ----------
    customers, items, categories, segments : int
    weeks : int
        Length of the history, the label period included.
    label_weeks : int
        Weeks at the end for which the expected purchases are computed.
    favourites : int
        Items that a customer buys again and again.
    lines_a_week : float
        Mean purchase lines of a customer; customers differ a good deal around it.
    favourite_share, companion_share : float
        Shares of the lines that are favourites, and companions of something bought in the eight
        weeks before. The others are picked by segment, season and popularity.
    seed : int
    """

    customers: int = 12_000
    items: int = 500
    categories: int = 25
    segments: int = 6
    weeks: int = 44
    label_weeks: int = 4
    favourites: int = 6
    lines_a_week: float = 1.2
    favourite_share: float = 0.3
    companion_share: float = 0.35
    seed: int = 0

    def __post_init__(self) -> None:
        if self.items < self.categories or self.items % 2:
            raise InvalidInputError(
                f"items: {self.items} must be even and at least the {self.categories} categories"
            )
        if not 0 <= self.favourite_share + self.companion_share <= 1:
            raise InvalidInputError("favourite_share and companion_share: more than all lines")
        for name in ("customers", "segments", "label_weeks", "favourites"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name}: {getattr(self, name)} must be at least 1")
        if self.weeks <= self.label_weeks:
            raise InvalidInputError("weeks: must be more than label_weeks")


@dataclass(frozen=True, eq=False)
class Population:
    """A shop's transactions, and what only its maker knows.

    Attributes
    ----------
    table : pyarrow.Table
        Columns `customer_id`, `item`, `category`, `time`, `order_id`, `quantity`, `price`,
        `region`, sorted by time.
    expected : ndarray of float64, shape (customers, items)
        Expected lines of each customer (in the order of their ids, from 1) and item in the label
        period, given everything before it.
    item_names : list of str
        Name of each column of `expected`.
    """

    table: Any
    expected: _Float
    item_names: list[str]

    @property
    def columns(self) -> TransactionColumns:
        """What each column of the table is."""
        return TransactionColumns(
            category="category",
            quantity="quantity",
            price="price",
            order="order_id",
            attributes=("region",),
        )


def make_population(settings: PopulationSettings) -> Population:
    """Make a shop; the same settings give the same shop."""
    shop = _Shop(settings)
    weeks = [shop.week(number) for number in range(settings.weeks - settings.label_weeks)]
    expected = shop.expected()
    weeks += [
        shop.week(number) for number in range(settings.weeks - settings.label_weeks, settings.weeks)
    ]
    return Population(_table(shop, weeks), expected, shop.item_names)


class _Shop:
    """The state of the shop as weeks go by."""

    def __init__(self, settings: PopulationSettings) -> None:
        self.settings = settings
        self.generator = generator = np.random.default_rng(settings.seed)
        n_customers, n_items = settings.customers, settings.items
        self.category = np.sort(np.arange(n_items) % settings.categories)
        self.item_names = [
            f"{_category_name(category)}-{number:04d}"
            for number, category in enumerate(self.category)
        ]
        # A few items of a category are bought far more than others.
        weight = generator.pareto(1.5, n_items) + 0.2
        total = np.bincount(self.category, weight)
        self.share = weight / total[self.category]
        first, second = generator.permutation(n_items).reshape(2, -1)
        self.partner = np.empty(n_items, np.int64)
        self.partner[first], self.partner[second] = second, first
        self.segment = generator.integers(0, settings.segments, n_customers)
        self.taste = generator.dirichlet(np.full(settings.categories, 0.15), settings.segments)
        self.region = generator.integers(0, len(_REGIONS), n_customers)
        self.peak = generator.random(settings.categories)
        self.rate = generator.gamma(1.2, settings.lines_a_week / 1.2, n_customers)
        self.price = np.round(np.exp(generator.normal(1.2, 0.7, n_items)), 2) + 0.5
        liked = self._browse(np.repeat(np.arange(n_customers), settings.favourites), week=0)
        self.favourites = liked.reshape(n_customers, settings.favourites)
        self.recent = np.zeros((8, n_customers, n_items), np.bool_)

    def season(self, week: int) -> _Float:
        """Return the weight of each category in a week of the year."""
        phase = 2 * np.pi * (week / 52 - self.peak)
        weight: _Float = np.exp(2.0 * np.cos(phase))
        return weight

    def chances(self, week: int) -> _Float:
        """Return the chance of each item for browsers of each segment, shape (segments, items)."""
        weight = self.taste * self.season(week)
        weight /= weight.sum(axis=1, keepdims=True)
        chances: _Float = weight[:, self.category] * self.share
        return chances

    def loyalty(self, week: int) -> _Float:
        """Return the chance of each favourite of each customer, shape (customers, favourites)."""
        weight = self.season(week)[self.category[self.favourites]]
        chances: _Float = weight / weight.sum(axis=1, keepdims=True)
        return chances

    def _browse(self, customers: npt.NDArray[np.int64], week: int) -> npt.NDArray[np.int64]:
        chances = self.chances(week)
        picked = np.empty(len(customers), np.int64)
        segment = self.segment[customers]
        for number in range(self.settings.segments):
            chosen = np.flatnonzero(segment == number)
            picked[chosen] = self.generator.choice(
                self.settings.items, len(chosen), p=chances[number] / chances[number].sum()
            )
        return picked

    def week(self, week: int) -> tuple[npt.NDArray[np.int64], ...]:
        """Let a week pass; returns customer, item, time and quantity of each line."""
        settings, generator = self.settings, self.generator
        count = generator.poisson(self.rate)
        customer = np.repeat(np.arange(settings.customers), count)
        kind = generator.random(len(customer))
        item = self._browse(customer, week)
        loyal = np.flatnonzero(kind < settings.favourite_share)
        chances = np.cumsum(self.loyalty(week), axis=1)[customer[loyal]]
        choice = (generator.random((len(loyal), 1)) > chances[:, :-1]).sum(axis=1)
        item[loyal] = self.favourites[customer[loyal], choice]
        bought = self.recent.any(axis=0)
        follows = np.flatnonzero(
            (kind >= settings.favourite_share)
            & (kind < settings.favourite_share + settings.companion_share)
            & bought.any(axis=1)[customer]
        )
        item[follows] = self._companions(customer[follows], bought)
        day = generator.integers(0, 7, settings.customers)  # one visit a week
        moment = (week * 7 + day[customer]) * _DAY + 9 * 3_600_000_000
        moment += customer % 36_000 * 1_000_000
        self.recent[week % 8] = False
        self.recent[week % 8, customer, item] = True
        return customer, item, moment, generator.integers(1, 5, len(customer))

    def _companions(
        self, customers: npt.NDArray[np.int64], bought: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.int64]:
        """Pick, for each, the partner of one of the items bought of late."""
        chosen, inverse = np.unique(customers, return_inverse=True)
        row, item = np.nonzero(bought[chosen])
        counts = np.bincount(row, minlength=len(chosen))
        start = np.cumsum(counts) - counts
        place = (self.generator.random(len(customers)) * counts[inverse]).astype(np.int64)
        partners: npt.NDArray[np.int64] = self.partner[item[start[inverse] + place]]
        return partners

    def expected(self) -> _Float:
        """Return the expected lines of the label period, as seen from its beginning."""
        settings = self.settings
        first = settings.weeks - settings.label_weeks
        weeks = range(first, settings.weeks)
        browse = np.mean([self.chances(week) for week in weeks], axis=0)
        browse /= browse.sum(axis=1, keepdims=True)
        favour = np.mean([self.loyalty(week) for week in weeks], axis=0)
        bought = self.recent.any(axis=0)
        follows = np.zeros((settings.customers, settings.items))
        follows[:, self.partner] = bought / np.maximum(bought.sum(axis=1, keepdims=True), 1)
        loyal = np.zeros_like(follows)
        rows = np.repeat(np.arange(settings.customers), settings.favourites)
        np.add.at(loyal, (rows, self.favourites.reshape(-1)), favour.reshape(-1))
        follow_share = np.where(bought.any(axis=1), settings.companion_share, 0.0)[:, None]
        rest = 1 - settings.favourite_share - follow_share
        mixed = settings.favourite_share * loyal + follow_share * follows
        mixed += rest * browse[self.segment]
        lines: _Float = mixed * self.rate[:, None] * settings.label_weeks
        return lines


def _table(shop: _Shop, weeks: list[tuple[npt.NDArray[np.int64], ...]]) -> Any:
    customer, item, moment, quantity = (np.concatenate(parts) for parts in zip(*weeks))
    order = np.lexsort((item, customer, moment))
    customer, item, moment, quantity = (part[order] for part in (customer, item, moment, quantity))
    visits = np.unique(np.stack([moment, customer]), axis=1, return_inverse=True)[1].reshape(-1)
    names = np.array(shop.item_names, dtype=object)
    categories = np.array([_category_name(c) for c in range(shop.settings.categories)], object)
    return pa.table(
        {
            "customer_id": pa.array(customer + 1, pa.int64()),
            "item": pa.array(names[item]),
            "category": pa.array(categories[shop.category[item]]),
            "time": pa.array(_START + moment.astype("timedelta64[us]")),
            "order_id": pa.array(visits, pa.int64()),
            "quantity": pa.array(quantity, pa.int64()),
            "price": pa.array(shop.price[item]),
            "region": pa.array(np.array(_REGIONS, dtype=object)[shop.region[customer]]),
        }
    )


def _category_name(number: int) -> str:
    return f"category{number:02d}"

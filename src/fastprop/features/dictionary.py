"""The feature dictionary: which column means what, fixed when a model is trained and then kept.

The columns, in this order: a column a measure for each item, side by side; the same for each
category; a few that describe the customer; one a value of each attribute; one for each training
cut-off but the last. With a `hash_width`, items and categories share that many columns by hash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fastprop.cached import cached_property
from fastprop.checks import as_path
from fastprop.errors import InvalidInputError, ModelFormatError
from fastprop.features.files import writing
from fastprop.features.hashing import hash_ids
from fastprop.features.settings import FeatureSettings
from fastprop.typing import CSR

__all__ = ["CUSTOMER_FEATURES", "FeatureDictionary"]

CUSTOMER_FEATURES = ("known", "recency", "orders", "lines", "spend", "cancellations")
_FORMAT = "fastprop feature dictionary 1"


@dataclass(frozen=True, eq=False)
class FeatureDictionary:
    """What each feature column and each label is.

    Parameters
    ----------
    settings : FeatureSettings
        How features are computed.
    items, categories : tuple of str
        Names with columns, sorted; empty under a `hash_width`.
    attributes : tuple of (str, tuple of str)
        Each attribute column with the values that have a feature.
    periods : tuple of str
        Training cut-offs, the last one left out. A row of such a cut-off carries a feature of its
        own, which lets a model tell that the season was another one. Other rows carry none.
    has_categories : bool
        Whether the transactions have categories.
    label_level : str
        `"item"` or `"category"`.
    labels : tuple of str
        What is predicted, most bought first.

    Notes
    -----
    Immutable; safe to share between threads.
    """

    settings: FeatureSettings
    items: tuple[str, ...]
    categories: tuple[str, ...]
    attributes: tuple[tuple[str, tuple[str, ...]], ...]
    periods: tuple[str, ...]
    has_categories: bool
    label_level: str
    labels: tuple[str, ...]

    @property
    def n_measures(self) -> int:
        """Columns of an item."""
        return len(self.settings.measures)

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """Levels that give features: items, and categories where there are any."""
        return ("item", "category") if self.has_categories else ("item",)

    @cached_property
    def _starts(self) -> dict[str, int]:
        """First column of each part of the vector, and the width under `end`."""
        starts = {"item": 0, "category": 0}
        width = self.settings.hash_width
        if width is None:
            starts["category"] = len(self.items) * self.n_measures
            width = starts["category"] + len(self.categories) * self.n_measures
        starts["customer"] = width
        width += len(CUSTOMER_FEATURES) if self.settings.customer else 0
        for name, values in self.attributes:
            starts[f"attribute {name}"] = width
            width += len(values)
        starts["period"] = width
        starts["end"] = width + len(self.periods)
        return starts

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self._starts["end"]

    def start(self, part: str) -> int:
        """First column of `item`, `category`, `customer`, `attribute NAME` or `period`."""
        return self._starts[part]

    def n_keys(self, level: str) -> int:
        """How many groups of measure columns a level has."""
        if self.settings.hash_width is not None:
            return self.settings.hash_width // self.n_measures
        return len(self.items if level == "item" else self.categories)

    def keys(self, level: str, names: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return the group of columns of each name, -1 for a name that has none.

        Parameters
        ----------
        level : str
            `"item"` or `"category"`.
        names : ndarray of str, shape (n,)
            Names, in any order.
        """
        if self.settings.hash_width is not None:
            seed = 0 if level == "item" else 1
            hashed = hash_ids(pa.array(names, pa.string()), seed=seed)
            return (hashed % np.uint64(self.n_keys(level))).astype(np.int64)
        return _positions(self.items if level == "item" else self.categories, names)

    def names(self) -> list[str]:
        """Name of each column, such as `item:85123A:count`, `Country=France`, `hash:17:count`."""
        measures = self.settings.measures
        names: list[str] = []
        if self.settings.hash_width is not None:
            buckets = range(self.n_keys("item"))
            names += [f"hash:{bucket}:{measure}" for bucket in buckets for measure in measures]
            names += [
                f"hash:unused:{column}" for column in range(len(names), self.start("customer"))
            ]
        for level, keys in (("item", self.items), ("category", self.categories)):
            names += [f"{level}:{key}:{measure}" for key in keys for measure in measures]
        if self.settings.customer:
            names += [f"customer:{name}" for name in CUSTOMER_FEATURES]
        for attribute, values in self.attributes:
            names += [f"{attribute}={value}" for value in values]
        return names + [f"period:{period}" for period in self.periods]

    def own_columns(self) -> npt.NDArray[np.int64]:
        """Return for each label the columns of its own history.

        Returns
        -------
        ndarray of int64, shape (n_labels, n_measures)
            -1 where the label has no columns.
        """
        keys = self.keys(self.label_level, np.array(self.labels, dtype=object))
        columns = keys[:, None] * self.n_measures + np.arange(self.n_measures)
        return np.where(keys[:, None] >= 0, columns + self.start(self.label_level), -1)

    def own_counts(self, features: CSR) -> npt.NDArray[np.float32] | None:
        """Return how often each row's customer bought each label, as log(1 + lines).

        Returns
        -------
        ndarray of float32, shape (n_rows, n_labels), or None
            None if the settings switch the measure `count` off.
        """
        if not self.settings.counts:
            return None
        columns = self.own_columns()[:, self.settings.measures.index("count")]
        label = np.flatnonzero(columns >= 0)
        order = label[np.argsort(columns[label], kind="stable")]
        # Under a hash several labels may have the same column: each entry is looked up for each.
        first = np.searchsorted(columns[order], features.indices, side="left")
        uses = np.searchsorted(columns[order], features.indices, side="right") - first
        entry = np.repeat(np.arange(len(features.indices)), uses)
        within = np.arange(len(entry)) - np.repeat(np.cumsum(uses) - uses, uses)
        row = np.repeat(np.arange(features.shape[0]), np.diff(features.indptr))[entry]
        counts = np.zeros((features.shape[0], len(self.labels)), np.float32)
        counts[row, order[first[entry] + within]] = features.data[entry]
        return counts

    def customer_columns(self) -> npt.NDArray[np.int64]:
        """Return the columns that describe the customer, attributes left out."""
        count = len(CUSTOMER_FEATURES) if self.settings.customer else 0
        return np.arange(self.start("customer"), self.start("customer") + count)

    def period_columns(self) -> npt.NDArray[np.int64]:
        """Return the columns of the training cut-offs but the last, oldest first."""
        return np.arange(self.start("period"), self.n_features)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the dictionary as JSON; the file appears when it is complete."""
        path = as_path("path", path)
        content: dict[str, Any] = {"format": _FORMAT, **asdict(self)}
        partial = path.parent / f".{path.name}.partial"
        with writing(path):
            partial.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
            partial.replace(path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> FeatureDictionary:
        """Read a dictionary that `save` wrote.

        Raises
        ------
        ModelFormatError
            If the file is something else; names the file and what is wrong.
        """
        path = as_path("path", path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, Mapping) or content.get("format") != _FORMAT:
                raise ModelFormatError(f"{path}: not a feature dictionary")
            options: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in content["settings"].items()
            }
            return cls(
                settings=FeatureSettings(**options),
                items=_strings(content["items"]),
                categories=_strings(content["categories"]),
                attributes=tuple(
                    (str(name), _strings(values)) for name, values in content["attributes"]
                ),
                periods=_strings(content["periods"]),
                has_categories=bool(content["has_categories"]),
                label_level=str(content["label_level"]),
                labels=_strings(content["labels"]),
            )
        except ModelFormatError:
            raise
        except OSError as error:
            raise ModelFormatError(f"{path}: cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelFormatError(f"{path}: damaged feature dictionary: {error!r}") from error


def check_names(names: Sequence[str], what: str) -> tuple[str, ...]:
    """Refuse names that a text file of one name a line cannot hold.

    Raises
    ------
    InvalidInputError
        If a name holds a line break.
    """
    for name in names:
        if len(name.splitlines()) > 1 or name.endswith(("\n", "\r")):
            raise InvalidInputError(f"{what} {name!r}: a name must not hold a line break")
    return tuple(str(name) for name in names)


def _strings(values: Sequence[Any]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise TypeError(f"expected a list of names, got {values!r}")
    return tuple(str(value) for value in values)


def _positions(known: tuple[str, ...], names: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Look names up in a sorted tuple."""
    if not known or not len(names):
        return np.full(len(names), -1, np.int64)
    table = np.array(known, dtype=object)
    place = np.minimum(np.searchsorted(table, names), len(table) - 1)
    return np.where(table[place] == names, place, -1).astype(np.int64)

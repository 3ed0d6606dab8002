"""Small made-up transactions for the tests of features, training and the demo."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from fastprop.features import TransactionColumns

COLUMNS = TransactionColumns(
    category="category", quantity="quantity", price="price", order="order", attributes=("country",)
)


def random_table(seed: int, *, lines: int = 600, customers: int = 40, days: int = 200) -> Any:
    """Lines with cancellations, missing values, and times on and between days."""
    generator = np.random.default_rng(seed)
    item = generator.integers(0, 25, lines)
    start = np.datetime64("2024-01-01", "us")
    second = generator.integers(0, days * 86_400, lines)
    second[: lines // 10] = second[: lines // 10] // 86_400 * 86_400  # exactly midnight
    quantity = generator.integers(1, 6, lines)
    quantity[generator.random(lines) < 0.05] *= -1
    order = np.array([f"{number}" for number in second // 86_400], dtype=object)
    order[generator.random(lines) < 0.03] = "C7"
    customer = generator.integers(0, customers, lines).astype(object)
    customer[generator.random(lines) < 0.05] = None
    price = np.round(generator.random(lines) * 5, 2)
    return pa.table(
        {
            "customer_id": pa.array(customer, pa.int64()),
            "item": pa.array([f"item{number}" for number in item]),
            "category": pa.array([f"category{number % 4}" for number in item]),
            "time": pa.array(start + second.astype("timedelta64[s]").astype("timedelta64[us]")),
            "quantity": pa.array(quantity),
            "price": pa.array(price),
            "order": pa.array(order),
            "country": pa.array(
                np.array(["FR", "DE", "IT"], dtype=object)[generator.integers(0, 3, lines)]
            ),
        }
    )

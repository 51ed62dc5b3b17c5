"""Made-up traffic of a shop, the same for the same seed: what the shipped workflows, segments and aggregates ask about.

Invariant: times ascend, and every event has an id of its own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.core.record import Event, Identify, Record

ROOT = Path(__file__).resolve().parent.parent
MIX = (
    ("Product Viewed", 40),
    ("Product Added", 22),
    ("Checkout Started", 8),
    ("Order Completed", 8),
    ("Shipment Sent", 6),
    ("Shipment Delivered", 6),
    ("Review Submitted", 2),
    ("Page Viewed", 8),
)
_CITIES = ("Berlin", "Hamburg", "Wien", "Zürich")


def identify(number: int, at_ms: int) -> Identify:
    """A customer with an address and consent."""
    traits = {
        "email": f"c{number}@example.com", "first_name": f"Ana {number}", "locale": "de", "timezone": "Europe/Berlin",
        "consent": {"marketing": ["email"]}, "city": _CITIES[number % 4],
    }  # fmt: skip
    return Identify(customer=f"c{number}", at_ms=at_ms, id=f"i{number}", time_ms=at_ms, traits=traits)


def properties(dice: random.Random, customer: int, number: int) -> dict[str, Any]:
    """What an event of the shop carries."""
    return {
        "product_id": f"p{dice.randrange(500)}", "sku": f"s{dice.randrange(500)}", "name": "Leinenhemd natur",
        "category": "Hemden", "price": 49.9, "quantity": 1, "currency": "EUR", "total": round(dice.uniform(10, 200), 2),
        "cart_id": f"k{customer}-{number % 7}", "cart_total": round(dice.uniform(10, 200), 2),
        "order_id": f"o{customer}-{number % 11}", "url": "https://shop.example/p/leinenhemd",
    }  # fmt: skip


def events(count: int, customers: int, *, seed: int, start_ms: int, step_ms: int) -> Iterator[Event]:
    """`count` events of random customers, `step_ms` apart."""
    dice = random.Random(seed)
    names, weights = zip(*MIX, strict=True)
    chosen = dice.choices(names, weights=weights, k=count)
    for number, name in enumerate(chosen):
        customer, at_ms = dice.randrange(customers), start_ms + number * step_ms
        yield Event(
            customer=f"c{customer}", at_ms=at_ms, id=f"e{seed}-{number}", name=name, time_ms=at_ms,
            properties=properties(dice, customer, number),
        )  # fmt: skip


def as_wire(record: Record) -> bytes:
    """An event as a Segment client writes it."""
    assert isinstance(record, Event)
    body = {
        "type": "track", "messageId": record.id, "userId": record.customer, "event": record.name,
        "properties": record.properties, "context": {"library": {"name": "benchmark", "version": "1"}, "ip": "192.0.2.1"},
    }  # fmt: skip
    return json.dumps(body).encode()

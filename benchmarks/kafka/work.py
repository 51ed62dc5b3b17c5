"""The work that all variants of the Kafka benchmarks do, in plain Python: what an event looks like and what it does to a state.

Per event: load the customer's state (about 0.9 KB as JSON), count, note the time, keep the newest few events, write it
back; one event in ten is an `Order Completed`, which decides a message.

Invariant: standard library only, so that peers in an environment of their own import the very same file.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

ORDER = "Order Completed"
OTHERS = ("Product Viewed", "Product Added", "Checkout Started", "Page Viewed")
EVENTS_PER_DISPATCH = 10
RECENT = 5
MARKER = "m"
"""First letter of the customers whose events mark the ends of a partition; all others begin with `c`."""
_CITIES = ("Berlin", "Hamburg", "Wien", "Zürich")


def identify(customer: str, number: int, *, at_ms: int) -> dict[str, Any]:
    """The record that makes a customer known: 0.4 KB."""
    traits = {
        "email": f"{customer}@example.com", "first_name": f"Ana {number}", "last_name": "Mustermann", "locale": "de",
        "timezone": "Europe/Berlin", "consent": {"marketing": ["email"]}, "city": _CITIES[number % 4],
        "street": f"Hafenstraße {number % 200}", "postcode": f"{20_000 + number % 999}", "plan": "basic",
    }  # fmt: skip
    return {
        "type": "identify", "messageId": f"i-{customer}", "userId": customer, "traits": traits,
        "timestamp": _rfc3339(at_ms),
    }  # fmt: skip


def track(name: str, customer: str, *, id: str, at_ms: int, dice: random.Random) -> dict[str, Any]:
    """An event of the shop in Segment's shape: 0.5 KB."""
    properties = {
        "product_id": f"p{dice.randrange(500)}", "sku": f"s{dice.randrange(500)}", "name": "Leinenhemd natur",
        "category": "Hemden", "price": 49.9, "quantity": 1, "currency": "EUR", "total": round(dice.uniform(10, 200), 2),
        "cart_id": f"k-{customer}", "order_id": f"o-{id}", "url": "https://shop.example/p/leinenhemd",
    }  # fmt: skip
    return {
        "type": "track", "messageId": id, "userId": customer, "event": name, "properties": properties,
        "context": {"library": {"name": "benchmark", "version": "1"}, "ip": "192.0.2.1"}, "timestamp": _rfc3339(at_ms),
    }  # fmt: skip


def apply(state: dict[str, Any] | None, event: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The state after the event, and the message that it decides, if any. The given state may be changed in place."""
    if state is None:
        state = {"id": event["userId"], "count": 0, "last": "", "traits": {}, "recent": []}
    if event["type"] == "identify":
        state["traits"].update(event["traits"])
        return state, None
    properties = event["properties"]
    state["count"] += 1
    state["last"] = event["timestamp"]
    seen = {
        "id": event["messageId"], "event": event["event"], "sku": properties["sku"], "total": properties["total"],
        "order": properties["order_id"], "at": event["timestamp"], "url": properties["url"],
    }  # fmt: skip
    state["recent"] = [*state["recent"][1 - RECENT :], seen]
    return state, dispatch(event, state["count"])


def dispatch(event: dict[str, Any], count: int) -> dict[str, Any] | None:
    """The message that an event decides; `count` is the customer's events until then (0: no state is kept)."""
    if event.get("event") != ORDER:
        return None
    properties = event["properties"]
    return {
        "id": event["messageId"], "customer": event["userId"], "channel": "email", "template": "order-confirmation",
        "order": properties["order_id"], "total": properties["total"], "currency": properties["currency"],
        "count": count, "at": event["timestamp"],
    }  # fmt: skip


def _rfc3339(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

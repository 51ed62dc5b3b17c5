"""What can be said about a customer's orders without asking the shop.

Invariant: pure. Anlass keeps no orders: what is known stands in the events that messages and waiting workflows came from. A link
is shown only when it leads to the web.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from babel import dates, numbers

from engine.collector.pages.texts import TEXTS
from engine.core.customer import CustomerState
from engine.core.message import Message
from engine.core.time.schedule import rfc3339

ORDERS_MAX = 20
STATES = {
    "Order Completed": "ordered",
    "Order Updated": "ordered",
    "Order Shipped": "sent",
    "Shipment Sent": "sent",
    "Order Delivered": "delivered",
    "Shipment Delivered": "delivered",
    "Order Picked Up": "delivered",
    "Order Cancelled": "cancelled",
    "Order Refunded": "refunded",
}
"""Event → what it says about its order. Later ones in this order win over earlier ones of the same moment."""
_TEXT_CHARS_MAX = 200
TOTAL_MAX = 10**12
"""No order costs as much; what does is shown without its total."""


class Order(msgspec.Struct, kw_only=True):
    """One order: its number, when it was made, the newest that is known, and what its events said."""

    number: str
    first_at: str
    state: str
    state_at: str
    properties: dict[str, Any]
    parcel: dict[str, Any]

    def shown(self, lang: str) -> dict[str, str]:
        """For a page, in words."""
        texts = TEXTS[lang]
        return {
            "number": self.number,
            "total": _money(self.properties, lang),
            "state": texts[f"state_{self.state}"],
            "state_date": _day(self.state_at, lang),
            "carrier": _text(self.parcel.get("carrier")),
            "expected": _day(_text(self.parcel.get("expected_at")), lang),
            "url": _web(self.parcel.get("tracking_url")),
        }


def orders_of(state: CustomerState, messages: Sequence[Message]) -> list[Order]:
    """The newest orders first."""
    found: dict[str, Order] = {}
    for event in sorted(_events(state, messages), key=lambda event: str(event.get("time", ""))):
        properties = event.get("properties")
        name = event.get("name")
        if not isinstance(properties, dict) or not isinstance(name, str) or name not in STATES:
            continue
        number = str(properties.get("order_id", ""))
        if not number or len(number) > 100 or not number.isprintable():  # noqa: PLR2004 - no number of an order
            continue
        _tell(found, number, event, properties)
    newest = sorted(found.values(), key=lambda order: order.first_at, reverse=True)
    return newest[:ORDERS_MAX]


def _tell(found: dict[str, Order], number: str, event: Mapping[str, Any], properties: dict[str, Any]) -> None:
    at, said = str(event.get("time", "")), STATES[event["name"]]
    order = found.get(number)
    if order is None:
        order = found[number] = Order(number=number, first_at=at, state=said, state_at=at, properties={}, parcel={})
    order.state, order.state_at = said, at
    if said == "ordered":
        order.properties = properties
    else:
        order.parcel = {**order.parcel, **properties}


def _events(state: CustomerState, messages: Iterable[Message]) -> Iterable[dict[str, Any]]:
    for message in messages:
        context = message.context
        for event in (context.get("event"), context.get("enrollment", {}).get("event")):
            if isinstance(event, dict):
                yield event
    for run in state.enrollments:
        cause = run.event
        yield {"name": cause.name, "time": rfc3339(cause.time_ms), "properties": cause.properties}


def _money(properties: Mapping[str, Any], lang: str) -> str:
    total, currency = properties.get("total"), properties.get("currency")
    if isinstance(total, bool) or not isinstance(total, int | float) or not abs(total) < TOTAL_MAX:
        return ""
    if not isinstance(currency, str) or re.fullmatch("[A-Z]{3}", currency) is None:
        return numbers.format_decimal(total, "0.00", locale=lang)
    return numbers.format_currency(total, currency, locale=lang)


def _day(text: str, lang: str) -> str:
    """In the words of the language; a time that cannot be read says nothing."""
    try:
        day = dt.date.fromisoformat(text[:10])
    except ValueError:
        return ""
    return dates.format_date(day, "long", locale=lang)


def _text(value: object) -> str:
    return value[:_TEXT_CHARS_MAX] if isinstance(value, str) else ""


def _web(value: object) -> str:
    if not isinstance(value, str):
        return ""
    try:
        parts = urlsplit(value)
    except ValueError:
        return ""
    return value if parts.scheme in {"http", "https"} and parts.netloc else ""

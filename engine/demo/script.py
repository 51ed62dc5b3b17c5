"""What the people of the demo do and when: a list of acts, written down before the shop opens.

Invariant: the same seed, number of customers and start give the same acts, with the same ids.
"""

from __future__ import annotations

import hashlib
from random import Random
from typing import Any, Final

import msgspec

from engine.clock import to_rfc3339
from engine.demo.goods import CITIES, GOODS, NAMES_DE, NAMES_EN, Good

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
DAYS: Final = 91
"""How long the shop is open: thirteen weeks."""
MINUTES: Final = 1 / 60
FREE_SHIPPING_EUR: Final = 50


class ScriptedAct(msgspec.Struct, frozen=True, kw_only=True):
    """One thing somebody does. `body` is a Segment item without its time; `raw`, when not empty, is sent instead of it."""

    at_ms: int
    who: str
    crowd: bool
    body: dict[str, Any] = {}
    raw: bytes = b""
    happened_ms: int = 0
    """When it happened, for what is told late; 0: just now."""
    twice: bool = False
    """The client is not sure that it arrived, and sends it again."""


class Person(msgspec.Struct, kw_only=True):
    """A customer of the demo: what the shop knows, and how the person treats the mails that arrive."""

    id: str
    traits: dict[str, Any]
    crowd: bool = False
    confirms: bool = True
    """Follows the link of a double opt-in mail."""
    leaves: bool = False
    """Unsubscribes from the first mail that offers it, by the button in the mail program."""
    acts: list[ScriptedAct] = []

    @property
    def email(self) -> str:
        """The address, "" if there is none."""
        return str(self.traits.get("email", ""))


def chance(dice: Random, share: float) -> bool:
    """True in that share of the cases."""
    return dice.random() < share


class Pen:
    """Writes acts for one person; days and hours count from the opening of the shop."""

    def __init__(self, person: Person, start_ms: int, dice: Random) -> None:
        """`dice` decides about what nobody cares about, such as which lamp is bought."""
        self.person = person
        self.dice = dice
        self._start_ms = start_ms
        self._count = 0

    def moment(self, day: float, hour: float = 0) -> int:
        """Milliseconds of a day and hour of the demo (UTC)."""
        return self._start_ms + int(day * DAY_MS + hour * HOUR_MS)

    def next_id(self) -> str:
        """The next message id of this person."""
        self._count += 1
        return hashlib.sha256(f"{self.person.id}:{self._count}".encode()).hexdigest()[:20]

    def put(self, day: float, hour: float, body: dict[str, Any], **more: Any) -> None:
        """Adds an act."""
        body = {"messageId": self.next_id(), **body}
        act = ScriptedAct(at_ms=self.moment(day, hour), who=self.person.id, crowd=self.person.crowd, body=body, **more)
        self.person.acts.append(act)

    def identify(self, day: float, hour: float = 6, *, anonymous: str = "", **traits: Any) -> None:
        """The shop tells who this is."""
        body: dict[str, Any] = {"type": "identify", "userId": self.person.id, "traits": traits or self.person.traits}
        if anonymous:
            body["anonymousId"] = anonymous
        self.put(day, hour, body)

    def track(self, day: float, hour: float, event: str, **properties: Any) -> None:
        """Something happens just then."""
        self.put(day, hour, {"type": "track", "userId": self.person.id, "event": event, "properties": properties})

    def track_late(self, day: float, hour: float, event: str, *, days_ago: float, **properties: Any) -> None:
        """The shop tells of something that happened earlier."""
        body = {"type": "track", "userId": self.person.id, "event": event, "properties": properties}
        self.put(day, hour, body, happened_ms=self.moment(day - days_ago, hour))

    def anonymous(self, day: float, hour: float, event: str, *, visitor: str, **properties: Any) -> None:
        """Something that nobody knows yet who did it."""
        self.put(day, hour, {"type": "track", "anonymousId": visitor, "event": event, "properties": properties})

    def chance(self, share: float) -> bool:
        """True in that share of the cases."""
        return chance(self.dice, share)

    def good(self, *, refill: bool = False) -> Good:
        """Something from the shelves."""
        return self.dice.choice([good for good in GOODS if bool(good.lasts_days) == refill])

    @property
    def german(self) -> bool:
        """Whether this person reads German."""
        return str(self.person.traits.get("locale", "")).startswith("de")

    def seen(self, good: Good) -> dict[str, Any]:
        """What a look at a product tells."""
        return {
            "product_id": good.sku, "product_name": good.name(german=self.german), "price": good.price,
            "currency": "EUR", "url": f"https://shop.example/p/{good.sku}",
        }  # fmt: skip

    def order(self, number: str, goods: list[Good], *, total: float | None = None) -> dict[str, Any]:
        """The properties of an order, as a shop's system would tell them."""
        lines = [
            {"product_id": good.sku, "name": good.name(german=self.german), "quantity": 1, "price": good.price}
            for good in goods
        ]
        worth = round(sum(good.price for good in goods), 2) if total is None else total
        street, postal_code, city = CITIES[self.dice.randrange(len(CITIES))]
        name = f"{self.person.traits.get('first_name', '')} {self.person.traits.get('last_name', '')}".strip()
        return {
            "order_id": number, "total": worth, "shipping": 0.0 if worth >= FREE_SHIPPING_EUR else 4.9,
            "tax": round(worth * 19 / 119, 2),
            "currency": "EUR", "products": lines, "order_url": f"https://shop.example/orders/{number}",
            "shipping_address": {"name": name, "street": street, "postal_code": postal_code, "city": city},
        }  # fmt: skip

    def buy(self, day: float, hour: float, *, cart: str = "", refill_days: int = 0, total: float | None = None) -> str:
        """Orders something, and returns the order's number."""
        number = f"L{10_000 + int(hashlib.sha256(f'{self.person.id}{day}'.encode()).hexdigest()[:6], 16) % 90_000}"
        goods = [self.good(refill=refill_days > 0)]
        if not refill_days and self.chance(0.5):
            goods.append(self.good())
        properties = self.order(number, goods, total=total) | {"objection_notice": True}
        if cart:
            properties["cart_id"] = cart
        if refill_days:
            properties["refill_at"] = to_rfc3339(self.moment(day + refill_days, 9))
            properties["refill_url"] = f"https://shop.example/refill/{number}"
        self.track(day, hour, "Order Completed", **properties)
        return number

    def ship(self, day: float, hour: float, order: str, *, arrives_after_days: float | None = 2) -> None:
        """The parcel leaves, and (unless None) arrives."""
        shipment = f"S{order[1:]}"
        parcel = {
            "shipment_id": shipment, "order_id": order, "carrier": "DHL", "tracking_number": f"00340{order[1:]}",
            "tracking_url": f"https://track.example/{shipment}", "expected_at": to_rfc3339(self.moment(day + 2, 12)),
        }  # fmt: skip
        self.track(day, hour, "Shipment Sent", **parcel)
        if arrives_after_days is not None:
            at = {"shipment_id": shipment, "order_id": order, "place": "Briefkasten" if self.german else "letter box"}
            self.track(day + arrives_after_days, hour, "Shipment Delivered", **at)

    def bought_before(self, days_ago: float, total: float) -> None:
        """An order from the shop's history, told on the day Anlass was connected."""
        number = f"H{int(days_ago)}-{self.person.id}"
        self.track_late(
            0, 5, "Order Completed", days_ago=days_ago, order_id=number, total=total, currency="EUR",
            objection_notice=True,
        )  # fmt: skip


def person(
    name: str, dice: Random, *, crowd: bool = False, consent: tuple[str, ...] = ("email",), **traits: Any
) -> Person:
    """Somebody with a name, an address, a language and a zone; `consent` names the channels for marketing."""
    german = chance(dice, 0.6) if "locale" not in traits else str(traits["locale"]).startswith("de")
    first, last = dice.choice(NAMES_DE if german else NAMES_EN)
    zones = (
        ("Europe/Berlin", "Europe/Berlin", "Europe/Vienna", "Europe/Zurich")
        if german
        else ("Europe/London", "Europe/Dublin", "America/New_York")
    )
    known: dict[str, Any] = {
        "first_name": first, "last_name": last, "email": f"{name}@mail.example", "locale": "de-DE" if german else "en-GB",
        "timezone": dice.choice(zones), **traits,
    }  # fmt: skip
    if consent:
        known["consent"] = {"marketing": list(consent)}
    return Person(
        id=name, traits={key: value for key, value in known.items() if value is not None}, crowd=crowd, acts=[]
    )

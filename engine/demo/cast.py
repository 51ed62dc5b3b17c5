# ruff: noqa: PLR2004 - the numbers are the story: which of several people does what
"""The leading parts: people whose stories together reach every workflow, every template and every answer.

Invariant: their stories do not depend on the seed, so that whatever the crowd does, the demo shows everything.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from random import Random
from typing import Any, Final

from engine.demo.goods import COMPLAINTS_DE, COMPLAINTS_EN, GOODS, phone
from engine.demo.postbox import GREYLISTED, HARD_BOUNCE
from engine.demo.script import DAY_MS, MINUTES, Pen, Person, ScriptedAct, person

_SEED: Final = 1
_LAMP: Final = GOODS[0]


def cast(start_ms: int) -> list[Person]:
    """Everybody with a part, with their acts."""
    return [
        one
        for part, number_of_people in PARTS.items()
        for number in range(1, number_of_people + 1)
        for one in (_play(part, number, start_ms),)
    ]


def _play(part: Callable[[Pen, int], None], number: int, start_ms: int) -> Person:
    name = f"{part.__name__.removeprefix('_').replace('_', '-')}-{number}"
    dice = Random(f"{_SEED}:{name}")
    # Spread over three weeks; weekdays stay what they are. The story of a VIP takes two months, so it begins at once.
    weeks = 0 if part is _vip else number % 3
    someone = person(name, dice, timezone="Europe/Berlin", locale="de-DE" if number % 2 else "en-GB")
    pen = Pen(someone, start_ms + weeks * 7 * DAY_MS, dice)
    part(pen, number)
    return pen.person


def _set(pen: Pen, **traits: Any) -> None:
    """Changes what the shop knows; None: it doesn't."""
    changed = {**pen.person.traits, **traits}
    pen.person.traits = {name: value for name, value in changed.items() if value is not None}


def _subscriber(pen: Pen, number: int) -> None:
    """Signs up; the odd ones have an own end: 2 never confirms, 3 buys and needs no voucher."""
    _set(pen, consent=None, consent_request={"marketing": ["email"]})
    pen.person.confirms = number != 2
    pen.identify(1 + number * 0.3, 12)
    if number == 3:
        pen.ship(8, 10, pen.buy(7, 10))


def _unsubscriber(pen: Pen, number: int) -> None:
    """Signs up, confirms, and leaves by the button in the mail program."""
    _set(pen, consent=None, consent_request={"marketing": ["email"]})
    pen.person.leaves = True
    pen.identify(2 + number, 12)


def _cart_abandoner(pen: Pen, number: int) -> None:
    """Leaves a cart behind. The even ones allow text messages, and it is Saturday: the message is held until Monday."""
    if number % 2 == 0:
        _set(pen, phone=phone(number), consent={"marketing": ["email", "sms"]})
    pen.identify(3)
    day, hour = (5, 10.0) if number % 2 == 0 else (7 + number * 0.5, 9.0)
    cart = f"K{number}"
    pen.track(
        day,
        hour,
        "Product Added",
        cart_id=cart,
        cart_total=_LAMP.price,
        cart_url=f"https://shop.example/cart/{cart}",
        **pen.seen(_LAMP),
    )
    if number == 3:
        pen.track(day, hour + 4, "Checkout Started", cart_id=cart)
    if number == 5:
        pen.buy(day, hour + 0.5, cart=cart)


def _many_carts(pen: Pen, number: int) -> None:
    """Four carts in a morning: the policy allows three mails a week."""
    pen.identify(8)
    for cart in range(4):
        pen.track(
            8 + number,
            8 + cart * 0.5,
            "Product Added",
            cart_id=f"M{number}{cart}",
            cart_total=80.0,
            **pen.seen(pen.good()),
        )


def _text_only(pen: Pen, number: int) -> None:
    """Has no mail address: everything comes by text message."""
    _set(pen, email=None, phone=phone(10 + number), consent={"marketing": ["sms"]}, parcel_sms=True)
    pen.identify(2)
    order = pen.buy(4 + number, 10)
    pen.ship(5 + number, 10, order)
    pen.track(9 + number, 10, "Complaint Opened", complaint_id=f"T{number}", order_id=order, text=_words(pen))
    pen.track(10 + number, 10, "Complaint Resolved", complaint_id=f"T{number}")
    pen.track(20 + number, 12, "Product Added", cart_id=f"T{number}", cart_total=70.0, **pen.seen(pen.good()))


def _browser(pen: Pen, number: int) -> None:
    """Looks around without a name, then signs in: what was seen before belongs to the same person."""
    visitor = f"visitor-{number}"
    day = 4 + number
    for minute, good in ((0, GOODS[1]), (10, GOODS[2])):
        pen.anonymous(day, 10 + minute * MINUTES, "Product Viewed", visitor=visitor, **pen.seen(good))
    pen.identify(day, 10 + 15 * MINUTES, anonymous=visitor, **pen.person.traits)
    pen.track(day, 10 + 20 * MINUTES, "Product Viewed", **pen.seen(_LAMP))
    if number != 2:
        pen.track(day + 1, 11, "Product Viewed", **pen.seen(_LAMP))


def _regular(pen: Pen, number: int) -> None:
    """Buys, gets the parcel, says how it was. 2 is unhappy, 3 says nothing, 4 waits for the parcel, 5 never gets it."""
    _set(pen, parcel_sms=True, phone=phone(20 + number))
    pen.identify(2)
    order = pen.buy(3 + number, 9)
    after = {4: 9, 5: None}.get(number, 2)
    pen.ship(4 + number, 9, order, arrives_after_days=after)
    if number <= 2:
        rating, text = ((5, "Wunderschön, gern wieder."), (1, _words(pen)))[number - 1]
        pen.track(
            19 + number,
            18,
            "Product Reviewed",
            review_id=f"R{number}",
            order_id=order,
            rating=rating,
            text=text,
            **pen.seen(_LAMP),
        )


def _changes_mind(pen: Pen, number: int) -> None:
    """Cancels the order (1), or waits for a shop that does not ship (2), or picks it up (3)."""
    pen.identify(2)
    order = pen.buy(6, 9 + number)
    if number == 1:
        pen.track(6, 14, "Order Cancelled", order_id=order, refund=189.0, currency="EUR")
    elif number == 3:
        pen.track(8, 14, "Order Picked Up", order_id=order)


def _complainer(pen: Pen, number: int) -> None:
    """Complains. 1 gets goodwill, 2 waits too long, 3 never hears, 4 takes it back, 5 is a VIP."""
    pen.identify(2)
    order = pen.buy(3, 9 + number, total=1_250.0 if number == 5 else None)
    pen.ship(4, 9 + number, order)
    about: dict[str, Any] = {"complaint_id": f"C{number}", "order_id": order}
    pen.track(7 + number, 11, "Complaint Opened", **about, text=_words(pen))
    solved = {1: 1.0, 2: 4.0, 5: 0.5}.get(number)
    if solved:
        words = "Ein neues Stück ist unterwegs." if pen.german else "A new one is on its way."
        pen.track(
            7 + number + solved,
            11,
            "Complaint Resolved",
            **about,
            resolution=words,
            refund=20.0,
            currency="EUR",
            goodwill=number in {1, 5},
        )
    if number == 4:
        pen.track(7 + number, 16, "Complaint Withdrawn", **about)


def _at_risk(pen: Pen, number: int) -> None:
    """Bought twice, and nothing for 57 days; 1 is a VIP, 2 comes back to look, 3 buys again."""
    pen.identify(0, 4)
    pen.bought_before(110, 900.0 if number == 1 else 80.0)
    pen.bought_before(57 + number * 0.1, 400.0 if number == 1 else 60.0)
    if number == 2:
        pen.track(16, 12, "Product Viewed", **pen.seen(_LAMP))
    if number == 3:
        pen.buy(17, 12)


def _lapsed(pen: Pen, number: int) -> None:
    """Bought once, 116 days ago."""
    pen.identify(0, 4)
    pen.bought_before(116 + number * 0.2, 120.0)
    if number == 3:
        pen.buy(30, 12)


def _vip(pen: Pen, number: int) -> None:
    """Two big orders within a week."""
    pen.identify(0, 4)
    pen.ship(3, 9, pen.buy(2, 9 + number, total=640.0))
    pen.ship(6, 9, pen.buy(5, 9 + number, total=580.0))


def _birthday(pen: Pen, number: int) -> None:
    """Has a birthday soon; 3 uses the voucher, 4 never allowed advertising."""
    day = pen.moment(8 + number * 3, 12) // DAY_MS
    month_day = _month_day(day)
    _set(pen, birthday=f"1990-{month_day}", **({"consent": None} if number == 4 else {}))
    pen.identify(1)
    if number == 3:
        pen.buy(8 + number * 3 + 2, 12)


def _refiller(pen: Pen, number: int) -> None:
    """Bought something that gets used up, for the second time; 1 hears of it by text message, 3 orders in time."""
    if number == 1:
        _set(pen, phone=phone(40 + number), consent={"marketing": ["email", "sms"]})
    pen.identify(0, 4)
    pen.bought_before(40, 24.9)
    pen.ship(4, 9, pen.buy(3, 9 + number, refill_days=25))
    if number == 3:
        pen.buy(20, 9, refill_days=25)


def _moved_away(pen: Pen, number: int) -> None:
    """The address does not exist any more; 1 has a phone, and the text message takes over."""
    _set(pen, email=f"moved-away-{number}@{HARD_BOUNCE}", phone=phone(50) if number == 1 else None)
    pen.identify(2)
    pen.ship(5, 10, pen.buy(4, 9 + number))


def _greylisted(pen: Pen, number: int) -> None:
    """The mail server says "a little later" first."""
    _set(pen, email=f"patience-{number}@{GREYLISTED}")
    pen.identify(2)
    pen.ship(6, 10, pen.buy(5, 9 + number))


def _late_reporter(pen: Pen, number: int) -> None:
    """The shop's export tells of an order three days later (1), or ten days later (2): that one starts nothing."""
    pen.identify(2)
    ago = 3.0 if number == 1 else 10.0
    pen.track_late(14, 9, "Order Completed", days_ago=ago, **pen.order(f"E{number}", [pen.good()]))


def _stutterer(pen: Pen, number: int) -> None:
    """The shop's client is not sure that it arrived, and sends every event twice."""
    pen.identify(2)
    pen.ship(6, 11, pen.buy(5, 11 + number))
    pen.person.acts = [_twice(act) for act in pen.person.acts]


def _twice(act: ScriptedAct) -> ScriptedAct:
    return ScriptedAct(at_ms=act.at_ms, who=act.who, crowd=act.crowd, body=act.body, twice=True)


def _garbler(pen: Pen, number: int) -> None:
    """A client with a mistake in it: what it sends can't be read, or names nobody. In a batch with good events it is kept."""
    bodies = (
        b'{"userId": "garbler-1", "event": "Order Comp',
        b'{"userId": "garbler-1", "properties": {}}',
        b'{"event": "Product Viewed", "properties": {}}',
        b'{"userId": "garbler-1", "event": 7}',
        b'{"userId": "garbler-1", "event": "Product Viewed", "timestamp": "yesterday"}',
        b"\x00\xff\xfe nonsense",
    )
    for week in range(3):
        pen.track(9 + week * 7, number, "Product Viewed", **pen.seen(_LAMP))
        pen.track(9 + week * 7, number, "")
    for week, body in enumerate(bodies):
        act = ScriptedAct(at_ms=pen.moment(10 + week * 5, number), who=pen.person.id, crowd=False, raw=body)
        pen.person.acts.append(act)


def _words(pen: Pen) -> str:
    return pen.dice.choice(COMPLAINTS_DE if pen.german else COMPLAINTS_EN)


def _month_day(days_since_epoch: int) -> str:
    """`03-27` of a day; the 28th stands for 29 February."""
    day = date(1970, 1, 1) + timedelta(days=days_since_epoch)
    return "02-28" if (day.month, day.day) == (2, 29) else f"{day.month:02d}-{day.day:02d}"


PARTS: Final[dict[Callable[[Pen, int], None], int]] = {
    _subscriber: 5, _unsubscriber: 2, _cart_abandoner: 8, _many_carts: 1, _text_only: 2, _browser: 3, _regular: 5,
    _changes_mind: 3, _complainer: 5, _at_risk: 6, _lapsed: 8, _vip: 2, _birthday: 4, _refiller: 4, _moved_away: 2,
    _greylisted: 2, _late_reporter: 2, _stutterer: 1, _garbler: 1,
}  # fmt: skip

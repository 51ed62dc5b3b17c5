"""Everybody else: customers as a shop has them, drawn by lot.

Invariant: drawn from the seed alone; the first N of a larger crowd are the crowd of N.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from random import Random
from typing import Any, Final

from engine.demo.goods import COMPLAINTS_DE, COMPLAINTS_EN, phone
from engine.demo.postbox import GREYLISTED, HARD_BOUNCE
from engine.demo.script import DAYS, MINUTES, Pen, Person, chance, person

_LAST_DAY: Final = DAYS - 2


def crowd(size: int, *, seed: int, start_ms: int) -> list[Person]:
    """`size` people with their acts."""
    return [_one(number, Random(f"{seed}:{number}"), start_ms) for number in range(1, size + 1)]


def _one(number: int, dice: Random, start_ms: int) -> Person:
    traits: dict[str, Any] = {}
    name = f"c{number:04d}"
    if chance(dice, 0.3):
        traits["phone"] = phone(number)
    if chance(dice, 0.25):
        traits["birthday"] = (date(1960, 1, 1) + timedelta(days=dice.randrange(16_000))).isoformat()
    domain = dice.choices(("mail.example", HARD_BOUNCE, GREYLISTED), (95, 2, 3))[0]
    traits["email"] = f"{name}@{domain}"
    consent = ("email", "sms") if chance(dice, 0.2) else ("email",) if chance(dice, 0.6) else ()
    someone = person(name, dice, crowd=True, consent=consent, **traits)
    pen = Pen(someone, start_ms, dice)
    day, hour = dice.uniform(0.3, _LAST_DAY), _hour(dice)
    habits, weights = zip(*HABITS.items(), strict=True)
    dice.choices(habits, weights)[0](pen, float(int(day)), hour)
    return someone


def _hour(dice: Random) -> float:
    """People shop in the evening, some at noon, few at night (UTC)."""
    return dice.choices((dice.uniform(17, 21), dice.uniform(9, 13), dice.uniform(0, 23)), (5, 3, 1))[0]


def _browse(pen: Pen, day: float, hour: float) -> None:
    """Looks at a few things, first without a name."""
    visitor = f"visitor-{pen.person.id}"
    for look in range(pen.dice.randint(1, 4)):
        pen.anonymous(day, hour + look * 6 * MINUTES, "Product Viewed", visitor=visitor, **pen.seen(pen.good()))
    if pen.chance(0.7):
        pen.identify(day, hour + 0.6, anonymous=visitor, **pen.person.traits)
        pen.track(day, hour + 0.7, "Product Viewed", **pen.seen(pen.good()))


def _abandon(pen: Pen, day: float, hour: float) -> None:
    """Fills a cart and is gone; sometimes comes back and buys."""
    pen.identify(day, hour)
    cart, good = f"K-{pen.person.id}", pen.good()
    pen.track(day, hour + 0.1, "Product Viewed", **pen.seen(good))
    pen.track(
        day,
        hour + 0.2,
        "Product Added",
        cart_id=cart,
        cart_total=good.price,
        cart_url=f"https://shop.example/cart/{cart}",
        **pen.seen(good),
    )
    if pen.chance(0.35):
        pen.track(day + 1, hour, "Checkout Started", cart_id=cart)
        _deliver(pen, day + 1, pen.buy(day + 1, hour + 0.1, cart=cart))


def _buy(pen: Pen, day: float, hour: float) -> None:
    """An order, perhaps a second one some weeks later."""
    pen.identify(day, hour)
    _deliver(pen, day, pen.buy(day, hour + 0.3, refill_days=pen.dice.choice((0, 0, 25, 30))))
    if pen.chance(0.3):
        later = day + pen.dice.randint(12, 28)
        _deliver(pen, later, pen.buy(later, hour))


def _deliver(pen: Pen, day: float, order: str) -> None:
    """Most parcels arrive, most people are content."""
    pen.ship(day + 1, 14, order, arrives_after_days=pen.dice.choice((1, 2, 2, 3, 9)))
    if pen.chance(0.3):
        pen.track(
            day + 15,
            19,
            "Product Reviewed",
            review_id=f"R-{order}",
            order_id=order,
            rating=pen.dice.choice((5, 5, 4, 4, 3, 1)),
        )
    elif pen.chance(0.15):
        _complain(pen, day + 5, order)


def _complain(pen: Pen, day: float, order: str) -> None:
    about: dict[str, Any] = {"complaint_id": f"C-{order}", "order_id": order}
    pen.track(day, 9, "Complaint Opened", **about, text=pen.dice.choice(COMPLAINTS_DE if pen.german else COMPLAINTS_EN))
    if pen.chance(0.8):
        pen.track(day + pen.dice.choice((1, 1, 3)), 12, "Complaint Resolved", **about, goodwill=pen.chance(0.3))


def _subscribe(pen: Pen, day: float, hour: float) -> None:
    """Wants the newsletter; some never confirm, some leave soon."""
    pen.person.traits.pop("consent", None)
    pen.person.traits["consent_request"] = {"marketing": ["email"]}
    pen.person.traits["newsletter"] = True
    pen.person.confirms = pen.chance(0.75)
    pen.person.leaves = pen.chance(0.15)
    pen.identify(day, hour)


def _go_quiet(pen: Pen, _day: float, _hour: float) -> None:
    """Was a customer once, and nothing has happened since."""
    pen.identify(0, 4)
    pen.bought_before(pen.dice.uniform(70, 150), round(pen.dice.uniform(30, 200), 2))
    if pen.chance(0.6):
        pen.bought_before(pen.dice.uniform(20, 65), round(pen.dice.uniform(30, 200), 2))


def _spend(pen: Pen, day: float, hour: float) -> None:
    """Furnishes a flat."""
    pen.identify(day, hour)
    for order in range(2):
        at = day + order * 6
        _deliver(pen, at, pen.buy(at, hour, total=round(pen.dice.uniform(520, 900), 2)))


HABITS: Final[dict[Callable[[Pen, float, float], None], int]] = {
    _browse: 20, _abandon: 22, _buy: 26, _subscribe: 16, _go_quiet: 12, _spend: 4,
}  # fmt: skip

"""The shop of the chaos tests: its workflows, what its customers do, and what must come of it by the documents alone.

Invariant: what is expected is written down here from what was sent and acknowledged, without asking our evaluator; whatever may
legally come either way (a race with a timer) is expected as exactly one of the two.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORKFLOWS = {
    "welcome": """
workflow: welcome
purpose: transactional
trigger: {event: Signed Up}
reentry: never
steps:
  - send: {channel: email, template: note}
    id: mail
""",
    "receipt": """
workflow: receipt
purpose: transactional
trigger: {event: Order Paid}
key: event.order
steps:
  - send: {channel: email, template: note}
    id: mail
  - emit: {event: Points Earned, properties: {order: event.order}}
""",
    "points": """
workflow: points
purpose: transactional
trigger: {event: Points Earned}
key: event.order
steps:
  - send: {channel: email, template: note}
    id: mail
""",
    "cart": """
workflow: cart
purpose: transactional
trigger: {event: Cart Left}
key: event.cart
steps:
  - wait: 2s
  - send: {channel: email, template: note}
    id: mail
""",
    "course": """
workflow: course
purpose: marketing
trigger: {event: Course Begun}
key: event.course
steps:
  - repeat:
      times: 3
      every: 1s
      steps:
        - send: {channel: email, template: note}
          id: lesson
""",
    "trial": """
workflow: trial
purpose: transactional
trigger: {event: Trial Started}
key: event.trial
steps:
  - wait_for:
      event: Trial Used
      where: event.trial == enrollment.event.trial
      timeout: 2s
      then: [{exit: used}]
      otherwise: []
  - send: {channel: email, template: note}
    id: late
""",
    "shared": """
workflow: shared
purpose: transactional
trigger:
  event: Basket Shared
  where: count('Product Viewed') == event.views
key: event.share
steps:
  - send: {channel: email, template: note}
    id: mail
""",
    "buyer": """
workflow: buyer
purpose: transactional
trigger: {segment: buyers}
reentry: never
steps:
  - send: {channel: email, template: note}
    id: mail
""",
    "broken": """
workflow: broken
purpose: transactional
trigger: {event: Odd Thing}
key: event.odd
steps:
  - when: customer.age > 5
    send: {channel: email, template: note}
    id: mail
""",
    "segments": """
segments:
  buyers: {where: count('Order Paid') >= 1}
""",
    "policy": """
policy: default
zone: Europe/Berlin
purposes:
  transactional: {consent: none}
  marketing: {consent: opt_in}
unknown: {marketing: keep, transactional: resend}
""",
}
TEMPLATE = """---
subject: "About {{ enrollment.key }}"
---
<p>Hello {{ customer.email }}.</p>
<p><a href="{{ unsubscribe_url }}">No more of these</a></p>
"""
LONGEST_WAIT_SECONDS = 3.0
"""After the last record, nothing is due later than this (a round of `course` follows another by its own timer)."""


def make_project(folder: Path) -> Path:
    """Writes the project."""
    (folder / "workflows").mkdir(parents=True, exist_ok=True)
    (folder / "templates" / "email").mkdir(parents=True, exist_ok=True)
    for name, text in WORKFLOWS.items():
        (folder / "workflows" / f"{name}.yaml").write_text(text.lstrip(), "utf-8")
    (folder / "templates" / "email" / "note.html").write_text(TEMPLATE, "utf-8")
    return folder


@dataclass
class Expected:
    """What must have come of what was acknowledged."""

    sends: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(workflow, customer) → how many sends are decided: only of customers who keep their id."""
    runs: dict[str, int] = field(default_factory=dict)
    """Enrollment id → how many sends it decides (whatever the answer)."""
    races: set[str] = field(default_factory=set)
    """Enrollments that either exit or send, once."""
    failed: set[str] = field(default_factory=set)
    """Enrollments that are parked, once."""
    merged: set[tuple[str, str]] = field(default_factory=set)
    """(previous id, id that stays)."""


Put = Callable[..., Awaitable[None]]
"""(customer, type, label, *, astray, **fields): returns when it is acknowledged."""


class Visit:
    """One customer from the first touchpoint to the last. Every record is acknowledged before the next is sent."""

    def __init__(self, name: str, put: Put, expected: Expected, *, dice: random.Random) -> None:
        self._name = name
        self._put = put
        self._expected = expected
        self._dice = dice

    async def run(self) -> None:
        """A sign-up, and then some of what customers do."""
        traits = {"email": f"{self._name}@example.com", "age": "ten", "consent": {"marketing": ["email"]}}
        await self._put(self._name, "identify", "who", traits=traits)
        await self._track("up", "Signed Up")
        self._expected.sends["welcome", self._name] += 1
        scripts = (self._orders, self._cart, self._course, self._trial, self._share, self._odd)
        for script in self._dice.sample(scripts, self._dice.randint(1, 3)):
            await script()
            await asyncio.sleep(self._dice.random() * 0.3)

    async def _orders(self) -> None:
        for number in range(self._dice.randint(1, 3)):
            await self._track(f"order-{number}", "Order Paid", order=f"o{number}")
            self._expected.runs[f"receipt/{self._name}/o{number}"] = 1
            self._expected.runs[f"points/{self._name}/o{number}"] = 1
        self._expected.sends["buyer", self._name] += 1

    async def _cart(self) -> None:
        await self._track("cart", "Cart Left", cart="k")
        self._expected.runs[f"cart/{self._name}/k"] = 1

    async def _course(self) -> None:
        await self._track("course", "Course Begun", course="c")
        self._expected.runs[f"course/{self._name}/c"] = 3

    async def _trial(self) -> None:
        await self._track("trial", "Trial Started", trial="t")
        await self._track("other", "Trial Used", trial="another")
        if self._dice.random() < 0.5:
            await self._track("used", "Trial Used", trial="t")
            self._expected.races.add(f"trial/{self._name}/t")
        else:
            self._expected.runs[f"trial/{self._name}/t"] = 1

    async def _share(self) -> None:
        """Somebody unknown looks around, is found to be this customer, and shares what was seen: all of it must be known.

        Everything goes through the id that was unknown, so the order is that of its partition.
        """
        anonymous, views = f"{self._name}-anonymous", self._dice.randint(2, 6)
        for number in range(views):
            await self._put(anonymous, "track", f"view-{number}", anonymous=True, event="Product Viewed", properties={})
        await self._put(anonymous, "track", "cart", anonymous=True, event="Cart Left", properties={"cart": "before"})
        self._expected.runs[f"cart/{anonymous}/before"] = 1
        await self._put(anonymous, "alias", "is", userId=self._name, previousId=anonymous)
        self._expected.merged.add((anonymous, self._name))
        properties = {"share": "s", "views": views}
        await self._put(anonymous, "track", "share", anonymous=True, event="Basket Shared", properties=properties)
        self._expected.runs[f"shared/{self._name}/s"] = 1

    async def _odd(self) -> None:
        await self._track("odd", "Odd Thing", odd="x")
        self._expected.failed.add(f"broken/{self._name}/x")

    async def _track(self, label: str, event: str, **properties: Any) -> None:
        astray = self._dice.random() < 0.15 and label != "trial"  # what must come in order takes no detour
        await self._put(self._name, "track", label, astray=astray, event=event, properties=properties)
        if self._dice.random() < 0.1:  # a client that did not hear the answer sends it again
            await self._put(self._name, "track", label, astray=astray, event=event, properties=properties)

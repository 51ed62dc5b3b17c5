"""What is the customer's own, below `/me/TOKEN`: their data, their orders, a complaint, a copy of everything.

Invariant: a page opens only in a browser that used an access link (`visitors`), and opening it changes nothing. Every form writes
a record that the journal keeps and workflows can answer; nothing here decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from engine.collector.pages.me_data import cannot_be_used, everything
from engine.collector.pages.me_fields import FIELDS, Filled, filled, shown_value
from engine.collector.pages.me_orders import Order, orders_of
from engine.collector.pages.me_page import event, identify, locked, me_page, one, told
from engine.collector.pages.visit import Entrance, Visit, VisitHandler
from engine.collector.pages.visitors import Visitors, own_state
from engine.core.customer import CustomerState
from engine.core.facts import moving
from engine.core.record import Record
from engine.runtimes.base import Front

COMPLAINT_CHARS_MAX = 4_000
ORDER_CHARS_MAX = 100
MESSAGES_MAX = 200
REQUESTS = {"again": "Order Confirmation Requested", "state": "Order State Requested"}
_Handler = Callable[[Visit, CustomerState], Awaitable[web.StreamResponse]]


class OwnPages:
    """The handlers. Each gets the customer's state."""

    def __init__(self, runtime: Front, entrance: Entrance, visitors: Visitors) -> None:
        self._runtime = runtime
        self._entrance = entrance
        self._visitors = visitors

    def routes(self) -> list[web.RouteDef]:
        """All paths that show or change what is personal."""
        seen, filled_in = self._entrance.visited, self._entrance.filled_in
        found = [web.get("/me/{token}/data.json", seen("preferences", self._opened(self.download)))]
        for path, get, post in (
            ("details", self.details, self.save_details),
            ("orders", self.orders, self.ask_order),
            ("complaint", self.complaint, self.open_complaint),
        ):
            found.append(web.get(f"/me/{{token}}/{path}", seen("preferences", self._opened(get))))
            found.append(web.post(f"/me/{{token}}/{path}", filled_in("preferences", self._opened(post))))
        return found

    def _opened(self, handler: _Handler) -> VisitHandler:
        async def guarded(visit: Visit) -> web.StreamResponse:
            state = await own_state(self._runtime, visit.link)
            if not await self._visitors.is_open(visit):
                return locked(visit, state)
            return await handler(visit, state)

        return guarded

    # ---------------------------------------------------------------------------------------------------- own data

    async def details(self, visit: Visit, state: CustomerState) -> web.StreamResponse:
        """Name, address, birthday, language and e-mail address, to be changed."""
        return _details(visit, state, marked=frozenset(cannot_be_used(self._runtime, state, now_ms=visit.now_ms)))

    async def save_details(self, visit: Visit, state: CustomerState) -> web.StreamResponse:
        """Records what changed. A new e-mail address is first asked whether it is the customer's, and the old one is told."""
        answer = filled(await visit.form(), state.traits, now_ms=visit.now_ms)
        if answer.wrong:
            return _details(visit, state, answer)
        if answer.email and moving.asked_lately(state, visit.now_ms) >= moving.ASKED_MAX:
            answer = msgspec.structs.replace(answer, wrong=frozenset({"email"}))
            return _details(visit, state, answer, errors={"email": visit.texts["often_email"]})
        records: list[Record] = []
        if answer.traits:
            records.append(identify(visit, answer.traits))
            records.append(event(visit, "Details Changed", {"fields": sorted(answer.traits)}))
        if answer.email:
            records.append(event(visit, moving.ASKED, {"email": answer.email}))
        if records:
            await self._runtime.append(records)
        hours = -(-self._runtime.catalog.policy.address_change_wait.span_ms // 3_600_000)
        return _details(visit, state, answer, saved=True, hours=hours)

    async def download(self, visit: Visit, state: CustomerState) -> web.StreamResponse:
        """Everything that is kept about the customer and concerns them, as JSON (Art. 15 and 20 GDPR)."""
        found = await everything(self._runtime, state.id, now_ms=visit.now_ms)
        return web.Response(
            body=msgspec.json.format(msgspec.json.encode(found), indent=2),
            content_type="application/json",
            headers={
                "Content-Disposition": 'attachment; filename="data.json"',
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "same-origin",
            },
        )

    # ------------------------------------------------------------------------------------------------------ orders

    async def orders(self, visit: Visit, state: CustomerState) -> web.StreamResponse:
        """What is known of orders: from the messages about them, and the workflows that wait for something."""
        return _orders(visit, await self._known_orders(state))

    async def ask_order(self, visit: Visit, state: CustomerState) -> web.StreamResponse:
        """Asks for a confirmation again, or where an order is: the shop or a workflow answers by a message."""
        form, known = await visit.form(), await self._known_orders(state)
        what, number = one(form, "what"), one(form, "order")
        if what not in REQUESTS or not number or len(number) > ORDER_CHARS_MAX or not number.isprintable():
            return _orders(visit, known, wrong=True)
        order = next((order for order in known if order.number == number), None)
        properties = {**(order.properties if order is not None else {}), "order_id": number, "source": "self_service"}
        if order is not None:
            properties |= {**order.parcel, "order_id": number, "state": order.state}
            if order.properties:
                properties["ordered_at"] = order.first_at
        # The same question twice in a minute is one question.
        key = f"{what}:{number}:{visit.now_ms // 60_000}"
        await self._runtime.append([event(visit, REQUESTS[what], properties, key=key)])
        return _orders(visit, known, asked=True)

    async def _known_orders(self, state: CustomerState) -> list[Order]:
        messages = await self._runtime.messages(customer=state.id, limit=MESSAGES_MAX)
        return orders_of(state, [status.message for status in messages])

    # --------------------------------------------------------------------------------------------------- complaint

    async def complaint(self, visit: Visit, state: CustomerState) -> web.StreamResponse:
        """A form."""
        return _complaint(visit, await self._known_orders(state))

    async def open_complaint(self, visit: Visit, state: CustomerState) -> web.StreamResponse:
        """Records the complaint. The number stands in the form, so that sending it twice opens one."""
        form = await visit.form()
        text, number, order = one(form, "text"), one(form, "number"), one(form, "order")
        sound = (
            number.isalnum() and number.isascii() and len(number) <= ORDER_CHARS_MAX and len(order) <= ORDER_CHARS_MAX
        )
        if not text or len(text) > COMPLAINT_CHARS_MAX or not sound:
            return _complaint(visit, await self._known_orders(state), text=text, order=order, wrong=True)
        properties = {"complaint_id": number, "text": text, "source": "self_service"}
        if order:
            properties["order_id"] = order
        await self._runtime.append([event(visit, "Complaint Opened", properties, key=f"complaint:{number}")])
        return told(visit, "complained", is_open=True, number=number)


# --------------------------------------------------------------------------------------------------------------- pages


def _details(
    visit: Visit,
    state: CustomerState,
    answer: Filled | None = None,
    *,
    errors: dict[str, str] | None = None,
    marked: frozenset[str] = frozenset(),
    **more: Any,
) -> web.Response:
    written = {} if answer is None else answer.written
    said = errors or {}
    fields = [
        {
            "name": field.name,
            "kind": field.kind,
            "complete": field.complete,
            "label": visit.texts[f"field_{field.name}"],
            "value": written.get(field.name, shown_value(field, state.traits)),
            "wrong": field.name in (answer.wrong if answer is not None else marked),
            "error": said.get(field.name) or visit.texts.get(f"wrong_{field.name}", visit.texts["wrong_text"]),
        }
        for field in FIELDS
    ]
    wrong = answer is not None and bool(answer.wrong)
    saved = bool(more.get("saved"))
    return me_page(
        visit, "details", status=400 if wrong else 200, fields=fields, wrong=wrong, saved=saved, is_open=True,
        new_email="" if answer is None or not saved else answer.email, hours=more.get("hours", 0),
        waiting="" if saved else moving.wanted(state, now_ms=visit.now_ms),
    )  # fmt: skip


def _orders(visit: Visit, known: list[Order], *, asked: bool = False, wrong: bool = False) -> web.Response:
    shown = [order.shown(visit.lang) for order in known]
    return me_page(visit, "orders", status=400 if wrong else 200, orders=shown, asked=asked, wrong=wrong, is_open=True)


def _complaint(
    visit: Visit, known: list[Order], *, text: str = "", order: str = "", wrong: bool = False
) -> web.Response:
    number = hashlib.sha256(f"{visit.link.customer}\x1f{visit.link.message}\x1f{visit.now_ms}".encode()).hexdigest()[
        :12
    ]
    numbers = [each.number for each in known]
    return me_page(
        visit, "complaint", status=400 if wrong else 200, number=number, orders=numbers, text=text, order=order,
        wrong=wrong, most=COMPLAINT_CHARS_MAX, is_open=True,
    )  # fmt: skip

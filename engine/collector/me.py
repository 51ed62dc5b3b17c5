"""The customer's own page, `/me/TOKEN`: what they receive, their data, their orders, a complaint.

Invariant: opening a page changes nothing. Every form writes a record that the journal keeps and workflows can answer;
nothing here decides. What is personal opens only from a message that is not old, and went to an address that is still the
customer's: who finds an old mail, or gets one by a slip in an address, can unsubscribe, and sees nothing of them.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from aiohttp import web

from engine.collector.me_data import cannot_be_used, everything
from engine.collector.me_fields import FIELDS, Filled, filled, shown_value
from engine.collector.me_orders import Order, orders_of
from engine.collector.page import page
from engine.collector.texts import title, word
from engine.collector.visit import LANGUAGES, Entrance, Visit
from engine.core.consent import ADDRESS_TRAITS, address_of, normal_address, permission
from engine.core.customer import CustomerState
from engine.core.record import Event, Identify, Record
from engine.core.workflow import Send
from engine.errors import BadRecord
from engine.runtimes.base import Front

FRESH_MS = 30 * 86_400_000
"""How old the message may be whose link shows personal data."""
COMPLAINT_CHARS_MAX = 4_000
ORDER_CHARS_MAX = 100
MESSAGES_MAX = 200
CHOICES = {"tracking": "email", "profiling": "profile"}
"""Purposes that no message has and that are chosen all the same, when the policy knows them: purpose → channel."""
REQUESTS = {"again": "Order Confirmation Requested", "state": "Order State Requested"}


class MePages:
    """The handlers."""

    def __init__(self, runtime: Front, entrance: Entrance) -> None:
        """Keeps both."""
        self._runtime = runtime
        self._entrance = entrance

    def routes(self) -> list[web.RouteDef]:
        """All paths below `/me/TOKEN`."""
        found = []
        for path, get, post in (
            ("", self.overview, self.save_preferences),
            ("/details", self.details, self.save_details),
            ("/orders", self.orders, self.ask_order),
            ("/complaint", self.complaint, self.open_complaint),
        ):
            found.append(web.get(f"/me/{{token}}{path}", self._entrance.visited("preferences", get)))
            found.append(web.post(f"/me/{{token}}{path}", self._entrance.filled_in("preferences", post)))
        found.append(web.get("/me/{token}/data.json", self._entrance.visited("preferences", self.download)))
        found.append(web.post("/me/{token}/link", self._entrance.filled_in("preferences", self.ask_link)))
        return found

    # ------------------------------------------------------------------------------------------------ preferences

    async def overview(self, visit: Visit) -> web.StreamResponse:
        """Purposes and channels as checkboxes, and the way to everything else."""
        return _overview(visit, await self._choices(visit))

    async def save_preferences(self, visit: Visit) -> web.StreamResponse:
        """Records what was ticked and what no longer is.

        A tick counts at once on the address that the link came to; elsewhere the customer still has to confirm.
        """
        form = await visit.form()
        ticked = {(purpose, channel) for purpose, _, channel in (value.partition(":") for value in form.get("on", []))}
        choices = await self._choices(visit)
        proven = await self._proven_address(visit)
        changes: dict[str, dict[str, list[str]]] = {}
        chosen: dict[tuple[str, str], bool] = {}
        for (purpose, channel), on in choices.items():
            wanted = chosen[(purpose, channel)] = (purpose, channel) in ticked
            if wanted and not on:
                action = "grant" if ADDRESS_TRAITS.get(channel, channel) == proven else "request"
                changes.setdefault(action, {}).setdefault(purpose, []).append(channel)
            elif not wanted:
                changes.setdefault("withdraw", {}).setdefault(purpose, []).append(channel)
        records: list[Record] = [
            visit.consent(action, {purpose: channels}, wording=_wording(visit, purpose, channels))
            for action, purposes in changes.items()
            for purpose, channels in purposes.items()
        ]
        if records:
            await self._runtime.append([_apart(record, number) for number, record in enumerate(records)])
        return _overview(visit, chosen, saved=True, pending="request" in changes)

    async def _choices(self, visit: Visit) -> dict[tuple[str, str], bool]:
        """(purpose, channel) → whether it is allowed now. Only what some workflow sends, or consent is known of."""
        state = await self._state(visit)
        catalog = self._runtime.catalog
        policy = catalog.policy
        offered: set[tuple[str, str]] = {
            (purpose, channel) for purpose, channels in state.consent.items() for channel in channels
        }
        for workflow in catalog.workflows.values():
            for operation in workflow.ops.values():
                if isinstance(operation, Send):
                    purpose = operation.purpose or workflow.purpose
                    offered |= {(purpose, name) for name in operation.channels if address_of(state, name)}
        if state.first_seen_ms:
            offered |= {(purpose, channel) for purpose, channel in CHOICES.items() if purpose in policy.purposes}
        return {
            (purpose, channel): not permission(
                state,
                policy,
                purpose=purpose,
                channel=channel,
                address=address_of(state, channel) or "unknown@address.invalid",
            ).reason
            for purpose, channel in sorted(offered)
            if purpose in policy.purposes and policy.purposes[purpose].consent != "none"
        }

    async def _proven_address(self, visit: Visit) -> str:
        """The trait of the address that the message with this link went to; "" when that is not known, or not in use any more."""
        link = visit.link
        status = await self._runtime.message(link.message) if link.message else None
        if status is None or status.message.customer != link.customer:
            return ""
        message = status.message
        current = address_of(await self._state(visit), message.channel)
        reached = normal_address(message.address, message.channel)
        if not reached or reached != normal_address(current, message.channel):
            return ""
        return ADDRESS_TRAITS.get(message.channel, message.channel)

    # ---------------------------------------------------------------------------------------------------- own data

    async def details(self, visit: Visit) -> web.StreamResponse:
        """Name, address, birthday, language and e-mail address, to be changed."""
        if not await self._is_fresh(visit):
            return _old(visit)
        state = await self._state(visit)
        return _details(visit, state, marked=frozenset(cannot_be_used(self._runtime, state, now_ms=visit.now_ms)))

    async def save_details(self, visit: Visit) -> web.StreamResponse:
        """Records what changed. A new e-mail address is first asked whether it is the customer's."""
        if not await self._is_fresh(visit):
            return _old(visit)
        state = await self._state(visit)
        answer = filled(await visit.form(), state.traits, now_ms=visit.now_ms)
        if answer.wrong:
            return _details(visit, state, answer)
        records: list[Record] = []
        if answer.traits:
            records.append(_identify(visit, answer.traits))
            records.append(_event(visit, "Details Changed", {"fields": sorted(answer.traits)}))
        if answer.email:
            records.append(_event(visit, "Email Change Requested", {"email": answer.email}))
        if records:
            await self._runtime.append(records)
        return _details(visit, state, answer, saved=True)

    async def download(self, visit: Visit) -> web.StreamResponse:
        """Everything that is kept about the customer and concerns them, as JSON (Art. 15 and 20 GDPR)."""
        if not await self._is_fresh(visit):
            return _old(visit)
        found = await everything(self._runtime, visit.link.customer, now_ms=visit.now_ms)
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

    async def orders(self, visit: Visit) -> web.StreamResponse:
        """What is known of orders: from the messages about them, and the workflows that wait for something."""
        if not await self._is_fresh(visit):
            return _old(visit)
        return _orders(visit, await self._known_orders(visit))

    async def ask_order(self, visit: Visit) -> web.StreamResponse:
        """Asks for a confirmation again, or where an order is: the shop or a workflow answers by a message."""
        if not await self._is_fresh(visit):
            return _old(visit)
        form, known = await visit.form(), await self._known_orders(visit)
        what, number = _one(form, "what"), _one(form, "order")
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
        await self._runtime.append([_event(visit, REQUESTS[what], properties, key=key)])
        return _orders(visit, known, asked=True)

    async def _known_orders(self, visit: Visit) -> list[Order]:
        messages = await self._runtime.messages(customer=visit.link.customer, limit=MESSAGES_MAX)
        return orders_of(await self._state(visit), [status.message for status in messages])

    # --------------------------------------------------------------------------------------------------- complaint

    async def complaint(self, visit: Visit) -> web.StreamResponse:
        """A form."""
        known = await self._known_orders(visit) if await self._is_fresh(visit) else []
        return _complaint(visit, known)

    async def open_complaint(self, visit: Visit) -> web.StreamResponse:
        """Records the complaint. The number stands in the form, so that sending it twice opens one."""
        form = await visit.form()
        text, number, order = _one(form, "text"), _one(form, "number"), _one(form, "order")
        known = await self._known_orders(visit) if await self._is_fresh(visit) else []
        sound = (
            number.isalnum() and number.isascii() and len(number) <= ORDER_CHARS_MAX and len(order) <= ORDER_CHARS_MAX
        )
        if not text or len(text) > COMPLAINT_CHARS_MAX or not sound:
            return _complaint(visit, known, text=text, order=order, wrong=True)
        properties = {"complaint_id": number, "text": text, "source": "self_service"}
        if order:
            properties["order_id"] = order
        event = _event(visit, "Complaint Opened", properties, key=f"complaint:{number}")
        await self._runtime.append([event])
        return _notice(visit, "complained", number=number)

    # ------------------------------------------------------------------------------------------------- a fresh link

    async def ask_link(self, visit: Visit) -> web.StreamResponse:
        """A message with a new link, to the address that is known."""
        event = _event(visit, "Access Link Requested", {}, key=f"link:{visit.now_ms // 600_000}")
        await self._runtime.append([event])
        return _notice(visit, "linked")

    async def _is_fresh(self, visit: Visit) -> bool:
        link = visit.link
        status = await self._runtime.message(link.message) if link.message else None
        if status is None or status.message.customer != link.customer:
            return False
        return visit.now_ms - status.message.decided_ms <= FRESH_MS and bool(await self._proven_address(visit))

    async def _state(self, visit: Visit) -> CustomerState:
        return await self._runtime.state(visit.link.customer) or CustomerState(id=visit.link.customer)


# ------------------------------------------------------------------------------------------------------------- records


def _event(visit: Visit, name: str, properties: dict[str, Any], *, key: str = "") -> Event:
    key = key or f"{name}:{visit.now_ms}"
    return Event(
        customer=visit.link.customer, at_ms=visit.now_ms, id=f"me:{visit.link.message}:{key}", name=name,
        time_ms=visit.now_ms, properties=properties,
    )  # fmt: skip


def _identify(visit: Visit, traits: dict[str, Any]) -> Identify:
    key = f"me:{visit.link.message}:details:{visit.now_ms}"
    return Identify(customer=visit.link.customer, at_ms=visit.now_ms, id=key, time_ms=visit.now_ms, traits=traits)


def _apart(record: Any, number: int) -> Record:
    """Several changes of one moment are several records."""
    changed: Record = msgspec.structs.replace(record, id=f"{record.id}:{number}")
    return changed


def _wording(visit: Visit, purpose: str, channels: list[str]) -> str:
    """What stood beside the boxes."""
    boxes = ", ".join(word(visit.lang, channel) for channel in channels)
    about = visit.texts.get(f"about_{purpose}", "")
    return f"{visit.texts['preferences_ask']} {title(visit.lang, purpose)}: {boxes}. {about}".strip()


def _one(form: dict[str, list[str]], name: str) -> str:
    values = form.get(name, [])
    if len(values) > 1:
        raise BadRecord("invalid_form", f"{name} is there twice.")
    return values[0].strip() if values else ""


# --------------------------------------------------------------------------------------------------------------- pages


def _page(visit: Visit, name: str, *, status: int = 200, **names: Any) -> web.Response:
    other = next(lang for lang in LANGUAGES if lang != visit.lang)
    query = f"?lang={visit.lang}" if visit.request.query.get("lang") else ""
    answer = page(
        name, status=status, lang=visit.lang, texts=visit.texts, root=visit.path, query=query,
        other_lang=other, here=visit.request.path, **names,
    )  # fmt: skip
    answer.headers["Referrer-Policy"] = "same-origin"  # with no-referrer a browser does not say where a form was
    return answer


def _overview(
    visit: Visit, choices: dict[tuple[str, str], bool], *, saved: bool = False, pending: bool = False
) -> web.Response:
    groups: dict[str, dict[str, Any]] = {}
    for (purpose, channel), on in choices.items():
        box = {"value": f"{purpose}:{channel}", "label": word(visit.lang, channel), "on": on}
        group = groups.setdefault(
            purpose,
            {"title": title(visit.lang, purpose), "about": visit.texts.get(f"about_{purpose}", ""), "boxes": []},
        )
        group["boxes"].append(box)
    return _page(visit, "preferences", groups=groups, saved=saved, pending=pending)


def _details(
    visit: Visit,
    state: CustomerState,
    answer: Filled | None = None,
    *,
    saved: bool = False,
    marked: frozenset[str] = frozenset(),
) -> web.Response:
    """`marked` are details that cannot be used as they are."""
    written = {} if answer is None else answer.written
    fields = [
        {
            "name": field.name,
            "kind": field.kind,
            "complete": field.complete,
            "label": visit.texts[f"field_{field.name}"],
            "value": written.get(field.name, shown_value(field, state.traits)),
            "wrong": field.name in (answer.wrong if answer is not None else marked),
            "error": visit.texts.get(f"wrong_{field.name}", visit.texts["wrong_text"]),
        }
        for field in FIELDS
    ]
    wrong = answer is not None and bool(answer.wrong)
    return _page(
        visit, "details", status=400 if wrong else 200, fields=fields, wrong=wrong, saved=saved,
        new_email="" if answer is None or not saved else answer.email,
    )  # fmt: skip


def _orders(visit: Visit, known: list[Order], *, asked: bool = False, wrong: bool = False) -> web.Response:
    shown = [order.shown(visit.lang) for order in known]
    return _page(visit, "orders", status=400 if wrong else 200, orders=shown, asked=asked, wrong=wrong)


def _complaint(
    visit: Visit, known: list[Order], *, text: str = "", order: str = "", wrong: bool = False
) -> web.Response:
    number = hashlib.sha256(f"{visit.link.customer}\x1f{visit.link.message}\x1f{visit.now_ms}".encode()).hexdigest()[
        :12
    ]
    numbers = [each.number for each in known]
    return _page(
        visit, "complaint", status=400 if wrong else 200, number=number, orders=numbers, text=text, order=order,
        wrong=wrong, most=COMPLAINT_CHARS_MAX,
    )  # fmt: skip


def _old(visit: Visit) -> web.Response:
    return _page(visit, "old", status=403)


def _notice(visit: Visit, key: str, **names: str) -> web.Response:
    texts = visit.texts
    return _page(visit, "told", title=texts[f"{key}_title"], text=texts[f"{key}_text"].format(**names))

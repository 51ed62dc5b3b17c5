"""The pages of a change of address: the new address says yes, the old one says yes or no.

Invariant: a GET changes nothing. Each link speaks only for the address that its mail went to, and only for the change that the
mail is about; whether and when the change takes effect is decided in the core (`engine.core.facts.moving`).
"""

from __future__ import annotations

import datetime as dt

from aiohttp import web
from babel import dates

from engine.collector.pages.page import page
from engine.collector.pages.visit import Entrance, Visit
from engine.collector.pages.visitors import applied, ask, done, message_of, state_of
from engine.core.channel import ADDRESS_TRAITS
from engine.core.consent.may_send import address_of, normal_address
from engine.core.customer import AddressChange
from engine.core.facts import moving
from engine.core.record import Event
from engine.core.time.schedule import zone_named, zone_of
from engine.dispatch.links.tokens import Door
from engine.errors import NotFound
from engine.runtimes.base import Front

_EVENTS: dict[Door, str] = {"address": moving.CONFIRMED, "agree": moving.AGREED, "stop": moving.STOPPED}


class MovePages:
    """The handlers."""

    def __init__(self, runtime: Front, entrance: Entrance) -> None:
        self._runtime = runtime
        self._entrance = entrance

    def routes(self) -> list[web.RouteDef]:
        """A page with a button for each of the three answers."""
        seen, filled = self._entrance.visited, self._entrance.filled_in
        return [
            web.get("/address/agree/{token}", seen("agree", lambda visit: self._ask(visit, "agree"))),
            web.post("/address/agree/{token}", filled("agree", lambda visit: self._say(visit, "agree"))),
            web.get("/address/stop/{token}", seen("stop", lambda visit: self._ask(visit, "stop"))),
            web.post("/address/stop/{token}", filled("stop", lambda visit: self._say(visit, "stop"))),
            web.get("/address/{token}", seen("address", lambda visit: self._ask(visit, "address"))),
            web.post("/address/{token}", filled("address", lambda visit: self._say(visit, "address"))),
        ]

    async def _ask(self, visit: Visit, door: Door) -> web.StreamResponse:
        await self._change(visit, door)
        return ask(visit, door)

    async def _say(self, visit: Visit, door: Door) -> web.StreamResponse:
        change = await self._change(visit, door)
        link = visit.link
        said = Event(
            customer=link.customer, at_ms=visit.now_ms, id=f"{door}:{link.message}", name=_EVENTS[door],
            time_ms=visit.now_ms, properties={"change": change.id, "message": link.message},
        )  # fmt: skip
        await self._runtime.append([said])
        state = await applied(
            self._runtime,
            link.customer,
            lambda state: _is_said(door, next((one for one in state.changes if one.id == change.id), None)),
        )
        if door == "stop":
            return done(visit, "stopped")
        became = next((one for one in state.changes if one.id == change.id), None)
        if became is None or became.ended:
            return done(visit, "addressed")
        if not became.due_ms:
            return done(visit, "agreed")
        zone = zone_of(state.traits, zone_named(self._runtime.catalog.policy.zone))
        due = dt.datetime.fromtimestamp(became.due_ms / 1000, dt.UTC)
        when = dates.format_datetime(due, "short", tzinfo=zone, locale=visit.lang)
        texts = visit.texts
        return page(
            "notice", lang=visit.lang, title=texts["waiting_title"], text=texts["waiting_text"].format(when=when)
        )

    async def _change(self, visit: Visit, door: Door) -> AddressChange:
        """The change that the link is about. Raises NotFound when it cannot be answered from this mail, or not any more."""
        message = await message_of(self._runtime, visit.link)
        cause = message.context.get("enrollment", {}).get("event", {})
        state = await state_of(self._runtime, visit.link.customer)
        change = None if state is None else moving.open_change(state, str(cause.get("id", "")), now_ms=visit.now_ms)
        if state is None or change is None or ADDRESS_TRAITS.get(message.channel) != "email":
            raise NotFound("This link is no longer valid.", mend="Enter the address again.")
        wanted = change.address if door == "address" else address_of(state, "email")
        if normal_address(message.address, "email") != normal_address(wanted, "email"):
            raise NotFound("This mail went to another address.")
        return change


def _is_said(door: Door, change: AddressChange | None) -> bool:
    if change is None or change.ended or door == "stop":
        return change is None or bool(change.ended)
    return bool(change.confirmed_ms if door == "address" else change.agreed_ms)

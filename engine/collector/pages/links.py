"""What customers reach from their messages: unsubscribe, double opt-in, a message in the browser.

Invariant: a GET changes nothing, because mail scanners open every link; a POST answers only after the change is durable,
and is never redirected (RFC 8058). The customer's own pages (`/me`) are in `me`, those of a
new address in `moves`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from aiohttp import web

from engine.clock import Clock
from engine.collector.client import Proxies
from engine.collector.pages.me import MePages
from engine.collector.pages.moves import MovePages
from engine.collector.pages.page import foreign
from engine.collector.pages.texts import sentence
from engine.collector.pages.visit import Entrance, Visit
from engine.collector.pages.visitors import Visitors, ask, done, message_of, state_of
from engine.core.consent.may_send import address_of, normal_address
from engine.core.message import Message
from engine.core.record import Outcome, Record
from engine.dispatch.links.tokens import Link, TokenSigner
from engine.errors import NotFound
from engine.runtimes.base import Front
from engine.telemetry import Action, get_log

TOLD_MAX = 20_000
_log = get_log("collector")


class LinkPages:
    """The handlers. `content` renders a message as HTML, for `/view`; without it there is no such page."""

    def __init__(
        self,
        runtime: Front,
        signer: TokenSigner,
        clock: Clock,
        *,
        content: Callable[[Message], str] | None = None,
        public_url: str = "",
        proxies: Proxies | None = None,
    ) -> None:
        self._runtime = runtime
        self._entrance = Entrance(signer, clock, public_url=public_url, proxies=proxies)
        self._visitors = Visitors(runtime, signer, secure=public_url.startswith("https:"))
        # Whose unsubscribing was recorded here already: who sends the same form a thousand times writes it once.
        self._told: OrderedDict[str, None] = OrderedDict()
        self._content = content

    def routes(self) -> list[web.RouteDef]:
        """All paths with a token."""
        seen, filled = self._entrance.visited, self._entrance.filled_in
        found = [
            web.get("/u/{token}", seen("unsubscribe", self.ask_unsubscribe)),
            web.post(
                "/u/{token}", seen("unsubscribe", self.unsubscribe)
            ),  # the mailbox provider's button comes here too
            web.get("/confirm/{token}", seen("confirm", self.ask_confirm)),
            web.post("/confirm/{token}", filled("confirm", self.confirm)),
            *MovePages(self._runtime, self._entrance).routes(),
            *MePages(self._runtime, self._entrance, self._visitors).routes(),
        ]
        if self._content is not None:
            found.append(web.get("/view/{token}", seen("view", self.view)))
        return found

    # ------------------------------------------------------------------------------------------------ unsubscribe

    async def ask_unsubscribe(self, visit: Visit) -> web.StreamResponse:
        """A button; opening the page changes nothing."""
        return ask(visit, "unsubscribe")

    async def unsubscribe(self, visit: Visit) -> web.StreamResponse:
        """Withdraws. The mailbox provider's own button comes here too: the body, if any, says nothing new."""
        link, now_ms = visit.link, visit.now_ms
        told = f"unsubscribed:{link.message}"
        if told in self._told and await self._is_withdrawn(link):
            return done(visit, "unsubscribed")
        self._entrance.count(visit)
        records: list[Record] = [visit.consent("withdraw", link.purposes)]
        if link.message:
            outcome = Outcome(
                customer=link.customer, at_ms=now_ms, id=told, time_ms=now_ms, outcome="unsubscribed", message=link.message
            )  # fmt: skip
            records.append(outcome)
        await self._runtime.append(records)
        self._told[told] = None
        if len(self._told) > TOLD_MAX:
            self._told.popitem(last=False)
        _log.info(Action.CONSENT_WITHDRAWN, message=link.message, way="link")
        return done(visit, "unsubscribed")

    async def _is_withdrawn(self, link: Link) -> bool:
        """Whether all that the link withdraws is withdrawn by a link already, for the address that the customer has now."""
        state = await state_of(self._runtime, link.customer)
        if (
            state is None
        ):  # somebody who is not known: what was said is on the log, and nothing of theirs is left to change
            return True
        if not any(link.purposes.values()):
            return False
        known = [
            (channel, state.consent.get(purpose, {}).get(channel))
            for purpose, channels in link.purposes.items()
            for channel in channels
        ]
        return all(
            consent is not None
            and (consent.status, consent.source) == ("withdrawn", "link")
            and consent.address == normal_address(address_of(state, channel), channel)
            for channel, consent in known
        )

    # ---------------------------------------------------------------------------------------------- double opt-in

    async def ask_confirm(self, visit: Visit) -> web.StreamResponse:
        """A button; opening the page confirms nothing."""
        await self._confirmable(visit)
        return ask(visit, "confirm")

    async def confirm(self, visit: Visit) -> web.StreamResponse:
        """Records the confirmation with its proof: when, from where, and the words that stood beside the button."""
        purposes = await self._confirmable(visit)
        wording = sentence(visit.lang, "confirm_ask", purposes)
        await self._runtime.append([visit.consent("confirm", purposes, wording=wording)])
        return done(visit, "confirmed")

    async def _confirmable(self, visit: Visit) -> dict[str, list[str]]:
        """What the link confirms. Nothing, when its message is not one of this customer's: they were forgotten since."""
        if not any(visit.link.purposes.values()):
            raise NotFound("There is nothing to confirm with this link.")
        await message_of(self._runtime, visit.link)
        return visit.link.purposes

    # ------------------------------------------------------------------------------------------------------- view

    async def view(self, visit: Visit) -> web.StreamResponse:
        """The message, for those whose mail program does not show it well."""
        message = await message_of(self._runtime, visit.link)
        if self._content is None:
            raise NotFound("Messages are not shown here.")
        return foreign(self._content(message))

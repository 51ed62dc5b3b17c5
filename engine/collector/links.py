"""What customers reach from their messages: unsubscribe, double opt-in, a confirmed address, a message in the browser.

Invariant: a GET changes nothing, because mail scanners open every link; a POST answers only after the change is durable,
and is never redirected (RFC 8058). The customer's own pages (`/me`) are in `me`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from aiohttp import web

from engine.clock import Clock
from engine.collector.client import Proxies
from engine.collector.me import MePages
from engine.collector.page import foreign, page
from engine.collector.texts import sentence
from engine.collector.visit import Entrance, Visit
from engine.core.consent import ADDRESS_TRAITS, address_of, normal_address
from engine.core.message import Message
from engine.core.record import Event, Identify, Outcome, Record
from engine.dispatch.tokens import Link, TokenSigner, answers_new_address
from engine.errors import NotFound
from engine.runtimes.base import Front
from engine.telemetry import Action, get_log

EMAIL_CHANGED = "Email Changed"
ADDRESS_MS = 6 * 86_400_000
"""How long a new address can be confirmed: for less time than a click that comes again is recognised as the same one."""
MESSAGES_MAX = 200
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
        """Keeps what it is given."""
        self._runtime = runtime
        self._entrance = Entrance(signer, clock, public_url=public_url, proxies=proxies)
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
            web.get("/address/{token}", seen("address", self.ask_address)),
            web.post("/address/{token}", filled("address", self.take_address)),
            *MePages(self._runtime, self._entrance).routes(),
        ]
        if self._content is not None:
            found.append(web.get("/view/{token}", seen("view", self.view)))
        return found

    # ------------------------------------------------------------------------------------------------ unsubscribe

    async def ask_unsubscribe(self, visit: Visit) -> web.StreamResponse:
        """A button; opening the page changes nothing."""
        return _ask(visit, "unsubscribe")

    async def unsubscribe(self, visit: Visit) -> web.StreamResponse:
        """Withdraws. The mailbox provider's own button comes here too: the body, if any, says nothing new."""
        link, now_ms = visit.link, visit.now_ms
        told = f"unsubscribed:{link.message}"
        if told in self._told and await self._is_withdrawn(link):
            return _done(visit, "unsubscribed", link)
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
        return _done(visit, "unsubscribed", link)

    async def _is_withdrawn(self, link: Link) -> bool:
        """Whether all that the link withdraws is withdrawn by a link already, for the address that the customer has now."""
        state = await self._runtime.state(link.customer)
        if state is None or state.merged_into or not any(link.purposes.values()):
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
        _confirmable(visit.link)
        return _ask(visit, "confirm")

    async def confirm(self, visit: Visit) -> web.StreamResponse:
        """Records the confirmation with its proof: when, from where, and the words that stood beside the button."""
        purposes = _confirmable(visit.link)
        wording = sentence(visit.lang, "confirm_ask", purposes)
        await self._runtime.append([visit.consent("confirm", purposes, wording=wording)])
        return _done(visit, "confirmed", visit.link)

    # --------------------------------------------------------------------------------------------- a new address

    async def ask_address(self, visit: Visit) -> web.StreamResponse:
        """A button; the address is that of the mail with this link."""
        await self._new_address(visit)
        return _ask(visit, "address")

    async def take_address(self, visit: Visit) -> web.StreamResponse:
        """The address becomes the customer's: whoever clicks in a mail has received it."""
        address, link, now_ms = await self._new_address(visit), visit.link, visit.now_ms
        key = f"address:{link.message}"
        await self._runtime.append(
            [
                Identify(customer=link.customer, at_ms=now_ms, id=key, time_ms=now_ms, traits={"email": address}),
                Event(
                    customer=link.customer, at_ms=now_ms, id=f"{key}:event", name=EMAIL_CHANGED, time_ms=now_ms,
                    properties={"email": address},
                ),
            ]
        )  # fmt: skip
        return _done(visit, "addressed", visit.link)

    async def _new_address(self, visit: Visit) -> str:
        link = visit.link
        status = await self._runtime.message(link.message)
        if status is None or status.message.customer != link.customer:
            raise NotFound("This message is not kept any more.")
        if ADDRESS_TRAITS.get(status.message.channel) != "email":
            raise NotFound("This message is no mail.")
        if visit.now_ms - status.message.decided_ms > ADDRESS_MS or await self._is_overtaken(status.message):
            raise NotFound("This link does not hold any more.", mend="Enter the address again.")
        return status.message.address

    async def _is_overtaken(self, mail: Message) -> bool:
        """Whether the customer has asked for another address since: who got the mail to the first one may be a stranger."""
        messages = (each.message for each in await self._runtime.messages(customer=mail.customer, limit=MESSAGES_MAX))
        return any(
            each.decided_ms > mail.decided_ms and each.enrollment != mail.enrollment and answers_new_address(each)
            for each in messages
        )

    # ------------------------------------------------------------------------------------------------------- view

    async def view(self, visit: Visit) -> web.StreamResponse:
        """The message, for those whose mail program does not show it well."""
        status = await self._runtime.message(visit.link.message)
        if status is None or status.message.customer != visit.link.customer or self._content is None:
            raise NotFound("This message is not kept any more.")
        return foreign(self._content(status.message))


def _confirmable(link: Link) -> dict[str, list[str]]:
    if not any(link.purposes.values()):
        raise NotFound("This link confirms nothing.")
    return link.purposes


def _ask(visit: Visit, key: str) -> web.Response:
    texts = visit.texts
    answer = page(
        "ask", lang=visit.lang, title=texts[f"{key}_title"], text=sentence(visit.lang, f"{key}_ask", visit.link.purposes),
        button=texts[f"{key}_button"],
    )  # fmt: skip
    answer.headers["Referrer-Policy"] = "same-origin"  # with no-referrer a browser does not say where the button was
    return answer


def _done(visit: Visit, key: str, link: Link) -> web.Response:
    return page(
        "notice", lang=visit.lang, title=visit.texts[f"{key}_title"],
        text=sentence(visit.lang, f"{key}_text", link.purposes),
    )  # fmt: skip

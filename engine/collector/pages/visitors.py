"""Who a visitor is shown to be: the message of a link, the customer behind it, whether an access link was used in this browser.

Invariant: what is personal opens only in the browser that used an access link, the first one to do so, for half an hour; that it
was used lies in the customer's state, so that it holds in every process. The cookie names the visit and proves nothing by itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from aiohttp import web

from engine.collector.pages.page import page
from engine.collector.pages.texts import sentence
from engine.collector.pages.visit import Visit
from engine.core.channel import ADDRESS_TRAITS
from engine.core.consent.may_send import address_of, normal_address
from engine.core.customer import CustomerState
from engine.core.facts import moving
from engine.core.message import Message, is_of
from engine.core.record import Event
from engine.dispatch.links.tokens import Link, Session, TokenSigner, answers
from engine.errors import NotFound, StorageError
from engine.runtimes.base import Front

ACCESS_MS = 30 * 60_000
"""How long an access link can be used, and how long the page stays open after that."""
COOKIE = "anlass-visit"
MERGES_MAX = 5
SEEN_SECONDS_MAX = 10.0
"""How long a page waits for what it wrote to be applied."""
_LOOK_SECONDS = 0.05


class Visitors:
    """Opens visits by access links, and tells which browser has one. `secure`: the public address is https."""

    def __init__(self, runtime: Front, signer: TokenSigner, *, secure: bool) -> None:
        self._runtime = runtime
        self._signer = signer
        self._secure = secure

    def page_of(self, link: Link) -> str:
        """The path of the page that a link's preferences have."""
        return f"/me/{self._signer.preferences(link.message, link.customer)}"

    async def is_open(self, visit: Visit) -> bool:
        """Whether this browser may see what is personal."""
        try:
            session = self._signer.read_session(visit.request.cookies.get(COOKIE, ""))
        except NotFound:
            return False
        if session.customer != visit.link.customer or session.until_ms <= visit.now_ms:
            return False
        state = await state_of(self._runtime, visit.link.customer)
        return state is not None and any(
            one.message == session.message and one.visit and one.visit == session.visit for one in state.opened
        )

    async def is_usable(self, visit: Visit) -> bool:
        """Whether the access link is young, unused, and went to an address that is still the customer's."""
        message = await message_of(self._runtime, visit.link)
        state = await state_of(self._runtime, visit.link.customer)
        if state is None or not answers(message, moving.LINK_ASKED) or visit.now_ms - message.decided_ms > ACCESS_MS:
            return False
        if message.channel not in ADDRESS_TRAITS or any(one.message == message.id for one in state.opened):
            return False
        reached = normal_address(message.address, message.channel)
        return bool(reached) and reached == normal_address(address_of(state, message.channel), message.channel)

    async def use(self, visit: Visit) -> web.Response | None:
        """Uses the link up, and sends the browser to the page; None when another visit was first."""
        link, nonce = visit.link, secrets.token_hex(16)
        used = Event(
            customer=link.customer, at_ms=visit.now_ms, id=f"access:{link.message}:{nonce}", name=moving.LINK_OPENED,
            time_ms=visit.now_ms, properties={"message": link.message, "visit": nonce},
        )  # fmt: skip
        await self._runtime.append([used])
        state = await applied(
            self._runtime, link.customer, lambda state: any(one.message == link.message for one in state.opened)
        )
        if not any(one.message == link.message and one.visit == nonce for one in state.opened):
            return None
        session = Session(link.customer, link.message, nonce, visit.now_ms + ACCESS_MS)
        query = f"?lang={visit.lang}" if visit.request.query.get("lang") else ""
        answer = web.Response(status=303, headers={"Location": f"{self.page_of(link)}/details{query}"})
        answer.headers["Cache-Control"] = "no-store"
        answer.set_cookie(
            COOKIE, self._signer.session(session), max_age=ACCESS_MS // 1000, path="/me", httponly=True,
            secure=self._secure, samesite="Strict",
        )  # fmt: skip
        return answer


async def message_of(runtime: Front, link: Link) -> Message:
    """The message that a link stood in. Raises NotFound when it is not known, or not this customer's."""
    status = await runtime.message(link.message) if link.message else None
    if status is None or status.message.customer != link.customer:
        raise NotFound("This message is no longer kept.")
    return status.message


async def state_of(runtime: Front, customer: str) -> CustomerState | None:
    """The customer, under the id that theirs was merged into."""
    state = await runtime.state(customer)
    for _ in range(MERGES_MAX):
        if state is None or not state.merged_into:
            break
        state = await runtime.state(state.merged_into)
    return state


async def own_state(runtime: Front, link: Link) -> CustomerState:
    """The customer whose message the link stood in. Raises NotFound when they were forgotten, whoever has their id now."""
    state = await state_of(runtime, link.customer)
    if state is None or not is_of(state.salts, link.message):
        raise NotFound("This link belongs to somebody who is no longer known.")
    return state


async def applied(runtime: Front, customer: str, there: Callable[[CustomerState], bool]) -> CustomerState:
    """The customer's state, once what was just written is in it. Raises StorageError when that takes too long."""
    try:
        async with asyncio.timeout(SEEN_SECONDS_MAX):
            while True:
                state = await state_of(runtime, customer)
                if state is not None and there(state):
                    return state
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise StorageError("What was changed has not been applied yet.") from None


def ask(visit: Visit, key: str) -> web.Response:
    """A page with one button, which posts to where it is."""
    texts = visit.texts
    answer = page(
        "ask", lang=visit.lang, title=texts[f"{key}_title"], text=sentence(visit.lang, f"{key}_ask", visit.link.purposes),
        button=texts[f"{key}_button"],
    )  # fmt: skip
    answer.headers["Referrer-Policy"] = "same-origin"  # with no-referrer a browser does not say where the button was
    return answer


def done(visit: Visit, key: str) -> web.Response:
    """What the button did."""
    return page(
        "notice", lang=visit.lang, title=visit.texts[f"{key}_title"],
        text=sentence(visit.lang, f"{key}_text", visit.link.purposes),
    )  # fmt: skip

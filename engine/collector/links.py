"""What customers reach from their messages: unsubscribe, double opt-in, preferences, a message in the browser.

Invariant: a GET changes nothing, because mail scanners open every link; a POST answers only after the change is durable,
and is never redirected (RFC 8058).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

from engine.clock import Clock
from engine.collector.body import read_body
from engine.collector.page import foreign, page
from engine.collector.segment import Handler
from engine.collector.texts import TEXTS, language, sentence, word
from engine.core.consent import ADDRESS_TRAITS, address_of, permission
from engine.core.customer import CustomerState
from engine.core.message import Message
from engine.core.record import Consent, Outcome, Record
from engine.core.workflow import Send
from engine.dispatch.tokens import Door, Link, TokenSigner
from engine.errors import Backlog, BadRecord, NotFound, StorageError
from engine.runtimes.base import Front
from engine.telemetry import Action, get_log

FORM_BYTES_MAX = 65_536
FORM_FIELDS_MAX = 500
USER_AGENT_CHARS_MAX = 300
_log = get_log("collector")


class LinkPages:
    """The handlers. `content` renders a message as HTML, for `/view`; without it there is no such page."""

    def __init__(
        self, runtime: Front, signer: TokenSigner, clock: Clock, *, content: Callable[[Message], str] | None = None
    ) -> None:
        """Keeps what it is given."""
        self._runtime = runtime
        self._signer = signer
        self._clock = clock
        self._content = content

    def routes(self) -> list[web.RouteDef]:
        """All paths with a token."""
        found = []
        for path, get, post in (
            ("/u/{token}", self.ask_unsubscribe, self.unsubscribe),
            ("/confirm/{token}", self.ask_confirm, self.confirm),
            ("/me/{token}", self.preferences, self.save_preferences),
        ):
            found += [web.get(path, _for_people(get)), web.post(path, _for_people(post))]
        if self._content is not None:
            found.append(web.get("/view/{token}", _for_people(self.view)))
        return found

    # ------------------------------------------------------------------------------------------------ unsubscribe

    async def ask_unsubscribe(self, request: web.Request) -> web.StreamResponse:
        """A button; opening the page changes nothing."""
        link = self._link("unsubscribe", request)
        return _ask(request, "unsubscribe", link)

    async def unsubscribe(self, request: web.Request) -> web.StreamResponse:
        """Withdraws. The mailbox provider's own button comes here too: the body, if any, says nothing new."""
        link = self._link("unsubscribe", request)
        now_ms = self._clock.now_ms()
        records: list[Record] = [self._consent(request, link, "withdraw", link.purposes)]
        if link.message:
            told = f"unsubscribed:{link.message}"
            outcome = Outcome(
                customer=link.customer, at_ms=now_ms, id=told, time_ms=now_ms, outcome="unsubscribed", message=link.message
            )  # fmt: skip
            records.append(outcome)
        await self._runtime.append(records)
        _log.info(Action.CONSENT_WITHDRAWN, message=link.message, way="link")
        lang = _language(request)
        return page(
            "notice", lang=lang, title=TEXTS[lang]["unsubscribed_title"],
            text=sentence(lang, "unsubscribed_text", link.purposes),
        )  # fmt: skip

    # ---------------------------------------------------------------------------------------------- double opt-in

    async def ask_confirm(self, request: web.Request) -> web.StreamResponse:
        """A button; opening the page confirms nothing."""
        link = self._confirmable(request)
        return _ask(request, "confirm", link)

    async def confirm(self, request: web.Request) -> web.StreamResponse:
        """Records the confirmation with its proof: when, from where, and the words that stood beside the button."""
        link = self._confirmable(request)
        lang = _language(request)
        wording = sentence(lang, "confirm_ask", link.purposes)
        await self._runtime.append([self._consent(request, link, "confirm", link.purposes, wording=wording)])
        return page(
            "notice", lang=lang, title=TEXTS[lang]["confirmed_title"],
            text=sentence(lang, "confirmed_text", link.purposes),
        )  # fmt: skip

    def _confirmable(self, request: web.Request) -> Link:
        link = self._link("confirm", request)
        if not any(link.purposes.values()):
            raise NotFound("This link confirms nothing.")
        return link

    # ------------------------------------------------------------------------------------------------ preferences

    async def preferences(self, request: web.Request) -> web.StreamResponse:
        """Purposes and channels as checkboxes."""
        link = self._link("preferences", request)
        return _preferences(request, await self._choices(link))

    async def save_preferences(self, request: web.Request) -> web.StreamResponse:
        """Records what was ticked and what no longer is.

        A tick counts at once on the address that the link came to; elsewhere the customer still has to confirm.
        """
        link = self._link("preferences", request)
        ticked = await _ticked(request)
        choices = await self._choices(link)
        proven = await self._proven_address(link)
        changes: dict[str, dict[str, list[str]]] = {}
        chosen: dict[tuple[str, str], bool] = {}
        for (purpose, channel), on in choices.items():
            wanted = chosen[(purpose, channel)] = (purpose, channel) in ticked
            if wanted and not on:
                action = "grant" if ADDRESS_TRAITS.get(channel, channel) == proven else "request"
                changes.setdefault(action, {}).setdefault(purpose, []).append(channel)
            elif not wanted:
                changes.setdefault("withdraw", {}).setdefault(purpose, []).append(channel)
        wording = TEXTS[_language(request)]["preferences_ask"]
        if changes:
            await self._runtime.append(
                [
                    self._consent(request, link, action, purposes, wording=wording)
                    for action, purposes in changes.items()
                ]
            )
        return _preferences(request, chosen, saved=True, pending="request" in changes)

    async def _choices(self, link: Link) -> dict[tuple[str, str], bool]:
        """(purpose, channel) → whether messages are sent there now. Only what some workflow sends, or consent is known of."""
        state = await self._runtime.state(link.customer) or CustomerState(id=link.customer)
        catalog = self._runtime.catalog
        offered: set[tuple[str, str]] = {
            (purpose, channel) for purpose, channels in state.consent.items() for channel in channels
        }
        for workflow in catalog.workflows.values():
            for operation in workflow.ops.values():
                if isinstance(operation, Send):
                    purpose = operation.purpose or workflow.purpose
                    offered |= {(purpose, name) for name in operation.channels if address_of(state, name)}
        policy = catalog.policy
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

    async def _proven_address(self, link: Link) -> str:
        """The trait of the address that the message with this link went to; "" when the message is not known."""
        status = await self._runtime.message(link.message) if link.message else None
        if status is None or status.message.customer != link.customer:
            return ""
        return ADDRESS_TRAITS.get(status.message.channel, status.message.channel)

    # ------------------------------------------------------------------------------------------------------- view

    async def view(self, request: web.Request) -> web.StreamResponse:
        """The message, for those whose mail program does not show it well."""
        link = self._link("view", request)
        status = await self._runtime.message(link.message)
        if status is None or status.message.customer != link.customer or self._content is None:
            raise NotFound("This message is not kept any more.")
        return foreign(self._content(status.message))

    # ----------------------------------------------------------------------------------------------------- common

    def _link(self, door: Door, request: web.Request) -> Link:
        return self._signer.read(door, request.match_info["token"])

    def _consent(
        self, request: web.Request, link: Link, action: str, purposes: dict[str, list[str]], *, wording: str = ""
    ) -> Consent:
        now_ms = self._clock.now_ms()
        proof: dict[str, Any] = {
            "page": request.path.split("/")[1],
            "ip": request.remote or "",
            "user_agent": request.headers.get("User-Agent", "")[:USER_AGENT_CHARS_MAX],
            "language": _language(request),
            "message": link.message,
        }
        if wording:
            proof["wording"] = wording
        # The time is part of the id: whoever comes back and uses the same link again means it again.
        return Consent(
            customer=link.customer, at_ms=now_ms, id=f"link:{action}:{link.message}:{now_ms}", time_ms=now_ms,
            action=action, purposes=purposes, source="link", proof=proof,
        )  # fmt: skip


def _for_people(handler: Handler) -> Handler:
    """Tells people in their language what went wrong; programs read the status."""

    async def friendly(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except NotFound:
            return _notice(request, "broken", 404)
        except (StorageError, Backlog):
            return _notice(request, "later", 503)

    return friendly


def _notice(request: web.Request, key: str, status: int) -> web.Response:
    lang = _language(request)
    texts = TEXTS[lang]
    return page("notice", status=status, lang=lang, title=texts[f"{key}_title"], text=texts[f"{key}_text"])


def _ask(request: web.Request, key: str, link: Link) -> web.Response:
    lang = _language(request)
    return page(
        "ask", lang=lang, title=TEXTS[lang][f"{key}_title"], text=sentence(lang, f"{key}_ask", link.purposes),
        button=TEXTS[lang][f"{key}_button"],
    )  # fmt: skip


def _preferences(
    request: web.Request, choices: dict[tuple[str, str], bool], *, saved: bool = False, pending: bool = False
) -> web.Response:
    lang = _language(request)
    groups: dict[str, list[dict[str, object]]] = {}
    for (purpose, channel), on in choices.items():
        box = {"value": f"{purpose}:{channel}", "label": word(lang, channel), "on": on}
        groups.setdefault(word(lang, purpose).capitalize(), []).append(box)
    return page("preferences", lang=lang, texts=TEXTS[lang], groups=groups, saved=saved, pending=pending)


async def _ticked(request: web.Request) -> set[tuple[str, str]]:
    body = await read_body(request, bytes_max=FORM_BYTES_MAX)
    try:
        fields = parse_qs(body.decode("utf-8"), max_num_fields=FORM_FIELDS_MAX, errors="strict")
    except ValueError:
        raise BadRecord("invalid_form", "The form cannot be read.") from None
    pairs = (value.partition(":") for value in fields.get("on", []))
    return {(purpose, channel) for purpose, _, channel in pairs}


def _language(request: web.Request) -> str:
    return language(request.headers.get("Accept-Language", ""))

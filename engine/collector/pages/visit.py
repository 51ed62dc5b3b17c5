"""A customer's visit by a link from a message: whose it is, in which language, and whether a form may be taken from there.

Invariant: the token in the path is the only thing that opens a page. A form that another site sent is refused, and so is one too
many; what goes wrong is said in the visitor's language, and programs read the status.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from aiohttp import web

from engine.clock import Clock
from engine.collector.answers import CODE
from engine.collector.client import FormOrigins, Proxies
from engine.collector.intake.body import read_body
from engine.collector.intake.segment import Handler
from engine.collector.pages.page import page
from engine.collector.pages.texts import TEXTS, language
from engine.core.record import Consent
from engine.dispatch.links.tokens import Door, Link, TokenSigner
from engine.errors import Backlog, BadRecord, LimitExceeded, NotFound, StorageError

FORM_BYTES_MAX = 65_536
FORM_FIELDS_MAX = 500
USER_AGENT_CHARS_MAX = 300
FORMS_PER_MINUTE = 20
"""Of one customer, and by one link. Not from one network address: behind it there may be a whole company, or everybody."""
VISITORS_MAX = 50_000
LANGUAGES = ("en", "de")


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """A request with a token that was good."""

    request: web.Request
    link: Link
    lang: str
    now_ms: int
    address: str = ""
    """Where it comes from."""

    @property
    def texts(self) -> Any:
        """The words of the visitor's language."""
        return TEXTS[self.lang]

    @property
    def path(self) -> str:
        """`/me/TOKEN`, without what follows."""
        return "/".join(self.request.path.split("/")[:3])

    async def form(self) -> dict[str, list[str]]:
        """What was filled in. Raises BadRecord."""
        body = await read_body(self.request, bytes_max=FORM_BYTES_MAX)
        try:
            return parse_qs(
                body.decode("utf-8"), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX, errors="strict"
            )
        except ValueError:
            raise BadRecord("invalid_form", "The form could not be read.") from None

    def consent(self, action: str, purposes: dict[str, list[str]], *, wording: str = "") -> Consent:
        """The record of a change of consent, with its proof: when, in which zone, from where, and the words beside the button."""
        request, now_ms, link = self.request, self.now_ms, self.link
        proof: dict[str, Any] = {
            "page": request.path.split("/")[1],
            "ip": self.address,
            "user_agent": request.headers.get("User-Agent", "")[:USER_AGENT_CHARS_MAX],
            "language": self.lang,
            "message": link.message,
            "zone": "UTC",
        }
        if wording:
            proof["wording"] = wording
        # The time is part of the id: whoever comes back and uses the same link again means it again.
        return Consent(
            customer=link.customer, at_ms=now_ms, id=f"link:{action}:{link.message}:{now_ms}", time_ms=now_ms,
            action=action, purposes=purposes, source="link", proof=proof,
        )  # fmt: skip


VisitHandler = Callable[[Visit], Awaitable[web.StreamResponse]]


class Entrance:
    """Lets visitors in: reads tokens, counts forms, says in words what went wrong."""

    def __init__(
        self, signer: TokenSigner, clock: Clock, *, public_url: str = "", proxies: Proxies | None = None
    ) -> None:
        """`public_url` is what customers' browsers call this service, when a proxy stands in front; `proxies` are believed."""
        self._proxies = proxies or Proxies()
        self._sources = FormOrigins()
        self._signer = signer
        self._clock = clock
        self._host = urlsplit(public_url).netloc.lower()
        self._forms: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def visited(self, door: Door, handler: VisitHandler) -> Handler:
        """A handler of requests that have a token of this door in their path; opening a page changes nothing."""
        return self._friendly(lambda request: handler(self._visit(door, request)))

    def filled_in(self, door: Door, handler: VisitHandler) -> Handler:
        """As `visited`, for a form that must come from our own page."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            visit = self._visit(door, request)
            self._same_site(request)
            self.count(visit)
            return await handler(visit)

        return self._friendly(guarded)

    def count(self, visit: Visit) -> None:
        """One form more. Raises LimitExceeded when its customer, or its link, sent too many within the minute."""
        self._sources.note(visit.address, visit.link.customer)
        self._count(f"customer:{visit.link.customer}", FORMS_PER_MINUTE)
        token = hashlib.sha256(visit.request.match_info["token"].encode()).hexdigest()
        self._count(f"token:{token}", FORMS_PER_MINUTE)

    def _visit(self, door: Door, request: web.Request) -> Visit:
        lang = request.query.get("lang", "")
        return Visit(
            request=request,
            link=self._signer.read(door, request.match_info["token"]),
            lang=lang if lang in LANGUAGES else language(request.headers.get("Accept-Language", "")),
            now_ms=self._clock.now_ms(),
            address=self._proxies.client(request),
        )

    def _same_site(self, request: web.Request) -> None:
        """Browsers say where a form was; a program that says nothing has the token, which is what counts."""
        told = request.headers.get("Sec-Fetch-Site")
        if told is not None:
            if told in {"same-origin", "none"}:
                return
        else:
            origin = request.headers.get("Origin")
            if origin is None or urlsplit(origin).netloc.lower() in {request.host.lower(), self._host} - {""}:
                return
        raise _Foreign

    def _count(self, who: str, most: int) -> None:
        minute = self._clock.now_ms() // 60_000
        since, count = self._forms.pop(who, (minute, 0))
        count = count + 1 if since == minute else 1
        self._forms[who] = (minute, count)
        while len(self._forms) > VISITORS_MAX:
            self._forms.popitem(last=False)
        if count > most:
            raise LimitExceeded("Too many forms in a minute.", limit=most, mend="Wait a minute.")

    def _friendly(self, handler: Handler) -> Handler:
        async def friendly(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except NotFound:
                return _notice(request, "broken", 404)
            except _Foreign:
                return _notice(request, "foreign", 403)
            except LimitExceeded:
                return _notice(request, "often", 429)
            except BadRecord as error:
                if error.code != "invalid_form":
                    raise
                return _notice(request, "form", 400)
            except (StorageError, Backlog):
                return _notice(request, "later", 503)

        return friendly


class _Foreign(Exception):
    """A form that another site sent."""


def _notice(request: web.Request, key: str, status: int) -> web.Response:
    told = request.query.get("lang", "")
    lang = told if told in LANGUAGES else language(request.headers.get("Accept-Language", ""))
    texts = TEXTS[lang]
    answer = page("notice", status=status, lang=lang, title=texts[f"{key}_title"], text=texts[f"{key}_text"])
    answer[CODE] = key
    return answer

"""Lets nobody but this machine's own programs in while there are no write keys.

Invariant: without keys an event is taken only from a request that no web page of somebody else, no proxy and no name that
somebody pointed at this machine can have brought here; and no browser is told that other pages may send any.
"""

from __future__ import annotations

import functools
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from engine.collector import answers
from engine.collector.hosts import as_address, host_of, is_loopback, passed_on
from engine.collector.intake.segment import Handler

INTAKE = ("/v1/", "/beacon/", "/events")
_OWN_PAGES = frozenset({"same-origin", "none"})


class Keyless:
    """`middleware` stands before everything that takes events."""

    def __init__(self) -> None:
        """Needs nothing."""
        # aiohttp marks a middleware with an attribute, which a bound method cannot have.
        self.middleware = web.middleware(functools.partial(self._handle))

    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        foreign = _foreign(request) if is_intake(request) else ""
        return _refused(foreign) if foreign else await handler(request)


def is_intake(request: web.Request) -> bool:
    """Whether a request would bring events, by its path or by the route that it came to."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else ""
    return request.path.startswith(INTAKE) or route.startswith(INTAKE)


def _foreign(request: web.Request) -> str:
    """What shows that a request is not of a program on this machine; "" when nothing does."""
    remote = as_address(request.remote or "")
    if remote is not None and not is_loopback(str(remote)):
        return "it came from another machine"
    if not is_loopback(host_of(request)):
        return "its Host is not this machine"
    if header := passed_on(request):
        return f"a proxy passed it on ({header})"
    if not set(request.headers.getall("Sec-Fetch-Site", [])) <= _OWN_PAGES:
        return "another site's page sent it (Sec-Fetch-Site)"
    for header in (hdrs.ORIGIN, hdrs.REFERER):
        if not all(_is_own(request, url) for url in request.headers.getall(header, [])):
            return f"another site's page sent it ({header})"
    return ""


def _is_own(request: web.Request, url: str) -> bool:
    try:
        told = urlsplit(url)
    except ValueError:
        return False
    return told.scheme in {"http", "https"} and told.netloc.lower() == request.headers[hdrs.HOST].lower()


def _refused(foreign: str) -> web.Response:
    return answers.refusal(
        403,
        "keyless",
        f"Without write keys only programs on this machine may send events, and {foreign}. "
        "Set ANLASS_COLLECTOR__WRITE_KEYS, and send one of the keys as the user name of Basic auth.",
    )

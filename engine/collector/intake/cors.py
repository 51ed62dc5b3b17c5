"""Tells browsers which pages may send events.

Invariant: a page is told so only if a key is taken from it; what a browser asks for is repeated only if it is the name of a
header.
"""

from __future__ import annotations

import functools
import re

from aiohttp import hdrs, web

from engine.collector.intake.keyless import is_intake
from engine.collector.intake.segment import Handler
from engine.settings import CollectorSection

HEADERS = ("Authorization", "Content-Type", "Content-Encoding")
NAMES_MAX = 40
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")


class Cors:
    """`middleware` stands around everything that answers intake. By the old `write_keys` every page may send, until a browser
    key names the pages.
    """

    def __init__(self, settings: CollectorSection) -> None:
        """Keeps the origins."""
        browser = [key for key in settings.all_keys if key.kind == "browser"]
        self._origins = frozenset(origin for key in browser for origin in key.origins)
        self._all = bool(settings.write_keys) and not browser
        # aiohttp marks a middleware with an attribute, which a bound method cannot have.
        self.middleware = web.middleware(functools.partial(self._handle))

    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_intake(request):
            return await handler(request)
        if request.method == hdrs.METH_OPTIONS:
            answer: web.StreamResponse = web.Response(status=204)
        else:
            answer = await handler(request)
        origin = request.headers.get(hdrs.ORIGIN, "")
        if self._all:
            answer.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
        elif self._origins:
            answer.headers.add(hdrs.VARY, hdrs.ORIGIN)
            if origin in self._origins:
                answer.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_ALLOW_ORIGIN in answer.headers:
            answer.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = "GET, POST, OPTIONS"
            answer.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = ", ".join(_names(request))
            answer.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = "86400"
            answer.headers.add(hdrs.VARY, hdrs.ACCESS_CONTROL_REQUEST_HEADERS)
        return answer


def _names(request: web.Request) -> list[str]:
    """Ours, and those that are asked for."""
    asked = ",".join(request.headers.getall(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, [])).split(",")
    found = {name.lower(): name for name in HEADERS}
    for name in (name.strip() for name in asked[:NAMES_MAX]):
        if _TOKEN.fullmatch(name):
            found.setdefault(name.lower(), name)
    return list(found.values())

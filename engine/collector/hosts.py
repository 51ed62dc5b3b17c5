"""Under which name a request came, and whether it came straight from this machine.

Invariant: what cannot be read for certain counts as foreign. A name that anybody can point at 127.0.0.1 is not this machine.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from aiohttp import web

_PASSED_ON = frozenset(
    {
        "forwarded",
        "via",
        "x-host",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-original-host",
        "x-original-forwarded-for",
        "x-proxyuser-ip",
        "x-remote-addr",
        "x-remote-ip",
        "true-client-ip",
        "client-ip",
        "cf-connecting-ip",
        "cf-ray",
        "cdn-loop",
        "fastly-client-ip",
        "x-azure-clientip",
        "x-appengine-user-ip",
        "x-envoy-external-address",
        "x-original-url",
        "x-rewrite-url",
        "x-scheme",
        "x-forward-for",
    }
)
_PROXIES = ("cf-", "ngrok-", "tailscale-", "fly-", "x-arr-", "x-nf-", "x-vercel-", "x-envoy-", "x-azure-")
"""What the headers of proxies, tunnels and clouds begin with."""


def name_of(host: str) -> str:
    """The name in `NAME`, `NAME:PORT` or `[ADDRESS]:PORT`, in small letters; "" for everything else."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises for what is not a number
    except ValueError:
        return ""
    name = parts.hostname or ""
    strange = parts.path or parts.query or parts.fragment or parts.username is not None or "%" in name
    return "" if strange or not host.isascii() or not host.isprintable() or " " in host else name.removesuffix(".")


def is_loopback(name: str) -> bool:
    """Whether a name or an address means this machine, wherever it is asked."""
    if name == "localhost":
        return True
    address = as_address(name)
    mapped = getattr(address, "ipv4_mapped", None)
    return address is not None and (mapped or address).is_loopback


def as_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a text is; None when it is a name."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def host_of(request: web.Request) -> str:
    """The name under which a request came; "" when it names none, several, or one that cannot be read."""
    told = request.headers.getall("Host", [])
    if len(told) != 1:
        return ""
    name = name_of(told[0])
    try:
        asked = (request.url.host or "").lower().removesuffix(".")  # of an absolute target, which goes before `Host`
    except ValueError:
        return ""
    same = name == asked or (as_address(name) is not None and as_address(name) == as_address(asked))
    return name if same else ""


def passed_on(request: web.Request) -> str:
    """The header by which a proxy says that it passed this on; "" when there is none."""
    for name in request.headers:
        lower = name.lower()
        if lower in _PASSED_ON or "forwarded" in lower or lower.startswith(_PROXIES) or lower.endswith("client-ip"):
            return name
    return ""

"""HTTPS calls to addresses that other people wrote: of webhooks, of browsers' push services.

Invariant: a name is resolved once, every address it has is checked, and the connection goes to one that was checked; nothing
inside a network of ours is reached unless its host is allowed by name. No redirect is followed, no proxy used, no cookie kept;
of the answer at most `ANSWER_BYTES_MAX` are read, in bounded time.
"""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from channels.contract import PermanentError, TransientError, UnknownOutcome, Verdict

ANSWER_BYTES_MAX = 4_096
URL_CHARS_MAX = 2_000
CONNECT_SECONDS_MAX = 10.0
RETRY_AFTER_SECONDS_MAX = 86_400.0

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""(host, port) → its addresses, in the order to try them; raises OSError."""

# Beyond what `ipaddress` calls not global: forms that carry an IPv4 address inside (a translator near us would unwrap them), and
# addresses that clouds use for their own services.
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4", "168.63.129.16/32",
        "::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16",
        "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back: the status, the start of the body as text, and how long to wait if it said so."""

    status: int
    text: str = ""
    retry_after_seconds: float | None = None


def refused_address(address: str) -> bool:
    """Whether nothing may be sent there: it is not a plain public unicast address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return True
    if found.is_multicast or found.is_reserved or found.is_unspecified or found.is_loopback or not found.is_global:
        return True
    return any(found.version == network.version and found in network for network in _REFUSED)


def parsed(url: str, allow_hosts: frozenset[str]) -> URL:
    """The address to call. `ValueError`, to be read after "the URL …", when it is none that may be called.

    Plain http is for hosts that are allowed by name. A host written as a number must be a whole IP address: parts of one
    (`127.1`, `2130706433`) mean something to the system that no check would see.
    """
    if len(url) > URL_CHARS_MAX or any(ord(char) <= 0x20 or ord(char) == 0x7F for char in url):  # noqa: PLR2004 - controls
        raise ValueError(f"is longer than {URL_CHARS_MAX} characters, or has a space or a control character in it")
    try:
        made = URL(url)
        host, port = (made.host or "").lower(), made.port
    except ValueError:
        raise ValueError("cannot be read") from None
    if made.scheme not in {"https", "http"} or not host or not port:
        raise ValueError("is not of the form https://host/path")
    if made.user is not None or made.password is not None:
        raise ValueError("holds a login; it would stand in logs")
    if host in allow_hosts:
        return made
    if made.scheme != "https":
        raise ValueError(f"is not https, and its host {host} is not among the allowed ones")
    literal = ":" in host or host.replace(".", "").isdigit()
    if (literal and refused_address(host)) or host == "localhost" or host.endswith(".localhost"):
        raise ValueError(
            f"leads into this machine or its network ({host}), and that host is not among the allowed ones"
        )
    return made


async def system_addresses(host: str, port: int) -> list[str]:
    """What the system's resolver says, in its order."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for _, _, _, _, sockaddr in found]


class _RefusedAddress(Exception):
    """The name leads where nothing may be sent. No OSError: aiohttp would take it for a failure of the network."""


class _CheckedResolver(AbstractResolver):
    """Resolves once per connection, and gives out addresses only when all of them may be called."""

    def __init__(self, resolve: Resolve, allow_hosts: frozenset[str]) -> None:
        self._resolve = resolve
        self._allow_hosts = allow_hosts

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = list(dict.fromkeys(await self._resolve(host, port)))
        if host.lower() not in self._allow_hosts and any(refused_address(address) for address in addresses):
            raise _RefusedAddress
        return [
            ResolveResult(
                hostname=host, host=address, port=port, proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
            )
            for address in addresses
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing is held."""


class OutboundSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`timeout_seconds` bounds a whole call beyond connecting; `allow_hosts` may lie in networks of ours, and be plain http."""

    timeout_seconds: float = 20.0
    connections: int = 10
    allow_hosts: frozenset[str] = frozenset()
    agent: str = "Anlass"


class Outbound:
    """A pool of connections for calls that cannot be led astray. One per channel; opened and closed with it."""

    def __init__(self, settings: OutboundSettings, *, resolve: Resolve = system_addresses) -> None:
        self._settings = settings
        self._resolve = resolve
        self._session: aiohttp.ClientSession | None = None
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def open(self) -> None:
        """Idempotent."""
        if self._session is not None:
            return
        settings = self._settings
        connector = aiohttp.TCPConnector(
            limit=settings.connections,
            resolver=_CheckedResolver(self._resolve, settings.allow_hosts),
            use_dns_cache=False,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(
                total=CONNECT_SECONDS_MAX + settings.timeout_seconds,
                connect=CONNECT_SECONDS_MAX,
                sock_read=settings.timeout_seconds,
            ),
            headers={"User-Agent": settings.agent, "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        """Lets the calls under way end first. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await self._idle.wait()
            await session.close()

    async def post(self, url: str, body: bytes, *, headers: Mapping[str, str], repeatable: bool) -> Answer:
        """One call. `repeatable`: the other side knows a repetition by its id, so a lost answer is only a reason to ask again.

        Raises TransientError (it certainly did not arrive, or may be repeated), PermanentError with OUR_FAULT (the address may
        not be called), or UnknownOutcome.
        """
        session = self._session
        if session is None:
            raise TransientError("the channel is not open", code="closed")
        try:
            target = parsed(url, self._settings.allow_hosts)
        except ValueError as error:
            raise _not_there(f"the URL {error}") from None
        self._under_way += 1
        self._idle.clear()
        try:
            return await _call(session, target, body, headers)
        except _RefusedAddress:
            raise _not_there("the host has an address inside a private or special network") from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise TransientError(f"no connection: {_kind(error)}", code="connect") from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            reason = f"no answer: {_kind(error)}"
            if repeatable:
                raise TransientError(reason, code="no_answer") from error
            raise UnknownOutcome(reason) from error
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()


async def _call(session: aiohttp.ClientSession, url: URL, body: bytes, headers: Mapping[str, str]) -> Answer:
    async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
        start = b""
        try:
            while len(start) < ANSWER_BYTES_MAX and (chunk := await response.content.read(ANSWER_BYTES_MAX)):
                start += chunk
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass  # the status is known, and it is what counts
        if not response.content.at_eof():
            response.close()  # a body without an end is not read to it
        return Answer(
            status=response.status,
            text=start[:ANSWER_BYTES_MAX].decode("utf-8", "replace"),
            retry_after_seconds=_retry_after(response.headers),
        )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from a number or from a date seen from the answer's own `Date`; None when it cannot be read."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:12]), RETRY_AFTER_SECONDS_MAX)
    try:
        until = email.utils.parsedate_to_datetime(value)
        seconds = (until - email.utils.parsedate_to_datetime(headers.get("Date", ""))).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)


def _not_there(reason: str) -> PermanentError:
    return PermanentError(reason, code="address_refused", address_verdict=Verdict.OUR_FAULT)


def _kind(error: BaseException) -> str:
    """What went wrong, without the address that the error's own words hold."""
    cause = getattr(error, "os_error", None) or error.__cause__ or error
    words = cause.strerror if isinstance(cause, OSError) and cause.strerror else ""
    return f"{type(error).__name__}, {words}" if words else type(error).__name__

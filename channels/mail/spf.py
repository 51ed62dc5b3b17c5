"""SPF (RFC 7208) as far as an operator needs it: does a domain's record let this address send for it?

Invariant: never more than ten look-ups, as a receiver; what cannot be found out is said, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal

Address = IPv4Address | IPv6Address
Ask = Callable[[str, str], list[str]]
"""Name and type (`TXT`, `A`, `AAAA`, `MX`) → the values; empty when there are none."""
Result = Literal["pass", "fail", "softfail", "neutral", "none", "permerror"]

LOOKUPS_MAX = 10
_RESULTS: dict[str, Result] = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_TERM = re.compile(
    r"([+?~-]?)(all|include|a|mx|ptr|ip4|ip6|exists)(?::([^/\s]+|[0-9a-f:.]+(?:/\d+)?))?((?:/\d+)?(?://\d+)?)\Z",
    re.IGNORECASE,
)


class _Broken(Exception):
    """The record, or one that it includes, is not a valid one."""


def records(texts: list[str]) -> list[str]:
    """Those of a name's TXT records that are SPF."""
    return [text for text in texts if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]


def evaluate(domain: str, address: str, ask: Ask) -> tuple[Result, int]:
    """What a receiver would say of mail from this address for this domain, and how many look-ups that took."""
    walk = _Walk(ip_address(address), ask)
    try:
        return walk.check(domain), walk.lookups
    except _Broken:
        return "permerror", walk.lookups


class _Walk:
    def __init__(self, address: Address, ask: Ask) -> None:
        self.lookups = 0
        self._address = address
        self._ask = ask

    def check(self, domain: str) -> Result:
        found = records(self._ask(domain, "TXT"))
        if not found:
            return "none"
        if len(found) > 1:
            raise _Broken
        redirect = ""
        for term in found[0].split()[1:]:
            name, equals, value = term.partition("=")
            if equals and re.fullmatch(r"[a-z][a-z0-9_.-]*", name, re.IGNORECASE):
                redirect = value if name.lower() == "redirect" else redirect
                continue
            match = _TERM.match(term)
            if match is None:
                raise _Broken
            if self._matches(match, domain):
                return _RESULTS[match[1] or "+"]
        if redirect:
            self._count()
            result = self.check(redirect)
            if result == "none":
                raise _Broken
            return result
        return "neutral"

    def _matches(self, term: re.Match[str], domain: str) -> bool:
        kind, value, lengths = term[2].lower(), term[3] or "", term[4]
        if kind == "all":
            return True
        if kind in {"ip4", "ip6"}:
            return self._within(value + lengths)
        self._count()
        if kind == "include":
            result = self.check(value)
            if result in {"none", "permerror"}:
                raise _Broken
            return result == "pass"
        if kind in {"a", "mx"}:
            hosts = [value or domain]
            if kind == "mx":
                hosts = [each.split()[-1] for each in self._ask(hosts[0], "MX")][:LOOKUPS_MAX]
            length4, _, length6 = lengths.partition("//")
            return any(self._near(each, length4.strip("/"), length6) for host in hosts for each in self._hosts(host))
        return False  # `ptr` and `exists` say nothing about a server that is known by its address

    def _hosts(self, name: str) -> Iterator[str]:
        yield from self._ask(name, "A" if self._address.version == 4 else "AAAA")  # noqa: PLR2004 - IPv4

    def _near(self, address: str, length4: str, length6: str) -> bool:
        length = length4 if self._address.version == 4 else length6  # noqa: PLR2004 - IPv4
        return self._within(f"{address}/{length}" if length else address)

    def _within(self, network: str) -> bool:
        try:
            return self._address in ip_network(network, strict=False)
        except ValueError:
            raise _Broken from None

    def _count(self) -> None:
        self.lookups += 1
        if self.lookups > LOOKUPS_MAX:
            raise _Broken

"""Whose address a request comes from.

Invariant: what a request says of it is believed only from the proxies that the settings name; from anybody else the address of
the connection counts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from aiohttp import hdrs, web

from engine.collector.hosts import as_address, is_loopback
from engine.telemetry import Action, get_log

FORMS_MIN = 20
"""So many forms of several customers, all from one loopback address, show a proxy that does not say whose they are."""
_log = get_log("collector")


class Proxies:
    """The networks of the proxies that are believed."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """`networks` as in the settings."""
        self._networks = tuple(ipaddress.ip_network(network) for network in networks)

    def client(self, request: web.Request) -> str:
        """The address of who asked: of `X-Forwarded-For` the last entry that no trusted proxy is."""
        client = request.remote or ""
        hops = ",".join(request.headers.getall(hdrs.X_FORWARDED_FOR, [])).split(",")
        while hops and self.trusts(client):
            told = _address(hops.pop())
            if not told:
                break
            client = told
        return client

    def trusts(self, address: str) -> bool:
        """Whether it is one of the proxies."""
        known = as_address(address)
        known = getattr(known, "ipv4_mapped", None) or known
        return known is not None and any(known in network for network in self._networks)


def _address(hop: str) -> str:
    """The address in one entry, which may have a port; "" when it is not one."""
    hop = hop.strip()
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    return hop if as_address(hop) is not None else ""


class FormOrigins:
    """Notices that all forms seem to come from one address of this machine, and says so once."""

    def __init__(self) -> None:
        self._address: str | None = ""
        self._forms = 0
        self._first = ""
        self._several = False

    def note(self, address: str, customer: str) -> None:
        """A form of a customer, from an address."""
        if self._address is None:
            return
        self._address = self._address or address
        if address != self._address or not is_loopback(address):
            self._address = None  # nothing is wrong, or it was said
            return
        self._forms += 1
        self._first = self._first or customer
        self._several |= customer != self._first
        if self._forms >= FORMS_MIN and self._several:
            self._address = None
            _log.warning(Action.PROXY_NOT_TRUSTED, forms=self._forms, setting="ANLASS_COLLECTOR__TRUSTED_PROXIES")

"""A name server on a free loopback port, with the records that a test gives it.

Invariant: it answers as an authoritative server does: with records, with none, with NXDOMAIN, or, on purpose, not at all.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset

Zone = Mapping[tuple[str, str], list[str]]
"""(name, type) → the values as a zone file writes them."""


class DnsDouble:
    """Runs in a thread and notes what it was `asked`. Names in `silent` are not answered, those in `broken` with SERVFAIL."""

    def __init__(self, zone: Zone, *, silent: tuple[str, ...] = (), broken: tuple[str, ...] = ()) -> None:
        self.zone = {(name.lower(), kind): values for (name, kind), values in zone.items()}
        self.asked: list[tuple[str, str]] = []
        self._silent, self._broken = silent, broken
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def resolver(self) -> dns.resolver.Resolver:
        """One that asks this server alone."""
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], self.port
        return resolver

    def _serve(self) -> None:
        while True:
            try:
                data, client = self._socket.recvfrom(4_096)
            except OSError:
                return
            answer = self._answer(dns.message.from_wire(data))
            if answer is not None:
                with contextlib.suppress(OSError):
                    self._socket.sendto(answer.to_wire(max_size=4_096), client)

    def _answer(self, query: dns.message.Message) -> dns.message.Message | None:
        (question,) = query.question
        name, kind = str(question.name).rstrip(".").lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if any(name.endswith(each) for each in self._silent):
            return None
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA | dns.flags.RA
        if any(name.endswith(each) for each in self._broken):
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif values := self.zone.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *values))
        elif not any(name == known for known, _ in self.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    def stop(self) -> None:
        """Ends the thread."""
        self._socket.close()


@contextlib.contextmanager
def dns_server(zone: Zone, **faults: tuple[str, ...]) -> Iterator[DnsDouble]:
    """A server that runs within the block."""
    double = DnsDouble(zone, **faults)
    double._thread.start()
    try:
        yield double
    finally:
        double.stop()

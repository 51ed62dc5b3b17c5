"""Asks DNS what a sender's records really say, and judges them as receivers do.

Invariant: every question has a bound, and all of them together; no answer is "unknown" and never "missing". When nothing
answers at all, `Unreachable` says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

import dns.exception
import dns.resolver
import dns.reversename
from dns.rdatatype import RdataType

from channels.mail import spf
from channels.mail.deliverability import Finding, Identity, Topic, Verdict
from channels.mail.dkim import DkimKey
from channels.mail.dkim_keys import aligned, record_name, record_value

QUESTION_SECONDS_MAX = 3.0
QUESTIONS_MAX = 120
ADDRESSES_MAX = 4
_TAG = re.compile(r"\s*([a-z][a-z0-9_]*)\s*=\s*([^;]*)", re.IGNORECASE)


class Unreachable(Exception):
    """No name server answers."""


class _NoAnswer(Exception):
    """This question was not answered; others may be."""


class Look:
    """Looks a sender up. `resolver` is the machine's own unless told."""

    def __init__(self, who: Identity, resolver: dns.resolver.Resolver | None = None) -> None:
        """Raises Unreachable when this machine knows no name server."""
        try:
            self._resolver = resolver or dns.resolver.Resolver()
        except dns.resolver.NoResolverConfiguration as error:
            raise Unreachable("This machine has no name server configured.") from error
        self._who = who
        self._known: dict[tuple[str, str], list[str] | None] = {}

    def findings(self) -> list[Finding]:
        """One or more for each record that is needed. Raises Unreachable."""
        found = [
            finding
            for check in (self._spf, self._dkim, self._dmarc, self._mx, self._ptr, self._url)
            for finding in check()
        ]
        if self._known and all(answer is None for answer in self._known.values()):
            raise Unreachable("No name server answers.")
        return found

    # ------------------------------------------------------------------------------------------------------- records

    def _spf(self) -> Iterator[Finding]:
        domain = self._who.return_domain
        try:
            found = spf.records(self._ask(domain, "TXT"))
        except _NoAnswer:
            yield _finding(("SPF", domain), "unknown", "DNS did not answer")
            return
        if not found:
            yield _finding(("SPF", domain), "missing", "there is no record", mend="Publish the one above.")
            return
        if len(found) > 1:
            yield _finding(
                ("SPF", domain), "wrong", "there are several records, so none counts", mend="Make one of them."
            )
            return
        if re.search(r"\s\+?all(?:\s|\Z)", found[0], re.IGNORECASE):
            yield _finding(
                ("SPF", domain), "wrong", "it ends in +all: everybody may send for you", mend="End it in -all or ~all."
            )
            return
        yield from self._spf_of_server(domain)

    def _spf_of_server(self, domain: str) -> Iterator[Finding]:
        addresses = self._addresses(self._who.host)
        if not addresses:
            yield _finding(
                ("SPF", domain),
                "unknown",
                "there is a record; whether it names your server cannot be said, as its address is not known",
            )
        for address in addresses[:ADDRESSES_MAX]:
            try:
                result, lookups = spf.evaluate(domain, address, self._ask)
            except _NoAnswer:
                yield _finding(("SPF", domain), "unknown", "DNS did not answer for what the record includes")
                continue
            if result == "pass":
                yield _finding(("SPF", domain), "fine", f"lets {address} send ({lookups} of 10 look-ups)")
            elif result == "permerror":
                yield _finding(
                    ("SPF", domain),
                    "wrong",
                    "receivers cannot read it: a mistake in it, or more than 10 look-ups",
                    mend="Shorten it, or mend what it includes.",
                )
            else:
                yield _finding(
                    ("SPF", domain),
                    "wrong",
                    f"does not let {address} ({self._who.host}) send: {result}",
                    mend="Add that server, unless it hands mail on to others that are named.",
                )

    def _dkim(self) -> Iterator[Finding]:
        for key in self._who.keys:
            name = record_name(key.selector, key.domain)
            try:
                texts = self._ask(name, "TXT")
            except _NoAnswer:
                yield _finding(("DKIM", name), "unknown", "DNS did not answer")
                continue
            yield _judged_key(name, key, texts)

    def _dmarc(self) -> Iterator[Finding]:
        for domain in dict.fromkeys((self._who.domain, *self._who.senders)):
            name, texts = f"_dmarc.{domain}", []
            labels = domain.split(".")
            try:
                for start in range(max(1, len(labels) - 1)):
                    name = f"_dmarc.{'.'.join(labels[start:])}"
                    texts = [
                        text for text in self._ask(name, "TXT") if text.lower().replace(" ", "").startswith("v=dmarc1")
                    ]
                    if texts:
                        break
            except _NoAnswer:
                yield _finding(("DMARC", name), "unknown", "DNS did not answer")
                continue
            if not texts:
                yield _finding(
                    ("DMARC", f"_dmarc.{domain}"), "missing", "there is no record", mend="Publish the one above."
                )
            else:
                yield from self._judged_policy(name, domain, texts)

    def _judged_policy(self, name: str, domain: str, texts: list[str]) -> Iterator[Finding]:
        if len(texts) > 1:
            yield _finding(("DMARC", name), "wrong", "there are several records, so none counts", mend="Keep one.")
            return
        tags = {key.lower(): value.strip() for key, value in _TAG.findall(texts[0])}
        policy = tags.get("p", "").lower()
        if policy not in {"none", "quarantine", "reject"}:
            yield _finding(
                ("DMARC", name), "wrong", "it says no policy that receivers know", mend="Write p=none to begin with."
            )
            return
        signed = any(_counts(key.domain, domain, tags.get("adkim", "r")) for key in self._who.keys)
        returned = _counts(self._who.return_domain, domain, tags.get("aspf", "r"))
        if not signed and not returned and self._who.keys:
            yield _finding(
                ("DMARC", name),
                "wrong",
                f"neither signature nor return path is aligned with {domain} as the record asks (strict)",
                mend="Sign for that very domain, or leave adkim and aspf out.",
            )
        elif policy == "none":
            yield _finding(
                ("DMARC", name),
                "advice",
                "p=none only watches",
                mend="Go on to p=quarantine when the reports are clean.",
            )
        else:
            yield _finding(("DMARC", name), "fine", f"p={policy}")

    def _mx(self) -> Iterator[Finding]:
        for domain in dict.fromkeys((self._who.return_domain, self._who.domain)):
            what = "bounces" if domain == self._who.return_domain else "answers"
            try:
                servers = self._ask(domain, "MX")
                if not servers and not self._addresses(domain):
                    yield _finding(("MX", domain), "missing", f"no server takes {what}", mend="Publish an MX record.")
                elif any(each.split()[-1] == "." for each in servers):
                    yield _finding(
                        ("MX", domain),
                        "wrong",
                        f"it says that it takes no mail, so {what} are lost",
                        mend="Name a server.",
                    )
                else:
                    yield _finding(
                        ("MX", domain), "fine", f"takes {what}" + ("" if servers else " (without an MX record)")
                    )
            except _NoAnswer:
                yield _finding(("MX", domain), "unknown", "DNS did not answer")

    def _ptr(self) -> Iterator[Finding]:
        for address in self._addresses(self._who.host)[:ADDRESSES_MAX]:
            if not ip_address(address).is_global:
                yield _finding(
                    ("PTR", address),
                    "advice",
                    "not an address of the internet: look at the one that your server sends from",
                )
                continue
            try:
                names = self._ask(str(dns.reversename.from_address(address)), "PTR")
                leads_back = any(address in self._addresses(name.rstrip(".")) for name in names[:ADDRESSES_MAX])
            except _NoAnswer:
                yield _finding(("PTR", address), "unknown", "DNS did not answer")
                continue
            if not names:
                yield _finding(
                    ("PTR", address),
                    "missing",
                    "the address has no name",
                    mend="Ask whoever gave you the address to set one.",
                )
            elif not leads_back:
                yield _finding(
                    ("PTR", address),
                    "wrong",
                    f"its name {names[0]} does not lead back to it",
                    mend="Publish that name's address.",
                )
            else:
                yield _finding(("PTR", address), "fine", names[0])

    def _url(self) -> Iterator[Finding]:
        host = urlsplit(self._who.public_url).hostname or ""
        if host and not _is_address(host) and not self._addresses(host):
            yield _finding(
                ("One-click", host),
                "missing",
                "links in mails lead to a name without an address",
                mend="Publish its address.",
            )

    # ----------------------------------------------------------------------------------------------------------- DNS

    def _addresses(self, host: str) -> list[str]:
        if _is_address(host):
            return [host]
        found: list[str] = []
        for kind in ("A", "AAAA"):
            try:
                found += self._ask(host, kind)
            except _NoAnswer:
                continue
        return found

    def _ask(self, name: str, kind: str) -> list[str]:
        """The values; empty when there are none. Raises _NoAnswer."""
        key = (name.lower().rstrip("."), kind)
        if key not in self._known:
            self._known[key] = self._answer(*key) if len(self._known) < QUESTIONS_MAX else None
        answer = self._known[key]
        if answer is None:
            raise _NoAnswer
        return answer

    def _answer(self, name: str, kind: str) -> list[str] | None:
        if not name:
            return []
        try:
            answer = self._resolver.resolve(f"{name}.", RdataType[kind], lifetime=QUESTION_SECONDS_MAX, search=False)
        except (
            dns.resolver.NXDOMAIN,
            dns.resolver.NoAnswer,
            dns.name.LabelTooLong,
            dns.name.EmptyLabel,
            dns.name.NameTooLong,
        ):
            return []
        except (dns.exception.DNSException, OSError):
            return None
        if kind == "TXT":
            return [b"".join(each.strings).decode("utf-8", "replace") for each in answer]
        return [str(each).rstrip(".") if kind == "PTR" else str(each) for each in answer]


def _judged_key(name: str, key: DkimKey, texts: list[str]) -> Finding:
    """The published key against the one that signs."""
    if not texts:
        return _finding(
            ("DKIM", name), "missing", "the key is not published, so signatures fail", mend="Publish the record above."
        )
    if len(texts) > 1:
        return _finding(
            ("DKIM", name), "wrong", "there are several records, so none counts", mend="Keep the one above."
        )
    tags = {tag.lower(): re.sub(r"\s", "", value) for tag, value in _TAG.findall(texts[0])}
    ours = record_value(key.private).rpartition("p=")[2]
    kind = "rsa" if key.algorithm.startswith("rsa") else "ed25519"
    if tags.get("p") == "":
        return _finding(
            ("DKIM", name), "wrong", "the key is revoked", mend="Publish the record above, or make a new key."
        )
    if tags.get("p") != ours or tags.get("k", "rsa").lower() != kind:
        return _finding(
            ("DKIM", name), "wrong", "another key is published, so signatures fail", mend="Publish the record above."
        )
    if "y" in tags.get("t", "").lower().split(":"):
        return _finding(("DKIM", name), "advice", "it says that you are testing (t=y)", mend="Leave t=y out.")
    return _finding(("DKIM", name), "fine", f"the {kind} key that signs")


def _counts(domain: str, sender: str, mode: str) -> bool:
    return domain.lower() == sender.lower() if mode.lower() == "s" else aligned(domain, sender)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _finding(place: tuple[Topic, str], verdict: Verdict, says: str, *, mend: str = "") -> Finding:
    topic, name = place
    return Finding(topic=topic, name=name, verdict=verdict, says=says, mend=mend)

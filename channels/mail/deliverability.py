"""What mailbox providers want to find about a sender: the DNS records it needs, written so that they can be copied, and the
rules of Gmail and Yahoo that no record answers.

Invariant: pure. What is said follows from the settings alone; `channels.mail.dns` says what is really there.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from channels.mail.dkim import DkimKey
from channels.mail.dkim_keys import aligned, record_name, record_value, zone_line

Topic = Literal["SPF", "DKIM", "DMARC", "MX", "PTR", "From", "One-click", "TLS", "Complaints", "BIMI"]
Verdict = Literal["fine", "advice", "missing", "wrong", "unknown"]
RSA_BITS_WANTED = 2_048
FREE_MAIL = frozenset(
    {"gmail.com", "googlemail.com", "yahoo.com", "yahoo.de", "outlook.com", "hotmail.com", "live.com", "icloud.com", "aol.com"}
    | {"gmx.de", "gmx.net", "web.de", "t-online.de", "freenet.de", "proton.me", "mail.ru"}
)  # fmt: skip
YOUR_SERVER = "THE.ADDRESS.OF.YOUR.SERVER"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Whom mail claims to come from, and by which way. `senders` are further domains that templates and steps send from."""

    domain: str
    return_domain: str
    host: str
    tls: str
    keys: tuple[DkimKey, ...] = ()
    public_url: str = ""
    senders: tuple[str, ...] = ()


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """One record (`record` as in a zone file, "" where none is meant) or rule, and why."""

    topic: Topic
    name: str
    says: str
    record: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one need; `mend` says what to do, "" when nothing is."""

    topic: Topic
    name: str
    verdict: Verdict
    says: str
    mend: str = ""


def needs(who: Identity) -> list[Need]:
    """The records that this sender needs, most important first."""
    found = [
        Need(
            topic="SPF", name=who.return_domain, record=zone_line(who.return_domain, spf_value(who.host)),
            says="Names the servers that may send for the return path. There is one such record: put this into yours if you have"
            " one. A provider's server is named as the provider says (include:…).",
        )
    ]  # fmt: skip
    for key in who.keys:
        name = record_name(key.selector, key.domain)
        found.append(
            Need(
                topic="DKIM", name=name, record=zone_line(name, record_value(key.private)),
                says=f"The public half of the key that signs ({key.algorithm}).",
            )
        )  # fmt: skip
    if not who.keys:
        found.append(
            Need(
                topic="DKIM", name=who.domain,
                says=f"No key signs here: {who.host or 'your server'} has to sign, or make a key with `anlass dkim-key`.",
            )
        )  # fmt: skip
    found += [
        Need(
            topic="DMARC", name=f"_dmarc.{who.domain}",
            record=zone_line(f"_dmarc.{who.domain}", f"v=DMARC1; p=none; rua=mailto:dmarc@{who.domain}"),
            says="Says what becomes of mail that is not yours. Begin with p=none, read the reports for some weeks, then"
            " quarantine, then reject.",
        ),
        Need(
            topic="MX", name=who.return_domain, record=f"{who.return_domain}. IN MX 10 mail.{who.domain}.",
            says="Bounces go to the return path; a domain that takes no mail is not believed. Write the server that takes yours.",
        ),
        Need(
            topic="PTR", name=who.host,
            says="If the server is your own: its address has a name (set by whoever gave you the address), and the name leads"
            " back to it.",
        ),
    ]  # fmt: skip
    return found


def spf_value(host: str) -> str:
    """What an SPF record says that lets this server send, and no other."""
    if host in {"", "localhost"} or _is_loopback(host):
        return f"v=spf1 ip4:{YOUR_SERVER} -all"
    try:
        version = ip_address(host).version
    except ValueError:
        return f"v=spf1 a:{host} -all"
    return f"v=spf1 ip{version}:{host} -all"


def rules(who: Identity) -> list[Finding]:
    """What Gmail and Yahoo ask of senders of more than a few thousand mails a day, as far as the settings answer it."""
    url = urlsplit(who.public_url)
    found = [_free_mail(domain) for domain in dict.fromkeys((who.domain, *who.senders)) if domain in FREE_MAIL]
    signing = {key.domain for key in who.keys}
    for domain in dict.fromkeys((who.domain, *who.senders)):
        signed = any(aligned(each, domain) for each in signing)
        if signed or aligned(who.return_domain, domain):
            by = "DKIM" if signed else "SPF only, which does not survive forwarding"
            verdict: Verdict = "fine" if signed else "advice"
            found.append(Finding(topic="From", name=domain, verdict=verdict, says=f"aligned by {by}"))
        else:
            found.append(
                Finding(
                    topic="From", name=domain, verdict="wrong" if signing else "unknown",
                    says="neither the signature nor the return path is of this domain, so DMARC fails" if signing
                    else "only your server's signature can be aligned with it",
                    mend=f"Send from {who.domain}, or sign for {domain}.",
                )
            )  # fmt: skip
    if url.scheme == "https":
        found.append(
            Finding(topic="One-click", name=url.netloc, verdict="fine", says="List-Unsubscribe leads to https")
        )
    else:
        found.append(
            Finding(
                topic="One-click", name=who.public_url, verdict="wrong",
                says="one-click unsubscribing needs https (RFC 8058), and Gmail and Yahoo want it in every promotion",
                mend="Set ANLASS_COLLECTOR__PUBLIC_URL to an https address that reaches the collector.",
            )
        )  # fmt: skip
    short = [key for key in who.keys if getattr(key.private, "key_size", RSA_BITS_WANTED) < RSA_BITS_WANTED]
    found += [
        Finding(
            topic="DKIM", name=record_name(key.selector, key.domain), verdict="advice",
            says="the RSA key is shorter than 2048 bits", mend="Make a new one with `anlass dkim-key`.",
        )
        for key in short
    ]  # fmt: skip
    plain = who.tls == "none" and not _is_loopback(who.host) and who.host != "localhost"
    found += [
        Finding(
            topic="TLS", name=who.host, verdict="wrong" if plain else "fine",
            says="mail goes to your server unencrypted" if plain
            else "to your server; from there on the server decides, and has to use TLS",
            mend="Set email.tls to starttls or implicit." if plain else "",
        ),
        Finding(
            topic="Complaints", name=who.domain, verdict="advice",
            says="stay below 0.1 % of what is delivered, and never reach 0.3 %",
            mend="Watch Google Postmaster Tools and Yahoo's feedback loop; Anlass suppresses who complains.",
        ),
        Finding(topic="BIMI", name=who.domain, verdict="fine", says="not needed: a logo, not a proof"),
    ]  # fmt: skip
    return found


def _free_mail(domain: str) -> Finding:
    return Finding(
        topic="From", name=domain, verdict="wrong", says="its provider tells everybody to refuse mail that others send from it",
        mend="Send from a domain of your own.",
    )  # fmt: skip


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith("127.")

"""Whether a click or an open looks like that of a program: a scanner of links, a prefetch, a mail proxy that loads everything.

Invariant: pure, and about one request only; nothing of it is kept but the answer. When in doubt it was a person: a label too
few is seen in the numbers, a label too many hides a customer's wish.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

MACHINE_MS: Final = 5_000
"""So soon after a mail left nobody has read it; gateways open every link while they take it in."""
_AGENT: Final = re.compile(
    r"(?<!cu)bot\b|bot[/_-]|crawl|spider|scan|slurp|preview|prefetch|monitor|headless|phantom|python|curl/|wget/|libwww|java/|okhttp|"
    r"go-http|axios|node-fetch|guzzle|httpclient|apache-http|barracuda|proofpoint|mimecast|ironport|trendmicro|fortinet|sophos|"
    r"symantec|messagelabs|forcepoint|zscaler|safelinks|microsoft office|ms-office|existence discovery|facebookexternalhit|"
    r"whatsapp/|telegram|skypeuri|embedly|url ?check|link ?check",
    re.IGNORECASE,
)
# Apple Mail's privacy proxy loads every picture, read or not, under this name alone.
_NAMELESS: Final = frozenset({"", "-", "mozilla/5.0", "mozilla/4.0"})
_AGENT_CHARS_MAX: Final = 500


def is_machine(method: str, headers: Mapping[str, str], *, sent_ago_ms: int) -> bool:
    """Judges by the method, what browsers say of themselves, and how long ago the message left (milliseconds)."""
    if method != "GET" or sent_ago_ms < MACHINE_MS:
        return True
    purpose = " ".join(headers.get(name, "") for name in ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")).lower()
    if any(word in purpose for word in ("prefetch", "prerender", "preview")):
        return True
    agent = headers.get("User-Agent", "").strip()[:_AGENT_CHARS_MAX]
    return agent.lower() in _NAMELESS or _AGENT.search(agent) is not None

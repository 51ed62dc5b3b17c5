"""Judges whether the settings of a collector let in, or show, more than anybody can want.

Invariant: pure; each answer is None, or an error with its mend that `run`, `collector` and `check --settings` say alike.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from engine.errors import SettingsError
from engine.settings.collecting import CollectorSection


def open_door(collector: CollectorSection) -> SettingsError | None:
    """Why a collector must not start: it is reached from outside, and would take events from anybody."""
    if not collector.keyless or not collector.public_url or _is_loopback(collector.public_url):
        return None
    return SettingsError(
        f"collector.public_url {collector.public_url} is not this machine, and there are no write keys:"
        " whoever reaches it could send events for any customer.",
        mend="Set ANLASS_COLLECTOR__WRITE_KEYS, or leave public_url out while only this machine uses it.",
    )


def in_clear(collector: CollectorSection) -> SettingsError | None:
    """Why links must not leave: customers' tokens would go over the network readable to all."""
    if urlsplit(collector.public_url).scheme != "http" or _is_loopback(collector.public_url):
        return None
    return SettingsError(
        f"collector.public_url {collector.public_url} is not encrypted: customers' links, and the pages behind them, could"
        " be read on their way.",
        mend="Put a proxy with a certificate in front, and write the address as https://….",
    )


def behind_a_stranger(collector: CollectorSection) -> str:
    """What is missing for the addresses of customers to be known; "" when nothing is."""
    if not collector.public_url or _is_loopback(collector.public_url) or collector.trusted_proxies:
        return ""
    return (
        "no trusted_proxies: behind a proxy the proof of each consent holds the proxy's address, not the customer's;"
        " set ANLASS_COLLECTOR__TRUSTED_PROXIES"
    )


def _is_loopback(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


def is_loopback(name: str) -> bool:
    """Whether a name or an address means this machine."""
    name = name.strip("[]").lower().removesuffix(".")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback

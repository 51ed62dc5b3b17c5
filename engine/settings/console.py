"""`[console]`: the operators' port, where the mailbox, the metrics and the details of health are, and later the console.

Invariant: with the defaults nobody but this machine reaches it, and it is never the port that shops and customers reach.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from engine.settings.section import Port, Section

PORT = 8081


def split_list(value: object) -> object:
    """`a,b`, as an environment variable has it, becomes `["a", "b"]`."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f"{value!r} is not a network ({error}); write it as 10.0.0.0/8 or 127.0.0.1") from None


Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], BeforeValidator(split_list)]
"""Networks and addresses: `127.0.0.1`, `10.0.0.0/8`."""


class ConsoleSection(Section):
    """Where operators look. `port` 0 lets the system choose."""

    host: str = "127.0.0.1"
    port: Port = PORT
    hosts: Annotated[tuple[str, ...], BeforeValidator(split_list)] = ()
    """Names, besides this machine's own addresses, under which operators call it: `anlass.internal`."""

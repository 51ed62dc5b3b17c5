"""All that the author of a channel adapter needs; the guide is docs/adapter-authors.md.

The contract (`Channel`, what it is given and what it answers), the guard against forged headers, and a client for HTTPS APIs
that tells "certainly not arrived" from "nobody knows". An adapter is found by an entry point in the group `GROUP`.

Invariant: nothing in here knows a runtime, a store or a clock, and nothing is opened by importing it.
"""

from channels import guard
from channels.contract import (
    Capabilities,
    Channel,
    ChannelError,
    ChannelFactory,
    OutgoingMessage,
    PermanentError,
    Receipt,
    Resolver,
    Throttle,
    TransientError,
    UnknownOutcome,
    Unsupported,
    Verdict,
)
from channels.outbound import Answer, Outbound, OutboundSettings
from channels.registry import GROUP
from channels.section import read_section

__all__ = [
    "GROUP",
    "Answer",
    "Capabilities",
    "Channel",
    "ChannelError",
    "ChannelFactory",
    "Outbound",
    "OutboundSettings",
    "OutgoingMessage",
    "PermanentError",
    "Receipt",
    "Resolver",
    "Throttle",
    "TransientError",
    "UnknownOutcome",
    "Unsupported",
    "Verdict",
    "guard",
    "read_section",
]

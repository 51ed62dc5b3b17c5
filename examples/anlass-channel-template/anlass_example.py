"""A channel to start from: it posts each message to a service's HTTP API, and leaves little else to write.

Invariant: one call of the service for one `send`; its answer becomes a receipt or exactly one error of the contract.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from anlass.adapter import (
    Answer,
    Capabilities,
    Outbound,
    OutboundSettings,
    OutgoingMessage,
    PermanentError,
    Receipt,
    TransientError,
    Unsupported,
    Verdict,
    guard,
)

TOO_MANY, ACCEPTED, REDIRECTS, SERVER_ERRORS = 429, 200, 300, 500


class ExampleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands in `[example]` of `anlass.toml`, or in `ANLASS_EXAMPLE__NAME`. A secret comes by the environment only."""

    url: str
    api_key: str
    allow_hosts: tuple[str, ...] = ()
    timeout_seconds: float = 20.0


class ExampleChannel:
    """Change what `send` posts and how `_judged` reads the answer."""

    name = "example"
    capabilities = Capabilities()  # say what it can do: html, subject, idempotent, delivery_reports, …

    def __init__(self, settings: ExampleSettings) -> None:
        self._settings = settings
        self._outbound = Outbound(
            OutboundSettings(timeout_seconds=settings.timeout_seconds, allow_hosts=frozenset(settings.allow_hosts))
        )

    async def open(self) -> None:
        """Connects to nothing: a service that is down is not an error until a `send`."""
        await self._outbound.open()

    async def close(self) -> None:
        """Waits for the calls under way."""
        await self._outbound.close()

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        """One call."""
        guard.refuse_unsafe(delivery)
        if delivery.html is not None or delivery.subject or delivery.headers:
            raise Unsupported("anything but text")
        body = json.dumps({"id": delivery.id, "to": delivery.to, "text": delivery.text}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._settings.api_key}"}
        # `repeatable`: does the service know a repetition by its id? Then say so in `capabilities`, too.
        return _judged(await self._outbound.post(self._settings.url, body, headers=headers, repeatable=False))


def create(settings: Mapping[str, object]) -> ExampleChannel:
    """What the entry point names. Raises ValueError with the mend in it."""
    for name in ("url", "api_key"):
        if not settings.get(name):
            raise ValueError(f"The [example] settings need {name}; set ANLASS_EXAMPLE__{name.upper()}.")
    hosts = settings.get("allow_hosts", [])
    if isinstance(hosts, str):  # what comes by the environment is text
        settings = {**settings, "allow_hosts": hosts.split(",")}
    try:
        return ExampleChannel(msgspec.convert(dict(settings), ExampleSettings, strict=False))
    except msgspec.ValidationError as error:
        raise ValueError(f"The [example] settings cannot be used: {error}.") from None


def _judged(answer: Answer) -> Receipt:
    reason = f"the service answered {answer.status}"
    if ACCEPTED <= answer.status < REDIRECTS:
        return Receipt("", reason)
    if answer.status == TOO_MANY or answer.status >= SERVER_ERRORS:
        raise TransientError(
            reason, code=str(answer.status), retry_after_seconds=answer.retry_after_seconds, throttle="provider"
        )
    verdicts = {401: Verdict.OUR_FAULT, 403: Verdict.OUR_FAULT, 404: Verdict.SUPPRESS}
    verdict = verdicts.get(answer.status, Verdict.MESSAGE)
    raise PermanentError(reason, code=str(answer.status), address_verdict=verdict)

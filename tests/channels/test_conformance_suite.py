"""The suite for authors can fail: each way to break the contract is found by the test that is about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from channels import guard
from channels.conformance import _ABOUT_FAULTS, Conformance, Fault, Received, Stage
from channels.contract import (
    Capabilities,
    ChannelError,
    OutgoingMessage,
    PermanentError,
    Receipt,
    TransientError,
    UnknownOutcome,
    Verdict,
)

ERRORS: dict[Fault, Exception] = {
    Fault.DOWN: TransientError("down", code="connect"),
    Fault.BUSY: TransientError("busy", code="429"),
    Fault.REFUSED: PermanentError("refused", code="422", address_verdict=Verdict.MESSAGE),
    Fault.NO_SUCH_ADDRESS: PermanentError("nobody", code="404", address_verdict=Verdict.SUPPRESS),
    Fault.DENIED: PermanentError("denied", code="401", address_verdict=Verdict.OUR_FAULT),
    Fault.LOST: UnknownOutcome("lost"),
}


class Sound:
    """An adapter that keeps the contract, with its provider inside. The broken ones change one thing each."""

    name = "pigeon"
    capabilities = Capabilities(html=True, subject=True)

    def __init__(self) -> None:
        self.taken: list[Received] = []
        self.fault = Fault.NONE
        self.is_open = False

    async def open(self) -> None:
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        if not self.is_open:
            raise TransientError("closed", code="closed")
        guard.refuse_unsafe(delivery)
        guard.recipient(delivery.to, delivery.to_name)
        if self.fault is Fault.SILENT:
            await asyncio.sleep(0.5)
            raise UnknownOutcome("silent")
        if self.fault is not Fault.NONE:
            raise self.error(delivery)
        return self.take(delivery)

    def error(self, delivery: OutgoingMessage) -> Exception:
        return ERRORS[self.fault]

    def take(self, delivery: OutgoingMessage) -> Receipt:
        raw = repr(delivery).encode()
        self.taken.append(Received(id=delivery.id, to=delivery.to, text=delivery.text, raw=raw))
        return Receipt("1", "taken")


class _Twice(Sound):
    def take(self, delivery: OutgoingMessage) -> Receipt:
        super().take(delivery)
        return super().take(delivery)


class _Nowhere(Sound):
    def take(self, delivery: OutgoingMessage) -> Receipt:
        return Receipt("1", "taken")


class _Mixed(Sound):
    async def send(self, delivery: OutgoingMessage) -> Receipt:
        self.now = delivery
        await asyncio.sleep(0)
        return await super().send(self.now)


class _Trimmed(Sound):
    def take(self, delivery: OutgoingMessage) -> Receipt:
        return super().take(OutgoingMessage(**{**_fields(delivery), "text": delivery.text.replace("\0", "")}))


class _Trusting(Sound):
    async def send(self, delivery: OutgoingMessage) -> Receipt:
        return self.take(delivery) if self.is_open else await super().send(delivery)


class _Deaf(Sound):
    def take(self, delivery: OutgoingMessage) -> Receipt:
        return super().take(OutgoingMessage(**{**_fields(delivery), "headers": ()}))


class _AlwaysOpen(Sound):
    async def close(self) -> None:
        return


class _Stuck(Sound):
    refused = 0

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        if self.refused > 20:
            raise TransientError("no connection is free", code="pool")
        try:
            return await super().send(delivery)
        except PermanentError:
            self.refused += 1
            raise


class _Renaming(Sound):
    capabilities = Capabilities(html=True, subject=True, idempotent=True)

    def take(self, delivery: OutgoingMessage) -> Receipt:
        super().take(delivery)
        return Receipt(str(len(self.taken)), "taken")


class _Nameless(Sound):
    name = ""


class _Hasty(Sound):
    def take(self, delivery: OutgoingMessage) -> Receipt:
        return Receipt("", "")


class _Talkative(Sound):
    def error(self, delivery: OutgoingMessage) -> Exception:
        return TransientError(f"{delivery.to} is busy", code="429")


class _Optimist(Sound):
    def error(self, delivery: OutgoingMessage) -> Exception:
        return TransientError("try again", code="again")


class _Pessimist(Sound):
    def error(self, delivery: OutgoingMessage) -> Exception:
        return PermanentError("no", code="no", address_verdict=Verdict.SUPPRESS)


class _Liar(Sound):
    async def send(self, delivery: OutgoingMessage) -> Receipt:
        return Receipt("1", "taken") if self.fault is not Fault.NONE else await super().send(delivery)


class _Stubborn(Sound):
    async def send(self, delivery: OutgoingMessage) -> Receipt:
        try:
            return await super().send(delivery)
        except asyncio.CancelledError:
            raise UnknownOutcome("cancelled") from None


class _Abrupt(Sound):
    async def send(self, delivery: OutgoingMessage) -> Receipt:
        await asyncio.sleep(0)
        if not self.is_open:
            self.take(delivery)
        return await super().send(delivery)


def _fields(delivery: OutgoingMessage) -> dict[str, Any]:
    return {name: getattr(delivery, name) for name in delivery.__struct_fields__}


def _suite(adapter: type[Sound]) -> Any:
    class Suite(Conformance):
        faults = frozenset(Fault) - {Fault.NONE}
        impossible = ("nobody@", "a b@example.com")

        @asynccontextmanager
        async def stage(self) -> AsyncIterator[Stage]:
            made = adapter()

            async def play(fault: Fault) -> None:
                made.fault = fault

            yield Stage(channel=made, received=lambda: list(made.taken), play=play)

    return Suite()


TESTS = [name for name in dir(Conformance) if name.startswith("test_")]


@pytest.mark.parametrize("name", TESTS)
def test_a_sound_adapter_passes(name: str) -> None:
    """Every test of the suite, none left out."""
    getattr(_suite(Sound), name)()


@pytest.mark.parametrize(
    ("adapter", "name"),
    [
        (_Nameless, "test_it_is_a_channel"),
        (_Twice, "test_a_receipt_means_the_provider_has_it_once"),
        (_Nowhere, "test_a_receipt_means_the_provider_has_it_once"),
        (_Hasty, "test_a_receipt_means_the_provider_has_it_once"),
        (_Mixed, "test_many_at_once_do_not_mix"),
        (_Trimmed, "test_every_text_arrives_as_it_was"),
        (_Trusting, "test_it_refuses_to_forge_headers"),
        (_Trusting, "test_an_impossible_address_is_suppressed"),
        (_Trusting, "test_a_bad_message_does_not_hurt_the_next"),
        (_Deaf, "test_what_it_cannot_carry_it_refuses"),
        (_AlwaysOpen, "test_closed_means_not_sent"),
        (_Abrupt, "test_close_waits_for_what_is_under_way"),
        (_Stuck, "test_a_bad_message_does_not_hurt_the_next"),
        (_Renaming, "test_the_same_message_again_follows_the_capability"),
        (_Pessimist, "test_down_is_transient"),
        (_Pessimist, "test_busy_is_transient"),
        (_Talkative, "test_busy_is_transient"),
        (_Optimist, "test_a_refusal_is_permanent"),
        (_Optimist, "test_a_missing_address_is_blamed"),
        (_Pessimist, "test_a_refused_login_blames_nobody"),
        (_Optimist, "test_a_lost_answer_is_unknown"),
        (_Liar, "test_silence_is_unknown"),
        (_Stubborn, "test_a_send_can_be_cancelled"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_broken_adapter_is_found(adapter: type[Sound], name: str) -> None:
    """By the test that is about what it breaks, with a sentence that says what to mend."""
    with pytest.raises((AssertionError, ValueError, ChannelError)):
        getattr(_suite(adapter), name)()


def test_what_is_not_named_is_not_asked() -> None:
    """An adapter whose stage plays no fault has no tests about faults, instead of skipped ones."""

    class Small(Conformance):
        pass

    assert {name for name in TESTS if getattr(Small, name) is None} == {
        *_ABOUT_FAULTS, "test_an_impossible_address_is_suppressed",
    }  # fmt: skip

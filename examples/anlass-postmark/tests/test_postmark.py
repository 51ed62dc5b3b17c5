"""The adapter before the suite that Anlass ships, and what is Postmark's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from postmark_double import TOKEN, PostmarkDouble

from anlass_postmark import PostmarkChannel, create
from anlass.testing import Conformance, Fault, Received, Stage
from anlass.adapter import OutgoingMessage, PermanentError, Verdict

FAILS = {Fault.BUSY: (429, 429), Fault.REFUSED: (422, 300), Fault.NO_SUCH_ADDRESS: (422, 406), Fault.DENIED: (401, 10)}


def channel_to(double: PostmarkDouble) -> PostmarkChannel:
    """The adapter with settings as Anlass passes them: from the environment numbers come as text."""
    return create(
        {"server_token": TOKEN, "from": "Shop <shop@example.com>", "base_url": double.url, "allow_hosts": ["127.0.0.1"],
         "timeout_seconds": "1.0"}
    )  # fmt: skip


class TestPostmark(Conformance):
    """All that the contract promises."""

    faults = frozenset({*FAILS, Fault.DOWN, Fault.LOST, Fault.SILENT})
    impossible = ("nobody@", "@example.com", "a b@example.com", "a@b@example.com", "a,b@example.com")

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Stage]:
        double = PostmarkDouble()
        await double.start()

        async def play(fault: Fault) -> None:
            double.fail, double.lose, double.hang = FAILS.get(fault), fault is Fault.LOST, fault is Fault.SILENT
            if fault is Fault.DOWN:
                await double.stop()
            elif double._runner is None:
                await double.start()

        def received() -> list[Received]:
            return [
                Received(
                    id=mail["Metadata"]["anlass_id"], to=mail["To"].rpartition("<")[2].rstrip(">"), text=mail["TextBody"],
                    raw=str(mail).encode(),
                )
                for mail in double.taken
            ]  # fmt: skip

        yield Stage(channel=channel_to(double), received=received, play=play)
        await double.stop()


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [(422, 406, Verdict.SUPPRESS), (422, 300, Verdict.MESSAGE), (422, 400, Verdict.OUR_FAULT), (401, 10, Verdict.OUR_FAULT),
     (422, 405, Verdict.OUR_FAULT), (413, -1, Verdict.MESSAGE), (404, -1, Verdict.OUR_FAULT)],
)  # fmt: skip
def test_each_code_blames_whom_it_should(status: int, code: int, verdict: Verdict) -> None:
    """An inactive recipient is suppressed; a bad token, sender or account is ours; the rest is the message."""

    async def run() -> None:
        double = PostmarkDouble()
        await double.start()
        channel = channel_to(double)
        await channel.open()
        double.fail = (status, code)
        message = OutgoingMessage(
            id="0" * 32, channel="email", to="ana@example.com", text="Hi", subject="Hi", date_ms=0
        )
        with pytest.raises(PermanentError) as caught:
            await channel.send(message)
        assert caught.value.address_verdict is verdict
        await channel.close()
        await double.stop()

    asyncio.run(run())


def test_settings_without_a_token_say_how_to_set_it() -> None:
    """The mend stands in the sentence, and a bad sender is found before anything is sent."""
    with pytest.raises(ValueError, match="ANLASS_POSTMARK_API__SERVER_TOKEN"):
        create({"from": "Shop <shop@example.com>"})
    with pytest.raises(ValueError, match="postmark"):
        create({"server_token": TOKEN, "from": "no address"})

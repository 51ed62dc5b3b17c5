"""Who is erased leaves no address, name or number in any file of the project's `var/`, however the erasure was asked for."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from channels.contract import OutgoingMessage
from engine import bootstrap
from engine.core.record import Consent, Erase, Event, Identify, Merge, Outcome
from engine.dispatch.ports import Settlement
from engine.runtimes.base import DeadLetter
from engine.runtimes.embedded import EmbeddedRuntime
from tests.cli.conftest import anlass

ADDRESS, NAME, PHONE = "canary-ana@shop.example", "Canarina Kanarienvogel", "+4915190000017"
CANARIES = (ADDRESS, NAME, PHONE, "canary street 17")
AT_MS = 1_790_000_000_000
KEEP = "ben@shop.example"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The small project, with a workflow that waits after its mail."""
    assert anlass("init", tmp_path / "shop").status == 0
    return tmp_path / "shop"


def found_in(var: Path) -> list[str]:
    """Files that hold a canary, in whatever encoding text has in them."""
    needles = [
        form for canary in CANARIES for form in (canary.encode(), canary.encode("utf-16-le"), canary.upper().encode())
    ]
    return sorted(
        path.name
        for path in var.rglob("*")
        if path.is_file() and any(needle in path.read_bytes() for needle in needles)
    )


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[EmbeddedRuntime]:
    """The project's runtime, as the service opens it."""
    runtime = bootstrap.open_runtime(bootstrap.open_project(folder, with_templates=False))
    await runtime.start()
    try:
        yield runtime
    finally:
        await runtime.stop()


async def plant(runtime: EmbeddedRuntime, var: Path) -> None:
    """Puts the canaries into every place that there is: state, held events, log, journal, ledger, letters, mailbox."""
    traits: dict[str, Any] = {"email": ADDRESS, "name": NAME, "phone": PHONE, "consent": {"marketing": ["email"]}}
    records: list[Any] = [
        Identify(customer="ana", at_ms=AT_MS, id="i1", time_ms=AT_MS, traits=traits),
        Identify(customer="visitor", at_ms=AT_MS, id="i2", time_ms=AT_MS, traits={"name": NAME, "phone": PHONE}),
        Merge(customer="visitor", at_ms=AT_MS, id="m", into="ana"),
        Event(
            customer="ana", at_ms=AT_MS, id="e1", name="Signed Up", time_ms=AT_MS,
            properties={"street": "canary street 17", "name": NAME},
        ),
        Consent(
            customer="ana", at_ms=AT_MS, id="c", time_ms=AT_MS, action="grant", purposes={"marketing": ["email"]},
            source="form", proof={"wording": f"I am {NAME}", "ip": "192.0.2.7"},
        ),
        Identify(
            customer="ben", at_ms=AT_MS, id="i3", time_ms=AT_MS,
            traits={**traits, "email": KEEP, "name": "Ben", "phone": "1"},
        ),
        Event(customer="ben", at_ms=AT_MS, id="e2", name="Signed Up", time_ms=AT_MS),
    ]  # fmt: skip
    await runtime.append(records)
    await runtime.idle()
    for number in range(200):  # so that rows move, overflow, and leave pages behind
        big = {"note": NAME * 40, "n": number}
        await runtime.append(
            [Identify(customer="ana", at_ms=AT_MS, id=f"x{number}", time_ms=AT_MS + number, traits=big)]
        )
    messages = await runtime.messages(customer="ana")
    assert messages
    await runtime.claim([each.message.id for each in messages])
    settled = [
        Settlement(message_id=each.message.id, status="sent", at_ms=AT_MS, reason=f"for {ADDRESS}") for each in messages
    ]
    await runtime.settle(settled)
    await runtime.append(
        [Outcome(customer="ana", at_ms=AT_MS, id="o", time_ms=AT_MS, outcome="replied", message=messages[0].message.id,
                 detail={"reason": NAME})]
    )  # fmt: skip
    body = json.dumps({"email": ADDRESS, "name": NAME}).encode()
    await runtime.dead_letter(
        [
            DeadLetter(at_ms=AT_MS, origin="http:/v1/batch", reason="invalid", body=body, customer="ana"),
            DeadLetter(at_ms=AT_MS, origin="http:/v1/batch", reason="nobody", body=body.upper()),
            DeadLetter(at_ms=AT_MS, origin="http:/v1/batch", reason="kept", body=b'{"email": "ben@shop.example"}'),
        ]
    )
    with contextlib.closing(bootstrap.open_mailbox(var)) as mailbox:
        for whose, address, name in (("ana", ADDRESS, NAME), ("ben", KEEP, "Ben")):
            for number in range(20):
                mailbox.add(
                    OutgoingMessage(
                        id=f"{number:030x}{whose[:2]}", channel="email", to=address, text=f"Dear {name}, " * 50, date_ms=AT_MS,
                        customer=whose,
                    )
                )  # fmt: skip


async def test_an_erasure_that_comes_as_a_record_clears_everything(folder: Path) -> None:
    """By an event or the API, say: log, states, journal, ledger, letters and the mailbox; also WAL and free pages."""
    var = folder / "var"
    async with opened(folder) as runtime:
        await plant(runtime, var)
        assert {"anlass.db-wal", "mailbox.sqlite3"} <= set(found_in(var)), "planted"
        await runtime.append([Erase(customer="ana", at_ms=AT_MS + 9, id="please")])
        await runtime.idle()
        async with asyncio.timeout(20):
            while found_in(var):
                await asyncio.sleep(0.05)
        assert await runtime.state("ana") is None
        assert await runtime.state("visitor") is None
        state = await runtime.state("ben")
        assert state is not None
        assert state.traits["email"] == KEEP
        assert [each.reason for each in await runtime.dead_letters()] == ["kept"]
    with contextlib.closing(bootstrap.open_mailbox(var)) as mailbox:
        assert mailbox.count() == 20
    assert found_in(var) == []


def test_the_command_clears_everything_and_prints_a_receipt(folder: Path) -> None:
    """Without a running service; the receipt has counts and a hash, nothing else is left, and nobody else lost anything."""
    var = folder / "var"

    async def planted() -> None:
        async with opened(folder) as runtime:
            await plant(runtime, var)

    asyncio.run(planted())
    assert found_in(var), "planted"
    done = anlass("erase", "ana", "--yes", "--project", folder)
    assert done.status == 0, done.err
    receipt = json.loads(done.out)
    assert receipt["finished"]
    assert receipt["found"]["messages"] >= 1
    assert not any(canary in done.out + done.err for canary in CANARIES)
    assert found_in(var) == []
    assert anlass("show", "customer", "ben", "--project", folder).status == 0
    assert anlass("show", "customer", "ana", "--project", folder).status == 1


async def test_who_comes_back_with_the_address_gets_no_marketing(folder: Path) -> None:
    """Under another id and with the shop's word for a consent: decided, and stopped at the door by the keyed hash that stayed."""
    from engine.core.consent import suppression

    async with opened(folder) as runtime:
        await plant(runtime, folder / "var")
        await runtime.append([Erase(customer="ana", at_ms=AT_MS + 9, id="please")])
        await runtime.tidy()
    assert found_in(folder / "var") == []
    async with opened(folder) as runtime:  # also for the next process
        at_ms = AT_MS + 99
        traits = {"email": ADDRESS.upper(), "consent": {"marketing": ["email"]}}
        await runtime.append([Identify(customer="ana-again", at_ms=at_ms, id="i9", time_ms=at_ms, traits=traits)])
        await runtime.append([Event(customer="ana-again", at_ms=at_ms, id="e9", name="Signed Up", time_ms=at_ms)])
        await runtime.idle()
        (status,) = await runtime.messages(customer="ana-again")
        state, policy, message = await runtime.state("ana-again"), runtime.catalog.policy, status.message
        answers = await runtime.suppressed(suppression.places(policy, message))
        assert suppression.refusal(policy, state, message, answers=answers) == "suppressed_address"

"""The limits that the settings name reach the parts: seen at a real SMTP server, and in the store."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import structs

from engine.bootstrap import Service, dispatch_options, open_project, open_runtime
from engine.core.record import Event, Identify
from engine.dispatch.sending.dispatcher import DispatchOptions
from engine.runtimes.embedded import EmbeddedRuntime
from engine.settings import load_settings
from tests.channels.conftest import Faults, SmtpDouble

FILES = {
    "workflows/policy.yaml": "policy: default\npurposes: {marketing: {consent: opt_in}}\nunknown: {marketing: keep}\n",
    "workflows/hello.yaml": "workflow: hello\npurpose: marketing\ntrigger: {event: Hello}\n"
    "steps:\n  - send: {channel: email, template: hello}\n    id: mail\n",
    "templates/email/hello.html": '---\nsubject: Hello\n---\n<p>Hello, <a href="{{ unsubscribe_url }}">no more</a></p>\n',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with one workflow that mails."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


@contextlib.asynccontextmanager
async def running(folder: Path, email: str) -> AsyncIterator[tuple[Service, SmtpDouble]]:
    """The service on a mail server, with these further lines in `[email]`."""
    server = SmtpDouble()
    await server.start()
    (folder / "anlass.toml").write_text(
        f'[collector]\nport = 0\n[console]\nport = 0\n[email]\nhost = "127.0.0.1"\nport = {server.port}\n{email}\n',
        "utf-8",
    )
    service = Service(open_project(folder))
    await service.start()
    try:
        yield service, server
    finally:
        await service.stop()
        await server.stop()


async def greet(service: Service, *addresses: str) -> None:
    """One mail to each of the addresses, decided in this order."""
    at_ms = time.time_ns() // 1_000_000
    people = [
        Identify(
            customer=address,
            at_ms=at_ms,
            id=f"i-{address}",
            time_ms=at_ms,
            traits={"email": address, "consent": {"marketing": ["email"]}},
        )
        for address in addresses
    ]
    await service.runtime.append(people)
    await service.runtime.append(
        [Event(customer=address, at_ms=at_ms, id=f"e-{address}", name="Hello", time_ms=at_ms) for address in addresses]
    )


async def statuses(service: Service) -> list[str]:
    return sorted(message.status for message in await service.runtime.messages())


async def until(service: Service, expected: list[str]) -> None:
    """Waits for the ledger to say exactly this."""
    async with asyncio.timeout(30):
        while await statuses(service) != expected:
            await asyncio.sleep(0.01)


async def test_a_domain_gets_no_more_than_its_rate_and_holds_up_no_other(folder: Path) -> None:
    """At ten a second eight mails to one domain take at least 0.7 s; the one to another domain does not queue behind them."""
    async with running(folder, "domain_rate_per_second = 10") as (service, server):
        started = time.monotonic()
        await greet(service, *(f"c{number}@slow.example" for number in range(8)), "ana@other.example")
        await until(service, ["sent"] * 9)
        assert time.monotonic() - started >= 0.69
    to = [accepted.recipients[0] for accepted in server.accepted]
    assert sorted(to) == sorted([*(f"c{number}@slow.example" for number in range(8)), "ana@other.example"])
    assert to.index("ana@other.example") <= 2


async def test_the_provider_gets_no_more_than_its_rate(folder: Path) -> None:
    """Whatever the domains: at ten a second eight mails take at least 0.7 s."""
    async with running(folder, "rate_per_second = 10") as (service, _):
        started = time.monotonic()
        await greet(service, *(f"c@shop{number}.example" for number in range(8)))
        await until(service, ["sent"] * 8)
        assert time.monotonic() - started >= 0.69


async def test_a_fast_rate_is_not_held_up_by_the_waiting_between_rounds(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a hundred a second it looks every 10 ms as long as a mail waits, and sixty mails take 0.59 s at least.

    What is asked for is looked at, not how long it takes: a busy machine wakes nobody in time.
    """
    asked: list[float] = []
    known: list[str] = []
    async with running(folder, "rate_per_second = 100\nconnections = 100") as (service, _):
        wait_for_work = service.runtime.wait_for_work

        async def noted(seconds: float) -> None:
            nonlocal known
            if len(known) == 60 and "pending" in await statuses(service):  # all were decided before it looked
                asked.append(seconds)
            await wait_for_work(seconds)
            known = await statuses(service)

        monkeypatch.setattr(service.runtime, "wait_for_work", noted)
        started = time.monotonic()
        await greet(service, *(f"c@shop{number}.example" for number in range(60)))
        await until(service, ["sent"] * 60)
        assert time.monotonic() - started >= 0.58
    assert asked
    assert max(asked) <= 0.01 + 0.001


async def test_no_more_is_under_way_than_there_are_connections(folder: Path) -> None:
    """Of ten mails to a server that falls silent three are claimed, so three become `unknown` and seven are sent later."""
    async with running(folder, "connections = 3") as (service, server):
        server.faults = Faults(silent_after_dot=True)
        await greet(service, *(f"c{number}@shop.example" for number in range(10)))
        await until(service, ["claimed"] * 3 + ["pending"] * 7)
        async with asyncio.timeout(30):
            while len(server.taken_unanswered) < 3:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # long enough for a fourth, were there one
        assert await statuses(service) == ["claimed"] * 3 + ["pending"] * 7
        server.faults = Faults()
        server.drop_all()
        await until(service, ["sent"] * 7 + ["unknown"] * 3)
    assert (len(server.accepted), len(server.taken_unanswered)) == (7, 3)


def test_without_a_mail_server_the_dispatcher_has_its_own_limits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The local mailbox needs neither rate nor connections; with a server its channels share the rate."""
    (folder / "anlass.toml").write_text("[email]\nrate_per_second = 5\nconnections = 1\n", "utf-8")
    alone = dispatch_options(load_settings(folder))
    assert [limits.channels for limits in alone.providers] == [("task",)]  # which needs no settings
    assert structs.replace(alone, providers=()) == DispatchOptions()
    assert DispatchOptions().under_way_max == 20
    monkeypatch.setenv("ANLASS_EMAIL__HOST", "127.0.0.1")
    (limits,) = [each for each in dispatch_options(load_settings(folder)).providers if "email" in each.channels]
    assert (limits.under_way_max, limits.rate) == (1, 5.0)


DAY_MS = 86_400_000


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[EmbeddedRuntime]:
    """The project's runtime."""
    runtime = open_runtime(open_project(folder, with_templates=False))
    await runtime.start()
    try:
        yield runtime
    finally:
        await runtime.stop()


@pytest.mark.parametrize(("days", "left"), [("", 0), ("log_days = 0", 1), ("log_days = 200", 1)])
async def test_the_log_is_kept_as_long_as_it_says(days: str, left: int, folder: Path) -> None:
    """A record of a hundred days ago is gone after the default of ninety, and stays with more or with 0."""
    (folder / "anlass.toml").write_text(f"[database]\n{days}\n", "utf-8")
    at_ms = time.time_ns() // 1_000_000 - 100 * DAY_MS
    old = Event(customer="ana", at_ms=at_ms, id="old", name="Hello", time_ms=at_ms)
    async with opened(folder) as runtime:
        await runtime.append([old])
        await runtime.idle()
    async with opened(folder):  # what is old goes at the start, and then every minute
        await asyncio.sleep(0.3)
    with contextlib.closing(sqlite3.connect(folder / "var" / "anlass.db")) as database:
        assert database.execute("SELECT count(*) FROM log").fetchone() == (left,)


@pytest.mark.parametrize(("days", "left"), [("", True), ("journal_days = 90", False), ("journal_days = 200", True)])
async def test_the_journal_is_kept_as_long_as_it_says(days: str, left: bool, folder: Path) -> None:
    """By default for ever."""
    at_ms = time.time_ns() // 1_000_000 - 100 * DAY_MS
    traits = {"email": "ana@shop.example", "consent": {"marketing": ["email"]}}
    async with opened(folder) as runtime:
        await runtime.append([Identify(customer="ana", at_ms=at_ms, id="i", time_ms=at_ms, traits=traits)])
        await runtime.idle()
    with contextlib.closing(sqlite3.connect(folder / "var" / "anlass.db")) as database:
        assert database.execute("SELECT count(*) FROM journal").fetchone() != (0,)
    (folder / "anlass.toml").write_text(f"[database]\n{days}\n", "utf-8")
    async with opened(folder):
        await asyncio.sleep(0.3)
    with contextlib.closing(sqlite3.connect(folder / "var" / "anlass.db")) as database:
        assert (database.execute("SELECT count(*) FROM journal").fetchone() != (0,)) == left


@pytest.mark.parametrize(("said", "level"), [("", 1), ('synchronous = "normal"', 1), ('synchronous = "full"', 2)])
async def test_how_much_a_commit_survives_reaches_the_database(said: str, level: int, folder: Path) -> None:
    """SQLite's own numbers: 1 is NORMAL, 2 is FULL."""
    (folder / "anlass.toml").write_text(f"[database]\n{said}\n", "utf-8")
    async with opened(folder) as runtime:
        connection = runtime._store.connection
        assert connection.execute("PRAGMA synchronous").fetchone() == (level,)

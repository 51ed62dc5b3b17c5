"""A mailbox of bounces at a real IMAP and POP3 server is emptied, and nothing leaves it before it is recorded."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from channels.bounces import Marks
from engine.clock import ManualClock
from engine.collector.bounces.fetching import ImapMailbox, MailboxAccount, MailboxVisit, PopMailbox, mailbox_of
from engine.collector.bounces.intake import UNKNOWN_MS_MAX, BounceDesk
from engine.collector.bounces.mailbox import MAILS_A_VISIT, MailboxReader
from engine.collector.callbacks.reports import Reports
from engine.core.record import Event, Identify, Outcome
from engine.errors import Backlog, ServiceUnreachable, SettingsError
from engine.runtimes.memory_ports import MemoryRuntime
from engine.settings import Settings
from engine.settings.bounces import BouncesSection
from engine.telemetry import Metrics
from engine.watches import bounces as building
from engine.watches.watch import WatchNeeds
from tests.channels.conftest import certificate as _certificate
from tests.channels.returned_mails import MARKS, plain, report_of
from tests.collector.conftest import T0, catalog, taken_in
from tests.services.greenmail import PASSWORD, USER, GreenMail, greenmail

certificate = _certificate  # a fixture of the tests of channels, for these, too


@pytest.fixture(scope="module")
def server(outside: None, tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[GreenMail]:
    """One server for all tests of this file; skips when it cannot run here."""
    from tests.services.greenmail import jar
    from tests.services.kafka_jars import java

    try:
        java()
        jar()
    except ServiceUnreachable as error:
        pytest.skip(str(error))
    with greenmail(tmp_path_factory.mktemp("greenmail"), certificate) as running:
        yield running


@pytest.fixture
def mails(server: GreenMail) -> Iterator[GreenMail]:
    """The server with an empty inbox."""
    yield server
    server.empty()


class Stage:
    """A runtime with messages to two customers, and a reader of the mailbox before it."""

    def __init__(self) -> None:
        self.clock = ManualClock(T0)
        self.runtime = MemoryRuntime(catalog(), clock=self.clock)
        self.metrics = Metrics()

    async def begin(self) -> list[bytes]:
        """A hard bounce of the message to each of the two."""
        for name in ("ana", "ben"):
            traits: dict[str, Any] = {"email": f"{name}@example.com", "consent": {"marketing": ["email"]}}
            await self.runtime.append(
                [
                    Identify(customer=name, at_ms=T0, id=f"i-{name}", time_ms=T0, traits=traits),
                    Event(customer=name, at_ms=T0, id=f"e-{name}", name="News Asked For", time_ms=T0),
                ]
            )
        await self.runtime.idle()
        found = {status.message.customer: status.message for status in await self.runtime.messages()}
        return [self.bounce(found[name].id, found[name].address) for name in ("ana", "ben")]

    @staticmethod
    def bounce(message: str, address: str = "x@example.com") -> bytes:
        """A hard bounce of this message."""
        group = f"Final-Recipient: rfc822; {address}\nAction: failed\nStatus: 5.1.1\n"
        return report_of(group, to=f"b+{MARKS.mark(message)}@bounces.shop.example")

    def reader(self, account: MailboxAccount, *, wrapped: type[MailboxVisit] | None = None) -> MailboxReader:
        """A reader of its own, as after a restart."""
        reports = Reports(self.runtime, self.clock, self.metrics)
        desk = BounceDesk(self.runtime, self.clock, self.metrics, marks=MARKS, reports=reports)
        return MailboxReader(desk, account, poll_seconds=0.05, open_mailbox=wrapped or mailbox_of)

    def bounced(self) -> list[str]:
        return [record.customer for record in taken_in(self.runtime) if isinstance(record, Outcome)]


@pytest.fixture
async def stage() -> Stage:
    return Stage()


def account(server: GreenMail, protocol: str = "imap", tls: str = "none", **more: Any) -> MailboxAccount:
    """The inbox of the server."""
    port = server.ports[protocol + ("s" if tls == "implicit" else "")]
    return MailboxAccount(
        protocol=protocol, host="127.0.0.1", port=port, tls=tls, username=USER, password=PASSWORD, **more
    )


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@pytest.mark.parametrize("tls", ["none", "implicit"])
async def test_a_mailbox_is_emptied(stage: Stage, mails: GreenMail, certificate: Path, protocol: str, tls: str) -> None:
    """By both protocols, with TLS and without: each mail is recorded once and gone."""
    bounces = await stage.begin()
    mails.put(*bounces, plain("Out of office", "x", sender="ana@example.com"), plain("Hello", "you", sender="a@b.de"))
    reader = stage.reader(account(mails, protocol, tls, ca_file=str(certificate)))
    assert await reader.visit() is False
    assert stage.bounced() == ["ana", "ben"]
    assert mails.count() == 0
    assert [letter.origin for letter in await stage.runtime.dead_letters()] == [f"mail:{protocol}"]
    state = await stage.runtime.state("ana")
    assert state is not None
    assert state.suppressed == {"email:ana@example.com": "bounced"}


async def test_what_is_done_is_moved(stage: Stage, mails: GreenMail) -> None:
    """Into a folder that is made when it is not there."""
    mails.put(*await stage.begin())
    already = mails.count("Done")
    await stage.reader(account(mails, done_folder="Done")).visit()
    assert (mails.count(), mails.count("Done")) == (0, already + 2)
    assert stage.bounced() == ["ana", "ben"]


async def test_a_crash_before_the_mail_is_gone_records_nothing_twice(stage: Stage, mails: GreenMail) -> None:
    """The connection breaks after the record is durable: the mail is read again, and changes nothing."""
    mails.put(*await stage.begin())

    class Broken(ImapMailbox):
        def done(self, numbers: Sequence[int]) -> None:
            raise OSError("the connection broke")

    with pytest.raises(OSError, match="broke"):
        await stage.reader(account(mails), wrapped=Broken).visit()
    assert (stage.bounced(), mails.count()) == (["ana"], 2)
    await stage.reader(account(mails)).visit()
    assert mails.count() == 0
    await stage.runtime.idle()
    state = await stage.runtime.state("ana")
    assert state is not None
    assert [sent.outcome for sent in state.messages if sent.channel == "email"] == ["bounced"]
    counted = [line for _, line in await stage.runtime.decisions(_outcomes("ana"))]
    assert len(counted) == 1


def _outcomes(customer: str) -> Any:
    from engine.runtimes.base import Query

    return Query(customer=customer, kinds=("outcome",))


async def test_what_cannot_be_kept_stays(stage: Stage, mails: GreenMail, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too much waits: the mails stay where they are, and are taken when there is room."""
    mails.put(*await stage.begin())
    append = stage.runtime.append

    async def full(_records: object) -> None:
        raise Backlog("Too much waits.")

    monkeypatch.setattr(stage.runtime, "append", full)
    assert await stage.reader(account(mails)).visit() is False
    assert (mails.count(), stage.bounced()) == (2, [])
    monkeypatch.setattr(stage.runtime, "append", append)
    await stage.reader(account(mails)).visit()
    assert (mails.count(), stage.bounced()) == (0, ["ana", "ben"])


async def test_a_message_that_is_not_known_yet_is_waited_for(stage: Stage, mails: GreenMail) -> None:
    """The database may be behind: a marked mail stays for ten minutes, then it is a dead letter."""
    await stage.begin()
    mails.put(stage.bounce("ab" * 16))
    reader = stage.reader(account(mails))
    await reader.visit()
    assert (mails.count(), await stage.runtime.dead_letters()) == (1, [])
    stage.clock.advance(UNKNOWN_MS_MAX + 1)
    await reader.visit()
    (letter,) = await stage.runtime.dead_letters()
    assert (mails.count(), "no message is known" in letter.reason) == (0, True)


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
async def test_a_mail_with_a_very_long_line_stops_no_other(stage: Stage, mails: GreenMail, protocol: str) -> None:
    """Anybody can send one to the address for bounces: what comes after it is read all the same."""
    bounces = await stage.begin()
    chars = 1_500_000 if protocol == "pop3" else 900_000  # GreenMail's answer to a FETCH of a part is not IMAP
    mails.put(*[plain("Spam", "x" * each, sender="x@y.de") for each in (3_000, chars)], *bounces)
    await stage.reader(account(mails, protocol)).visit()
    assert (sorted(stage.bounced()), mails.count()) == (["ana", "ben"], 0)


async def test_many_mails_take_several_visits(stage: Stage, mails: GreenMail) -> None:
    """A visit takes a bounded number, and says that there is more."""
    await stage.begin()
    mails.put(*[plain("Out of office", str(n), sender="x@y.de") for n in range(MAILS_A_VISIT + 3)])
    reader = stage.reader(account(mails))
    assert [await reader.visit(), await reader.visit()] == [True, False]
    assert mails.count() == 0
    assert stage.metrics.mails_in.labels("automatic")._value.get() == MAILS_A_VISIT + 3


async def test_a_wrong_login_ends_nothing(stage: Stage, mails: GreenMail, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said without the password, tried again ever later, and goes on when it is right again."""
    mails.put(*await stage.begin())
    good = account(mails)
    tried: list[float] = []

    def opened(_account: MailboxAccount) -> MailboxVisit:
        tried.append(time.monotonic())
        wrong = MailboxAccount(
            **{name: getattr(good, name) for name in good.__struct_fields__} | {"password": "wrong-secret"}
        )
        return ImapMailbox(wrong if len(tried) < 3 else good)

    reader = stage.reader(good)
    reader._open_mailbox = opened
    running = asyncio.create_task(reader.run())
    async with asyncio.timeout(30):
        while len(stage.bounced()) < 2:
            await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert tried[2] - tried[1] > tried[1] - tried[0] > 0
    assert "wrong-secret" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", [ImapMailbox, PopMailbox])
async def test_a_silent_server_does_not_hold_up_the_end(stage: Stage, kind: type[MailboxVisit]) -> None:
    """It greets and says no more: cancelling ends the visit within seconds."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        protocol = "imap" if kind is ImapMailbox else "pop3"
        where = MailboxAccount(protocol=protocol, host="127.0.0.1", port=port, tls="none", username="u", password="p")
        visit = asyncio.create_task(stage.reader(where).visit())
        connection, _ = await asyncio.to_thread(silent.accept)
        connection.sendall(b"* OK ready\r\n" if kind is ImapMailbox else b"+OK ready\r\n")
        await asyncio.sleep(0.3)
        visit.cancel()
        started = time.monotonic()
        await asyncio.gather(visit, return_exceptions=True)
        assert time.monotonic() - started < 5
        connection.close()


def test_the_settings_build_the_reader(tmp_path: Path) -> None:
    """What is set arrives; without a password nothing starts, and without a mailbox there is no reader."""
    told: dict[str, Any] = {"mailbox": "imap", "mailbox_host": "imap.shop.example", "username": "u"}
    clock = ManualClock(T0)
    runtime = MemoryRuntime(catalog(), clock=clock)

    def around(**more: Any) -> WatchNeeds:
        settings = Settings(project=tmp_path, bounces=BouncesSection(**more))
        return WatchNeeds(settings=settings, runtime=runtime, clock=clock, metrics=Metrics())

    assert building.mailbox_reader(around()) is None
    with pytest.raises(SettingsError, match="no password"):
        building.mailbox_reader(around(**told))
    reader = building.mailbox_reader(around(**told, password="secret", mailbox_tls="starttls"))
    assert isinstance(reader, MailboxReader)
    assert (reader._account.port, reader._account.tls, reader._account.password) == (143, "starttls", "secret")
    for wrong in (
        {"mailbox": "imap"},
        {"mailbox": "imap", "mailbox_host": "h"},
        {**told, "mailbox_tls": "none"},
        {"addresses": ("x",)},
    ):
        with pytest.raises(ValueError, match=r"mailbox|address"):
            BouncesSection(**wrong)
    assert Marks(b"x" * 16).read("b+none@x.de") == ""

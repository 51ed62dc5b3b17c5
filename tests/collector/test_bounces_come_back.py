"""The whole way on one machine: a mail is sent, comes back by LMTP or SMTP, and what follows is in the journal before the 250."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from channels.delivery import DeliveryOutcome
from engine.bootstrap import Service, open_project
from engine.core.record import Pause
from engine.errors import StorageFull
from engine.runtimes.base import Query
from tests.channels.conftest import Accepted, SmtpDouble
from tests.channels.returned_mails import complaint, plain, report_of
from tests.services.ports import free_ports
from tests.test_bootstrap_limits import FILES, greet, until


class Way:
    """A running service, the mails it sent, and the port where they come back."""

    def __init__(self, service: Service, server: SmtpDouble, port: int, protocol: str) -> None:
        self.service = service
        self.server = server
        self.port = port
        self.protocol = protocol

    async def sent(self, *addresses: str) -> list[Accepted]:
        """One mail to each of the addresses, in this order."""
        already = len(self.server.accepted)
        await greet(self.service, *addresses)
        await until(self.service, ["sent"] * (already + len(addresses)))
        found = {mail.recipients[0]: mail for mail in self.server.accepted}
        return [found[address] for address in addresses]

    async def hand_in(self, recipient: str, raw: bytes) -> str:
        """The server's last answer, as a mail server would get it."""
        return await asyncio.to_thread(self._hand_in, recipient, raw)

    def _hand_in(self, recipient: str, raw: bytes) -> str:
        kind = smtplib.LMTP if self.protocol == "lmtp" else smtplib.SMTP
        with kind("127.0.0.1", self.port, timeout=10) as client:
            client.ehlo_or_helo_if_needed()
            client.docmd("MAIL FROM:<>")
            code, words = client.docmd(f"RCPT TO:<{recipient}>")
            if code == 250:
                code, words = client.data(raw)
            return f"{code} {words.decode()}"

    async def outcomes(self, customer: str) -> list[tuple[str, str]]:
        """(kind, what) of the decisions that came of it, oldest first."""
        await self.service.runtime.idle()
        query = Query(customer=customer, kinds=("outcome", "suppressed_address", "consent"), oldest_first=True)
        return [
            (each.kind, str(each.detail.get("outcome") or each.detail.get("reason") or each.detail.get("action")))
            for _, each in await self.service.runtime.decisions(query)
            if each.detail.get("action") != "grant"
        ]


@pytest.fixture(params=["lmtp", "smtp"])
async def way(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Way]:
    """A service that sends through a real server and listens for what comes back."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    server = SmtpDouble()
    await server.start()
    (port,) = free_ports(1)
    (tmp_path / "anlass.toml").write_text(
        f'[collector]\nport = 0\n[console]\nport = 0\n[email]\nhost = "127.0.0.1"\nport = {server.port}\n'
        'return_path = "b+{id}@bounces.shop.example"\n'
        f'[bounces]\nlisten = "{request.param}"\nport = {port}\naddresses = ["fbl@shop.example"]\n',
        "utf-8",
    )
    service = Service(open_project(tmp_path))
    await service.start()
    try:
        yield Way(service, server, port, request.param)
    finally:
        await service.stop()
        await server.stop()


def _group(address: str, status: str, words: str = "") -> str:
    return f"Final-Recipient: rfc822; {address}\nAction: failed\nStatus: {status}\nDiagnostic-Code: smtp; {words}\n"


async def test_a_hard_bounce_suppresses_the_address(way: Way) -> None:
    """250 means recorded; the same bounce again changes nothing, and the mail's address is one that only we can make."""
    (mail,) = await way.sent("ana@example.com")
    assert mail.sender.startswith("b+")
    raw = report_of(_group("ana@example.com", "5.1.1", "550 5.1.1 unknown"), to="someone@x.de")
    assert await way.hand_in(mail.sender.upper(), raw) == "250 2.0.0 Recorded"
    expected = [("outcome", "bounced"), ("suppressed_address", "bounced")]
    assert (await way.outcomes("ana@example.com")) == expected
    assert (await way.hand_in(mail.sender, raw)).startswith("250")
    assert (await way.outcomes("ana@example.com")) == expected
    state = await way.service.runtime.state("ana@example.com")
    assert state is not None
    assert state.suppressed == {"email:ana@example.com": "bounced"}


async def test_a_complaint_suppresses_and_withdraws(way: Way) -> None:
    """A feedback loop's mail names the message by our header in the mail that it gives back."""
    (mail,) = await way.sent("ben@example.com")
    header = next(line for line in mail.content.split(b"\r\n") if line.startswith(b"X-Anlass-Id:")).decode()
    assert (await way.hand_in("fbl@shop.example", complaint(returned=f"{header}\n"))).startswith("250")
    told = await way.outcomes("ben@example.com")
    assert ("outcome", "complained") in told
    assert ("suppressed_address", "complained") in told
    assert told.count(("consent", "withdraw")) == 1


async def test_strangers_addresses_are_not_taken(way: Way) -> None:
    """No open door: only marked addresses and those of the settings."""
    (mail,) = await way.sent("ana@example.com")
    forged = mail.sender.replace("-", "-a", 1)
    for address in ("ana@example.com", "b+x@bounces.shop.example", forged, "postmaster@shop.example"):
        assert (await way.hand_in(address, b"Subject: x\r\n\r\nx")).startswith("550"), address
    assert await way.service.runtime.dead_letters() == []


async def test_what_says_nothing_is_a_dead_letter(way: Way) -> None:
    """A person's answer, a report that names nobody: kept with the reason. An automatic answer: counted."""
    (mail,) = await way.sent("ana@example.com")
    assert (await way.hand_in(mail.sender, plain("Re: Hello", "Call me", sender="ana@example.com"))).startswith("250")
    assert (await way.hand_in("fbl@shop.example", complaint())).startswith("250")
    assert (await way.hand_in(mail.sender, plain("Out of office", "x", sender="ana@example.com"))).startswith("250")
    letters = await way.service.runtime.dead_letters()
    assert [letter.origin for letter in letters] == [f"mail:{way.protocol}"] * 2
    assert [letter.reason.partition(":")[0] for letter in letters] == ["other", "feedback"]
    counted = way.service.metrics.mails_in.labels("automatic")._value.get()
    assert counted == 1
    assert await way.outcomes("ana@example.com") == []


async def test_a_message_id_alone_needs_the_address(way: Way) -> None:
    """Who knows a message's id, and not whom it went to, suppresses nobody."""
    (mail,) = await way.sent("ana@example.com")
    header = next(line for line in mail.content.split(b"\r\n") if line.startswith(b"Message-ID:")).decode()
    foreign = report_of(_group("eve@example.com", "5.1.1"), to="x@y.z", returned=f"{header}\n")
    assert (await way.hand_in("fbl@shop.example", foreign)).startswith("250")
    assert await way.outcomes("ana@example.com") == []
    (letter,) = await way.service.runtime.dead_letters()
    assert "another address" in letter.reason
    assert letter.customer == "ana@example.com"
    honest = report_of(_group("ana@example.com", "5.1.1"), to="x@y.z", returned=f"{header}\n")
    assert (await way.hand_in("fbl@shop.example", honest)).startswith("250")
    assert (await way.outcomes("ana@example.com"))[-1] == ("suppressed_address", "bounced")


async def test_our_own_reputation_pauses_and_suppresses_nobody(way: Way) -> None:
    """Refusals for our own fault of three customers' mails pause the workflow; fewer, or one thrice, do not."""
    mails = await way.sent("a@example.com", "b@example.com", "c@example.com")
    refusal = report_of(_group("x@example.com", "5.7.1", "554 5.7.1 blocked using zen.spamhaus.org"))
    for mail in (mails[0], mails[0], mails[0], mails[1]):
        assert (await way.hand_in(mail.sender, refusal)).startswith("250")
    await way.service.runtime.idle()
    assert way.service.runtime.catalog.paused == frozenset()
    assert (await way.hand_in(mails[2].sender, refusal)).startswith("250")
    await way.service.runtime.idle()
    assert way.service.runtime.catalog.paused == {"hello"}
    for name in ("a@example.com", "b@example.com", "c@example.com"):
        assert (await way.outcomes(name))[-1] == ("outcome", "bounced")
        state = await way.service.runtime.state(name)
        assert state is not None
        assert (state.suppressed, state.soft_bounces) == ({}, {})
    resumed = Pause(customer="", at_ms=1, id="operator:1", workflow="hello", paused=False)
    await way.service.runtime.append([resumed])
    assert (await way.hand_in(mails[2].sender, refusal)).startswith("250")
    await way.service.runtime.idle()
    assert way.service.runtime.catalog.paused == frozenset(), "a repetition is not news"
    assert way.service.metrics.reports.labels("email", "our_fault")._value.get() == 6


async def test_what_cannot_be_kept_stays_with_the_server(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, a full backlog, a mistake of ours: 451, and it is taken when it comes again."""
    (mail,) = await way.sent("ana@example.com")
    raw = report_of(_group("ana@example.com", "5.1.1"))
    append = way.service.runtime.append
    for error in (StorageFull("The disk is full."), RuntimeError("a mistake with ana@example.com in it")):

        async def full(_records: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(way.service.runtime, "append", full)
        answer = await way.hand_in(mail.sender, raw)
        assert answer.startswith("451")
        assert "ana" not in answer
    monkeypatch.setattr(way.service.runtime, "append", append)
    assert (await way.hand_in(mail.sender, raw)).startswith("250")
    assert (await way.outcomes("ana@example.com"))[-1] == ("suppressed_address", "bounced")


async def test_soft_bounces_add_up(way: Way) -> None:
    """A full mailbox is counted, not suppressed; and the words of the server are shown with the message."""
    (mail,) = await way.sent("ana@example.com")
    raw = report_of(_group("ana@example.com", "5.2.2", "552 5.2.2 <ana@example.com> over quota"))
    assert (await way.hand_in(mail.sender, raw)).startswith("250")
    assert (await way.outcomes("ana@example.com"))[-1] == ("outcome", str(DeliveryOutcome.BOUNCED))
    state = await way.service.runtime.state("ana@example.com")
    assert state is not None
    assert len(state.soft_bounces["email:ana@example.com"]) == 1
    ((_, decision),) = [
        line
        for line in await way.service.runtime.decisions(Query(customer="ana@example.com", kinds=("outcome",)))
        if line[1].detail["outcome"] == "bounced"
    ]
    assert decision.detail["code"] == "552 5.2.2"
    assert decision.detail["reason"] == "552 5.2.2 <address> over quota"

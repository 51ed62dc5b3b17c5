"""`anlass run` from an event to a real mail, through ends of every kind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from tests.cli.conftest import Running, anlass, free_port, signed_up, wait_for

Run = Callable[..., Running]


class Inbox:
    """An SMTP server's handler that keeps every mail; `slow_seconds` before it answers to the content."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, EmailMessage]] = []
        self.slow_seconds = 0.0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's hook
        await asyncio.sleep(self.slow_seconds)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append((envelope.rcpt_tos[0], mail))
        return "250 OK"


@pytest.fixture
def smtp() -> Iterator[tuple[Inbox, dict[str, str]]]:
    """A real SMTP server, and the settings that lead to it."""
    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        yield inbox, {"ANLASS_EMAIL__HOST": "127.0.0.1", "ANLASS_EMAIL__PORT": str(controller.port)}
    finally:
        controller.stop()


def test_an_event_becomes_a_real_mail(run: Run, smtp: tuple[Inbox, dict[str, str]]) -> None:
    """Events over HTTP, a workflow's decision, a rendered mail over SMTP with one-click headers, and the ledger knows."""
    inbox, env = smtp
    running = run(env)
    assert running.post(*signed_up("ana")) == 200
    wait_for(lambda: inbox.mails, "the mail")
    to, mail = inbox.mails[0]
    assert to == "ana@shop.example"
    assert mail["Subject"] == "Welcome, Ana"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["List-Unsubscribe"].startswith(f"<{running.url}/u/")
    body = mail.get_body(("html",))
    assert body is not None
    assert "Nice to have you here" in body.get_content()

    def sent() -> list[dict[str, Any]]:
        shown = anlass("show", "customer", "ana", "--json", "--project", running.project).lines[0]
        return [each for each in shown["sent"] if each["status"] == "sent"]

    [message] = wait_for(sent, "the ledger's answer")
    assert (message["template"], message["address"]) == ("welcome", "ana@shop.example")


def test_without_a_channel_nothing_leaves(run: Run) -> None:
    """Without settings the mail is in the local mailbox, in the customer's language."""
    running = run()
    events = signed_up("bernd")
    events[0]["traits"]["locale"] = "de-AT"
    running.post(*events)
    [message] = wait_for(running.mailbox, "the mail in the mailbox")
    assert message["subject"] == "Willkommen, Bernd"


def test_sigterm_ends_in_order(run: Run, smtp: tuple[Inbox, dict[str, str]]) -> None:
    """A send under way is finished and its answer recorded; the status is 0 and nothing is left behind."""
    inbox, env = smtp
    inbox.slow_seconds = 1.5
    running = run(env)
    running.post(*signed_up("ana"))
    time.sleep(0.7)
    assert running.stop() == 0, running.log
    assert len(inbox.mails) == 1
    assert not (running.project / "var" / "running.json").exists()
    shown = anlass("show", "customer", "ana", "--json", "--project", running.project).lines[0]
    assert [each["status"] for each in shown["sent"]] == ["sent"]


def test_ctrl_c_ends_quietly(run: Run) -> None:
    """SIGINT is an end like any other: no traceback, status 0."""
    running = run()
    assert running.stop(signal.SIGINT) == 0
    assert "Traceback" not in running.log


@pytest.mark.kill
def test_kill_9_loses_nothing_that_was_answered(run: Run) -> None:
    """What was answered with 200 before a kill is decided and delivered after the next start, once."""
    customers = [f"c{number}" for number in range(40)]
    running = run()
    for customer in customers[:30]:
        assert running.post(*signed_up(customer)) == 200
    running.stop(signal.SIGKILL)
    running = run()
    for customer in customers:  # ten new ones, and thirty that are sent again
        assert running.post(*signed_up(customer)) == 200

    def settled() -> bool:
        counts = {message["to"] for message in running.get("/mailbox.json?limit=1000")["messages"]}
        return len(counts) >= len(customers) - unknown()

    def unknown() -> int:
        shown = anlass("show", "workflow", "welcome", "-n", "1000", "--json", "--project", running.project).lines[0]
        return sum(1 for each in shown["timeline"] if each["kind"] == "outcome" and each.get("outcome") == "unknown")

    wait_for(settled, "all mails")
    messages = running.get("/mailbox.json?limit=1000")["messages"]
    received = [message["to"] for message in messages]
    assert len(received) == len(set(received)), "somebody got two"
    assert all(message["copies"] == 1 for message in messages)
    shown = anlass("show", "workflow", "welcome", "--json", "--project", running.project).lines[0]
    assert shown["enrollments"]["entered"] == len(customers)


def test_an_operator_pauses_and_resumes(run: Run) -> None:
    """While it runs a workflow is paused: nobody enters, and says why; and then it goes on."""
    running = run()
    assert anlass("pause", "welcome", "--project", running.project).status == 0
    running.post(*signed_up("ana"))

    def not_entered() -> list[Any]:
        timeline = anlass("show", "customer", "ana", "--json", "--project", running.project)
        if timeline.status:
            return []
        return [each for each in timeline.lines[0]["timeline"] if each["kind"] == "not_entered"]

    [decision] = wait_for(not_entered, "a decision")
    assert decision["reason"] == "paused"
    assert anlass("resume", "welcome", "--project", running.project).status == 0
    running.post(*signed_up("bernd"))
    wait_for(running.mailbox, "bernd's mail")


def test_the_local_mailbox_keeps_as_many_messages_as_are_wanted(run: Run) -> None:
    """The newest ones; a number below 1 is refused with the setting's name."""
    running = run({"ANLASS_MAILBOX__MESSAGES_MAX": "2"})
    for number, name in enumerate(("ana", "bernd", "clara"), start=1):
        running.post(*signed_up(name))
        wait_for(lambda: len(running.mailbox()) == min(number, 2), "mails")  # noqa: B023 - asked within the round
    wait_for(lambda: running.mailbox()[0]["to"] == "clara@shop.example", "the newest mail")
    assert [message["to"] for message in running.mailbox()] == ["clara@shop.example", "bernd@shop.example"]
    refused = anlass("check", "--settings", running.project, env={"ANLASS_MAILBOX__MESSAGES_MAX": "0"})
    assert refused.status == 2
    assert "ANLASS_MAILBOX__MESSAGES_MAX" in refused.err


def test_erasing_beside_a_running_service(run: Run) -> None:
    """The receipt comes when nothing is left, also in the mailbox and in the files."""
    running = run()
    running.post(*signed_up("ana"), *signed_up("bernd"))
    wait_for(lambda: len(running.mailbox()) == 2, "two mails")
    erased = anlass("erase", "ana", "--yes", "--project", running.project)
    assert erased.status == 0, erased.err
    receipt = json.loads(erased.out)
    assert receipt["rows_removed"] > 0
    assert receipt["mailbox_removed"] == 1
    assert anlass("export", "ana", "--project", running.project).status == 1
    assert [message["to"] for message in running.mailbox()] == ["bernd@shop.example"]
    assert anlass("export", "bernd", "--project", running.project).status == 0


def test_two_processes_on_one_project(run: Run) -> None:
    """The second is refused with a sentence that names the first."""
    running = run()
    second = anlass("run", "--project", running.project)
    assert second.status == 1
    assert f"pid {running.process.pid}" in second.err
    assert "Traceback" not in second.err
    assert running.get("/healthz") == {"status": "ok"}


def test_a_port_in_use_is_one_sentence(project: Path) -> None:
    """Another program on the port: status 2, the port and the mend are named, and nothing stays locked."""
    with contextlib.closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = anlass("run", "--project", project, env={"ANLASS_COLLECTOR__PORT": str(port)})
    assert refused.status == 2
    assert f"127.0.0.1:{port}" in refused.err
    assert "ANLASS_COLLECTOR__PORT" in refused.err
    assert "Traceback" not in refused.err


def test_a_broken_project_is_not_run(project: Path) -> None:
    """Every problem is printed at once, each at its place; status 1."""
    workflow = project / "workflows" / "welcome.yaml"
    workflow.write_text(
        workflow.read_text().replace("purpose: marketing", "purpose: marketin").replace("wait: 2d", "wait: 2y")
    )
    refused = anlass("run", "--project", project)
    assert refused.status == 1
    places = [line for line in refused.err.splitlines() if line.startswith("workflows/welcome.yaml:")]
    assert len(places) >= 2


def test_changed_definitions_leave_those_in_flight_alone(run: Run) -> None:
    """Who entered before a change goes on with the version they started with, also after a restart with another one."""
    running = run()
    running.post(*signed_up("ana"))
    wait_for(running.mailbox, "the mail")
    running.stop()
    workflow = running.project / "workflows" / "welcome.yaml"
    workflow.write_text(workflow.read_text().replace("wait: 2d", "wait: 5d"))
    running = run()
    running.post(*signed_up("bernd"))
    wait_for(lambda: len(running.mailbox()) == 2, "bernd's mail")
    versions = {
        customer: anlass("show", "customer", customer, "--json", "--project", running.project).lines[0]["enrollments"][
            0
        ]
        for customer in ("ana", "bernd")
    }
    assert versions["ana"]["version"] != versions["bernd"]["version"]

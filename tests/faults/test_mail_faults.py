"""`anlass run` and a mail server that is away, refuses, hangs up: nothing is lost, nothing is sent twice that was answered."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Running, anlass, signed_up, wait_for
from tests.faults.conftest import MailServer, messages, rows

Run = Callable[..., Running]
Servers = Callable[[], MailServer]
RECEIPT = """workflow: receipt
purpose: transactional
trigger: {event: Signed Up}
steps:
  - send: {channel: email, template: welcome}
"""


def settled(project: Path, customer: str) -> tuple[str, str] | None:
    """(status, code) once the first attempt is over."""
    attempted = "SELECT * FROM ledger WHERE attempts > 0 AND status <> 'claimed'"
    found = [row for row in rows(project, attempted) if row["customer"] == customer]
    return (found[0]["status"], found[0]["code"]) if found else None


def let_time_pass(project: Path) -> None:
    """What waits for another attempt is due now. Only while nothing runs."""
    with sqlite3.connect(project / "var/anlass.db") as connection:
        connection.execute("UPDATE ledger SET not_before_ms = 1 WHERE status = 'pending'")


def test_a_server_that_is_away_at_the_start_gets_the_mail_when_it_is_back(
    run: Run, project: Path, mail_server: Servers
) -> None:
    """Refused connections are retried, across a restart too, and the mail arrives once."""
    server = mail_server()
    running = run(server.env)
    running.post(*signed_up("ana"))
    assert wait_for(lambda: settled(project, "ana"), "an attempt") == ("pending", "connect")
    assert running.stop() == 0
    let_time_pass(project)
    server.up()
    run(server.env)
    wait_for(lambda: messages(project).get("ana", ("", ""))[0] == "sent", "the mail")
    assert server.recipients == ["ana@shop.example"]


@pytest.mark.parametrize(
    ("fault", "expected", "unanswered"),
    [
        ({"rcpt": "451 4.2.0 greylisted"}, ("pending", "451 4.2.0"), 0),
        ({"greeting": "554 5.7.1 go away"}, ("pending", "554 5.7.1"), 0),
        ({"drop_before_data": True}, ("pending", "lost"), 0),
        ({"drop_after_dot": True}, ("unknown", "unknown"), 1),
        ({"garbage_after_dot": True}, ("unknown", "unknown"), 1),
        ({"rcpt": "552 5.2.2 full"}, ("failed", "552 5.2.2"), 0),
    ],
    ids=lambda value: str(next(iter(value))) if isinstance(value, dict) else None,
)
def test_what_becomes_of_a_mail(
    run: Run,
    project: Path,
    mail_server: Servers,
    *,
    fault: dict[str, object],
    expected: tuple[str, str],
    unanswered: int,
) -> None:
    """For the moment: later. After the final dot: unknown, and never again. Next customer's mail leaves."""
    server = mail_server().up(**fault)
    running = run(server.env)
    running.post(*signed_up("ana"))
    assert wait_for(lambda: settled(project, "ana"), "an attempt") == expected
    assert len(server.double.taken_unanswered) == unanswered
    assert rows(project, "SELECT * FROM suppressed_addresses") == []
    assert rows(project, "SELECT * FROM control WHERE paused") == []
    if "greeting" not in fault:
        server.up()
        bernd = signed_up("bernd")
        bernd[0]["traits"]["email"] = "bernd@other.example"  # a domain that asked for no pause
        running.post(*bernd)
        wait_for(lambda: server.recipients == ["bernd@other.example"], "bernd's mail")
    assert running.stop() == 0
    assert "Traceback" not in running.log


def test_an_address_that_does_not_exist_gets_nothing_again(run: Run, project: Path, mail_server: Servers) -> None:
    """5.1.1 suppresses the address, also for another customer who has it, and `show` says so."""
    server = mail_server().up(rcpt="550 5.1.1 no such user")
    running = run(server.env)
    running.post(*signed_up("ana"))
    assert wait_for(lambda: settled(project, "ana"), "an attempt") == ("failed", "550 5.1.1")
    server.up()
    other = signed_up("bernd")
    other[0]["traits"]["email"] = "ANA@shop.example"
    running.post(*other, *signed_up("carla"))
    wait_for(lambda: server.recipients == ["carla@shop.example"], "carla's mail")
    shown = anlass("show", "customer", "bernd", "--json", "--project", project).out
    assert "suppressed_address" in shown
    assert rows(project, "SELECT * FROM control WHERE paused") == []


def test_our_own_fault_pauses_the_workflow_and_blames_nobody(run: Run, project: Path, mail_server: Servers) -> None:
    """5.7.1: nobody else enters until an operator resumes; no address is suppressed."""
    server = mail_server().up(final="554 5.7.1 not allowed")
    running = run(server.env)
    running.post(*signed_up("ana"))
    assert wait_for(lambda: settled(project, "ana"), "an attempt") == ("failed", "554 5.7.1")
    server.up()
    running.post(*signed_up("bernd"))
    shown = anlass("show", "customer", "bernd", "--json", "--project", project).out
    assert '"paused"' in shown
    assert rows(project, "SELECT * FROM suppressed_addresses") == []
    assert anlass("resume", "welcome", "--project", project).status == 0
    running.post(*signed_up("carla"))
    wait_for(lambda: server.recipients == ["carla@shop.example"], "carla's mail")


def test_a_receipt_is_sent_again_when_nobody_knows(run: Run, project: Path, mail_server: Servers) -> None:
    """Transactional mail whose answer was lost leaves again; the ledger knows which attempt got through."""
    policy = project / "workflows/policy.yaml"
    policy.write_text(policy.read_text() + "\nunknown: {marketing: keep, transactional: resend}\n")
    (project / "workflows/receipt.yaml").write_text(RECEIPT)
    (project / "workflows/welcome.yaml").unlink()
    (project / "workflows/welcome.test.yaml").unlink()
    server = mail_server().up(drop_after_dot=True)
    running = run(server.env)
    running.post(*signed_up("ana"))
    wait_for(lambda: server.double.taken_unanswered, "the first copy")
    server.up()
    wait_for(lambda: (settled(project, "ana") or ("",))[0] in ("sent", "unknown"), "an answer")
    copies = len(server.double.taken_unanswered) + len(server.double.accepted)
    assert 2 <= copies <= 3
    assert running.stop() == 0


@pytest.mark.kill
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_end_during_many_sends(run: Run, project: Path, mail_server: Servers, number: signal.Signals) -> None:
    """Nothing that was answered 250 is sent again; what nobody can know is `unknown`; everything else arrives."""
    server = mail_server().up()
    running = run(server.env)
    customers = [f"c{at}" for at in range(300)]
    running.post(*(event for customer in customers for event in signed_up(customer)))
    wait_for(lambda: len(server.recipients) > 30, "some mails")
    status = running.stop(number)
    assert status == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    assert len(server.recipients) < len(customers), "it was too fast to be interrupted"
    run(server.env)

    def ended() -> bool:
        statuses = [status for status, _ in messages(project).values()]
        return len(statuses) == len(customers) and all(status in ("sent", "unknown") for status in statuses)

    wait_for(ended, "an end of all")
    time.sleep(0.2)
    received = server.recipients
    assert len(received) == len(set(received)), "somebody got two"
    unknown = {f"{customer}@shop.example" for customer, (status, _) in messages(project).items() if status == "unknown"}
    assert {f"{customer}@shop.example" for customer in customers} - unknown <= set(received)
    assert number == signal.SIGKILL or not unknown

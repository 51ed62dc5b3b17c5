"""What operators do while nothing runs: retry, replay, pause, export and erase open the store themselves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from engine import bootstrap
from engine.core.record import Event, encode_record
from engine.runtimes.base import DeadLetter
from tests.cli.conftest import Running, anlass, signed_up, wait_for

Run = Callable[..., Running]


def test_a_failed_enrollment_is_retried_after_it_was_mended(project: Path, run: Run) -> None:
    """It is parked with its reason, tried again by workflow, and goes on where it stood."""
    workflow = project / "workflows" / "welcome.yaml"
    workflow.write_text(workflow.read_text().replace("id: hello", "id: hello\n    when: customer.points > 5"))
    running = run()
    events = signed_up("ana")
    events[0]["traits"]["points"] = "many"
    running.post(*events)

    def failed() -> list[str]:
        shown = anlass("show", "customer", "ana", "--json", "--project", running.project)
        return [] if shown.status else [each["failed"] for each in shown.lines[0]["enrollments"] if each["failed"]]

    assert wait_for(failed, "a failure")
    running.post({"type": "identify", "userId": "ana", "traits": {"points": 10}})
    retried = anlass("retry", "--workflow", "welcome", "--project", running.project)
    assert retried.status == 0, retried.err
    assert "welcome/ana/1" in retried.out
    wait_for(running.mailbox, "the mail")
    assert not failed()
    again = anlass("retry", "--workflow", "welcome", "--project", running.project)
    assert "nothing to do" in again.out


def _ran_once(run: Run, *customers: str) -> Path:
    running = run()
    for customer in customers:
        running.post(*signed_up(customer))
    wait_for(lambda: len(running.mailbox()) == len(customers), "the mails")
    running.stop()
    return running.project


def test_dead_letters_are_listed_and_put_back(run: Run) -> None:
    """Those that are records are applied; one that never was is named, and the status is 1."""
    folder = _ran_once(run, "ana")
    event = Event(customer="bernd", at_ms=1_800_000_000_000, id="e1", name="Signed Up", time_ms=1_800_000_000_000)

    async def bury() -> None:
        runtime = bootstrap.open_runtime(bootstrap.open_project(folder, with_templates=False))
        await runtime.start()
        await runtime.dead_letter(
            [
                DeadLetter(at_ms=1, origin="log:7", reason="a mistake of ours", body=encode_record(event)),
                DeadLetter(at_ms=2, origin="http:/v1/batch", reason="invalid_type", body=b'{"type": "dance"}'),
            ]
        )
        await runtime.stop()

    asyncio.run(bury())
    listed = anlass("replay", "--json", "--project", folder).lines
    assert [(each["id"], each["origin"]) for each in listed] == [(1, "log:7"), (2, "http:/v1/batch")]
    replayed = anlass("replay", "--all", "--project", folder)
    assert replayed.status == 1
    assert "1 dead letter put back" in replayed.out
    assert "Dead letter 2 never became a record" in replayed.err
    shown = anlass("show", "customer", "bernd", "--json", "--project", folder)
    assert [each["kind"] for each in shown.lines[0]["timeline"]][:1] == ["entered"]
    assert len(anlass("replay", "--json", "--project", folder).lines) == 1


def test_export_is_complete_and_erase_leaves_nothing(run: Run) -> None:
    """The export has profile, journal and messages; after the erasure no file in var holds the address."""
    folder = _ran_once(run, "ana", "bernd")
    exported = json.loads(anlass("export", "ana", "--project", folder).out)
    assert exported["profile"]["traits"]["email"] == "ana@shop.example"
    assert exported["profile"]["consent"]["marketing"]["email"]["status"] == "granted"
    assert {each["kind"] for each in exported["journal"]} >= {"entered", "send", "waiting"}
    assert exported["messages"][0]["status"] == "sent"
    asked = anlass("erase", "ana", "--project", folder)
    assert asked.status == 2
    assert "--yes" in asked.err
    assert anlass("export", "ana", "--project", folder).status == 0
    erased = anlass("erase", "ana", "--yes", "--project", folder)
    assert erased.status == 0, erased.err
    assert json.loads(erased.out)["finished"]
    assert anlass("export", "ana", "--project", folder).status == 1
    assert anlass("export", "bernd", "--project", folder).status == 0
    held = [
        path.name for path in (folder / "var").iterdir() if path.is_file() and b"ana@shop.example" in path.read_bytes()
    ]
    assert held == []


def test_a_channel_that_cannot_be_opened_ends_the_service_with_a_sentence(project: Path) -> None:
    """A file of certificates that is not there: status 2, the setting is named, no traceback."""
    env = {"ANLASS_EMAIL__HOST": "127.0.0.1", "ANLASS_EMAIL__CA_FILE": "/nowhere/ca.pem"}
    refused = anlass("run", "--project", project, env=env)
    assert refused.status == 2
    assert "/nowhere/ca.pem" in refused.err
    assert "Traceback" not in refused.err

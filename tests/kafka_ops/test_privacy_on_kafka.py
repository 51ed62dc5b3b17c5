"""A cluster of real processes under load: caps hold across workers, a spike pauses its workflow, and an erasure leaves nothing.

Invariant: nothing but events, outcomes and commands goes in, and what is compared is what the roles wrote.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.core.record import Outcome
from engine.runtimes.base import MessageStatus
from engine.runtimes.journal import Database, DatabaseReader
from engine.runtimes.kafka.intake.intake import KafkaIntake
from engine.runtimes.kafka.topics import Topics
from tests.cli.conftest import anlass, wait_for
from tests.fleet.processes import Fleet, fleet

PARTITIONS = 4
CAP = 3
PEOPLE = 12
PINGS = 15
ADDRESS, NAME, PHONE = "kanarienvogel@shop.example", "Canarina Kanarienvogel", "+4915190000017"
CANARIES = (ADDRESS, NAME, PHONE)
PING = """
workflow: ping
purpose: marketing
trigger: {event: Ping}
reentry: always
steps:
  - send: {channel: email, template: welcome}
"""


class Shop:
    """A project on a cluster with two workers and two dispatchers."""

    def __init__(self, running: Fleet, project: Path, *, broker: str, prefix: str) -> None:
        self.fleet, self.project, self.broker, self.topics = running, project, broker, Topics(prefix)
        self.processes = [
            running.start(role) for role in ("worker", "worker", "dispatcher", "dispatcher", "collector", "sink")
        ]
        self.collector = self.processes[4]

    def run(self, *arguments: str) -> Any:
        return self.fleet.command(*arguments, "--project", str(self.project), OPERATOR="kim")

    def post(self, events: list[dict[str, Any]]) -> None:
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{self.collector.events_url}/v1/batch",
            json.dumps({"batch": events}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            assert answer.status == 200

    def messages(self, status: str = "") -> list[MessageStatus]:
        """What the journal's database says."""

        async def asked() -> list[MessageStatus]:
            database = Database("sqlite:///var/journal.db", project=self.project)
            await database.open_filled()
            try:
                return await DatabaseReader(database).messages(status=status, limit=1_000)
            finally:
                await database.close()

        return asyncio.run(asked())

    def told(self, *outcomes: Outcome) -> None:
        """What a provider says later."""

        async def appended() -> None:
            intake = KafkaIntake(self.broker, self.topics, partitions=PARTITIONS)
            await intake.start()
            try:
                await intake.append(outcomes)
            finally:
                await intake.stop()

        asyncio.run(appended())


@pytest.fixture(scope="module")
def shop(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Deployed and ready."""
    folder = tmp_path_factory.mktemp("privacy")
    project = folder / "shop"
    assert anlass("init", project).status == 0
    (project / "workflows" / "ping.yaml").write_text(PING)
    prefix = f"t{uuid.uuid4().hex[:8]}."
    with fleet(project, folder, bootstrap=kafka, prefix=prefix, partitions=PARTITIONS) as running:
        ours = Shop(running, project, broker=kafka, prefix=prefix)
        running.deploy("--reason", "first")
        for process in ours.processes:
            process.wait_ready()
        yield ours


def _person(number: int) -> dict[str, Any]:
    traits: dict[str, Any] = {"email": f"c{number}@shop.example", "consent": {"marketing": ["email"]}}
    if number == 0:
        traits |= {"email": ADDRESS, "first_name": NAME, "phone": PHONE}
    return {"type": "identify", "userId": f"c{number}", "messageId": f"i{number}", "traits": traits}


def _found_in(var: Path) -> list[str]:
    return sorted(
        path.relative_to(var).as_posix()
        for path in var.rglob("*")
        if path.is_file() and any(canary.encode() in path.read_bytes() for canary in CANARIES)
    )


@pytest.mark.timeout(420)
def test_caps_a_spike_and_an_erasure_on_a_cluster(shop: Shop) -> None:
    """One story, because a cluster takes long to start; see the comments."""
    # Twelve people with fifteen events each, mixed: of everybody three messages, whichever worker and dispatcher has them.
    shop.post([_person(number) for number in range(PEOPLE)])
    for turn in range(PINGS):
        shop.post(
            [{"type": "track", "userId": f"c{n}", "messageId": f"e{turn}-{n}", "event": "Ping"} for n in range(PEOPLE)]
        )
    wait_for(lambda: len(shop.messages("sent")) >= PEOPLE * CAP, "the messages")
    time.sleep(1.0)
    sent = Counter(each.message.customer for each in shop.messages())
    assert sent == {f"c{number}": CAP for number in range(PEOPLE)}

    # Three complaints within the hour, of three people: the workflow pauses itself on every partition, and says why.
    first = {each.message.customer: each.message for each in shop.messages("sent")}
    at_ms = time.time_ns() // 1_000_000
    shop.told(
        *(
            Outcome(
                customer=name, at_ms=at_ms, id=f"o-{name}", time_ms=at_ms, outcome="complained", message=first[name].id
            )
            for name in ("c3", "c4", "c5")
        )
    )
    shown = wait_for(
        lambda: (text := shop.run("show", "workflow", "ping").stdout) and "is paused" in text and text, "the pause"
    )
    assert "(complaints: 3 within 1h" in shown
    lines = [json.loads(line) for line in shop.run("show", "workflow", "ping", "--json").stdout.splitlines()]
    assert sum(each["kind"] == "paused" for each in lines[0]["timeline"]) in (1, 2), (
        "one line, not one of each partition"
    )
    assert shop.run("resume", "ping", "--reason", "meant").returncode == 0
    time.sleep(5.0)
    assert "is paused" not in shop.run("show", "workflow", "ping").stdout, "it does not trip again at once"

    # Erased: the receipt says what Kafka keeps how long, and within a minute no file has a trace of the person.
    var = shop.project / "var"
    assert {"journal.db-wal", "mailbox.sqlite3"} & set(_found_in(var)), "planted"
    done = shop.run("erase", "c0", "--yes", "--reason", "ticket 7")
    assert done.returncode == 0, done.stderr
    receipt = json.loads(done.stdout)
    assert {each["topic"] for each in receipt["kept"]} >= {shop.topics.touchpoints, shop.topics.dispatches}
    deadline = time.monotonic() + 90
    while (left := _found_in(var)) and time.monotonic() < deadline:
        shop.post(
            [{"type": "track", "userId": f"n{time.time_ns()}", "event": "Ping", "messageId": f"{time.time_ns()}"}]
        )
        time.sleep(2.0)
    assert left == []

    # Nothing that any role wrote has one, and the audit log has every act in one chain, without an id.
    for process in shop.processes:
        assert not any(canary in process.said for canary in CANARIES), process.role
    acts = [json.loads(line) for line in shop.run("audit", "list", "--json").stdout.splitlines()]
    assert [(each["act"], each["why"]) for each in acts] == [
        ("deploy", "first"),
        ("resume", "meant"),
        ("erase", "ticket 7"),
    ]
    assert acts[-1]["customer"].removeprefix("customer:") == receipt["alias"].removeprefix("erased:")
    assert acts[-1]["who"] == "kim"
    verified = shop.run("audit", "verify")
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.startswith("3 lines")

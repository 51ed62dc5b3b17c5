"""What operators do on a cluster: a worker, a sink and a collector as processes on a broker, and the command line beside them.

All tests share one cluster and each has customers of its own; where one stops the workers it starts others.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import urllib.request
import uuid
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from channels.contract import OutgoingMessage
from engine import bootstrap
from engine.collector.intake.parse import Envelope, parse_item
from engine.core.message import Message
from engine.core.record import Event, Record
from engine.runtimes.base import DeadLetter, Query
from engine.runtimes.journal import Database, DatabaseReader
from engine.runtimes.kafka.dispatcher.ledger_entry import LedgerEntry, encode_entry
from engine.runtimes.kafka.intake.intake import KafkaIntake
from engine.runtimes.kafka.intake.outlet import Outlet
from engine.runtimes.kafka.topics import ORIGIN, Outgoing, Topics, encode_input, pack_row, partition_of
from tests.cli.conftest import anlass, signed_up, wait_for
from tests.fleet.processes import Fleet, Process, fleet
from tests.fleet.topics_read import read_topic

pytestmark = pytest.mark.timeout(300)

PARTITIONS = 2
NOW_MS = 1_800_000_000_000
NOWHERE = "127.0.0.1:1"
FRAGILE = """\
workflow: fragile
purpose: marketing
trigger: {event: Ordered Glass}
steps:
  - send: {channel: email, template: welcome}
    when: customer.points > 5
    id: note
"""

T = TypeVar("T")


class Shop:
    """A project on a cluster, and its command line."""

    def __init__(self, running: Fleet, bootstrap_servers: str, prefix: str) -> None:
        self.fleet = running
        self.project = running.project
        self.broker = bootstrap_servers
        self.topics = Topics(prefix)
        self.worker: Process = running.start("worker")
        self.collector: Process = running.start("collector")
        self.sink: Process = running.start("sink")

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Any command, on this project."""
        return self.fleet.command(*arguments, "--project", str(self.project), **settings)

    def lines(self, *arguments: str) -> list[Any]:
        """What a command prints as JSON; none when it failed."""
        done = self.run(*arguments, "--json")
        return [json.loads(line) for line in done.stdout.splitlines()] if not done.returncode else []

    def ask(self, question: Callable[[DatabaseReader], Coroutine[Any, Any, T]]) -> T:
        """Asks the database without a command: cheap enough for waiting."""

        async def asked() -> T:
            database = Database("sqlite:///var/journal.db", project=self.project)
            await database.open_filled()
            try:
                return await question(DatabaseReader(database))
            finally:
                await database.close()

        return asyncio.run(asked())

    def kinds(self, customer: str) -> list[str]:
        """What was decided about a customer, oldest first."""
        query = Query(customer=customer, oldest_first=True)
        return [line.kind for _, line in self.ask(lambda reader: reader.decisions(query))]

    def post(self, *events: dict[str, Any]) -> None:
        """Sends events to the collector."""
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{self.collector.events_url}/v1/batch",
            json.dumps({"batch": events}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            assert answer.status == 200

    def send(self, *outgoing: Outgoing) -> dict[tuple[str, int], int]:
        """Writes to topics as others do; the last offset of each partition."""

        async def written() -> dict[tuple[str, int], int]:
            outlet = Outlet(self.broker, client="test")
            await outlet.start()
            try:
                return await outlet.send(outgoing)
            finally:
                await outlet.stop()

        return asyncio.run(written())

    def bury(self, *letters: DeadLetter) -> None:
        """Keeps dead letters."""

        async def kept() -> None:
            intake = KafkaIntake(self.broker, self.topics, partitions=PARTITIONS)
            await intake.start()
            try:
                await intake.dead_letter(letters)
            finally:
                await intake.stop()

        asyncio.run(kept())

    def letters(self) -> dict[str, DeadLetter]:
        """Dead letters by origin."""
        return {each.origin: each for each in self.ask(lambda reader: reader.dead_letters())}

    def ledger(self, message: Message) -> None:
        """What a dispatcher says of a message that it has sent."""
        entry = LedgerEntry(message=message, status="sent", attempts=1, updated_ms=NOW_MS, provider_id="p-1", offset=0)
        number = partition_of(message.customer.encode(), PARTITIONS)
        self.send(Outgoing(self.topics.ledger, number, message.id.encode(), pack_row(1, 0, encode_entry(entry))))


@pytest.fixture(scope="module")
def shop(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The cluster of all tests: two partitions, the project of `anlass init`, and a workflow that fails on bad data."""
    folder = tmp_path_factory.mktemp("cluster")
    project = folder / "shop"
    made = anlass("init", project)
    assert made.status == 0, made.err
    (project / "workflows" / "fragile.yaml").write_text(FRAGILE)
    prefix = f"t{uuid.uuid4().hex[:8]}."
    with fleet(project, folder, bootstrap=kafka, prefix=prefix, partitions=PARTITIONS) as running:
        ours = Shop(running, kafka, prefix)
        running.deploy()
        for process in (ours.worker, ours.collector, ours.sink):
            process.wait_ready()
        yield ours


def _message(customer: str, line: dict[str, Any]) -> Message:
    """The message that a line of the timeline decided."""
    return Message(
        id=line["message"],
        customer=customer,
        enrollment=line["enrollment"],
        workflow=line["workflow"],
        version=line["version"],
        step=line["step"],
        channel=line["channel"],
        address=f"{customer}@shop.example",
        template=line["template"],
        purpose="marketing",
        decided_ms=NOW_MS,
        due_ms=NOW_MS,
        deadline_ms=NOW_MS + 1,
    )


def _decided_send(shop: Shop, customer: str) -> dict[str, Any]:
    """Lets somebody sign up; the line of the timeline that decided a mail."""
    shop.post(*signed_up(customer))
    wait_for(lambda: "send" in shop.kinds(customer), "a decision")
    [line] = [each for each in shop.lines("show", "customer", customer)[0]["timeline"] if each["kind"] == "send"]
    return dict(line)


def _embedded(project: Path, records: list[Record]) -> None:
    """The same on one machine, without sending."""

    async def applied() -> None:
        runtime = bootstrap.open_runtime(bootstrap.open_project(project, with_templates=False))
        await runtime.start()
        try:
            await runtime.append(records)
            await runtime.idle()
        finally:
            await runtime.stop()

    asyncio.run(applied())


def _shape(shown: dict[str, Any]) -> dict[str, Any]:
    """What must be the same on both runtimes: every field's name, and what was decided."""
    shape: dict[str, Any] = {name: type(value).__name__ for name, value in shown.items()}
    for name in ("timeline", "sent"):
        if name in shown:
            shape[name] = [(sorted(line), line.get("kind"), line.get("message")) for line in shown[name]]
    return shape


def test_show_prints_what_it_prints_on_one_machine(shop: Shop, tmp_path: Path) -> None:
    """Customer, message and workflow: the same fields, the same decisions, the same message ids."""
    line = _decided_send(shop, "ana")
    shop.ledger(_message("ana", line))
    wait_for(lambda: shop.ask(lambda reader: reader.message(line["message"])), "the ledger's row")
    alone = tmp_path / "alone"
    shutil.copytree(shop.project, alone, ignore=shutil.ignore_patterns("var"))
    known = shop.ask(lambda reader: reader.state("ana"))
    assert known is not None
    # Ids of messages are salted with the first sight of the customer: seen at the same moment they are the same.
    seen = Envelope(received_ms=known.first_seen_ms, new_id=lambda: "x")
    parsed = [record for event in signed_up("ana") for record in parse_item(json.dumps(event).encode(), seen)]
    _embedded(alone, parsed)
    for what in (("customer", "ana"), ("message", line["message"]), ("workflow", "welcome")):
        [here] = shop.lines("show", *what)
        [there] = anlass("show", *what, "--json", "--project", alone).lines
        if what[0] == "workflow":
            assert sorted(here["enrollments"]) == sorted(there["enrollments"])
            there["timeline"] = here["timeline"]  # other tests are in it
        assert _shape(here) == _shape(there), what
    assert "welcome/ana/1" in shop.run("show", "customer", "ana").stdout


def test_a_workflow_is_paused_on_every_partition_until_it_is_resumed(shop: Shop) -> None:
    """When the command returns, the next event is decided by it, whoever's it is."""
    everybody = [f"pause{number}" for number in range(6)]
    assert {partition_of(each.encode(), PARTITIONS) for each in everybody} == set(range(PARTITIONS))
    paused = shop.run("pause", "welcome")
    assert (paused.returncode, paused.stderr) == (0, "")
    assert "welcome is paused" in paused.stdout
    shop.post(*(event for customer in everybody for event in signed_up(customer)))
    wait_for(lambda: all("not_entered" in shop.kinds(customer) for customer in everybody), "the decisions")
    resumed = shop.run("resume", "welcome")
    assert resumed.returncode == 0, resumed.stderr
    assert not any("entered" in shop.kinds(customer) for customer in everybody)
    _decided_send(shop, "after-resume")
    unknown = shop.run("pause", "welcom")
    assert unknown.returncode == 1
    assert "welcome" in unknown.stderr


def _part(customer: str) -> int:
    return partition_of(customer.encode(), PARTITIONS)


def test_a_workflow_of_the_cluster_is_known_without_its_file(shop: Shop, tmp_path: Path) -> None:
    """An operator's folder with nothing but settings can pause what was deployed, and nothing else."""
    (tmp_path / "anlass.toml").write_text("")
    done = shop.fleet.command("resume", "fragile", "--project", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert shop.fleet.command("resume", "tests", "--project", str(tmp_path)).returncode == 1


def test_a_failed_enrollment_is_retried_after_it_was_mended(shop: Shop) -> None:
    """It is parked with its reason, tried again by workflow, and goes on where it stood."""
    traits = {"email": "gus@shop.example", "points": "many", "consent": {"marketing": ["email"]}}
    shop.post(
        {"type": "identify", "userId": "gus", "messageId": "g1", "traits": traits},
        {"type": "track", "userId": "gus", "messageId": "g2", "event": "Ordered Glass"},
    )
    wait_for(lambda: "failed" in shop.kinds("gus"), "a failure")
    shop.post({"type": "identify", "userId": "gus", "messageId": "g3", "traits": {"points": 10}})
    retried = shop.run("retry", "--workflow", "fragile")
    assert retried.returncode == 0, retried.stderr
    assert "1 failed enrollment tried again" in retried.stdout
    assert "of gus" in retried.stdout
    wait_for(lambda: {"retried", "send"} <= set(shop.kinds("gus")), "the mail")
    assert "nothing to do" in shop.run("retry", "--customer", "gus").stdout


def test_dead_letters_go_back_to_where_they_stood(shop: Shop) -> None:
    """Ours to its customer's partition; a shop's with key and headers, which the database does not have; poison dies again."""
    topics = shop.topics
    event = Event(customer="carl", at_ms=NOW_MS, id="c1", name="Signed Up", time_ms=NOW_MS)
    wrong = 1 - _part("carl")
    said = {"specversion": "1.0", "id": "e1", "type": "Signed Up", "source": "/shop", "subject": "dora"}
    headers = tuple((f"ce_{name}", value.encode()) for name, value in said.items())
    binary = Outgoing(topics.touchpoints, 0, b"odd-key", b'{"n": 1}', (*headers, ("content-type", b"application/json")))
    at = shop.send(binary)[topics.touchpoints, 0]
    poison = shop.send(Outgoing(topics.touchpoints, 1, b"emil", b"poison"))[topics.touchpoints, 1]
    shop.bury(
        DeadLetter(at_ms=1, origin=f"{topics.touchpoints}:{wrong}:0", reason="ours", body=encode_input(event)),
        DeadLetter(at_ms=2, origin=f"{topics.touchpoints}:0:{at}", reason="a shop's", body=b'{"n": 1}'),
        DeadLetter(at_ms=3, origin="http:/v1/batch", reason="invalid_type", body=b'{"type": "dance"}'),
    )
    died_at = f"{topics.touchpoints}:1:{poison}"
    found = wait_for(lambda: (got := shop.letters()) and len(got) == 4 and got, "four dead letters")
    listed = {each["origin"]: each for each in shop.lines("replay")}
    assert {origin: each["id"] for origin, each in listed.items()} == {
        origin: each.id for origin, each in found.items()
    }
    assert (listed[died_at]["customer"], listed[died_at]["body"]) == ("emil", "poison")
    again = shop.run("replay", "--all", "--json")
    assert again.returncode == 1
    result = json.loads(again.stdout)
    refused = found["http:/v1/batch"].id
    assert set(result["put_back"]) == {each.id for each in found.values()} - {refused}
    assert (result["never_records"], result["unknown"]) == ([refused], [])
    assert "never became a record" in again.stderr
    wait_for(lambda: "entered" in shop.kinds("carl"), "the record is applied")
    after = wait_for(lambda: (got := shop.letters()) and len(got) == 2 and got, "the poison dies again")
    [born] = set(after) - {"http:/v1/batch"}
    assert born.startswith(f"{topics.touchpoints}:1:")
    assert born != died_at, "it says where it stands now"
    log = asyncio.run(read_topic(shop.broker, topics.touchpoints, PARTITIONS))
    [first, second] = [each for each in log if each.value == b'{"n": 1}']
    assert (second.partition, second.key) == (0, b"odd-key")
    assert dict(second.headers) == {**dict(first.headers), ORIGIN: f"{topics.touchpoints}:0:{at}".encode()}
    unknown = shop.run("replay", "4711")
    assert unknown.returncode == 1
    assert "no dead letter 4711" in unknown.stderr


def test_export_is_complete_and_erase_leaves_nothing(shop: Shop) -> None:
    """Profile, journal, messages and letters; afterwards only a receipt, and a sentence about what Kafka keeps how long."""
    line = _decided_send(shop, "berta")
    message = _message("berta", line)
    shop.ledger(message)
    elsewhere = f"{shop.topics.touchpoints}:{1 - _part('berta')}:999999"  # keyed by a shop with another partitioner
    shop.bury(
        DeadLetter(at_ms=1, origin="http:/v1/batch", reason="invalid_type", customer="berta", body=b"{}"),
        DeadLetter(at_ms=1, origin=elsewhere, reason="invalid_type", customer="berta", body=b"{}"),
    )
    wait_for(lambda: shop.ask(lambda reader: reader.message(message.id)), "the ledger's row")
    wait_for(lambda: sum(each.customer == "berta" for each in shop.letters().values()) == 2, "the letters")
    exported = json.loads(shop.run("export", "berta").stdout)
    assert exported["profile"]["traits"]["email"] == "berta@shop.example"
    assert {each["kind"] for each in exported["journal"]} >= {"entered", "send", "waiting"}
    assert exported["messages"][0]["status"] == "sent"
    with contextlib.closing(bootstrap.open_mailbox(shop.project / "var")) as mailbox:
        mailbox.add(OutgoingMessage(id=message.id, channel="email", to=message.address, text="Hello", date_ms=NOW_MS))
    asked = shop.run("erase", "berta")
    assert asked.returncode == 2
    assert "--yes" in asked.stderr
    assert shop.kinds("berta"), "nothing was changed"
    erased = shop.run("erase", "berta", "--yes")
    assert erased.returncode == 0, erased.stderr
    receipt = json.loads(erased.stdout)
    assert receipt["rows_removed"] >= 5
    assert receipt["mailbox_removed"] == 1
    assert receipt["found"] == {"journal": len(exported["journal"]), "messages": 1, "dead_letters": 2}
    assert receipt["alias"].startswith("erased:")
    assert receipt["finished"] is False, "the log still has what was written"
    kept = {each["topic"]: each["until"] for each in receipt["kept"]}
    assert {shop.topics.touchpoints, shop.topics.journal, shop.topics.dispatches} <= set(kept)
    assert f"{shop.topics.journal} until {kept[shop.topics.journal][:10]}" in erased.stderr
    assert shop.run("export", "berta").returncode == 1
    assert "berta@shop.example" not in (shop.project / "var" / "journal.db").read_bytes().decode("latin-1")


def test_without_a_worker_a_command_waits_on_the_log(shop: Shop) -> None:
    """Status 3 and what to do; it is done by the next worker, before anything that comes after it."""
    shop.worker.end()
    try:
        refused = shop.run("pause", "fragile")
        assert refused.returncode == 3, refused.stderr
        assert "it is on the log and will be done as soon as one is" in refused.stderr
        assert "anlass worker" in refused.stderr
        traits = {"email": "hans@shop.example", "points": 9}
        shop.post(
            {"type": "identify", "userId": "hans", "messageId": "h1", "traits": traits},
            {"type": "track", "userId": "hans", "messageId": "h2", "event": "Ordered Glass"},
        )
    finally:
        shop.worker = shop.fleet.start("worker")
    shop.worker.wait_ready()
    wait_for(lambda: shop.kinds("hans") == ["not_entered"], "the pause is in force")
    assert shop.run("resume", "fragile").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "settings", "status", "said"),
    [
        (["show", "customer", "ana"], {"DATABASE__URL": "sqlite:///var/none.db"}, 1, "anlass sink"),
        (["export", "ana"], {"DATABASE__URL": "sqlite:///var/empty.db"}, 1, "anlass sink"),
        (["replay"], {"DATABASE__URL": f"postgresql://anlass@{NOWHERE}/anlass"}, 3, "PostgreSQL"),
        (["pause", "welcome"], {"KAFKA": NOWHERE}, 3, "ANLASS_KAFKA"),
        (["pause", "welcome"], {"KAFKA__PREFIX": "nobody-made-these."}, 2, "anlass worker"),
    ],
)
def test_what_is_missing_is_named_with_its_mend(
    shop: Shop, arguments: list[str], settings: dict[str, str], status: int, said: str
) -> None:
    """A database that no sink ever filled, servers that are not there, topics that nobody made; nothing is made by asking."""
    (shop.project / "var" / "empty.db").touch()
    done = shop.run(*arguments, **settings)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (shop.project / "var" / "none.db").exists()

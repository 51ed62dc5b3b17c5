"""One round: a shop under load, workers and brokers that fail as the schedule says, rest, and the account of everything.

Invariant: a round uses topics of its own, and ends with every process that it started gone.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from benchmarks.processes import sink
from engine.errors import AnlassError
from engine.project.cluster import compile_definition
from engine.runtimes.kafka import progress
from engine.runtimes.kafka.definitions import Definitions
from engine.runtimes.kafka.topics import Topics
from tests.chaos.crew import SMTP_CONNECTIONS, STOP_SECONDS_MAX, Member, deploy, environment_of
from tests.chaos.delivery import Delivered, check_delivery, unsettled
from tests.chaos.judge import Verdict, judge
from tests.chaos.load import Load, quiet_clients
from tests.chaos.measure import Happened, Stalls, measure
from tests.chaos.reading import Logs, read_logs, read_topic
from tests.chaos.schedule import SESSION_SECONDS, Disturbance, make_schedule
from tests.chaos.visits import LONGEST_WAIT_SECONDS, make_project
from tests.services.kafka import Cluster

PARTITIONS = 6
WORKERS_MAX = 3
WATCH_SECONDS = 0.5
READY_SECONDS_MAX = 180.0
DRAIN_SECONDS_MAX = 180.0
BURST_RECORDS = 400
STARTING_SHARE = 0.2
"""How often a worker that has not begun to work may be met as well."""
REFUSED = {1, 3}
"""How a role may end that is started while the broker is away: with a sentence, to be started again by whoever watches it."""
Say = Callable[[str], None]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a round is made of; `rate` in records a second."""

    seed: int
    seconds: float
    brokers: int = 1
    dispatchers: int = 1
    every_seconds: float = 4.0
    rate: float = 120.0


class Outcome(msgspec.Struct, kw_only=True):
    """How a round ended."""

    plan: Plan
    verdict: Verdict
    delivered: Delivered
    stalls: Stalls
    happened: Counter[str]
    seconds: float
    log: list[str]
    """The schedule as it was carried out."""
    folder: str


class Round:
    """Runs once; `cluster` is running and is left running."""

    def __init__(self, plan: Plan, cluster: Cluster, folder: Path, *, say: Say = lambda _line: None) -> None:
        self._plan = plan
        self._cluster = cluster
        self._folder = folder
        self._say = say
        self._topics = Topics(f"chaos{plan.seed:x}.")
        self._log: list[str] = []
        self._wrong: list[str] = []
        self._happened: list[Happened] = []
        self._dice = random.Random(plan.seed)
        self._begun = 0.0
        self._workers: list[Member] = []
        self._dispatchers: list[Member] = []
        self._later: set[asyncio.Task[None]] = set()
        self._brokers_away: set[int] = set()
        self._load = Load(cluster.bootstrap, self._topics, partitions=PARTITIONS, seed=plan.seed, rate=plan.rate)

    async def run(self) -> Outcome:
        """Raises only when the round itself could not be carried out."""
        started = time.monotonic()
        with quiet_clients(), sink(journal=self._mails) as receiver:
            ended_ms = await self._play(receiver.port)
            receiver.stats()  # has the journal flushed
        outcome = await self._account(ended_ms)
        outcome.seconds = time.monotonic() - started
        return outcome

    @property
    def _everybody(self) -> list[Member]:
        return [*self._workers, *self._dispatchers]

    @property
    def _mails(self) -> Path:
        """What arrived at the mail server, one line each."""
        return self._folder / "mails.jsonl"

    async def _play(self, smtp_port: int) -> int:
        """Everything up to the end of the last process; returns when the load ended, UTC milliseconds."""
        project = make_project(self._folder / "project")
        environment = environment_of(
            self._cluster.bootstrap,
            self._topics.prefix,
            partitions=PARTITIONS,
            session_seconds=SESSION_SECONDS,
            smtp_port=smtp_port,
        )
        await asyncio.to_thread(deploy, project, environment)
        self._workers = [Member(f"worker-{number}", self._folder, environment) for number in range(WORKERS_MAX)]
        self._dispatchers = [
            Member(f"dispatcher-{number}", self._folder, environment, role="dispatcher")
            for number in range(self._plan.dispatchers)
        ]
        first = [*self._workers[:2], *self._dispatchers]
        loading = asyncio.create_task(self._load.run())
        try:
            for member in first:
                member.start()
            await self._ready(first)
            self._begun = time.monotonic()
            await self._disturb(loading)
            ended_ms = int(time.time() * 1_000)
            self._load.ending.set()
            await asyncio.wait_for(loading, DRAIN_SECONDS_MAX)
            await self._rest()
        finally:
            loading.cancel()
            await asyncio.gather(loading, *self._later, return_exceptions=True)
            for member in self._everybody:
                member.kill()
        return ended_ms

    async def _ready(self, workers: Sequence[Member]) -> None:
        async with asyncio.timeout(READY_SECONDS_MAX):
            while not all(worker.announced for worker in workers):
                await asyncio.sleep(WATCH_SECONDS)

    # ------------------------------------------------------------------------------------------------- disturbances

    async def _disturb(self, loading: asyncio.Task[None]) -> None:
        schedule = make_schedule(self._plan.seed, seconds=self._plan.seconds, every_seconds=self._plan.every_seconds)
        told = time.monotonic()
        for each in [*schedule, None]:
            until = self._begun + (each.at_seconds if each is not None else self._plan.seconds)
            while (left := until - time.monotonic()) > 0:
                await asyncio.sleep(min(left, WATCH_SECONDS))
                self._watch()
                if loading.done():
                    loading.result()
                if time.monotonic() - told > 10:
                    told = time.monotonic()
                    self._say(self._progress())
            if each is not None:
                self._carry_out(each)
        while self._later:  # what is frozen thaws, what is away comes back
            await asyncio.wait(self._later)

    def _progress(self) -> str:
        seconds = time.monotonic() - self._begun
        return (
            f"{seconds:.0f} s of {self._plan.seconds:.0f}: {len(self._load.acknowledged)} records acknowledged,"
            f" {len(self._happened)} disturbances"
        )

    def _watch(self) -> None:
        """A worker that is not there although nobody ended it has failed us; it is started again."""
        for worker in self._everybody:
            if worker.wanted and not worker.runs:
                if self._brokers_away and not worker.announced and worker.status in REFUSED:
                    self._note(f"could not start: {worker.status}", worker.name)
                    worker.start()
                    continue
                self._wrong.append(f"{worker.name} ended by itself with {worker.status}: {worker.last_words()[-600:]}")
                self._note("ended by itself", worker.name)
                worker.start()

    def _note(self, kind: str, whom: str, *, counts: bool = False) -> None:
        self._log.append(f"{time.monotonic() - self._begun:7.2f} s  {kind:18} {whom}")
        if counts:
            self._happened.append(Happened(int(time.time() * 1_000), kind, whom))

    def _after(self, seconds: float, what: Callable[[], object]) -> None:
        async def later() -> None:
            await asyncio.sleep(seconds)
            result = what()
            if asyncio.iscoroutine(result):
                await result

        task = asyncio.create_task(later())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    def _carry_out(self, each: Disturbance) -> None:
        kind = each.kind
        crew = self._dispatchers if kind.endswith("_dispatcher") else self._workers
        there = [member for member in crew if member.runs and not member.frozen and member.wanted]
        if self._dice.random() > STARTING_SHARE:  # else there would be nobody left who ever gets to work
            there = [worker for worker in there if worker.announced]
        away = [worker for worker in self._workers if not worker.runs and not worker.wanted]
        if kind == "leave" and len(there) < 2:
            kind = "join"
        if kind == "join" and not away:
            kind = "leave"
        if kind in {"kill_broker", "stop_broker", "freeze_broker"}:
            self._broker(each)
        elif kind == "burst":
            self._note(kind, "a partition", counts=True)
            self._after(0, lambda: self._load.burst(BURST_RECORDS, dice=self._dice))
        elif kind == "join":
            worker = away[0]
            self._note(kind, worker.name, counts=True)
            worker.start()
        elif there:
            self._meet(kind, there[int(each.pick * len(there))], each.lasts_seconds)

    def _meet(self, kind: str, worker: Member, lasts_seconds: float) -> None:
        self._note(kind, worker.name, counts=True)
        kind = kind.removesuffix("_dispatcher")
        if kind == "freeze":
            worker.freeze()
            self._after(lasts_seconds, lambda: self._thaw(worker))
        elif kind in {"terminate", "restart", "leave"}:
            worker.terminate()
            self._after(0, lambda: self._ended(worker, again=kind != "leave"))
        else:
            worker.kill()
            if kind == "kill_and_lose_disk":
                worker.lose_disk()
            self._after(lasts_seconds, lambda: self._start(worker))

    def _start(self, worker: Member) -> None:
        if not worker.runs:
            self._note("started", worker.name)
            worker.start()

    def _thaw(self, worker: Member) -> None:
        self._note("thawed", worker.name)
        worker.thaw()

    async def _ended(self, worker: Member, *, again: bool) -> None:
        """A worker that was told to end does so by itself, with status 0."""
        fine = {0} if worker.announced else {0, -signal.SIGTERM}  # before it has begun there is nothing to finish
        deadline = time.monotonic() + STOP_SECONDS_MAX
        while worker.runs and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            if self._brokers_away:  # what is under way is finished first, and that takes a broker
                deadline = time.monotonic() + STOP_SECONDS_MAX
        self._note(f"ended with {worker.status}", worker.name)
        if worker.status not in fine:
            self._wrong.append(
                f"{worker.name} was told to end and did so with {worker.status}: {worker.last_words()[-600:]}"
            )
            worker.kill()
        if again:
            self._start(worker)

    def _broker(self, each: Disturbance) -> None:
        brokers = [number for number in range(self._plan.brokers) if number not in self._brokers_away]
        if len(brokers) < self._plan.brokers:
            return  # one at a time: with two of three away nothing can be promised
        broker = brokers[int(each.pick * len(brokers))]
        self._brokers_away.add(broker)
        self._note(each.kind, f"broker-{broker}", counts=True)

        async def frozen() -> None:
            self._cluster.freeze(broker)
            await asyncio.sleep(each.lasts_seconds)
            self._cluster.thaw(broker)
            self._brokers_away.discard(broker)
            self._note("thawed", f"broker-{broker}")

        async def away() -> None:
            gone = self._cluster.kill if each.kind == "kill_broker" else self._cluster.stop_broker
            await asyncio.to_thread(gone, broker)
            await asyncio.sleep(each.lasts_seconds)
            await asyncio.to_thread(self._cluster.restart, broker)
            self._brokers_away.discard(broker)
            self._note("started", f"broker-{broker}")

        self._after(0, frozen if each.kind == "freeze_broker" else away)

    # --------------------------------------------------------------------------------------------------------- rest

    async def _rest(self) -> None:
        """Waits until everything is read and nothing more comes; then everybody leaves in order."""
        if not any(worker.runs for worker in self._workers):
            self._start(self._workers[0])
        self._note("load ended", f"{len(self._load.acknowledged)} records")
        deadline, still_since, end = time.monotonic() + DRAIN_SECONDS_MAX, time.monotonic(), -1
        while time.monotonic() - still_since < LONGEST_WAIT_SECONDS:
            await asyncio.sleep(WATCH_SECONDS)
            self._watch()
            behind, now = await self._behind()
            if sum(behind.values()) or now != end:
                still_since, end = time.monotonic(), now
            elif time.monotonic() - still_since >= LONGEST_WAIT_SECONDS and (open_ := await self._unsettled()):
                behind, still_since = {"messages that are not settled": open_}, time.monotonic()
            if time.monotonic() > deadline:
                self._wrong.append(f"the log was not read to its end after {DRAIN_SECONDS_MAX} s: {behind}")
                break
        self._note("at rest", "")
        there = [member for member in self._everybody if member.runs]
        for worker in there:
            worker.terminate()
        for worker in there:
            await self._ended(worker, again=False)

    async def _unsettled(self) -> int:
        if not self._dispatchers:
            return 0
        return unsettled(await read_topic(self._cluster.bootstrap, self._topics.ledger, PARTITIONS))

    async def _behind(self) -> tuple[dict[str, int], int]:
        """(topic and partition → records that are not committed, how many records there are in all)."""
        topics, records = self._topics, 0
        behind: dict[str, int] = {}
        sources = (("worker", topics.touchpoints), ("dispatcher", topics.dispatches))
        try:
            for role, topic in sources[: 2 if self._dispatchers else 1]:
                group = topics.group(role)
                lag = await asyncio.to_thread(progress.lag, self._cluster.bootstrap, group, topic=topic)
                done = await asyncio.to_thread(progress.committed, self._cluster.bootstrap, group, topic=topic)
                behind |= {f"{topic}[{number}]": count for number, count in lag.items()}
                records += sum(lag.values()) + sum(done.values())
        except AnlassError:
            return {"the broker does not answer": 1}, -1
        return behind, records

    async def _account(self, ended_ms: int) -> Outcome:
        definitions = Definitions(
            self._cluster.bootstrap, self._topics, project=self._topics.prefix.rstrip("."), compile_=compile_definition
        )
        await definitions.start()
        catalog_id = await definitions.wait_in_force()
        await definitions.stop()
        logs = await read_logs(self._cluster.bootstrap, self._topics, partitions=PARTITIONS)
        verdict = judge(
            logs,
            definitions.catalogs[catalog_id],
            topics=self._topics,
            expected=self._load.expected,
            acknowledged=self._load.acknowledged,
        )
        delivered = self._delivered(logs, verdict) if self._dispatchers else Delivered()
        verdict.wrong = [*self._wrong, *verdict.wrong, *delivered.wrong]
        return Outcome(
            plan=self._plan,
            verdict=verdict,
            delivered=delivered,
            stalls=measure(logs.states, self._happened, until_ms=ended_ms),
            happened=Counter(each.kind for each in self._happened),
            seconds=0.0,
            log=self._log,
            folder=str(self._folder),
        )

    def _delivered(self, logs: Logs, verdict: Verdict) -> Delivered:
        arrived = Counter(json.loads(line)["id"] for line in self._mails.read_text("utf-8").splitlines())
        died = sum(
            each.kind in {"kill_dispatcher", "freeze_dispatcher", "kill_broker", "stop_broker"}
            for each in self._happened
        )
        return check_delivery(
            logs.ledger, verdict.decided, arrived, interrupted_max=died * SMTP_CONNECTIONS * self._plan.dispatchers
        )

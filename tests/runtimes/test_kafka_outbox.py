"""Dispatching from Kafka with a real broker: from a decided message to the provider, over processes that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from channels.contract import PermanentError, TransientError, Verdict
from engine.clock import SystemClock
from engine.core.customer import CustomerState
from engine.errors import StorageError
from engine.runtimes.kafka.dispatcher.copies import Suppressions
from engine.runtimes.kafka.dispatcher.ledger_owner import LedgerCopy, own_partition
from engine.runtimes.kafka.dispatcher.outbox import KafkaOutbox
from engine.runtimes.kafka.group.host import Host
from engine.runtimes.kafka.partition.arrival import Incoming
from engine.runtimes.kafka.partition.store import RowStore
from engine.runtimes.kafka.topics import Outgoing, Suppressed, encode_suppressed
from tests.runtimes.dispatch_stage import Process, Provider, address_key, decide
from tests.runtimes.ledger_stage import Stage, answer, customer_on

Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def stage(kafka: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """Topics of its own, and real time."""
    made = Stage(kafka, topic_prefix, tmp_path)
    made.clock = SystemClock()
    yield made
    await made.stop()


@pytest.fixture
async def start(stage: Stage) -> AsyncIterator[Start]:
    """Starts processes; what a provider has is told apart by process."""
    started: list[Process] = []

    async def begin(name: str, *partitions: int, provider: Provider | None = None, **options: int) -> Process:
        process = Process(stage, name, provider or Provider())
        started.append(process)
        return await process.start(*partitions, **options)

    yield begin
    for process in started:
        process.provider.open_door.set()
        await process.stop()


async def test_a_decided_message_reaches_the_provider_once_and_is_settled(stage: Stage, start: Start) -> None:
    """Thirty customers on two partitions: thirty sends, thirty times `sent`, nothing more after a restart."""
    one = await start("a", 0, 1)
    names = [f"m{number}" for number in range(30)]
    await decide(stage, one.outlet, *names)
    await one.until(lambda: {one.status(name) for name in names} == {"sent"})
    assert sorted(one.provider.sent) == sorted(names)
    await one.stop()
    two = await start("b", 0, 1)
    await decide(stage, two.outlet, "after", offset=1)
    await two.until(lambda: two.status("after") == "sent")
    assert two.provider.sent == ["after"]


async def test_a_message_waits_for_the_copy_of_its_customers_state(stage: Stage, start: Start) -> None:
    """Without the state the policy cannot be asked; it must not be taken for an unknown customer."""
    one = await start("a", 0, 1)
    await decide(stage, one.outlet, "m1", offset=5, states=False)
    await one.until(lambda: one.status("m1") == "pending")
    await asyncio.sleep(0.3)
    assert one.provider.sent == []
    state = CustomerState(id="c-m1", traits={"email": "m1@example.com"})
    for number in (0, 1):
        await stage.write_states(state, applied=5, number=number)
    await one.until(lambda: one.status("m1") == "sent")


async def test_the_policy_is_asked_again_with_the_newest_state(stage: Stage, start: Start) -> None:
    """Somebody who may not be written to any more is not; an address that another customer's mail bounced from neither."""
    one = await start("a")
    key = address_key("email", " Gone@Example.com")
    await one.outlet.send(
        [Outgoing(stage.topics.suppressions, 0, key, encode_suppressed(Suppressed("email", "bounced", 1)))]
    )
    await one.stop()
    two = await start("b", 0, 1)
    await decide(stage, two.outlet, "m1", "m2", address="gone@example.com", states=True)
    await decide(stage, two.outlet, "m3", offset=1)
    await decide(
        stage, two.outlet, "m4", offset=2, workflow="order", states=False, customer=customer_on(0, salt="nobody")
    )
    for number in (0, 1):
        await stage.write_states(applied=2, number=number)
    await two.until(lambda: two.status("m3") == "sent" and two.status("m4") == "suppressed")
    await two.until(lambda: two.status("m1") == two.status("m2") == "suppressed")
    assert two.provider.sent == ["m3"]
    assert two.outbox.status("m4").code == "no_address"  # type: ignore[union-attr]


async def test_a_partition_is_given_away_after_the_sends_under_way(stage: Stage, start: Start) -> None:
    """Two messages are at the provider, more are waiting: the two are settled here, the rest is sent by the next owner."""
    one = await start("a", 0, under_way_max=2)
    one.provider.open_door.clear()
    names = [f"m{number}" for number in range(6)]
    await decide(stage, one.outlet, *names, customer=customer_on(0))
    await one.until(lambda: len(one.provider.sent) == 2)
    giving = asyncio.create_task(one.give(0))
    await asyncio.sleep(0.3)
    assert not giving.done()
    one.provider.open_door.set()
    async with asyncio.timeout(5):
        await giving
    assert len(one.provider.sent) == 2
    two = await start("b", 0)
    await two.until(lambda: {two.status(name) for name in names} == {"sent"})
    assert sorted(one.provider.sent + two.provider.sent) == names
    assert (await stage.outcomes(0), await stage.outcomes(1)) == ([], [])


async def test_an_answer_for_a_lost_partition_reaches_the_new_owner(stage: Stage, start: Start) -> None:
    """The old process hears them after it had lost the partition: nothing is sent twice, nothing stays unknown."""
    one = await start("a", 0, under_way_max=6)  # four of them to one domain
    one.provider.open_door.clear()
    names = ["m0", "m1", "m2", "m3"]
    await decide(stage, one.outlet, *names, customer=customer_on(0))
    await one.until(lambda: len(one.provider.sent) == 4)
    two = await start("b", 0)  # the group believes that `a` is dead
    await two.until(lambda: {two.status(name) for name in names} == {"unknown"})
    one.provider.answers = [
        PermanentError("no such user", code="550 5.1.1", address_verdict=Verdict.SUPPRESS),
        TransientError("greylisted", code="450"),
    ]
    one.provider.open_door.set()
    await two.until(lambda: sorted(two.status(name) for name in names) == ["failed", "pending", "sent", "sent"])
    assert sorted(one.provider.sent) == names
    assert two.provider.sent == []
    refused = next(name for name in names if two.status(name) == "failed")
    assert (refused, "bounced") in await stage.outcomes(0)


async def test_a_fenced_owner_takes_the_partition_back_when_the_group_leaves_it(stage: Stage, start: Start) -> None:
    """Somebody took it over by mistake and went away: work goes on, each message is sent once."""
    one = await start("a", 0)
    stranger = await stage.own("stranger", number=0)
    await stranger.die()
    names = ["m0", "m1", "m2"]
    await decide(stage, one.outlet, *names, customer=customer_on(0))
    await one.until(lambda: {one.status(name) for name in names} == {"sent"})
    assert sorted(one.provider.sent) == names


async def test_a_retry_survives_the_process_that_was_to_make_it(stage: Stage, start: Start) -> None:
    """Greylisted, then the process is killed: the next one waits for the same moment, and counts the attempt."""
    one = await start("a", 0)
    one.provider.answers = [TransientError("later", code="450", retry_after_seconds=17)]
    await decide(stage, one.outlet, "m0", customer=customer_on(0))
    await one.until(lambda: one.status("m0") == "pending" and bool(one.provider.sent))
    await one.until(lambda: not one.owners[0][0].ledger.claims)
    before = one.owners[0][0].ledger.entry("m0")
    await one.die()
    two = await start("b", 0)
    entry = two.owners[0][0].ledger.entry("m0")
    assert entry is not None
    assert entry == before
    assert (entry.attempts, entry.code) == (1, "450")
    assert entry.not_before_ms - entry.updated_ms >= 16_000
    await asyncio.sleep(0.3)
    assert two.provider.sent == []


async def test_a_killed_process_leaves_no_more_unknown_than_were_under_way(stage: Stage, start: Start) -> None:
    """What was at the provider is unknown, once, and not sent again; everything else is sent by the next one."""
    one = await start("a", 0, 1, under_way_max=3)
    names = [f"m{number:02}" for number in range(40)]
    await decide(stage, one.outlet, *names)
    await one.until(lambda: len(one.provider.sent) >= 10)
    one.provider.open_door.clear()
    await one.until(lambda: one.provider.waiting == 3)
    await one.die()
    two = await start("b", 0, 1)
    await two.until(lambda: {two.status(name) for name in names} == {"sent", "unknown"})
    unknown = {name for name in names if two.status(name) == "unknown"}
    assert len(unknown) == 3
    assert sorted(one.provider.sent + two.provider.sent) == names
    assert sorted([*await stage.outcomes(0), *await stage.outcomes(1)]) == [
        (name, "unknown") for name in sorted(unknown)
    ]


async def test_rates_follow_the_share_of_the_partitions(stage: Stage, start: Start) -> None:
    """Half of the partitions, half of the rate; a process that has none changes nothing."""
    one = await start("a", 0, 1)
    assert (one.shares, one.outbox.share) == ([0.5, 1.0], 1.0)
    await one.give(1)
    await one.give(0)
    assert one.shares == [0.5, 1.0, 0.5]
    assert one.outbox.partitions == []
    assert await one.outbox.ready(10) == []


async def test_a_question_about_a_partition_that_is_gone_fails(stage: Stage, start: Start) -> None:
    """An unknown customer ends a message; a partition that was given away must not look like one."""
    one = await start("a", 0, 1)
    customer = customer_on(1)
    assert await one.outbox.states([customer]) == {}
    await one.give(1)
    with pytest.raises(StorageError):
        await one.outbox.states([customer_on(0), customer])
    assert await one.outbox.claim(["m1"]) == frozenset()
    await one.outbox.settle([answer("m1", "suppressed")])  # nobody's: the new owner asks again


async def test_a_workflow_that_is_paused_holds_back_what_was_decided(stage: Stage, start: Start) -> None:
    """The pause stands in the checkpoints of the states; the second question knows it."""
    one = await start("a", 0)
    assert one.outbox.catalog is one.outbox.catalog
    await stage.write_states(applied=0, paused=("order",))
    await one.until(lambda: one.outbox.catalog.paused == {"order"})
    await stage.write_states(applied=1)
    await one.until(lambda: one.outbox.catalog.paused == frozenset())


async def test_messages_of_all_partitions_come_by_priority_then_age(stage: Stage, start: Start) -> None:
    """As if they were one; a limit takes the first of all."""
    one = await start("a", 0, 1, under_way_max=1)
    one.provider.open_door.clear()
    await decide(stage, one.outlet, "busy", customer=customer_on(0), priority=99)
    await one.until(lambda: one.provider.sent == ["busy"])
    for number, (name, priority) in enumerate([("a", 0), ("b", 0), ("c", 7), ("d", 0), ("e", 7)]):
        customer = customer_on(number % 2)
        await decide(
            stage, one.outlet, name, customer=customer, priority=priority, decided_ms=1_000 + number, offset=number + 1
        )
    await one.until(lambda: one.outbox.depth == 6)
    await one.until(lambda: min(owner.states_applied for owner, _, _ in one.owners.values()) == 5)
    ready = [pending.message.id for pending in await one.outbox.ready(10)]
    assert ready == ["c", "e", "a", "b", "d"]
    assert [pending.message.id for pending in await one.outbox.ready(3)] == ready[:3]
    one.provider.open_door.set()
    await one.until(lambda: len(one.provider.sent) == 6)
    assert one.provider.sent[1:] == ready


async def test_a_host_takes_and_gives_partitions_and_stands_by(stage: Stage, start: Start) -> None:
    """As the group says: what was a copy becomes an owner on the same disk, and the other way round."""
    one = await start("a")
    folder = stage.folder / "a"
    host = Host(
        lambda number: own_partition(number, stage.bootstrap, folder, tools=one.tools, outbox=one.outbox),
        lambda number: LedgerCopy(number, stage.bootstrap, folder, tools=one.tools),
    )
    await host.assign({0}, {1})
    assert host.standbys == [1]
    names = {number: f"m{number}" for number in (0, 1)}
    for number, name in names.items():
        await decide(stage, one.outlet, name, customer=customer_on(number))
    for number, name in names.items():
        await host.assign({number}, {1 - number})
        taken = asyncio.Event()
        records = await stage.read(stage.topics.dispatches, number)
        host.feed(number, [Incoming(each.offset, each.timestamp, each.key, each.value) for each in records], taken.set)
        await taken.wait()
        await one.until(lambda name=name: one.status(name) == "sent")  # type: ignore[misc]
        assert (one.outbox.partitions, host.standbys) == ([number], [1 - number])
    await host.close()
    assert one.outbox.partitions == []
    assert host.failed is None


async def test_nothing_is_handed_out_before_all_suppressed_addresses_were_read(stage: Stage, start: Start) -> None:
    """One of them may be the address."""
    one = await start("a", 0, under_way_max=1)
    one.provider.open_door.clear()
    await decide(stage, one.outlet, "m0", customer=customer_on(0))
    await one.until(lambda: one.provider.sent == ["m0"])
    await decide(stage, one.outlet, "m1", customer=customer_on(0), offset=1)
    await one.until(lambda: one.outbox.depth == 2)
    store = RowStore(stage.folder / "other")
    store.open()
    unread = Suppressions(stage.bootstrap, stage.topics, store, key=address_key)
    outbox = KafkaOutbox(one.tools, unread)
    owner = one.owners[0][0]
    outbox.add(owner.ledger, owner._copy)
    assert await outbox.ready(10) == []
    await unread.start()
    async with asyncio.timeout(10):
        await outbox.wait_for_work(5)
        while not (ready := await outbox.ready(10)):
            await asyncio.sleep(0.01)
    await unread.stop()
    assert [each.message.id for each in ready] == ["m1"]

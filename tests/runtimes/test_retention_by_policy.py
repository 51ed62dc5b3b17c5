"""How long things are kept: the policy before the settings, on both runtimes, and nothing that may still leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.clock import ManualClock
from engine.core.policy_values import Retention
from engine.core.record import Consent, Event, Identify
from engine.definition.load import load_files
from engine.dispatch.ports import Settlement
from engine.runtimes.base import DeadLetter
from engine.runtimes.embedded import EmbeddedOptions, EmbeddedRuntime
from engine.runtimes.journal import Database, DatabaseReader, Projection
from engine.runtimes.journal.pruning import Pruning
from engine.runtimes.keeping import RetentionDays, before_ms, kept
from tests.runtimes.journal_records import letter, stretch

T0 = 1_800_000_000_000
DAY_MS = 86_400_000
FLOW = b"""
workflow: w
purpose: transactional
trigger: {event: Go}
reentry: always
steps:
  - send: {channel: email, template: t}
"""


def test_the_policy_goes_before_the_settings() -> None:
    """Where it says something, also `forever`; else what the settings or the store say."""
    said = Retention(log=30, journal=0)
    assert kept(said, log=90, journal=365, messages=90) == RetentionDays(log=30, journal=0, messages=90, dead_letters=0)
    assert before_ms(0, T0) is None
    assert before_ms(2, T0) == T0 - 2 * DAY_MS


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("", {"log": 0, "journal": 9, "ledger": 3, "dead_letters": 1}),  # the settings: log_days 5
        ("retention: {log: forever}", {"log": 7, "journal": 9, "ledger": 3, "dead_letters": 1}),
        ("retention: {journal: 7d}", {"log": 0, "journal": 0, "ledger": 3, "dead_letters": 1}),
        ("retention: {messages: 1w}", {"log": 0, "journal": 9, "ledger": 1, "dead_letters": 1}),
        ("retention: {log: 2w, dead_letters: 7d}", {"log": 7, "journal": 9, "ledger": 3, "dead_letters": 0}),
    ],
)
async def test_what_is_too_old_goes_and_the_rest_stays(said: str, left: dict[str, int], tmp_path: Path) -> None:
    """Ten days later. A message that is pending stays however old it is, and so does every proof of consent."""
    policy = (
        f"policy: default\npurposes:\n  transactional: {{consent: none}}\n  marketing: {{consent: opt_in}}\n{said}\n"
    )
    loaded = load_files([("workflows/policy.yaml", policy.encode()), ("workflows/w.yaml", FLOW)])
    assert loaded.catalog is not None, loaded.problems
    clock = ManualClock(T0)
    options = EmbeddedOptions(log_days=5, tidy_interval_seconds=3_600.0)
    runtime = EmbeddedRuntime(tmp_path, loaded.catalog, clock=clock, options=options)
    await runtime.start()
    purposes = {"marketing": ["email"]}
    await runtime.append([Identify(customer="a", at_ms=T0, id="i", time_ms=T0, traits={"email": "a@b.example"})])
    for action in ("grant", "withdraw", "grant"):
        at_ms = T0 + len(action)
        await runtime.append(
            [Consent(customer="a", at_ms=at_ms, id=f"{action}{at_ms}", time_ms=at_ms, action=action, purposes=purposes)]
        )
    await runtime.append([Event(customer="a", at_ms=T0, id=f"e{n}", name="Go", time_ms=T0) for n in range(3)])
    await runtime.dead_letter([DeadLetter(at_ms=T0, origin="http:/v1/track", reason="no", body=b"{}")])
    first, second, _ = await runtime.messages()
    await runtime.claim([first.message.id, second.message.id])
    await runtime.settle(
        [Settlement(message_id=each.message.id, status="sent", at_ms=T0 + 1) for each in (first, second)]
    )
    await runtime.idle()
    before = await runtime.consents(customer="a")
    clock.move_to(T0 + 10 * DAY_MS)
    await runtime.tidy()
    rows = {
        table: runtime._store.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - ours
        for table in left
    }
    journal = rows.pop("journal")
    assert bool(journal) == bool(left["journal"])
    assert rows == {table: count for table, count in left.items() if table != "journal"}
    assert await runtime.consents(customer="a") == before
    assert [each.status for each in await runtime.messages(status="pending")] == ["pending"]
    await runtime.stop()


async def test_old_dead_letters_go_from_the_journals_database(tmp_path: Path) -> None:
    """On Kafka the sink removes them there; the ledger's rows go with the dispatcher's."""
    database = Database(f"sqlite:///{tmp_path}/journal.db")
    await database.open()
    await Projection(database).apply([stretch("dead-letters", [letter("a", f"t:0:{number}") for number in range(4)])])
    reader, pruning = DatabaseReader(database), Pruning(database)
    newest = max(each.at_ms for each in await reader.dead_letters())
    assert await pruning.prune_letters(newest - 1_000) == 0
    assert await pruning.prune_letters(newest + 1) == 4
    assert await reader.dead_letters() == []
    await pruning.prune_pace(T0)
    await database.close()

"""The kill loop: a real engine under load, SIGKILL at random moments, and then the account of every event.

Invariant: every event is repeated until it got its 200, and only then is anything expected of it (`benchmarks.account`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.account import CONNECTIONS, Account, Expected, audit, opened
from benchmarks.processes import ROOT, engine_environment, free_port, sink, start_engine

DRAIN_SECONDS_MAX = 60.0
RETRY_SECONDS = 0.02
SKUS = ("a", "b", "c")

WORKFLOWS = {
    "receipt": """
workflow: receipt
purpose: transactional
trigger: {event: Order Paid}
key: event.order
steps:
  - send: {channel: email, template: note}
    id: mail
""",
    "reminder": """
workflow: reminder
purpose: marketing
trigger: {event: Cart Left}
key: event.cart
steps:
  - wait: 1s
  - send: {channel: email, template: note}
    id: mail
""",
    "interest": """
workflow: interest
purpose: marketing
trigger: {event: Product Viewed}
key: event.sku
reentry: never
steps:
  - send: {channel: email, template: note}
    id: mail
""",
    "unused": """
workflow: unused
purpose: marketing
trigger: {event: Trial Started}
key: event.trial
steps:
  - wait_for: {event: Trial Never Used, timeout: 1s, then: [{exit: used}], otherwise: []}
  - send: {channel: email, template: note}
    id: late
""",
    "used": """
workflow: used
purpose: transactional
trigger: {event: Plan Chosen}
key: event.plan
steps:
  - wait_for:
      event: Plan Paid
      where: event.plan == enrollment.event.plan
      timeout: 5d
      then:
        - send: {channel: email, template: note}
          id: thanks
        - exit: paid
      otherwise: []
""",
    "policy": """
policy: default
zone: Europe/Berlin
purposes:
  transactional: {consent: none}
  marketing: {consent: opt_in}
unknown: {marketing: keep, transactional: resend}
""",
}
TEMPLATE = """---
subject: "About {{ enrollment.key }}"
---
<p>Hello {{ customer.email }}, this is about {{ enrollment.key }}.</p>
<p><a href="{{ unsubscribe_url }}">No more of these</a></p>
"""


def make_project(folder: Path) -> Path:
    """Writes the project of the kill loop."""
    (folder / "workflows").mkdir(parents=True)
    (folder / "templates" / "email").mkdir(parents=True)
    for name, text in WORKFLOWS.items():
        (folder / "workflows" / f"{name}.yaml").write_text(text.lstrip(), "utf-8")
    (folder / "templates" / "email" / "note.html").write_text(TEMPLATE, "utf-8")
    return folder


class Shop:
    """The load: customers one after the other in each of several workers, every event repeated until it got its 200."""

    def __init__(self, url: str, *, seed: int, workers: int = 12) -> None:
        self.expected = Expected()
        self.posts = 0
        self.ending = False
        self._url = url
        self._workers = workers
        self._dice = random.Random(seed)
        self._customers = 0
        self._session: aiohttp.ClientSession | None = None

    async def run(self) -> None:
        """Until `ending` is set; then every worker finishes its customer."""
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(self._url, timeout=timeout) as self._session:
            await asyncio.gather(*(self._worker() for _ in range(self._workers)))

    async def _worker(self) -> None:
        while not self.ending:
            self._customers += 1
            await self._visit(f"c{self._customers}")
            await asyncio.sleep(self._dice.random() * 0.05)

    async def _visit(self, customer: str) -> None:
        traits = {"email": f"{customer}@example.com", "consent": {"marketing": ["email"]}}
        await self._post(customer, "identify", "identify", traits=traits)
        scripts = (self._orders, self._cart, self._views, self._trial, self._plan)
        for script in self._dice.sample(scripts, 2):
            await script(customer)

    async def _orders(self, customer: str) -> None:
        for number in range(2):
            await self._track(customer, f"order-{number}", "Order Paid", order=f"o{number}")
            self.expected.send(f"receipt/{customer}/o{number}", marketing=False)

    async def _cart(self, customer: str) -> None:
        await self._track(customer, "cart", "Cart Left", cart="k")
        self.expected.send(f"reminder/{customer}/k", marketing=True)

    async def _views(self, customer: str) -> None:
        for number in range(4):
            sku = self._dice.choice(SKUS)
            await self._track(customer, f"view-{number}", "Product Viewed", sku=sku)
            self.expected.send(f"interest/{customer}/{sku}", marketing=True)

    async def _trial(self, customer: str) -> None:
        await self._track(customer, "trial", "Trial Started", trial="t")
        self.expected.send(f"unused/{customer}/t", marketing=True)

    async def _plan(self, customer: str) -> None:
        await self._track(customer, "chosen", "Plan Chosen", plan="p")
        await self._track(customer, "other", "Plan Paid", plan="another")
        await self._track(customer, "paid", "Plan Paid", plan="p")
        self.expected.send(f"used/{customer}/p", marketing=False)
        self.expected.exits += 1

    async def _track(self, customer: str, label: str, event: str, **properties: str) -> None:
        await self._post(customer, "track", label, event=event, properties=properties)
        if self._dice.random() < 0.1:  # a client that did not hear the answer sends it again
            await self._post(customer, "track", label, event=event, properties=properties)

    async def _post(self, customer: str, kind: str, label: str, **more: Any) -> None:
        assert self._session is not None
        event_id = f"{customer}-{label}"
        body = {"userId": customer, "messageId": event_id, **more}
        while True:
            self.posts += 1
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with self._session.post(f"/v1/{kind}", json=body) as answer:
                    if answer.status == 200:
                        self.expected.event_ids.add(event_id)
                        return
                    if answer.status not in {429, 503}:
                        raise AssertionError(f"{event_id}: {answer.status} {await answer.text()}")
            await asyncio.sleep(RETRY_SECONDS)


class _Nursery:
    """Engines that are forked from a process with everything imported (`benchmarks.warm`)."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._log = log.open("a")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.warm"], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
        )  # fmt: skip
        self.pid = 0
        assert "warm" in self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery ended"
        return line

    def start(self, project: Path) -> None:
        """Returns when the engine takes events."""
        assert self._process.stdin is not None
        self.pid, ready = 0, False
        self._process.stdin.write(json.dumps(["run", "--project", str(project)]) + "\n")
        self._process.stdin.flush()
        while not (self.pid and ready):
            line = self._line()
            assert not line.startswith('{"ended"'), "the engine ended by itself"
            self.pid = json.loads(line)["pid"] if line.startswith('{"pid"') else self.pid
            ready = ready or line.startswith("Ctrl-C")

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        os.kill(self.pid, signal.SIGKILL)
        while not self._line().startswith('{"ended"'):
            pass
        self.pid = 0

    def close(self) -> None:
        """Ends whatever still runs."""
        if self.pid:
            self.kill()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._log.close()


def run_kill_loop(folder: Path, *, kills: int, cold_kills: int, seed: int) -> Account:
    """Kills `kills` warm and `cold_kills` freshly started engines in `folder`, lets the last one drain, gives the account."""
    return asyncio.run(_run(folder, kills=kills, cold_kills=cold_kills, seed=seed))


async def _run(folder: Path, *, kills: int, cold_kills: int, seed: int) -> Account:
    begun = time.perf_counter()
    project, journal = make_project(folder / "project"), folder / "sink.jsonl"
    database = project / "var" / "anlass.db"
    account, dice, starts = Account(kills=kills + cold_kills), random.Random(seed), []
    cold = set(dice.sample(range(kills + cold_kills), cold_kills))
    port = free_port()
    with sink(journal=journal) as receiver, (folder / "engine.log").open("a") as log:
        environment = engine_environment(port=port, smtp_port=receiver.port, connections=CONNECTIONS)
        nursery = await asyncio.to_thread(_Nursery, environment, folder / "engine.log")
        shop = Shop(f"http://127.0.0.1:{port}", seed=seed)
        load = asyncio.create_task(shop.run())
        try:
            for number in range(kills + cold_kills):
                started_s, start = time.time(), time.perf_counter()
                killable: Any = nursery
                if number in cold:
                    killable = await asyncio.to_thread(start_engine, project, environment, log=log)
                    account.ready_seconds.append(time.perf_counter() - start)
                else:
                    await asyncio.to_thread(nursery.start, project)
                await asyncio.sleep(dice.uniform(0.05, 0.6))
                await asyncio.to_thread(killable.kill)
                starts.append((started_s, time.time(), number in cold))
                account.claimed_max = max(account.claimed_max, _scalar(database, _CLAIMED))
                if load.done():
                    load.result()
            shop.ending = True
            last = await asyncio.to_thread(start_engine, project, environment, log=log)
            try:
                await asyncio.wait_for(load, DRAIN_SECONDS_MAX)
                await _drain(database)
                if (status := await asyncio.to_thread(last.stop)) != 0:
                    account.wrong.append(f"the last engine ended with {status}")
            finally:
                last.kill()
        finally:
            load.cancel()
            nursery.close()
        receiver.stats()  # has the journal flushed
    account.posts, account.events = shop.posts, len(shop.expected.event_ids)
    arrived = [json.loads(line) for line in journal.read_text("utf-8").splitlines()]
    _measure_starts(account, starts, [line["at"] for line in arrived])
    audit(account, shop.expected, database=database, arrived=Counter(line["id"] for line in arrived))
    account.seconds = time.perf_counter() - begun
    return account


_CLAIMED = "SELECT count(*) FROM ledger WHERE status = 'claimed'"
_UNFINISHED = """SELECT (SELECT count(*) FROM ledger WHERE status IN ('pending', 'claimed'))
    + (SELECT count(*) FROM timers WHERE due_ms < (SELECT max(at_ms) FROM log) + 3600000)
    + (SELECT value FROM progress WHERE name = 'log') - (SELECT value FROM progress WHERE name = 'applied')"""


def _scalar(database: Path, query: str) -> int:
    with opened(database) as connection:
        value: int = connection.execute(query).fetchone()[0]
        return value


async def _drain(database: Path) -> None:
    """Returns when nothing is left to do. Raises TimeoutError."""
    async with asyncio.timeout(DRAIN_SECONDS_MAX):
        while _scalar(database, _UNFINISHED):  # noqa: ASYNC110 - another process works; there is nothing to be told by
            await asyncio.sleep(0.1)


def _measure_starts(account: Account, starts: list[tuple[float, float, bool]], arrivals: list[float]) -> None:
    for started_s, killed_s, is_cold in starts:
        after = [at for at in arrivals if started_s <= at <= killed_s]
        if after:
            (account.first_dispatch_seconds if is_cold else account.warm_dispatch_seconds).append(after[0] - started_s)

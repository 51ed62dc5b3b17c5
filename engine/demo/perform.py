"""The demo from the first to the last line: prepares, opens the shop, waits until all is done, draws up the account.

Invariant: nothing leaves this machine, ends by itself, and whatever happens the service, the mail server and the terminal are
given back in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TextIO

import msgspec
from pydantic import SecretStr
from rich.console import Console

from engine.bootstrap import Project, Service, open_project
from engine.clock import SystemClock
from engine.core.channel import CHANNELS
from engine.demo.account import Account, DemoDoors, draw_up, mailbox_differences
from engine.demo.board import Board, Glance
from engine.demo.cast import cast
from engine.demo.crowd import crowd
from engine.demo.folder import DEFAULT, prepare
from engine.demo.pace import CompressedClock
from engine.demo.postbox import Postbox
from engine.demo.script import DAY_MS, DAYS, HOUR_MS
from engine.demo.shop import Shop
from engine.demo.summary import WIDTH, show_summary
from engine.demo.telephone import ACCOUNT_SID, AUTH_TOKEN, Telephone
from engine.demo.texts import SENDER, Texts
from engine.errors import SettingsError
from engine.settings import (
    CollectorSection,
    ConsoleSection,
    DatabaseSection,
    EmailSection,
    MailboxSection,
    Settings,
    SmsSection,
)
from engine.settings.serving import unserved
from engine.telemetry import configure_logging

PORT_PREFERRED: Final = 8080
"""Taken when it is free, so that the links in the mails still lead somewhere when `anlass run` runs later."""
PORT_OPERATORS: Final = 8081
WRITE_KEY: Final = secrets.token_urlsafe(24)
LEAD_MS_MIN, LEAD_MS_MAX = HOUR_MS, 10 * HOUR_MS
"""How far time may run before the engine has caught up: as far as this machine needs, and under the shortest `max_age` (12 h)."""
LEAD_ROUNDS: Final = 1.5
CROWD_PER_SECOND: Final = 10
CROWD_MIN, CROWD_MAX = 40, 3_000
DRAIN_SECONDS_MAX: Final = 5.0
STOP_SECONDS_MAX: Final = 15.0
BREATH_SECONDS: Final = 0.004
BEHIND: Final = 0.1
"""The share of the time by which the calendar may be behind before newcomers are turned away."""
INTERRUPTED: Final = 130
_WEEK_MS: Final = 7 * DAY_MS
_FIRST_MONDAY_MS: Final = 4 * DAY_MS


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. `start_ms` None: so that the last day is in this week."""

    seconds: float
    folder: Path
    stay: bool
    seed: int
    start_ms: int | None = None


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Where the service listens, and where its mail goes; 0: the system chooses."""

    port: int
    operators: int
    smtp: int


class DemoResult(msgspec.Struct, frozen=True):
    """`status` as the command line returns it; `account` None when the demo was interrupted before there was one."""

    status: int
    account: Account | None


def run(
    seconds: float = 30.0,
    project: Path | None = None,
    keep: bool = False,  # noqa: FBT001, FBT002 - the agreed signature
    *,
    seed: int = 7,
) -> int:
    """Runs the demo for about `seconds` of opening time, and returns the exit status: 0, or 1 when the books do not agree.

    `project` is where the project is made (default `var/demo`) and always stays. `keep`: go on serving it, at the pace of
    real time, until Ctrl-C. Raises AnlassError.
    """
    wishes = Wishes(seconds=seconds, folder=project or DEFAULT, stay=keep, seed=seed)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(perform(wishes, console)).status


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def monday_for(now_ms: int) -> int:
    """The Monday (UTC) on which a demo starts that ends within the week before `now_ms`."""
    latest_ms = now_ms - DAYS * DAY_MS
    return latest_ms - (latest_ms - _FIRST_MONDAY_MS) % _WEEK_MS


async def perform(wishes: Wishes, console: Console) -> DemoResult:
    """All of it, within a running loop."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:  # in order; the second time at once
        told.set()
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        folder = prepare(wishes.folder)
        with (folder / "var" / "engine.log").open("w", encoding="utf-8") as log:
            return await _perform(msgspec.structs.replace(wishes, folder=folder), console, told, log)
    finally:
        configure_logging()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _perform(wishes: Wishes, console: Console, told: asyncio.Event, log: TextIO) -> DemoResult:
    configure_logging(stream=log)
    start_ms = monday_for(SystemClock().now_ms()) if wishes.start_ms is None else wishes.start_ms
    clock = CompressedClock(start_ms)
    console.print(f"Reading the shipped workflows and templates into {wishes.folder}", highlight=False, soft_wrap=True)
    with _without_settings():
        project = open_project(wishes.folder)
    size = max(CROWD_MIN, min(CROWD_MAX, int(wishes.seconds * CROWD_PER_SECOND)))
    people = cast(start_ms) + crowd(size, seed=wishes.seed, start_ms=start_ms)
    async with contextlib.AsyncExitStack() as stack:
        postbox = Postbox(now=clock.monotonic)
        stack.push_async_callback(postbox.stop)
        smtp_port = await postbox.start()
        texts = Texts(Telephone(now_ms=clock.now_ms))
        stack.push_async_callback(texts.close)
        twilio_url = await texts.telephone.start()
        service = await _started(project, smtp_port, twilio_url, clock=clock)
        stack.push_async_callback(_stopped, service)
        postbox.mailbox = texts.mailbox = service.mailbox
        texts.telephone.inbound_url = f"{service.url}/callbacks/twilio/inbound"
        shop = Shop(people, url=service.url, key=WRITE_KEY, clock=clock)
        postbox.on_letter = shop.read
        await shop.open()
        stack.push_async_callback(shop.close)
        console.print(
            f"{len(people)} people, {DAYS} days in {wishes.seconds:g} s: events to {service.url}/v1/…,"
            f" mail by SMTP to 127.0.0.1:{smtp_port}, text messages to a stand-in of Twilio at {twilio_url}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        stage = _Stage(wishes, service, shop=shop, doors=DemoDoors(postbox, texts), clock=clock)
        return await stage.perform(console, told, start_ms)


@contextlib.contextmanager
def _without_settings() -> Iterator[None]:
    """Hides `ANLASS_*` variables: they are meant for the user's own project, and must not send the demo's mail anywhere."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("ANLASS_")}
    try:
        yield
    finally:
        os.environ.update(hidden)


async def _started(project: Project, smtp_port: int, twilio_url: str, *, clock: CompressedClock) -> Service:
    """The service, on the preferred port or, when somebody else has that one, on another that is free."""
    for port, operators in ((PORT_PREFERRED, PORT_OPERATORS), (_free_port(), 0)):
        ports = Ports(port=port, operators=operators, smtp=smtp_port)
        service = Service(_at_home(project, ports, twilio_url=twilio_url), clock=clock)
        try:
            await service.start()
        except SettingsError:
            if port != PORT_PREFERRED:
                raise
            continue
        return service
    raise AssertionError("the last port returns or raises")


async def _stopped(service: Service) -> None:
    """Stops the service; a part that does not end must not keep the demo from ending."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(service.stop(), STOP_SECONDS_MAX)


def _free_port() -> int:
    """Known before the service starts, because Twilio is told where its reports go."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _at_home(project: Project, ports: Ports, *, twilio_url: str) -> Project:
    """The project with settings that keep everything on this machine, whatever the environment says."""
    port = ports.port
    settings = Settings(
        project=project.settings.project,
        collector=CollectorSection(
            host="127.0.0.1", port=port, write_keys={"demo": WRITE_KEY}, public_url=f"http://127.0.0.1:{port}"
        ),
        console=ConsoleSection(port=ports.operators),
        email=EmailSection(host="127.0.0.1", port=ports.smtp, tls="none", **{"from": "Lindenhof <hello@shop.example>"}),
        sms=SmsSection(
            account_sid=ACCOUNT_SID,
            auth_token=SecretStr(AUTH_TOKEN),
            base_url=twilio_url,
            brand="Lindenhof",
            contact="service@shop.example",
            **{"from": SENDER},
        ),
        database=DatabaseSection(),
    )
    kept = MailboxSection(channels=unserved(settings, CHANNELS))
    return msgspec.structs.replace(project, settings=settings.model_copy(update={"mailbox": kept}))


class _Stage:
    """The parts while the shop is open."""

    def __init__(
        self, wishes: Wishes, service: Service, *, shop: Shop, doors: DemoDoors, clock: CompressedClock
    ) -> None:
        self._wishes = wishes
        self._service = service
        self._shop = shop
        self._doors = doors
        self._clock = clock

    async def perform(self, console: Console, told: asyncio.Event, start_ms: int) -> DemoResult:
        """Opens, closes, accounts."""
        began = self._clock.monotonic()
        with Board(console) as board:
            await self._open(board, told, start_ms)
            seconds = self._clock.monotonic() - began
            drained = await self._drain(told)
        if told.is_set():
            console.print("Interrupted; what was answered is stored, and `anlass run` goes on from there.")
            return DemoResult(INTERRUPTED, None)
        days = min(DAYS, -(-(self._clock.now_ms() - start_ms) // DAY_MS))
        await self._doors.texts.telephone.quiet()
        account = await draw_up(self._service.runtime, shop=self._shop, doors=self._doors, seconds=seconds)
        assert self._service.mailbox is not None, "started"
        account.differences += mailbox_differences(self._service.mailbox, account.counts)
        show_summary(console, account, folder=self._wishes.folder, days=days, drained=drained)
        if self._wishes.stay:
            self._clock.walk()
            console.print(
                f"\nThe mailbox is at {self._service.operators_url}/mailbox. Ctrl-C ends it.", highlight=False
            )
            await self._service.wait_until(told)
        return DemoResult(1 if account.differences else 0, account)

    async def _open(self, board: Board, told: asyncio.Event, start_ms: int) -> None:
        """Until the last day or the last second, whichever comes first."""
        clock, end_ms = self._clock, start_ms + DAYS * DAY_MS
        began = real = next_glance = clock.monotonic()
        last = began + self._wishes.seconds
        round_seconds = 0.0
        watch = asyncio.create_task(self._service.wait_until(told))
        try:
            while not told.is_set():
                if watch.done():
                    watch.result()
                now_ms = clock.now_ms()
                if real >= next_glance:
                    board.show(await self._glance(now_ms, start_ms, real - began))
                    next_glance = real + board.interval_seconds
                if now_ms >= end_ms or real >= last:
                    return
                came, passed = (now_ms - start_ms) / (DAYS * DAY_MS), (real - began) / self._wishes.seconds
                self._shop.busy = came + BEHIND < passed
                await self._shop.play(now_ms)
                await self._caught_up(told, last)
                lead_ms = int(LEAD_ROUNDS * clock.factor * round_seconds * 1_000)
                clock.go_on(
                    end_ms=end_ms,
                    real_seconds=(last - clock.monotonic()) * 0.97,
                    lead_ms=max(LEAD_MS_MIN, min(LEAD_MS_MAX, lead_ms)),
                )
                await asyncio.sleep(BREATH_SECONDS)
                before, real = real, clock.monotonic()
                round_seconds += (real - before - round_seconds) / 8
        finally:
            watch.cancel()

    async def _glance(self, now_ms: int, start_ms: int, seconds: float) -> Glance:
        counts = await self._service.runtime.counts()
        return Glance(now_ms=now_ms, start_ms=start_ms, seconds=seconds, counts=counts, told=dict(self._shop.counts))

    async def _caught_up(self, told: asyncio.Event, last: float) -> bool:
        """Returns when nothing is left to evaluate or to send now; False when time is up before."""
        runtime = self._service.runtime
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(BREATH_SECONDS, last - self._clock.monotonic())):
                while not told.is_set():
                    await runtime.idle()
                    messages = (await runtime.counts())["messages"].values()
                    if not any(by.get("claimed") for by in messages) and not await runtime.ready(1):
                        return True
                    await asyncio.sleep(BREATH_SECONDS / 2)
        return False

    async def _drain(self, told: asyncio.Event) -> bool:
        """The shop is closed, time stands still: what is under way arrives."""
        return await self._caught_up(told, self._clock.monotonic() + DRAIN_SECONDS_MAX)

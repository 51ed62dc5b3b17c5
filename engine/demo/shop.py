"""The shop itself: tells the collector over HTTP what its people do, and lets them answer the mails they get.

Invariant: what one person does is told in the order in which it was done, and each request's answer is counted.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import heapq
import itertools
import json
import re
import zlib
from collections import Counter
from typing import Any, Final, NamedTuple

import aiohttp

from engine.clock import Clock, to_rfc3339
from engine.demo.postbox import ReceivedMail
from engine.demo.script import HOUR_MS, Person, ScriptedAct
from engine.errors import ServiceUnreachable

LANES: Final = 4
"""Requests under way at once."""
_BATCH_MAX: Final = 50
_TRIES_MAX: Final = 20
_SOON: Final = frozenset({"Product Viewed", "Product Added"})
"""What a browser collects for a moment and sends in batches; the shop's own system tells all else at once."""
_CONFIRM: Final = re.compile(r"https?://[^\s<>\"')]+/confirm/[^\s<>\"')]+")


class _Link(NamedTuple):
    """Somebody follows a link of a mail."""

    kind: str
    url: str
    who: str


class Shop:
    """Plays the acts as their time comes. `counts` says what was sent and how it was answered."""

    def __init__(self, people: list[Person], *, url: str, key: str, clock: Clock) -> None:
        """`url` and `key` are the collector's."""
        self.counts: Counter[str] = Counter()
        self.people = len(people)
        self.told_at: dict[str, float] = {}
        """Event id → the monotonic second at which its request began."""
        self.turned_away: set[str] = set()
        self.busy = False
        """Set from outside: the machine cannot follow, so new people of the crowd are turned away at the door."""
        self._inside: set[str] = set()
        self._url = url
        self._key = key
        self._clock = clock
        self._order = itertools.count()
        self._queue: list[tuple[int, int, ScriptedAct | _Link]] = []
        self._by_address = {one.email: one for one in people if one.email}
        self._http: aiohttp.ClientSession | None = None
        for act in sorted((act for one in people for act in one.acts), key=lambda act: act.at_ms):
            self._put(act.at_ms, act)

    async def open(self) -> None:
        """Before the first act."""
        timeout = aiohttp.ClientTimeout(total=10)
        connector = aiohttp.TCPConnector(limit=LANES + 2)
        key = base64.b64encode(f"{self._key}:".encode()).decode()
        self._http = aiohttp.ClientSession(
            self._url, headers={"Authorization": f"Basic {key}"}, timeout=timeout, connector=connector, trust_env=False
        )

    async def close(self) -> None:
        """After the last one. Idempotent."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    def _put(self, at_ms: int, what: ScriptedAct | _Link) -> None:
        heapq.heappush(self._queue, (at_ms, next(self._order), what))

    async def play(self, until_ms: int) -> None:
        """Everything that is due. Raises ServiceUnreachable when the collector does not answer."""
        lanes: list[list[ScriptedAct | _Link]] = [[] for _ in range(LANES)]
        while self._queue and self._queue[0][0] <= until_ms:
            _, _, what = heapq.heappop(self._queue)
            if self._lets_in(what):
                lanes[zlib.crc32(what.who.encode()) % LANES].append(what)
        await asyncio.gather(*(self._lane(lane) for lane in lanes if lane))

    def _lets_in(self, what: ScriptedAct | _Link) -> bool:
        if isinstance(what, _Link) or not what.crowd or what.who in self._inside:
            return True
        if self.busy or what.who in self.turned_away:
            self.turned_away.add(what.who)
            return False
        self._inside.add(what.who)
        return True

    async def _lane(self, lane: list[ScriptedAct | _Link]) -> None:
        basket: list[ScriptedAct] = []
        for what in lane:
            if isinstance(what, ScriptedAct) and _can_wait(what) and len(basket) < _BATCH_MAX:
                basket.append(what)
                continue
            await self._batch(basket)
            basket = []
            if isinstance(what, _Link):
                await self._follow(what)
            elif what.raw:
                await self._post("/v1/track", what.raw, events=1)
            else:
                await self._single(what)
        await self._batch(basket)

    def _item(self, act: ScriptedAct) -> dict[str, Any]:
        item = dict(act.body)
        if act.happened_ms:
            item["timestamp"] = to_rfc3339(act.happened_ms)
        self.told_at[item["messageId"]] = self._clock.monotonic()
        return item

    async def _single(self, act: ScriptedAct) -> None:
        item = self._item(act)
        path = f"/v1/{item.pop('type')}"
        body = json.dumps(item).encode()
        await self._post(path, body, events=1)
        if act.twice:
            self.counts["duplicates"] += 1
            await self._post(path, body, events=1)

    async def _batch(self, acts: list[ScriptedAct]) -> None:
        if acts:
            items = [self._item(act) for act in acts]
            again = [item for item, act in zip(items, acts, strict=True) if act.twice]
            self.counts["duplicates"] += len(again)
            items += again
            body = {"batch": items, "sentAt": to_rfc3339(self._clock.now_ms())}
            await self._post("/v1/batch", json.dumps(body).encode(), events=len(items))

    async def _post(self, path: str, body: bytes, *, events: int) -> None:
        """Sends until it is answered by more than "later"."""
        assert self._http is not None, "not open"
        self.counts["told"] += events
        for _ in range(_TRIES_MAX):
            try:
                async with self._http.post(path, data=body, headers={"Content-Type": "application/json"}) as answer:
                    status = answer.status
                    await answer.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise ServiceUnreachable(
                    f"The demo's own collector does not answer: {type(error).__name__}."
                ) from error
            if status not in {429, 503}:
                break
            self.counts["again"] += 1
            await asyncio.sleep(0.1)
        self.counts["accepted" if status == 200 else "refused"] += events  # noqa: PLR2004 - HTTP

    async def _follow(self, link: _Link) -> None:
        """Presses the button behind a link: the POST does it, a GET would only show a page."""
        assert self._http is not None, "not open"
        one_click = {"List-Unsubscribe": "One-Click"} if link.kind == "unsubscribe" else {}
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self._http.post(link.url, data=one_click, allow_redirects=False) as answer:
                await answer.read()
                self.counts[link.kind if answer.status == 200 else f"{link.kind} failed"] += 1  # noqa: PLR2004 - HTTP

    def read(self, letter: ReceivedMail) -> None:
        """A mail has arrived: its recipient may do something about it."""
        person = self._by_address.get(letter.to)
        if person is None:
            return
        confirm = _CONFIRM.search(letter.text)
        if confirm is not None:
            if person.confirms:
                self._put(self._clock.now_ms() + HOUR_MS // 3, _Link("confirm", confirm.group(), person.id))
        elif person.leaves and letter.unsubscribe_url:
            person.leaves = False
            self._put(self._clock.now_ms() + HOUR_MS, _Link("unsubscribe", letter.unsubscribe_url, person.id))


def _can_wait(act: ScriptedAct) -> bool:
    if act.raw:
        return False
    kind = act.body["type"]
    return bool(act.happened_ms) or (kind == "track" and (act.body["event"] in _SOON or not act.body["event"]))

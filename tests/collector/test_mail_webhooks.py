"""The webhooks of mail services over HTTP: the mail tells the service our id, its webhook tells us what became of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from channels.callbacks import CallbackRequest
from engine.bootstrap import Service, open_project
from engine.runtimes.base import Query
from tests.channels.conftest import SmtpDouble
from tests.channels.service_payloads import (
    MAILGUN_KEY,
    POSTMARK_LOGIN,
    SendgridKey,
    mailgun_event,
    postmark_event,
    postmark_headers,
    request,
    sendgrid_event,
)
from tests.test_bootstrap_limits import FILES, greet, until

SENDGRID = SendgridKey()
HEADERS = {"sendgrid": b"X-SMTPAPI: ", "mailgun": b"X-Mailgun-Variables: ", "postmark": b"X-PM-Metadata-anlass: "}


class Running:
    """A service that sends through one of the mail services."""

    def __init__(self, name: str, service: Service, server: SmtpDouble) -> None:
        self.name = name
        self.service = service
        self.server = server

    def event(self, kind: str, message: str, number: int = 0) -> CallbackRequest:
        """A complaint or a delivery, as this service reports it now."""
        at = str(int(time.time()))
        if self.name == "sendgrid":
            word = {"complained": "spamreport", "delivered": "delivered", "surprise": "surprise"}[kind]
            return SENDGRID.request([sendgrid_event(word, anlass=message, sg_event_id=f"e{number}")], at=at)
        if self.name == "mailgun":
            more: dict[str, Any] = {"user-variables": {"anlass": message}}
            return request(mailgun_event(kind, at=at, token=f"{number:050}", **more))
        word = {"complained": "SpamComplaint", "delivered": "Delivery", "surprise": "Surprise"}[kind]
        return request(postmark_event(word, Metadata={"anlass": message}), postmark_headers())

    async def post(self, asked: CallbackRequest, *, body: bytes | None = None) -> int:
        """The status of the answer."""
        url = f"{self.service.url}/callbacks/{self.name}/main"
        data = asked.body if body is None else body
        async with aiohttp.ClientSession() as http, http.post(url, data=data, headers=asked.headers) as answer:
            return answer.status

    async def outcomes(self) -> list[str]:
        await self.service.runtime.idle()
        query = Query(customer="ana@example.com", kinds=("outcome", "suppressed_address"), oldest_first=True)
        lines = await self.service.runtime.decisions(query)
        return [str(each.detail.get("outcome", each.kind)) for _, each in lines]


@pytest.fixture(params=["sendgrid", "mailgun", "postmark"])
async def running(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    """A project whose mail goes through the service, and whose webhooks are believed."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    server = SmtpDouble()
    await server.start()
    (tmp_path / "anlass.toml").write_text(
        f'[collector]\nport = 0\n[console]\nport = 0\n[email]\nhost = "127.0.0.1"\nport = {server.port}\n'
        f'service = "{request.param}"\n'
        f'[sendgrid]\npublic_key = "{SENDGRID.public}"\n[mailgun]\nsecret_file = "mailgun-key"\n',
        "utf-8",
    )
    (tmp_path / "mailgun-key").write_text(MAILGUN_KEY + "\n", "utf-8")
    monkeypatch.setenv("ANLASS_POSTMARK__PASSWORD", POSTMARK_LOGIN[1])
    service = Service(open_project(tmp_path))
    await service.start()
    try:
        yield Running(request.param, service, server)
    finally:
        await service.stop()
        await server.stop()


async def test_the_way_there_and_back(running: Running) -> None:
    """The mail names our id to the service; its complaint suppresses the address; again, and late, changes nothing."""
    await greet(running.service, "ana@example.com")
    await until(running.service, ["sent"])
    (status,) = await running.service.runtime.messages()
    line = next(
        line for line in running.server.accepted[0].content.split(b"\r\n") if line.startswith(HEADERS[running.name])
    )
    assert status.message.id.encode() in line
    complained = running.event("complained", status.message.id)
    assert [await running.post(complained), await running.post(complained)] == [200, 200]
    assert await running.outcomes() == ["complained", "suppressed_address"]
    assert await running.post(running.event("delivered", status.message.id, 1)) == 200
    assert await running.outcomes() == ["complained", "suppressed_address"]
    assert await running.service.runtime.dead_letters() == []


async def test_forged_unknown_and_strange(running: Running) -> None:
    """403 for what is forged, a dead letter for what is signed and of no use, 404 where nothing is configured."""
    good = running.event("complained", "ab" * 16)
    bare = await running.post(CallbackRequest(url="", headers={}, body=good.body))
    assert bare == (200 if running.name == "mailgun" else 403)  # Mailgun's signature stands in the body
    broken = await running.post(good, body=b"{")
    assert broken == (200 if running.name == "postmark" else 403)  # Postmark's login is good, whatever the body
    before = len(await running.service.runtime.dead_letters())
    assert await running.post(running.event("complained", "cd" * 16, 2)) == 200
    assert await running.post(running.event("surprise", "cd" * 16, 3)) == 200
    letters = (await running.service.runtime.dead_letters())[before:]
    assert len(letters) == 2
    assert "no message is known" in letters[0].reason
    assert "not known" in letters[1].reason
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{running.service.url}/callbacks/ses/x", data=b"{}") as answer,
    ):
        assert answer.status == 404

"""The local mailbox in the browser: complete, harmless, and only for who sits at the machine."""

from __future__ import annotations

import pytest

from channels.contract import OutgoingMessage
from channels.recording import Mailbox
from tests.collector.conftest import T0, Collector


@pytest.fixture
def mail(collector: Collector) -> OutgoingMessage:
    """One mail in the mailbox of the collector."""
    delivery = OutgoingMessage(
        id="a" * 32, channel="email", to="ana@example.com", to_name="Ana <b>", text="Hello Ana", date_ms=T0,
        subject="Your cart <script>", html="<h1>Hello</h1><script>alert(1)</script>", headers=(("X-Campaign", "c"),),
        list_unsubscribe_url="https://shop.example/u/x", purpose="marketing",
    )  # fmt: skip
    collector.mailbox.add(delivery)
    return delivery


async def test_the_list_is_there_for_people_and_for_programs(collector: Collector, mail: OutgoingMessage) -> None:
    """A page, and JSON with everything that was sent."""
    async with collector.http.get(f"{collector.operators_url}/mailbox") as answer:
        text = await answer.text()
        assert "Your cart &lt;script&gt;" in text
        assert "ana@example.com" in text
    async with collector.http.get(f"{collector.operators_url}/mailbox.json?channel=email&limit=1") as answer:
        body = await answer.json()
    assert body["count"] == 1
    (message,) = body["messages"]
    assert (message["id"], message["to"], message["date"]) == (mail.id, mail.to, "2026-03-27T08:26:40.000Z")
    assert (message["html"], message["text"], message["copies"]) == (mail.html, mail.text, 1)
    async with collector.http.get(f"{collector.operators_url}/mailbox.json?channel=sms") as answer:
        assert (await answer.json())["messages"] == []


async def test_a_mail_is_shown_in_a_frame_that_can_run_nothing(collector: Collector, mail: OutgoingMessage) -> None:
    """Its HTML comes from templates and customers' data."""
    async with collector.http.get(f"{collector.operators_url}/mailbox/{mail.id}?channel=email") as answer:
        text = await answer.text()
        assert f'<iframe sandbox src="/mailbox/{mail.id}/html?channel=email"' in text
        assert "X-Campaign" in text
        assert "<script>" not in text
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    async with collector.http.get(f"{collector.operators_url}/mailbox/{mail.id}/html") as answer:
        assert await answer.text() == mail.html
        assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")


async def test_questions_that_make_no_sense_are_refused(collector: Collector) -> None:
    """An unknown mail, and numbers that are none."""
    for path, status in (("/mailbox/nothing", 404), ("/mailbox.json?limit=x", 400), ("/mailbox?offset=-1", 400)):
        async with collector.http.get(collector.operators_url + path) as answer:
            assert (answer.status, bool((await answer.json())["code"])) == (status, True)


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"X-Forwarded-For": "192.0.2.1"}, {"Forwarded": "for=192.0.2.1"}]
)
@pytest.mark.parametrize("path", ["/mailbox", "/mailbox.json", "/mailbox/x", "/mailbox/x/html"])
async def test_nobody_else_sees_it(path: str, headers: dict[str, str], collector: Collector) -> None:
    """Not through a proxy on this machine, and not under a name that somebody pointed at 127.0.0.1."""
    async with collector.http.get(collector.operators_url + path, headers=headers) as answer:
        assert answer.status == 403
        assert "only at the machine itself" in (await answer.json())["message"]


@pytest.mark.parametrize("path", ["/mailbox", "/mailbox.json", "/mailbox/x", "/mailbox/x/html", "/metrics", "/readyz"])
async def test_the_public_port_has_nothing_for_operators(path: str, collector: Collector) -> None:
    """A proxy that passes everything on shows none of it."""
    async with collector.http.get(collector.url + path) as answer:
        assert answer.status == 404


async def test_an_empty_mailbox_says_so(collector: Collector) -> None:
    """Before anything was sent."""
    assert isinstance(collector.mailbox, Mailbox)
    async with collector.http.get(f"{collector.operators_url}/mailbox") as answer:
        assert "Nothing was sent yet" in await answer.text()

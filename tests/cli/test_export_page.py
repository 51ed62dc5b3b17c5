"""`anlass export`: everything that is kept, as data and as a page; what somebody wrote cannot become markup."""

from __future__ import annotations

import asyncio
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from channels.contract import OutgoingMessage
from engine import bootstrap
from engine.core.record import Consent, Event, Identify
from engine.runtimes.base import DeadLetter
from tests.cli.conftest import anlass

pytestmark = pytest.mark.usefixtures("commands")

AT_MS = 1_790_000_000_000
EVIL = "<script>alert('x')</script>"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project that knows ana, with a message in the local mailbox and one that can only be made again."""
    folder = tmp_path / "shop"
    assert anlass("init", folder).status == 0

    async def fed() -> None:
        runtime = bootstrap.open_runtime(bootstrap.open_project(folder, with_templates=False))
        await runtime.start()
        try:
            traits: dict[str, Any] = {
                "email": "ana@shop.example",
                "phone": "+4915112345678",
                "first_name": EVIL,
                "consent": {"marketing": ["email"]},
            }
            await runtime.append([Identify(customer="ana", at_ms=AT_MS, id="i", time_ms=AT_MS, traits=traits)])
            proof = {"wording": "Yes, <b>write</b> to me", "ip": "192.0.2.7"}
            given = Consent(
                customer="ana", at_ms=AT_MS + 1, id="c", time_ms=AT_MS + 1, action="grant", purposes={"marketing": ["sms"]},
                source="form", proof=proof,
            )  # fmt: skip
            await runtime.append([given])
            await runtime.append([Event(customer="ana", at_ms=AT_MS, id="e", name="Signed Up", time_ms=AT_MS)])
            body = f'{{"name": "{EVIL}"}}'.encode()
            await runtime.dead_letter(
                [DeadLetter(at_ms=AT_MS, origin="http:/v1/batch", reason="invalid_type", body=body, customer="ana")]
            )
            await runtime.idle()
        finally:
            await runtime.stop()

    asyncio.run(fed())
    return folder


class _Tags(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_data_has_everything_with_what_the_messages_said(shop: Path) -> None:
    """Made again while it is nowhere else, and as it was sent where the mailbox has it; no link in it can be used."""
    found = json.loads(anlass("export", "ana", "--project", shop).out)
    assert list(found) == [
        "customer", "exported_at", "about", "profile", "consents", "suppression", "messages", "tasks", "journal",
        "dead_letters",
    ]  # fmt: skip
    assert {record["channel"] for record in found["consents"]} == {"email", "sms"}
    assert any(record.get("proof", {}).get("ip") == "192.0.2.7" for record in found["consents"])
    (message,) = found["messages"]
    assert message["content"]["source"] == "made again from template email/welcome as it is now"
    assert message["content"]["subject"]
    assert "http://127" not in message["content"]["text"]
    assert "Unsubscribe (a-link-made-for-this-message)" in message["content"]["text"]
    mailbox = bootstrap.open_mailbox(shop / "var")
    sent = OutgoingMessage(
        id=message["message"]["id"],
        channel="email",
        to="ana@shop.example",
        subject="As it was",
        text="Hi",
        date_ms=AT_MS,
    )
    mailbox.add(sent)
    mailbox.close()
    (message,) = json.loads(anlass("export", "ana", "--project", shop).out)["messages"]
    assert message["content"] == {"source": "the local mailbox", "subject": "As it was", "text": "Hi"}


def test_the_page_has_what_the_data_has_and_nothing_from_elsewhere(shop: Path) -> None:
    """Every section with its explanation, every text that somebody wrote as text; no script, no link, no picture."""
    page = shop / "ana.html"
    assert anlass("export", "ana", "--html", "-o", page, "--project", shop).status == 0
    text = page.read_text("utf-8")
    tags = _Tags()
    tags.feed(text)
    assert not tags.tags & {"script", "a", "img", "link", "iframe", "form", "b"}
    assert not tags.attributes & {"href", "src", "onclick", "style"}
    assert tags.text.count(EVIL) >= 2
    assert "Yes, <b>write</b> to me" in tags.text
    found = json.loads(anlass("export", "ana", "--project", shop).out)
    for told in found["about"].values():
        assert told in tags.text
    for title in (
        "Profile",
        "Consent (2)",
        "Messages (1)",
        f"Decisions ({len(found['journal'])})",
        "Input that could not be",
    ):
        assert title in tags.text
    assert "192.0.2.7" in tags.text
    assert "invalid_type" in tags.text


def test_a_project_that_does_not_compile_still_has_its_data_exported(shop: Path) -> None:
    """Somebody is in the middle of editing; only the content cannot be made again, and it says so."""
    (shop / "workflows" / "welcome.yaml").write_text("workflow: [")
    done = anlass("export", "ana", "--project", shop)
    assert done.status == 0, done.err
    (message,) = json.loads(done.out)["messages"]
    assert "cannot be read" in message["content"]["source"]
    assert anlass("export", "nobody", "--html", "--project", shop).status == 1

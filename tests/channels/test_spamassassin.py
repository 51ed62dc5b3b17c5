"""Every shipped template against a real SpamAssassin, as the channel sends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from channels.contract import OutgoingMessage
from channels.mail.email import EmailChannel
from channels.mail.mime import LINE_BYTES_MAX
from engine.dispatch.templates.render import Template
from engine.dispatch.templates.template_set import TemplateSet
from engine.errors import ServiceUnreachable
from tests.services.spamassassin import scored, spamassassin

ROOT = Path(__file__).parents[2]
SCORE_MAX = 1.0
Opened = Callable[..., AbstractAsyncContextManager[EmailChannel]]


def _shipped() -> list[tuple[str, Template]]:
    """Every mail that we ship, in every language."""
    found: list[tuple[str, Template]] = []
    for folder in ("templates", "engine/cli/starter/templates"):
        templates = TemplateSet.load(ROOT / folder)
        assert templates.check() == []
        for channel in ("email", "newsletter"):
            for name in templates.names(channel):
                found += [(folder, template) for template in templates.variants(channel, name)]
    return found


def _message(number: int, template: Template) -> OutgoingMessage:
    """What `anlass send-test` makes of it."""
    context = template.sample_context()
    rendered = template.render(context)
    bulk = "unsubscribe_url" in template.names()
    return OutgoingMessage(
        id=f"{number:032x}",
        channel="email",
        to="ana@example.com",
        to_name="Ana Maier",
        from_=rendered.from_,
        reply_to=rendered.reply_to,
        subject=rendered.subject,
        html=rendered.html or None,
        text=rendered.text,
        date_ms=1_796_050_000_000,
        purpose="marketing" if bulk else "transactional",
        list_unsubscribe_url=context["unsubscribe_url"] if bulk else None,
    )


def _long_row(folder: Path) -> Template:
    """A table that its editor wrote on one line as long as a line may be, below a preheader in the colour of its ground."""
    (folder / "email").mkdir(parents=True)
    preheader = "<div style='display:none;color:#ffffff'>Your cups are here</div>"
    longest = 0
    for padding in ("", "cup "):
        cells = "".join(f"<td style='padding:4px'>Cup {each}, blue</td>" for each in range(20))
        text = (padding * 250)[: LINE_BYTES_MAX - longest]
        body = f"<html><body>\n{preheader}<p>Hello Ana,</p>\n<table><tr><td>{text}</td>{cells}</tr></table>\n</body></html>"
        (folder / "email" / "cups.html").write_text(f"---\nsubject: Your cups\n---\n{body}\n")
        template = TemplateSet.load(folder).find("email", "cups")
        longest = max(map(len, template.render(template.sample_context()).html.splitlines()))
    assert longest == LINE_BYTES_MAX
    return template


@pytest.fixture
def command(outside: None) -> list[str]:
    """SpamAssassin's; skips when this machine cannot have it."""
    try:
        return spamassassin()
    except ServiceUnreachable as error:
        pytest.skip(str(error))


@pytest.mark.timeout(300)
async def test_no_shipped_mail_looks_like_spam(
    command: list[str], opened: Opened, smtp_double: Callable[..., Any], tmp_path: Path
) -> None:
    """All of them in one process; a line for each that scores, with the rules that it hits."""
    shipped = [*_shipped(), ("a long row", _long_row(tmp_path / "long"))]
    assert len(shipped) > 60
    server = smtp_double()
    marks = {"return_path": "b+{id}@bounces.shop.example", "mark_secret": "a secret of the tests"}
    async with opened(server, from_="Lindenhof <hello@shop.example>", connections=1, **marks) as channel:
        for number, (_, template) in enumerate(shipped):
            await channel.send(_message(number, template))
    mails = [accepted.content for accepted in server.accepted]
    rules = await asyncio.to_thread(scored, command, mails, tmp_path)
    assert len(rules) == len(shipped)
    high = []
    for number, (folder, template) in enumerate(shipped):
        hit = rules[f"<{number:032x}@shop.example>"]
        if sum(hit.values()) >= SCORE_MAX:
            high.append(f"{folder}/{template.file}: {sum(hit.values()):.1f} {hit}")
    assert not high, "\n".join(high)

"""`anlass send-test` sends what a customer would get, and nothing in it belongs to one."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from engine.dispatch.links.tokens import TokenSigner
from engine.errors import NotFound
from engine.settings import load_settings
from tests.channels.conftest import smtp_double as _smtp_double
from tests.cli.conftest import anlass

smtp_double = _smtp_double  # a fixture of the tests of channels, for these, too


async def test_a_test_has_the_ways_out_of_a_real_mail(project: Path, smtp_double: Callable[..., Any]) -> None:
    """https, one click and mail, on the shop's own domain; the token is nobody's, and the address no message's."""
    server = smtp_double()
    await server.start()
    env = {
        "ANLASS_EMAIL__HOST": "127.0.0.1",
        "ANLASS_EMAIL__PORT": str(server.port),
        "ANLASS_EMAIL__FROM": "Shop <hello@shop.example>",
        "ANLASS_EMAIL__RETURN_PATH": "b+{id}@bounces.shop.example",
        "ANLASS_COLLECTOR__PUBLIC_URL": "https://mail.shop.example",
        "ANLASS_COLLECTOR__WRITE_KEYS": "0123456789abcdef0123456789abcdef",
    }
    arguments = ("send-test", "tips", "--to", "me@shop.example", "--project", project)
    done = await asyncio.to_thread(anlass, *arguments, env=env)
    assert done.status == 0, done.err
    (accepted,) = server.accepted
    mail = email.message_from_bytes(accepted.content, policy=email.policy.default)
    https, mailto = (way.strip().strip("<>") for way in str(mail["List-Unsubscribe"]).split(","))
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["List-Id"] == "<marketing.shop.example>"
    assert mailto == f"mailto:{accepted.sender}?subject=unsubscribe"
    way = urlsplit(https)
    assert (way.netloc, way.path.split("/")[1]) == ("mail.shop.example", "u")
    signer = TokenSigner(load_settings(project).link_secret())
    with pytest.raises(NotFound):
        signer.read("unsubscribe", way.path.split("/")[2])
    html = mail.get_body(("html",))
    assert html is not None
    assert https in html.get_content()


def test_a_template_that_nothing_sends_yet_is_found_by_its_name(project: Path) -> None:
    """In the folder of any channel, not only of those that some workflow uses."""
    (project / "templates/print").mkdir()
    (project / "templates/print/voucher.txt").write_text("A voucher for you.")
    address = '{"street": "Hauptstr. 1", "postalCode": "10115", "city": "Berlin"}'
    done = anlass("send-test", "voucher", "--to", address, "--project", project)
    assert done.status == 0, done.err
    assert "templates/print/voucher.txt" in done.out or "print/voucher.txt" in done.out

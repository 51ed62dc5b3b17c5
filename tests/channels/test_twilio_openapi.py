"""Our requests have the shape that Twilio publishes: its OpenAPI document, checked by Prism in front of nothing.

`twilio_api/messages_and_calls.json` is `spec/json/twilio_api_v2010.json` of github.com/twilio/twilio-oai (commit d50069b, MIT,
see the licence beside it) with the two paths that we use and what they refer to; nothing else is changed. Prism checks the
shape of requests, not behaviour; of answers it is not asked, since the document's own examples do not fit it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from channels.contract import Receipt
from engine.demo.telephone import ACCOUNT_SID, Telephone
from tests.channels.twilio_stage import NOW_MS, message, opened
from tests.collector.test_real_sdks import CACHE, installed

PRISM = "@stoplight/prism-cli@5.14.2"
DOCUMENT = Path(__file__).parent / "twilio_api" / "messages_and_calls.json"
START_SECONDS_MAX = 90.0

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def prism(npm: None) -> Iterator[str]:
    """The address of a Prism that answers with the document's own examples, and refuses what does not fit."""
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", ".", PRISM]
    mend = f"{PRISM} is missing; it needs Node.js 20 with npm, which needs its package index"
    folder = installed(CACHE / "prism-cli-5.14.2", command, mend)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    program = [str(folder / "node_modules" / ".bin" / "prism"), "mock", "-p", str(port), str(DOCUMENT)]
    process = subprocess.Popen(
        program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "CI": "1"}
    )
    try:
        give_up = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < give_up and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        assert process.poll() is None, "Prism ended"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _at(url: str) -> Telephone:
    telephone = Telephone(now_ms=lambda: NOW_MS)
    telephone.base_url = url
    return telephone


WAYS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("sms", {}, {}),
    ("sms", {"messaging_service": "MG" + "1" * 32}, {"text": "Grüße 😀 & more <b>"}),
    ("sms", {"from": "Lindenhof"}, {"list_unsubscribe_url": "https://shop.example/u/x"}),
    ("sms", {"public_url": "https://mail.shop.example"}, {}),
    ("whatsapp", {}, {}),
    ("whatsapp", {"whatsapp_templates": {"sent": "HX" + "2" * 32}}, {"template": "sent", "data": {"1": "Ana"}}),
    ("voice", {"public_url": "https://mail.shop.example"}, {"locale": "de"}),
]


@pytest.mark.parametrize(("name", "settings", "changes"), WAYS)
async def test_a_request_of_each_kind_fits(
    prism: str, name: str, settings: dict[str, Any], changes: dict[str, Any]
) -> None:
    """Prism takes it and answers 201 with the document's example."""
    async with opened(_at(prism), name, timeout_seconds=20.0, **settings) as channel:
        receipt = await channel.send(message(channel=name, **changes))
        assert isinstance(receipt, Receipt)
        assert receipt.provider_id


async def test_the_listing_of_calls_fits(prism: str) -> None:
    """Its first page: the next one that the document's example names does not fit the document."""
    async with opened(_at(prism), "voice", timeout_seconds=20.0) as channel, channel._account.asking() as api:
        assert list(await api.calls.page_async(to="+4915112345678", from_="+4930123456", page_size=200))


@pytest.mark.parametrize("name", ["sms", "whatsapp"])
async def test_the_listings_fit(prism: str, name: str) -> None:
    """The search for an unknown message asks in the document's words too: it is answered, and finds nothing of ours."""
    async with opened(_at(prism), name, timeout_seconds=20.0) as channel:
        assert await channel.resolve(message(channel=name, text="nobody said this"), since_ms=NOW_MS + 10**12) is None


async def test_what_does_not_fit_is_refused(prism: str) -> None:
    """Without `To`, with an account's id that is none, without a login: this check can fail."""
    base = f"{prism}/2010-04-01/Accounts"
    login = {"Authorization": aiohttp.encode_basic_auth(ACCOUNT_SID, "token")}
    async with aiohttp.ClientSession() as http:
        for account, form, headers, status in (
            (ACCOUNT_SID, {"To": "+4915112345678", "From": "+4930123456", "Body": "x"}, login, 201),
            (ACCOUNT_SID, {"From": "+4930123456", "Body": "x"}, login, 422),
            ("AC1", {"To": "+4915112345678", "Body": "x"}, login, 422),
            (ACCOUNT_SID, {"To": "+4915112345678", "MessagingServiceSid": "x", "Body": "x"}, login, 422),
            (ACCOUNT_SID, {"To": "+4915112345678", "Body": "x"}, {}, 401),
        ):
            async with http.post(f"{base}/{account}/Messages.json", data=form, headers=headers) as answer:
                assert answer.status == status, (account, form)

"""Webhooks: signed as the reference library checks it, to the right endpoint, never into our own network, once per id."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from channels.conformance import Conformance, Fault, Received, Stage
from channels.contract import OutgoingMessage, PermanentError, TransientError, UnknownOutcome, Unsupported, Verdict
from channels.outbound import ANSWER_BYTES_MAX, Outbound, OutboundSettings
from channels.webhook import Endpoint, WebhookChannel, WebhookSettings, body_of, create, key_of, sign
from tests.channels.webhook_double import SECRET, WebhookDouble

STATUS = {Fault.BUSY: 429, Fault.REFUSED: 422, Fault.DENIED: 401}


def _channel(double: WebhookDouble, **changes: Any) -> WebhookChannel:
    fields: dict[str, Any] = {
        "endpoints": {
            "crm": Endpoint(url=f"{double.url}/crm"), "erp": Endpoint(url=f"{double.url}/erp"),
            "forgetful": Endpoint(url=f"{double.url}/forgetful", dedupes=False),
        },
        "secret": SECRET, "allow_hosts": ("127.0.0.1",), "timeout_seconds": 1.0,
    }  # fmt: skip
    return WebhookChannel(WebhookSettings(**(fields | changes)))


@pytest.fixture
async def double() -> AsyncIterator[WebhookDouble]:
    """A receiver that works."""
    made = WebhookDouble()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def message() -> Callable[..., OutgoingMessage]:
    """A message to `crm`, with the fields a test names changed."""

    def build(n: int = 1, **changes: Any) -> OutgoingMessage:
        fields: dict[str, Any] = {
            "id": f"{n:032x}",
            "channel": "webhook",
            "to": "crm",
            "text": "",
            "date_ms": 1_790_000_000_123,
        }
        return OutgoingMessage(**(fields | changes))

    return build


class TestWebhook(Conformance):
    """The suite, with a receiver that checks every signature."""

    faults = frozenset({*STATUS, Fault.DOWN, Fault.LOST, Fault.SILENT})

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Stage]:
        double = WebhookDouble()
        await double.start()
        endpoints = {f"e{n}": Endpoint(url=f"{double.url}/e{n}", dedupes=n != 1) for n in range(50)}

        async def play(fault: Fault) -> None:
            double.status = STATUS.get(fault, 200)
            double.lose, double.hang = fault is Fault.LOST, fault is Fault.SILENT
            if fault is Fault.DOWN:
                await double.stop()
            elif double._runner is None:
                await double.start()

        def received() -> list[Received]:
            return [
                Received(
                    id=headers["webhook-id"], to=path[1:], text=json.loads(body)["text"],
                    raw=str(headers).encode() + body,
                )
                for path, headers, body in double.taken
            ]  # fmt: skip

        channel = _channel(double, endpoints=endpoints)
        yield Stage(channel=channel, received=received, play=play, address="e{}".format, personal=False)
        await double.stop()


async def test_the_reference_library_accepts_it(double: WebhookDouble, message: Callable[..., OutgoingMessage]) -> None:
    """Id, moment and signature as Standard Webhooks has them; the body is our own form when the template gives no JSON."""
    channel = _channel(double)
    await channel.open()
    await channel.send(
        message(text="Hi", template="order", customer="ana", data={"total": 3.5}, purpose="transactional")
    )
    await channel.close()
    [(path, headers, body)] = double.taken
    assert (path, headers["Content-Type"]) == ("/crm", "application/json")
    assert Webhook(SECRET).verify(body, headers) == {
        "message": f"{1:032x}", "template": "order", "customer": "ana", "purpose": "transactional", "locale": "",
        "timestamp": "2026-09-21T14:13:20.123Z", "data": {"total": 3.5}, "text": "Hi",
    }  # fmt: skip
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 5


@given(st.binary(min_size=24, max_size=64), st.integers(0, 2**31), st.text(max_size=200))
def test_the_signature_is_the_reference_librarys(key: bytes, stamp: int, body: str) -> None:
    """For any key, moment and body."""
    from datetime import UTC, datetime

    encoded = body.encode("utf-8", "replace")
    wanted = Webhook(key).sign("msg_1", datetime.fromtimestamp(stamp, UTC), encoded.decode())
    assert sign(key, "msg_1", stamp, body=encoded) == wanted
    assert key_of("whsec_" + base64.b64encode(key).decode()) == key


async def test_the_json_of_a_template_is_the_body(
    double: WebhookDouble, message: Callable[..., OutgoingMessage]
) -> None:
    """As it is, byte for byte; what begins like JSON and is none never leaves."""
    channel = _channel(double)
    await channel.open()
    await channel.send(message(text='\n{"event": "ü", "n": [1, 2]}\n'))
    assert double.taken[0][2] == '{"event": "ü", "n": [1, 2]}'.encode()
    for text in ('{"a": }', "[1, 2", '{"a": NaN}', '{"a": 1} {"b": 2}', "{", "[" * 100_000, '{"a": "\ud800"}'):
        with pytest.raises(PermanentError) as caught:
            await channel.send(message(text=text))
        assert (caught.value.code, caught.value.address_verdict) == ("not_json", Verdict.MESSAGE)
    assert len(double.calls) == 1
    await channel.close()


async def test_the_endpoint_is_the_one_named(double: WebhookDouble, message: Callable[..., OutgoingMessage]) -> None:
    """By `to`; without one the only one there is; an unknown one is refused and says which there are."""
    channel = _channel(double)
    await channel.open()
    await channel.send(message(1, to="erp"))
    with pytest.raises(PermanentError, match="crm, erp, forgetful"):
        await channel.send(message(2, to="default"))
    await channel.close()
    alone = _channel(double, endpoints={"only": Endpoint(url=f"{double.url}/only")})
    await alone.open()
    await alone.send(message(3, to="default"))
    await alone.close()
    assert [path for path, _, _ in double.taken] == ["/erp", "/only"]


async def test_two_secrets_sign_while_one_is_replaced(
    double: WebhookDouble, message: Callable[..., OutgoingMessage]
) -> None:
    """Old and new both verify; an endpoint's own secret goes before the common one."""
    new = "whsec_" + base64.b64encode(b"n" * 32).decode()
    other = "whsec_" + base64.b64encode(b"o" * 32).decode()
    channel = _channel(double, secret=f"{SECRET} {new}", secrets={"erp": SECRET, "forgetful": other})
    await channel.open()
    await channel.send(message(1))
    _, headers, body = double.taken[0]
    assert Webhook(new).verify(body, headers)
    await channel.send(message(2, to="erp"))
    _, headers, body = double.taken[1]
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(new).verify(body, headers)
    await channel.close()


@pytest.mark.parametrize(
    ("status", "kind", "verdict"),
    [
        (400, PermanentError, Verdict.MESSAGE), (401, PermanentError, Verdict.OUR_FAULT), (404, PermanentError, Verdict.MESSAGE),
        (410, PermanentError, Verdict.OUR_FAULT), (301, PermanentError, Verdict.OUR_FAULT),
        (307, PermanentError, Verdict.OUR_FAULT),
        (304, PermanentError, Verdict.OUR_FAULT), (408, TransientError, None), (425, TransientError, None),
        (429, TransientError, None), (500, TransientError, None), (503, TransientError, None), (599, TransientError, None),
    ],
)  # fmt: skip
async def test_each_answer_means_one_thing(
    double: WebhookDouble,
    message: Callable[..., OutgoingMessage],
    status: int,
    kind: type[Any],
    verdict: Verdict | None,
) -> None:
    """And a redirect is not followed, wherever it leads."""
    channel = _channel(double)
    await channel.open()
    double.status, double.headers = status, {"Location": f"{double.url}/elsewhere", "Retry-After": "120"}
    with pytest.raises(kind) as caught:
        await channel.send(message())
    await channel.close()
    assert len(double.calls) == 1
    assert getattr(caught.value, "address_verdict", None) is verdict
    if kind is TransientError:
        assert caught.value.retry_after_seconds == 120


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0), ("99999999999999", 86_400.0), ("Sun, 22 Nov 2026 10:01:00 GMT", 60.0),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0.0), ("-5", None), ("soon", None), ("", None), ("١٢", None), ("1e3", None),
        ("Sun, 99 Nov 2026 10:00:00 GMT", None), ("NaN", None),
    ],
)  # fmt: skip
async def test_the_wish_to_wait_is_read(
    double: WebhookDouble, message: Callable[..., OutgoingMessage], value: str, seconds: float | None
) -> None:
    """As seconds or as a date, seen from the answer's own date; nonsense is not a wish."""
    channel = _channel(double)
    await channel.open()
    double.status, double.headers = 429, {"Retry-After": value, "Date": "Sun, 22 Nov 2026 10:00:00 GMT"}
    with pytest.raises(TransientError) as caught:
        await channel.send(message())
    assert caught.value.retry_after_seconds == seconds
    await channel.close()


async def test_a_lost_answer_is_asked_for_again_only_where_ids_are_kept(
    double: WebhookDouble, message: Callable[..., OutgoingMessage]
) -> None:
    """The same id and bytes come again; a receiver that keeps no ids leaves it unknown."""
    channel = _channel(double)
    await channel.open()
    double.lose = True
    with pytest.raises(TransientError):
        await channel.send(message())
    with pytest.raises(UnknownOutcome):
        await channel.send(message(2, to="forgetful"))
    double.lose = False
    await channel.send(message())
    await channel.close()
    first, _, again = double.calls
    assert first[1]["webhook-id"] == again[1]["webhook-id"]
    assert first[2] == again[2]
    assert not channel.capabilities.idempotent


async def test_of_an_endless_answer_only_the_start_is_read(
    double: WebhookDouble, message: Callable[..., OutgoingMessage]
) -> None:
    """The status is what counts; the rest is neither waited for nor kept."""
    channel = _channel(double)
    await channel.open()
    double.endless = True
    receipt = await asyncio.wait_for(channel.send(message()), 5)
    assert receipt.response == "endpoint crm answered 200"
    outbound = Outbound(OutboundSettings(allow_hosts=frozenset({"127.0.0.1"})))
    await outbound.open()
    stamp = str(int(time.time()))
    signature = sign(b"k" * 32, "x", int(stamp), body=b"{}")
    headers = {"webhook-id": "x", "webhook-timestamp": stamp, "webhook-signature": signature}
    answer = await outbound.post(f"{double.url}/x", b"{}", headers=headers, repeatable=True)
    assert len(answer.text) == ANSWER_BYTES_MAX
    await double.stop()
    await outbound.close()
    await channel.close()


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"endpoints": {}, "secret": SECRET}, "name no endpoint"),
        ({"endpoints": {"crm": {"url": "https://crm.example/"}}}, "ANLASS_WEBHOOK__SECRET"),
        ({"endpoints": {"crm": {"url": "https://crm.example/"}}, "secret": "hush"}, "whsec_"),
        ({"endpoints": {"crm": {"url": "https://crm.example/"}}, "secret": "whsec_aGk="}, "24 to 64 bytes"),
        ({"endpoints": {"crm": {"url": "https://crm.example/"}}, "secret": SECRET, "secrets": {"cmr": SECRET}}, "cmr"),
        ({"endpoints": {"C R M": {"url": "https://crm.example/"}}, "secret": SECRET}, "bad name"),
        ({"endpoints": {"crm": {"url": "http://10.0.0.7/"}}, "secret": SECRET}, "allow_hosts"),
        ({"endpoints": {"crm": {"url": "https://localhost/"}}, "secret": SECRET}, "allow_hosts"),
        ({"endpoints": {"crm": {"uri": "https://crm.example/"}}, "secret": SECRET}, "uri"),
        (
            {"endpoints": {"crm": {"url": "https://crm.example/"}}, "secret": SECRET, "timeout_seconds": 0},
            "timeout_seconds",
        ),
    ],
)
def test_bad_settings_are_refused_with_the_mend(section: dict[str, Any], sentence: str) -> None:
    """And no secret is repeated."""
    with pytest.raises(ValueError, match=sentence) as caught:
        create(section)
    assert "hush" not in str(caught.value)
    assert "aGk=" not in str(caught.value)


def test_what_cannot_be_carried_is_refused(message: Callable[..., OutgoingMessage]) -> None:
    """HTML, a subject, headers; and a body without bounds."""
    for changes in ({"html": "<p>"}, {"subject": "x"}, {"headers": (("A", "b"),)}):
        with pytest.raises(Unsupported):
            body_of(message(**changes))
    with pytest.raises(PermanentError, match="at most"):
        body_of(message(text="x" * 1_000_001))

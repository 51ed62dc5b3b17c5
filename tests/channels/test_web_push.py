"""Web push: what a service gets can be decrypted by the browser only and is signed by the shop; gone devices are left out."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import http_ece
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from py_vapid import Vapid02

from channels.contract import OutgoingMessage, PermanentError, TransientError, UnknownOutcome, Unsupported, Verdict
from channels.web_push import PAYLOAD_BYTES_MAX, PushSettings, WebPushChannel, create, new_keys, payload_of
from engine.core.consent.may_send import address_of, clean_address
from engine.core.customer import CustomerState
from engine.core.effect import Decision
from engine.core.evaluate import evaluate
from engine.core.facts.push import DEVICES_MAX, address, subscriptions
from engine.core.record import Event, Identify
from tests.conformance.shop import T0, catalog


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Browser:
    """A browser with a key of its own, subscribed at a push service."""

    def __init__(self, endpoint: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.auth = b"0123456789abcdef"
        public = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.subscription = {"endpoint": endpoint, "keys": {"auth": _encoded(self.auth), "p256dh": _encoded(public)}}

    def read(self, body: bytes) -> Any:
        return json.loads(http_ece.decrypt(body, private_key=self.key, auth_secret=self.auth, version="aes128gcm"))


class Service:
    """A push service: answers by the path; `taken` is what it accepted."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, str], bytes]] = []
        self.calls = 0
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.calls += 1
        body = await request.read()
        status = int(request.match_info["status"])
        assert Vapid02.verify(request.headers["Authorization"])
        if status == 0:
            assert request.transport is not None
            request.transport.close()
        elif status < 300:
            self.taken.append((request.path, dict(request.headers), body))
        return web.Response(status=status or 200, headers={"Retry-After": "60"})


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """Listening on this machine."""
    made = Service()
    application = web.Application()
    application.router.add_post("/{status}/{name}", made.take)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def channel() -> AsyncIterator[WebPushChannel]:
    """With a new key, allowed to call this machine."""
    private, _ = new_keys()
    made = WebPushChannel(
        PushSettings(secret=private, subject="mailto:a@shop.example", allow_hosts=("127.0.0.1",), timeout_seconds=1.0)
    )
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def message() -> Callable[..., OutgoingMessage]:
    """To these browsers."""

    def build(*browsers: Browser, **changes: Any) -> OutgoingMessage:
        to = address([browser.subscription for browser in browsers])
        fields: dict[str, Any] = {
            "id": "a" * 32,
            "channel": "push",
            "to": to,
            "text": "Hello Ana\nYour parcel ü",
            "date_ms": T0,
        }
        return OutgoingMessage(**(fields | changes))

    return build


async def test_only_the_browser_can_read_it(
    service: Service, channel: WebPushChannel, message: Callable[..., OutgoingMessage]
) -> None:
    """Two devices, each with its own encryption; TTL, urgency and topic as RFC 8030 has them; the token is for the service."""
    browsers = [Browser(f"{service.url}/201/{name}") for name in "ab"]
    deadline_ms = int((time.time() + 600) * 1000)
    receipt = await channel.send(message(*browsers, priority=5, deadline_ms=deadline_ms, data={"url": "/o/1"}))
    assert (receipt.response, receipt.event) == ("2 of 2 devices", "")
    bodies = {path[-1]: (headers, body) for path, headers, body in service.taken}
    for name, browser in zip("ab", browsers, strict=True):
        headers, body = bodies[name]
        shown = browser.read(body)
        assert shown == {"title": "Hello Ana", "body": "Your parcel ü", "tag": "a" * 32, "data": {"url": "/o/1"}}
        assert (headers["Urgency"], headers["Topic"], headers["Content-Encoding"]) == ("high", "a" * 32, "aes128gcm")
        assert 590 <= int(headers["TTL"]) <= 600
        assert b"Ana" not in body
        claims = json.loads(base64.urlsafe_b64decode(headers["Authorization"].split(".")[1] + "=="))
        assert (claims["aud"], claims["sub"]) == (service.url, "mailto:a@shop.example")
        assert time.time() < claims["exp"] <= time.time() + 24 * 3600
    with pytest.raises(http_ece.ECEException):
        browsers[0].read(bodies["b"][1])


async def test_a_device_that_is_gone_is_named_and_left_out(
    service: Service, channel: WebPushChannel, message: Callable[..., OutgoingMessage]
) -> None:
    """404 and 410 of one device do not hurt the other; the customer's next address is without it."""
    here, gone, lost = (Browser(f"{service.url}/{status}/x") for status in (201, 410, 404))
    receipt = await channel.send(message(here, gone, lost))
    assert receipt.event == "Push Gone"
    assert receipt.properties == {"endpoints": [gone.subscription["endpoint"], lost.subscription["endpoint"]]}
    traits = {"push": [browser.subscription for browser in (here, gone, lost)]}
    state, _ = evaluate(catalog(), None, Identify(customer="ana", at_ms=T0, id="i", time_ms=T0, traits=traits))
    event = Event(
        customer="ana", at_ms=T0, id="m:accepted", name=receipt.event, time_ms=T0, properties=receipt.properties
    )
    state, effects = evaluate(catalog(), state, event)
    assert state is not None
    assert address_of(state, "push") == address([here.subscription])
    assert [effect.kind for effect in effects if isinstance(effect, Decision)] == ["suppressed_address"] * 2
    assert service.url not in repr(effects)


@pytest.mark.parametrize(
    ("statuses", "kind", "verdict"),
    [
        ((410, 404), PermanentError, Verdict.SUPPRESS), ((410, 503), TransientError, None), ((429,), TransientError, None),
        ((403, 410), PermanentError, Verdict.OUR_FAULT), ((413,), PermanentError, Verdict.MESSAGE),
        ((0, 503), UnknownOutcome, None),
        ((301,), PermanentError, Verdict.MESSAGE),
    ],
)  # fmt: skip
async def test_where_no_device_took_it_the_most_open_answer_counts(
    service: Service, channel: WebPushChannel, message: Callable[..., OutgoingMessage], statuses: tuple[int, ...], kind: Any,
    verdict: Verdict | None,
) -> None:  # fmt: skip
    """Unknown before for-the-moment before for-good; all gone suppresses the whole address."""
    browsers = [Browser(f"{service.url}/{status}/{number}") for number, status in enumerate(statuses)]
    with pytest.raises(kind) as caught:
        await channel.send(message(*browsers))
    assert getattr(caught.value, "address_verdict", None) is verdict
    assert service.url not in caught.value.reason


async def test_a_subscription_leads_nowhere_inside(service: Service, message: Callable[..., OutgoingMessage]) -> None:
    """It was written by a browser we do not know: private addresses and keys of no browser count as gone, nothing is called."""
    private, _ = new_keys()
    strict = WebPushChannel(PushSettings(secret=private, subject="mailto:a@shop.example"))
    await strict.open()
    odd = Browser("https://push.example/x")
    odd.subscription["keys"] = {"auth": "AAAA", "p256dh": "AAAA"}
    for browser in (
        Browser(f"{service.url}/201/x"),
        Browser("https://169.254.169.254/x"),
        Browser("https://[::1]/x"),
        odd,
    ):
        with pytest.raises(PermanentError) as caught:
            await strict.send(message(browser))
        assert caught.value.address_verdict is Verdict.SUPPRESS
    await strict.close()
    assert service.calls == 0


async def test_what_does_not_fit_is_refused(channel: WebPushChannel, message: Callable[..., OutgoingMessage]) -> None:
    """Too large, no JSON, HTML, or an address without a subscription."""
    browser = Browser("https://push.example/x")
    for changes in ({"text": "x\n" + "y" * PAYLOAD_BYTES_MAX}, {"text": '{"a": }'}):
        with pytest.raises(PermanentError) as caught:
            await channel.send(message(browser, **changes))
        assert caught.value.address_verdict is Verdict.MESSAGE
    with pytest.raises(Unsupported):
        await channel.send(message(browser, html="<p>"))
    for to in (
        "",
        "[]",
        "{}",
        "[1]",
        '[{"endpoint": 1}]',
        "[" * 10_000,
        '[{"endpoint":"https://x","keys":{}}]',
        "\ud800",
    ):
        with pytest.raises(PermanentError) as caught:
            await channel.send(message(to=to))
        assert caught.value.address_verdict is Verdict.SUPPRESS
    assert payload_of(message(browser, text='{"title": "ü"}')) == '{"title": "ü"}'.encode()


def test_bad_settings_are_refused_with_the_mend() -> None:
    """No key, half a key, no contact; and the key is not repeated."""
    private, public = new_keys()
    for section in (
        {"secret": "hush", "subject": "mailto:a@b.example"}, {"secret": public, "subject": "mailto:a@b.example"},
        {"secret": private, "subject": "a@b.example"}, {"secret": private}, {"secret": "", "subject": "mailto:a@b.example"},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="push") as caught:
            create(section)
        assert "hush" not in str(caught.value)
        assert private not in str(caught.value)


def test_subscriptions_are_read_in_every_form() -> None:
    """One, a list, JSON of either; twice the same is one; of many the newest count; what is none is left out."""
    one, two = (Browser(f"https://push.example/{name}").subscription for name in "ab")
    for value in ([one, two], json.dumps([one, two]), [one, "x", None, two, one, {"endpoint": "https://x"}]):
        assert {each["endpoint"] for each in subscriptions(value)} == {one["endpoint"], two["endpoint"]}
    assert subscriptions(one) == subscriptions(json.dumps(one)) == [one]
    many = [{**one, "endpoint": f"https://push.example/{number}"} for number in range(30)]
    assert [each["endpoint"][-2:] for each in subscriptions(many)] == [
        str(number) for number in range(30 - DEVICES_MAX, 30)
    ]
    assert clean_address(json.dumps(one), "push") == address(one)
    state = CustomerState(id="a", traits={"push": [one, two]}, suppressed={f"push:{one['endpoint']}": "gone"})
    assert address_of(state, "push") == address([two])


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_no_trait_breaks_the_reading(value: Any) -> None:
    """Whatever a page sends as a subscription."""
    assert isinstance(address(value), str)

"""Where a webhook may lead: bad URLs, special addresses, names that lead inside or change their mind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.contract import OutgoingMessage, PermanentError, TransientError, Verdict
from channels.outbound import parsed, refused_address
from channels.webhook import Endpoint, WebhookChannel, WebhookSettings
from tests.channels.webhook_double import SECRET, WebhookDouble


@pytest.fixture
async def double() -> AsyncIterator[WebhookDouble]:
    """A receiver that works."""
    made = WebhookDouble()
    await made.start()
    yield made
    await made.stop()


def message(n: int = 1, *, to: str = "crm") -> OutgoingMessage:
    """The n-th message."""
    return OutgoingMessage(id=f"{n:032x}", channel="webhook", to=to, text="", date_ms=1_790_000_000_123)


INSIDE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "100.100.100.200", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.88.99.1", "168.63.129.16", "::", "::1", "::127.0.0.1",
    "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2002:7f00:1::", "2002:808:808::", "3fff::1", "5f00::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "ff02::1", "ff0e::1", "no address", "",
]  # fmt: skip


def test_no_special_address_may_be_called() -> None:
    """Private, loopback, link-local, shared, multicast, reserved, translated, mapped, tunnelled; plain public ones may."""
    assert [address for address in INSIDE if not refused_address(address)] == []
    public = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "172.15.0.1", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"]
    assert [address for address in public if refused_address(address)] == []


BAD_URLS = [
    "", "https://", "https:///x", "//crm.example/x", "crm.example", "ftp://crm.example/", "file:///etc/passwd",
    "gopher://crm.example/", "javascript:alert(1)", "http://crm.example/", "https://user:pw@crm.example/", "https://u@crm.example/",
    "https://crm.example:99999/", "https://crm.example:0/", "https://crm.example:x/", "https://crm.example/a b",
    "https://crm.example/\r\nX: y", "https://crm.example/\n", "https://crm.example/\x00", "https://[::1/",
    "https://" + "a" * 2_000,
    "https://localhost/", "https://LOCALHOST/", "https://x.localhost/", "https://127.0.0.1/", "https://127.1/", "https://2130706433/",
    "https://0/", "https://0177.0.0.1/", "https://017700000001/", "https://10.0.0.1/", "https://169.254.169.254/latest/meta-data/",
    "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[64:ff9b::a00:1]/", "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/", "https://[2002:a00:1::]/", "https://192.168.1.1./", "https://①②⑦.⓪.⓪.①/",
]  # fmt: skip


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_bad_url_is_refused(url: str) -> None:
    """Every form that leads nowhere, inside, or elsewhere than it seems."""
    with pytest.raises(ValueError, match=r"\w"):
        parsed(url, frozenset())


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading_of_urls(text: str) -> None:
    """It is an https address of a name or of a public number, or refused with a reason."""
    for url in (text, f"https://{text}", f"https://{text}/x"):
        try:
            found = parsed(url, frozenset())
        except ValueError:
            continue
        assert found.scheme == "https"
        assert found.host
        assert not refused_address(found.host) or not found.host.replace(".", "").isdigit()


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]]
)
async def test_a_name_that_leads_inside_is_never_called(double: WebhookDouble, addresses: list[str]) -> None:
    """Also when only one of its addresses does; nothing arrives, and the operator is told."""

    async def resolve(host: str, port: int) -> list[str]:
        return addresses

    settings = WebhookSettings(
        endpoints={"crm": Endpoint(url=f"https://crm.example:{double.port}/")}, secret=SECRET, timeout_seconds=1.0
    )
    channel = WebhookChannel(settings, resolve=resolve)
    await channel.open()
    with pytest.raises(PermanentError) as caught:
        await channel.send(message())
    assert (caught.value.code, caught.value.address_verdict) == ("address_refused", Verdict.OUR_FAULT)
    assert "127.0.0.1" not in caught.value.reason
    await channel.close()
    assert double.calls == []


async def test_a_name_that_changes_its_mind_is_resolved_once(double: WebhookDouble) -> None:
    """Public when it is checked and inside when it is called: the second answer is never asked for."""
    answers = [["203.0.114.1"], ["127.0.0.1"]]
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers.pop(0)

    settings = WebhookSettings(
        endpoints={"crm": Endpoint(url=f"https://crm.example:{double.port}/")}, secret=SECRET, timeout_seconds=0.5
    )
    channel = WebhookChannel(settings, resolve=resolve)
    await channel.open()
    send = asyncio.create_task(channel.send(message()))
    await asyncio.wait({send}, timeout=1.0)
    send.cancel()
    await asyncio.gather(send, return_exceptions=True)
    assert asked == ["crm.example"]
    assert double.calls == []
    await channel.close()


async def test_an_allowed_host_may_be_inside(double: WebhookDouble) -> None:
    """By its name, whatever address it has; only that one."""

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    settings = WebhookSettings(
        endpoints={
            "inner": Endpoint(url=f"http://erp.internal:{double.port}/in"),
            "outer": Endpoint(url=f"https://crm.example:{double.port}/out"),
        },
        secret=SECRET, allow_hosts=("ERP.internal",), timeout_seconds=1.0,
    )  # fmt: skip
    channel = WebhookChannel(settings, resolve=resolve)
    await channel.open()
    await channel.send(message(1, to="inner"))
    with pytest.raises(PermanentError):
        await channel.send(message(2, to="outer"))
    await channel.close()
    assert [path for path, _, _ in double.taken] == ["/in"]


async def test_a_name_that_is_not_known_is_tried_later() -> None:
    """The resolver may be down; nothing was sent."""

    async def resolve(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    settings = WebhookSettings(endpoints={"crm": Endpoint(url="https://crm.example/")}, secret=SECRET)
    channel = WebhookChannel(settings, resolve=resolve)
    await channel.open()
    with pytest.raises(TransientError) as caught:
        await channel.send(message())
    assert caught.value.code == "connect"
    assert "crm.example" not in caught.value.reason
    await channel.close()

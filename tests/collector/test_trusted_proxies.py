"""Whose address counts behind a proxy; and forms that are sent a thousand times."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from engine.collector.client import FORMS_MIN, FormOrigins, Proxies
from engine.core.record import Consent
from engine.settings import CollectorSection
from tests.collector.conftest import Collector

MESSAGE = "m" * 32
behind_a_proxy = pytest.mark.parametrize(
    "settings", [CollectorSection(trusted_proxies=("127.0.0.1/32", "10.0.0.0/8"))], ids=["trusted"]
)


async def _confirm(collector: Collector, customer: str) -> str:
    """The address of a confirmation, in a message that the customer really has."""
    traits = {"email": f"{customer}@example.com", "consent": {"marketing": ["email"]}}
    await collector.post("/v1/identify", {"userId": customer, "traits": traits})
    await collector.post("/v1/track", {"userId": customer, "event": "News Asked For"})
    (sent,) = await collector.runtime.messages(customer=customer)
    token = collector.signer.confirm(sent.message.id, customer, purposes={"marketing": ["email"]})
    return f"{collector.url}/confirm/{token}"


@behind_a_proxy
@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("203.0.113.9, 192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, 10.1.2.3", "192.0.2.7"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("nonsense", "127.0.0.1"),
        ("192.0.2.7, nonsense", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
async def test_the_proof_holds_the_customers_address(told: str, address: str, collector: Collector) -> None:
    """The last entry that no trusted proxy is; what a customer wrote before it is not believed."""
    async with collector.http.post(await _confirm(collector, "c1"), headers={"X-Forwarded-For": told}) as answer:
        assert answer.status == 200
    [consent] = [record for record in collector.records if isinstance(record, Consent)]
    assert consent.proof["ip"] == address


async def test_a_proxy_that_nobody_named_is_not_believed(collector: Collector) -> None:
    """Also not on this machine: anybody could write that header."""
    await collector.http.post(await _confirm(collector, "c1"), headers={"X-Forwarded-For": "192.0.2.7"})
    [consent] = [record for record in collector.records if isinstance(record, Consent)]
    assert consent.proof["ip"] == "127.0.0.1"


async def test_many_customers_behind_one_address_are_all_served(collector: Collector) -> None:
    """Three times what one link may within a minute, through a proxy; one link still has its limit."""
    links = [await _confirm(collector, f"c{number}") for number in range(60)]
    for link in links:
        async with collector.http.post(link) as answer:
            assert answer.status == 200
    statuses = [(await collector.http.post(links[1])).status for _ in range(25)]
    assert statuses.count(429) == 25 - 19


async def test_the_same_unsubscribing_again_writes_nothing(collector: Collector) -> None:
    """A thousand posts of one link are one withdrawal."""
    await collector.post("/v1/identify", {"userId": "c1", "traits": {"consent": {"marketing": ["email"]}}})
    path = "/u/" + collector.signer.unsubscribe(MESSAGE, "c1", purpose="marketing", channel="email")
    before = len(collector.records)
    for _ in range(60):
        async with collector.http.post(collector.url + path) as answer:
            await collector.runtime.state("c1")
            assert answer.status in {200, 429}
    assert len(collector.records) - before <= 40


async def test_the_same_unsubscribing_again_is_one_record_once_it_is_applied(collector: Collector) -> None:
    """And works again after consent was given anew."""
    path = "/u/" + collector.signer.unsubscribe(MESSAGE, "c1", purpose="marketing", channel="email")
    await collector.http.post(collector.url + path)
    collector.runtime.advance_to(collector.clock.now_ms() + 1_000)
    before = len(collector.records)
    for _ in range(5):
        assert (await collector.http.post(collector.url + path)).status == 200
    assert len(collector.records) == before


@pytest.mark.parametrize(("customers", "warned"), [(1, False), (5, True)])
def test_forms_that_all_come_from_this_machine_are_said_once(
    customers: int, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """A proxy is there that nobody named, when several customers have one loopback address."""
    sources = FormOrigins()
    for number in range(3 * FORMS_MIN):
        sources.note("127.0.0.1", f"c{number % customers}")
    said = capsys.readouterr()
    assert (said.out + said.err).count("proxy_not_trusted") == int(warned)


def test_forms_from_elsewhere_are_as_they_should_be(capsys: pytest.CaptureFixture[str]) -> None:
    """One address of the world is enough to know that addresses are known."""
    sources = FormOrigins()
    sources.note("192.0.2.7", "c")
    for number in range(3 * FORMS_MIN):
        sources.note("127.0.0.1", f"c{number}")
    said = capsys.readouterr()
    assert "proxy_not_trusted" not in said.out + said.err


def test_without_a_connection_there_is_no_address() -> None:
    """A socket that is gone."""
    assert Proxies(["127.0.0.1"]).client(make_mocked_request("GET", "/")) == ""

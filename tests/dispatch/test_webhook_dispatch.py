"""A workflow's webhook from an event to a receiver, through settings, templates, retries and the policy."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from engine.bootstrap.service import Service
from engine.core.record import Consent, Event, Identify
from engine.errors import DefinitionError, SettingsError
from engine.project.opening import open_project
from engine.settings import explain, load_settings
from tests.channels.webhook_double import SECRET, WebhookDouble

FILES = {
    "workflows/policy.yaml": """
policy: default
purposes:
  transactional: {consent: none}
  marketing: {consent: opt_in}
frequency:
  - {purpose: marketing, at_most: 1, per: 7d}
quiet_hours:
  - {purposes: [marketing], between: "00:00-23:59", then: hold}
""",
    "workflows/order.yaml": """
workflow: order
purpose: transactional
trigger: {event: Order Completed}
steps:
  - send: {channel: webhook, template: order}
  - send: {channel: webhook, template: plain, to: "'erp'", data: {total: event.total, tags: event.tags}}
""",
    "workflows/lead.yaml": """
workflow: lead
purpose: marketing
trigger: {event: Lead}
steps:
  - send: {channel: webhook, template: lead, to: "'erp'"}
""",
    "templates/webhook/order.txt": """\
---
to: crm
---
{"order": {{ event.order_id | tojson }}, "tags": {{ event.tags | tojson }}, "who": {{ customer.name | tojson }}}
""",
}


@pytest.fixture
async def double() -> AsyncIterator[WebhookDouble]:
    """A receiver that works."""
    made = WebhookDouble()
    await made.start()
    yield made
    await made.stop()


def _write(folder: Path, toml: str, **more: str) -> None:
    for name, text in {**FILES, **more, "anlass.toml": toml}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


def _toml(double: WebhookDouble) -> str:
    return f"""
[collector]
port = 0
[console]
port = 0
[webhook]
allow_hosts = ["127.0.0.1"]
timeout_seconds = 2
[webhook.endpoints]
crm = "{double.url}/crm"
erp = {{url = "{double.url}/erp", dedupes = false}}
"""


@contextlib.asynccontextmanager
async def _running(folder: Path) -> AsyncIterator[Service]:
    service = Service(open_project(folder))
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def _event(service: Service, name: str, **properties: Any) -> None:
    at_ms = time.time_ns() // 1_000_000
    event = Event(customer="ana", at_ms=at_ms, id=f"e-{name}-{at_ms}", name=name, time_ms=at_ms, properties=properties)
    traits = Identify(customer="ana", at_ms=at_ms, id=f"i{at_ms}", time_ms=at_ms, traits={"name": 'Ana "A" Müller'})
    await service.runtime.append([traits, event])


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not holds():
            await asyncio.sleep(0.02)


async def test_an_event_becomes_signed_calls(
    double: WebhookDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template's JSON to the endpoint of its front matter; without a template our own form to the step's `to`."""
    monkeypatch.setenv("ANLASS_WEBHOOK__SECRET", SECRET)
    _write(tmp_path, _toml(double))
    async with _running(tmp_path) as service:
        await _event(service, "Order Completed", order_id='A"1', total=12.5, tags=["a", {"b": None}])
        await _until(lambda: len(double.taken) == 2)
        taken = dict(zip([path for path, _, _ in double.taken], double.bodies(), strict=True))
        assert taken["/crm"] == {"order": 'A"1', "tags": ["a", {"b": None}], "who": 'Ana "A" Müller'}
        plain = taken["/erp"]
        assert plain["data"] == {"total": 12.5, "tags": ["a", {"b": None}]}
        assert (plain["customer"], plain["template"], plain["text"]) == ("ana", "plain", "")
        messages = await service.runtime.messages(customer="ana")
        assert {message.message.id for message in messages} == {headers["webhook-id"] for _, headers, _ in double.taken}


async def test_a_busy_receiver_gets_it_later_and_once(
    double: WebhookDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """429 keeps the message pending with its reason, not before the moment that was asked for."""
    monkeypatch.setenv("ANLASS_WEBHOOK__SECRET", SECRET)
    _write(tmp_path, _toml(double))
    double.status, double.headers = 429, {"Retry-After": "3600"}
    async with _running(tmp_path) as service:
        await _event(service, "Order Completed", order_id="1", total=1, tags=[])
        await _until(lambda: len(double.calls) == 2)
        await asyncio.sleep(0.3)
        messages = await service.runtime.messages(customer="ana")
        assert [(message.status, message.code, message.attempts) for message in messages] == [("pending", "429", 1)] * 2
    assert len(double.calls) == 2


async def test_the_shops_own_systems_need_no_consent_but_hear_of_no_objection(
    double: WebhookDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marketing without consent reaches a webhook, outside caps and quiet hours; after an objection it does not."""
    monkeypatch.setenv("ANLASS_WEBHOOK__SECRET", SECRET)
    _write(tmp_path, _toml(double))
    async with _running(tmp_path) as service:
        await _event(service, "Lead")
        await _until(lambda: len(double.taken) == 1)
        await _event(service, "Lead")
        await _until(lambda: len(double.taken) == 2)
        at_ms = time.time_ns() // 1_000_000
        purposes = {"marketing": ["email"]}
        gone = Consent(customer="ana", at_ms=at_ms, id="w", time_ms=at_ms, action="withdraw", purposes=purposes)
        await service.runtime.append([gone])
        await _event(service, "Lead")
        await service.runtime.idle()
        await asyncio.sleep(0.3)
        assert len(double.taken) == 2
        lines = (await service.runtime.decisions(_query()))[::-1]
        sends = [decision.detail for _, decision in lines if decision.kind == "send"]
        assert [detail["answer"] for detail in sends] == ["queued", "queued", "suppressed"]
        assert sends[-1]["reason"] == "unsubscribed"


def _query() -> Any:
    from engine.runtimes.base import Query

    return Query(customer="ana", workflow="lead")


def test_mistakes_in_the_settings_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoints without a secret, a secret in the shared file, and what `check --settings` says."""
    _write(tmp_path, '[webhook.endpoints]\ncrm = "https://crm.example/in"\n')
    with pytest.raises(SettingsError, match="ANLASS_WEBHOOK__SECRET"):
        load_settings(tmp_path)
    _write(tmp_path, '[webhook]\nsecrets = {crm = "x"}\n')
    with pytest.raises(SettingsError, match="this file is shared"):
        load_settings(tmp_path)
    monkeypatch.setenv("ANLASS_WEBHOOK__ENDPOINTS", '{"crm": "https://crm.example/in"}')
    monkeypatch.setenv("ANLASS_WEBHOOK__SECRETS", f'{{"crm": "{SECRET}"}}')
    monkeypatch.setenv("ANLASS_WEBHOOK__ALLOW_HOSTS", '["a.internal"]')
    _write(tmp_path, "")
    settings = load_settings(tmp_path)
    assert settings.webhook.adapter("webhook") == {
        "endpoints": {"crm": {"url": "https://crm.example/in"}}, "secrets": {"crm": SECRET}, "allow_hosts": ("a.internal",),
    }  # fmt: skip
    assert "webhook: posts to crm, signed" in explain(settings)
    assert SECRET not in repr(settings)


def test_only_own_channels_take_to_in_a_template(tmp_path: Path) -> None:
    """A mail's recipient is the customer, whatever its template says."""
    _write(tmp_path, "", **{"templates/sms/x.txt": "---\nto: crm\n---\nHi\n"})
    with pytest.raises(DefinitionError) as caught:
        open_project(tmp_path)
    assert "'to' is of task and webhook" in str(caught.value.problems[0])

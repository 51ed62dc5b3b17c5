"""One event from the request to the mail, through three processes, as one trace at a real receiver."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from engine.tracing import trace_id_of
from tests.kafka_ops.role_process import RoleProcess, command

pytestmark = pytest.mark.timeout(240)
WELCOME = """\
workflow: hello
purpose: transactional
reentry: always
trigger: {event: Tick}
steps:
  - send: {channel: email, template: hello}
"""
TEMPLATE = "---\nsubject: Hello\n---\n<p>Hello</p>\n"


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[str, list[tuple[str, Span]]]]:
    """Address of an OTLP receiver, and (service, span) of what it got."""
    spans: list[tuple[str, Span]] = []

    async def take(request: web.Request) -> web.Response:
        sent = ExportTraceServiceRequest.FromString(await request.read())
        for resource in sent.resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            spans.extend((names["service.name"], span) for scope in resource.scope_spans for span in scope.spans)
        return web.Response(body=b"", content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", spans
    await runner.cleanup()


def _post(url: str, path: str, body: Mapping[str, object]) -> int:
    request = urllib.request.Request(  # noqa: S310 - our own
        f"{url}{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": "Basic YW55Og=="},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return int(answer.status)


async def test_a_trace_goes_from_the_request_to_the_mail(
    receiver: tuple[str, list[tuple[str, Span]]], role: Callable[..., RoleProcess], project: Path, env: dict[str, str]
) -> None:
    """Collector, worker and dispatcher hand no context on, and their spans are one trace."""
    url, spans = receiver
    (project / "workflows" / "hello.yaml").write_text(WELCOME)
    (project / "templates" / "email").mkdir(parents=True, exist_ok=True)
    (project / "templates" / "email" / "hello.html").write_text(TEMPLATE)
    deployed = command("deploy", folder=project, env=env)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    otel = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_TRACES_SAMPLER": "always_on", "OTEL_BSP_SCHEDULE_DELAY": "200"}
    roles = [role(name, **otel) for name in ("collector", "worker", "dispatcher")]
    for each in roles:
        await each.ready()
    traits = {"email": "ana@example.com"}
    identified = {"userId": "ana", "messageId": "i-1", "traits": traits}
    assert await asyncio.to_thread(_post, roles[0].url, "/v1/identify", identified) == 200
    ticked = {"userId": "ana", "messageId": "web-4711", "event": "Tick"}
    assert await asyncio.to_thread(_post, roles[0].url, "/v1/track", ticked) == 200

    wanted = trace_id_of("web-4711").to_bytes(16)
    async with asyncio.timeout(60):
        while len({span.name for _, span in spans if span.trace_id == wanted}) < 3:
            await asyncio.sleep(0.1)
    found = {span.name: (service, span) for service, span in spans if span.trace_id == wanted}
    assert {name: service for name, (service, _) in found.items()} == {
        "anlass.intake": "anlass-collector",
        "anlass.evaluate": "anlass-worker",
        "anlass.send": "anlass-dispatcher",
    }
    intake, evaluate, send = (found[f"anlass.{name}"][1] for name in ("intake", "evaluate", "send"))
    assert intake.parent_span_id == b""
    assert evaluate.parent_span_id == intake.span_id
    assert send.parent_span_id == evaluate.span_id
    assert intake.start_time_unix_nano <= evaluate.start_time_unix_nano <= send.end_time_unix_nano
    assert "ana@example.com" not in "".join(map(str, (intake, evaluate, send)))
    for each in reversed(roles):
        assert await each.stop() == 0, each.log
        assert [line for line in each.lines if line["level"] == "error"] == []

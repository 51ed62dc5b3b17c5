"""Spans from event to send: the same ids in every process, sampled alike, sent by the real SDK to a real receiver."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from engine.core.message import Message
from engine.dispatch.sending.cause import cause_of
from engine.errors import SettingsError
from engine.telemetry import Metrics
from engine.tracing import TraceCause, Tracing, Words, open_tracing, ratio_of, span_id_of, trace_id_of

BATCH = {"partition": 3, "offset": 41, "records": 2}
AT_MS = 1_790_000_000_123
AT_ONCE = TraceCause("m1", "web-4711", later=False)
LATER = TraceCause("m2", "web-4711", later=True)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Where the spans of a test end."""
    return InMemorySpanExporter()


def _tracing(exporter: InMemorySpanExporter, role: str = "worker", ratio: float = 1.0) -> Tracing:
    return Tracing(SimpleSpanProcessor(exporter), role=role, ratio=ratio)


def _named(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def _ids(span: ReadableSpan) -> tuple[int, int]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def _parent(span: ReadableSpan) -> tuple[int, int] | None:
    return None if span.parent is None else (span.parent.trace_id, span.parent.span_id)


def test_three_processes_make_one_trace(exporter: InMemorySpanExporter) -> None:
    """Collector, worker and dispatcher share nothing but the event's id, and their spans hang together."""
    _tracing(exporter, "collector").took_in(["web-4711"], by="http", ended_ms=AT_MS, seconds=0.002)
    _tracing(exporter, "worker").evaluated(["web-4711"], [AT_ONCE], ended_ms=AT_MS + 5, seconds=0.001, batch=BATCH)
    words: Words = {"channel": "email", "status": "sent", "attempt": 0}
    _tracing(exporter, "dispatcher").sent(AT_ONCE, words, ended_ms=AT_MS + 30, seconds=0.02, failed=False)
    spans = _named(exporter)
    intake, evaluate, send = (spans[f"anlass.{name}"] for name in ("intake", "evaluate", "send"))
    assert _parent(intake) is None
    assert _parent(evaluate) == _ids(intake)
    assert _parent(send) == _ids(evaluate)
    assert {_ids(span)[0] for span in spans.values()} == {trace_id_of("web-4711")}
    assert [span.resource.attributes["service.name"] for span in (intake, evaluate, send)] == [
        "anlass-collector", "anlass-worker", "anlass-dispatcher",
    ]  # fmt: skip
    assert (intake.start_time, intake.end_time) == ((AT_MS - 2) * 1_000_000, AT_MS * 1_000_000)
    assert evaluate.attributes is not None
    assert evaluate.attributes["anlass.messages"] == 1
    assert evaluate.attributes["anlass.partition"] == 3


def test_what_came_later_has_a_trace_of_its_own_with_a_link(exporter: InMemorySpanExporter) -> None:
    """A mail three days after its event does not make a trace of three days."""
    tracing = _tracing(exporter)
    tracing.evaluated([], [LATER], ended_ms=AT_MS, seconds=0.001, batch=BATCH)
    tracing.sent(LATER, {"attempt": 0}, ended_ms=AT_MS, seconds=0.001, failed=True)
    spans = _named(exporter)
    evaluate, send = spans["anlass.evaluate"], spans["anlass.send"]
    assert _parent(evaluate) is None
    assert _parent(send) == _ids(evaluate)
    assert _ids(evaluate)[0] != trace_id_of("web-4711")
    [link] = evaluate.links
    assert (link.context.trace_id, link.context.span_id) == (
        trace_id_of("web-4711"),
        span_id_of("anlass.evaluate", "web-4711"),
    )
    assert send.status.status_code.name == "ERROR"


def test_every_attempt_is_a_span(exporter: InMemorySpanExporter) -> None:
    """Retries are seen one by one; the same attempt told twice is the same span."""
    tracing = _tracing(exporter)
    for attempt in (0, 1, 1):
        tracing.sent(AT_ONCE, {"attempt": attempt}, ended_ms=AT_MS, seconds=0.1, failed=False)
    ids = [_ids(span)[1] for span in exporter.get_finished_spans()]
    assert len(ids) == 3
    assert len(set(ids)) == 2


def test_the_share_that_is_kept_is_the_sdks_own(exporter: InMemorySpanExporter) -> None:
    """All processes, and those of a shop that sample by trace id, keep the same traces."""
    tracing, sampler = _tracing(exporter, ratio=0.25), TraceIdRatioBased(0.25)
    ids = [f"event-{number}" for number in range(2_000)]
    kept = [each for each in ids if tracing.keeps(each)]
    assert 400 < len(kept) < 600
    decided = {each: sampler.should_sample(None, trace_id_of(each), "x").decision for each in ids}
    assert [each for each in ids if decided[each] is Decision.RECORD_AND_SAMPLE] == kept
    tracing.took_in(ids, by="http", ended_ms=AT_MS, seconds=0.0)
    assert len(exporter.get_finished_spans()) == len(kept)


def test_no_span_holds_what_a_person_could_be_known_by(exporter: InMemorySpanExporter) -> None:
    """An event's id may be an address that a shop chose: only its hash is there."""
    cause = TraceCause("ab12", "canary@example.com", later=False)
    tracing = _tracing(exporter)
    tracing.took_in(["canary@example.com"], by="http", ended_ms=AT_MS, seconds=0.0)
    tracing.evaluated(["canary@example.com"], [cause], ended_ms=AT_MS, seconds=0.0, batch=BATCH)
    tracing.sent(cause, {"channel": "email", "attempt": 0}, ended_ms=AT_MS, seconds=0.0, failed=False)
    spans = exporter.get_finished_spans()
    assert len(spans) == 3
    assert "canary" not in "".join(span.to_json() for span in spans)


def _message(**context: object) -> Message:
    return Message(
        id="m1", customer="ana", enrollment="w/ana/1", workflow="w", version="v", step="s", channel="email",
        address="ana@example.com", template="t", purpose="marketing", decided_ms=0, due_ms=0, context=dict(context),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("context", "cause"),
    [
        (
            {
                "enrollment": {"event": {"id": "e1"}, "entered_at": "2026-01-01T00:00:00Z"},
                "now": "2026-01-01T00:00:00Z",
            },
            TraceCause("m1", "e1", later=False),
        ),
        (
            {
                "enrollment": {"event": {"id": "e1"}, "entered_at": "2026-01-01T00:00:00Z"},
                "now": "2026-01-04T00:00:00Z",
            },
            TraceCause("m1", "e1", later=True),
        ),
        (
            {"enrollment": {"event": {"id": "e1"}}, "event": {"id": "e2"}, "now": "2026-01-04T00:00:00Z"},
            TraceCause("m1", "e2", later=False),
        ),
        ({}, TraceCause("m1", "", later=False)),
    ],
    ids=["at the entry", "after a wait", "ended by an event", "nothing known"],
)
def test_a_message_tells_which_event_led_to_it(context: dict[str, object], cause: TraceCause) -> None:
    """Read from what templates see, so that the dispatcher needs nothing else."""
    assert cause_of(_message(**context)) == cause


def test_tracing_is_off_unless_a_collector_is_named() -> None:
    """And with the switches of the standard; nothing of OpenTelemetry is imported then."""
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    assert open_tracing("worker", {}) is None
    assert open_tracing("worker", endpoint | {"OTEL_SDK_DISABLED": "true"}) is None
    assert open_tracing("worker", endpoint | {"OTEL_TRACES_EXPORTER": "none"}) is None
    assert open_tracing("worker", endpoint | {"OTEL_TRACES_SAMPLER": "always_off"}) is None
    assert Metrics().tracing is None
    code = (
        "import sys, engine.telemetry, engine.dispatch.sending.dispatcher, engine.runtimes.kafka.worker.role;"
        "import engine.tracing as t;"
        "t.open_tracing('worker', {}); print([m for m in sys.modules if m.startswith('opentelemetry.sdk')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_cannot_be_done_is_said() -> None:
    """A setting that is not understood is refused, not passed over."""
    endpoint = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}
    for variables, words in (
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "otlp"),
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "traceidratio"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}, "0 to 1"),
    ):
        with pytest.raises(SettingsError, match=words):
            open_tracing("worker", endpoint | variables)


def test_one_in_a_hundred_is_kept_unless_said_otherwise() -> None:
    """The standard's variables decide; its own default, everything, would be too much for a shop."""
    assert ratio_of({}) == 0.01
    assert ratio_of({"OTEL_TRACES_SAMPLER_ARG": "0.5"}) == 0.5
    assert ratio_of({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.2"}) == 0.2
    assert ratio_of({"OTEL_TRACES_SAMPLER": "traceidratio"}) == 1.0
    assert ratio_of({"OTEL_TRACES_SAMPLER": "always_on"}) == 1.0


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """A collector of OTLP over HTTP: its address, and what it was sent."""
    requests: list[ExportTraceServiceRequest] = []

    async def take(request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        requests.append(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response(body=b"", content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", requests
    await runner.cleanup()


async def test_spans_reach_a_collector_over_otlp(
    receiver: tuple[str, list[ExportTraceServiceRequest]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the real exporter, named as a role is started: by the standard's variables."""
    url, requests = receiver
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    tracing = open_tracing("worker")
    assert tracing is not None
    tracing.evaluated(["web-4711"], [LATER], ended_ms=AT_MS, seconds=0.001, batch=BATCH)
    await asyncio.to_thread(tracing.close)
    [request] = requests
    [resource] = request.resource_spans
    names = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert names["service.name"] == "anlass-worker"
    spans = {span.trace_id: span for scope in resource.scope_spans for span in scope.spans}
    evaluated = spans[trace_id_of("web-4711").to_bytes(16)]
    assert evaluated.parent_span_id == span_id_of("anlass.intake", "web-4711").to_bytes(8)
    later = spans[trace_id_of("message:m2").to_bytes(16)]
    assert later.links[0].trace_id == evaluated.trace_id


async def test_a_collector_that_is_away_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The role ends within seconds; the spans are lost."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    tracing = open_tracing("worker")
    assert tracing is not None
    tracing.took_in(["e1"], by="http", ended_ms=AT_MS, seconds=0.0)
    async with asyncio.timeout(12):
        await asyncio.to_thread(tracing.close)

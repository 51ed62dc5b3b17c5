"""Spans from an event to what was sent because of it, for OpenTelemetry (ADR 0010).

Records carry no trace context, and decisions must not depend on it. So ids are derived: an event's trace from the event's id, its
spans from that id and their name. Whoever handles the event or the message it led to finds the same ids, in whichever process.

Invariant: off (the default) this costs one comparison with None per batch or message, and OpenTelemetry is not imported. A span
holds ids of ours, counts and words of closed lists; never an event's id, a customer, an address or content.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.errors import SettingsError
from engine.extras import not_installed

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

__all__ = ["TraceCause", "Tracing", "Words", "open_tracing", "ratio_of", "span_id_of", "trace_id_of"]

RATIO = 0.01
"""Share of the traces that is kept when OTEL_TRACES_SAMPLER does not say."""
STOP_MS_MAX = 2_000
INTAKE, EVALUATE, SEND = "anlass.intake", "anlass.evaluate", "anlass.send"
Words = Mapping[str, str | int]
_LOW_64 = (1 << 64) - 1
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_RATIOS = {
    "always_on": 1.0, "parentbased_always_on": 1.0, "always_off": 0.0, "parentbased_always_off": 0.0,
    "traceidratio": None, "parentbased_traceidratio": None,
}  # fmt: skip


class TraceCause(NamedTuple):
    """What led to a message: the event `event_id`, at once or (`later`) over a wait.

    A message that came later has a trace of its own, linked to the event's: traces of days help nobody.
    """

    message_id: str
    event_id: str
    later: bool

    @property
    def origin(self) -> str:
        """What its trace is named after."""
        return f"message:{self.message_id}" if self.later else self.event_id


def trace_id_of(origin: str) -> int:
    """The trace of an event (its id) or of a message that came later (`TraceCause.origin`); 128 bits, never 0."""
    return int.from_bytes(hashlib.sha256(origin.encode("utf-8", "surrogatepass")).digest()[:16]) or 1


def span_id_of(name: str, origin: str) -> int:
    """The span `name` in the trace of `origin`; 64 bits, never 0."""
    return int.from_bytes(hashlib.sha256(f"{name}:{origin}".encode("utf-8", "surrogatepass")).digest()[16:24]) or 1


class _Span(NamedTuple):
    """A span to be made: `own` names it where `origin` has several of its name, `link` is the event of another trace."""

    name: str
    origin: str
    attributes: Words
    parent: str = ""
    link: str = ""
    own: str = ""
    failed: bool = False


class Tracing:
    """Makes spans of what has happened. Times: `ended_ms` is UTC milliseconds, `seconds` how long it took."""

    def __init__(self, processor: SpanProcessor, *, role: str, ratio: float = RATIO) -> None:
        """`processor` gets the spans; `ratio` of the traces is kept, the same ones in every process."""
        from opentelemetry import trace  # noqa: PLC0415 - only where tracing is on
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON  # noqa: PLC0415

        self._otel = trace
        self._ids = _given_ids()
        self._bound = round(ratio * (1 << 64))
        named = {} if "OTEL_SERVICE_NAME" in os.environ else {SERVICE_NAME: f"anlass-{role}"}
        # Chosen here, before anything is made: so the provider keeps all it gets.
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, id_generator=self._ids, resource=Resource.create(named), shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("anlass")

    def keeps(self, origin: str) -> bool:
        """Whether this trace is one of those that are kept: a question of its id alone, as `traceidratio` asks it."""
        return bool(origin) and (trace_id_of(origin) & _LOW_64) < self._bound

    def took_in(self, event_ids: Iterable[str], *, by: str, ended_ms: float, seconds: float) -> None:
        """Events became durable. `by` is `http` or `kafka`."""
        for event_id in event_ids:
            if self.keeps(event_id):
                self._make(_Span(INTAKE, event_id, {"anlass.by": by}), ended_ms, seconds)

    def evaluated(
        self,
        event_ids: Iterable[str],
        causes: Iterable[TraceCause] = (),
        *,
        ended_ms: float,
        seconds: float,
        batch: Words,
    ) -> None:
        """A batch was evaluated and is durable. `causes` are those of the messages it queued, `batch` says which one it was."""
        decided = list(causes)
        words = _attributes(batch)
        for event_id in event_ids:
            if self.keeps(event_id):
                count = sum(cause.event_id == event_id and not cause.later for cause in decided)
                span = _Span(EVALUATE, event_id, {**words, "anlass.messages": count}, parent=INTAKE)
                self._make(span, ended_ms, seconds)
        for cause in decided:
            if cause.later and self.keeps(cause.origin):
                span = _Span(EVALUATE, cause.origin, {**words, "anlass.messages": 1}, link=cause.event_id)
                self._make(span, ended_ms, seconds)

    def sent(self, cause: TraceCause, words: Words, *, ended_ms: float, seconds: float, failed: bool) -> None:
        """One attempt at a provider is over. `words` tell of it, `attempt` among them."""
        if self.keeps(cause.origin):
            named = f"{cause.message_id}:{words.get('attempt', 0)}"
            told = {"anlass.message": cause.message_id, **_attributes(words)}
            span = _Span(SEND, cause.origin, told, parent=EVALUATE, own=named, failed=failed)
            self._make(span, ended_ms, seconds)

    def close(self) -> None:
        """Sends what is left, for a bounded time. Blocks: call it in a thread."""
        with contextlib.suppress(Exception):  # a collector that is away must not hold up the end
            self._provider.force_flush(STOP_MS_MAX)
            self._provider.shutdown()

    def _make(self, span: _Span, ended_ms: float, seconds: float) -> None:
        trace, origin = self._otel, span.origin
        ended_ns = int(ended_ms * 1_000_000)
        self._ids.trace_id, self._ids.span_id = trace_id_of(origin), span_id_of(span.name, span.own or origin)
        above = trace.NonRecordingSpan(self._context(span.parent, origin)) if span.parent else trace.INVALID_SPAN
        kinds = {INTAKE: trace.SpanKind.SERVER, EVALUATE: trace.SpanKind.CONSUMER, SEND: trace.SpanKind.CLIENT}
        made = self._tracer.start_span(
            span.name,
            context=trace.set_span_in_context(above),
            kind=kinds[span.name],
            start_time=ended_ns - int(seconds * 1_000_000_000),
            attributes=dict(span.attributes),
            links=[trace.Link(self._context(EVALUATE, span.link))] if span.link else None,
        )
        if span.failed:
            made.set_status(trace.StatusCode.ERROR)
        made.end(ended_ns)

    def _context(self, name: str, origin: str) -> Any:
        """The span `name` of this trace as others made it."""
        flags = self._otel.TraceFlags(self._otel.TraceFlags.SAMPLED)
        return self._otel.SpanContext(trace_id_of(origin), span_id_of(name, origin), is_remote=True, trace_flags=flags)


def _attributes(words: Words) -> dict[str, str | int]:
    return {f"anlass.{name}": value for name, value in words.items()}


def _given_ids() -> Any:
    from opentelemetry.sdk.trace.id_generator import IdGenerator  # noqa: PLC0415

    class GivenIds(IdGenerator):
        """Gives the ids that were set just before; a span is started without a pause in between."""

        trace_id = 1
        span_id = 1

        def generate_trace_id(self) -> int:
            return self.trace_id

        def generate_span_id(self) -> int:
            return self.span_id

    return GivenIds()


def ratio_of(environment: Mapping[str, str]) -> float:
    """The share of traces that OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG ask for. Raises SettingsError."""
    sampler = environment.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    written = environment.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    if sampler and sampler not in _RATIOS:
        raise SettingsError(
            f"OTEL_TRACES_SAMPLER={sampler} is not understood.", mend=f"It is one of {', '.join(sorted(_RATIOS))}."
        )
    given = _RATIOS.get(sampler)
    if given is not None:
        return given
    try:
        ratio = float(written) if written else (1.0 if sampler else RATIO)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise SettingsError(f"OTEL_TRACES_SAMPLER_ARG={written} is not a share.", mend="Write a number from 0 to 1.")
    return ratio


def open_tracing(role: str, environment: Mapping[str, str] | None = None) -> Tracing | None:
    """Spans to where the standard variables say (OTEL_EXPORTER_OTLP_ENDPOINT); None when they name nothing.

    Raises SettingsError.
    """
    variables = os.environ if environment is None else environment
    wanted = any(variables.get(name, "").strip() for name in _ENDPOINTS)
    off = variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporter = variables.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    if not wanted or off or exporter == "none":
        return None
    ratio = ratio_of(variables)
    if exporter != "otlp":
        raise SettingsError(f"OTEL_TRACES_EXPORTER={exporter} is not there.", mend="Only otlp is, and none.")
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if variables.get(name, "http/protobuf").strip() not in {"", "http/protobuf"}:
            raise SettingsError(
                f"{name}={variables[name]} is not there.", mend="Use http/protobuf (collectors listen on port 4318)."
            )
    if ratio == 0:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        missing = not_installed(error)
        if missing is None:
            raise
        raise missing from error
    return Tracing(BatchSpanProcessor(OTLPSpanExporter()), role=role, ratio=ratio)

"""The words in which Anlass speaks about itself: actions of log lines and names of metrics.

Log lines are JSON, one per line, each with one past-tense `action` from `Action` and ids as fields. Metrics live in a
registry that belongs to the process that built it, never in a global one.

Invariant: no address, no name, no content of a message or event is ever logged or used as a label; a field that could
carry one is dropped here, whatever the caller passes.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from enum import StrEnum
from typing import Any, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from engine import __version__
from engine.capture import Captured, capture, place_of
from engine.health import Health
from engine.tracing import Tracing

__all__ = ["FIELDS_REFUSED", "Action", "Log", "Metrics", "configure_logging", "get_log"]

_Line = MutableMapping[str, Any]


class Action(StrEnum):
    """What a log line says happened: past tense, stable, so that alerts can be built on it."""

    STARTED = "started"
    STOPPED = "stopped"
    STORE_OPENED = "store_opened"
    STORE_REFUSED = "store_refused"
    STORE_MIGRATED = "store_migrated"
    LEDGER_FILLED = "ledger_filled"
    CHAIN_EXTENDED = "chain_extended"
    CHAIN_SHRANK = "chain_shrank"
    CATALOG_LOADED = "catalog_loaded"
    RECORD_DEAD_LETTERED = "record_dead_lettered"
    CLOCK_SKEWED = "clock_skewed"
    FILE_QUARANTINED = "file_quarantined"
    ROW_QUARANTINED = "row_quarantined"
    ROW_SKIPPED = "row_skipped"
    ROW_MENDED = "row_mended"
    RECORDS_MISSED = "records_missed"
    RECORDS_RECOVERED = "records_recovered"
    BATCH_FAILED = "batch_failed"
    ENROLLMENT_FAILED = "enrollment_failed"
    MESSAGE_RETRIED = "message_retried"
    MESSAGE_FAILED = "message_failed"
    MESSAGE_SUPPRESSED = "message_suppressed"
    MESSAGE_BECAME_UNKNOWN = "message_became_unknown"
    MESSAGE_SUPERSEDED = "message_superseded"
    ANSWER_HANDED_OVER = "answer_handed_over"
    TEMPLATE_FAILED = "template_failed"
    MESSAGE_RENDERED_WITH_GAPS = "message_rendered_with_gaps"
    CHANNEL_PAUSED = "channel_paused"
    CHANNEL_RESUMED = "channel_resumed"
    SUBJECT_WON = "subject_won"
    WORKFLOW_PAUSED = "workflow_paused"
    WORKFLOW_RESUMED = "workflow_resumed"
    GUARDRAIL_TRIPPED = "guardrail_tripped"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    CUSTOMER_ERASED = "customer_erased"
    PARTITION_RESTORED = "partition_restored"
    PARTITION_TAKEN = "partition_taken"
    PARTITION_RELEASED = "partition_released"
    PARTITION_FENCED = "partition_fenced"
    DEFINITION_REFUSED = "definition_refused"
    REQUEST_REFUSED = "request_refused"
    PROXY_NOT_TRUSTED = "proxy_not_trusted"
    REQUEST_FAILED = "request_failed"
    REPORT_TAKEN = "report_taken"
    REPUTATION_REFUSED = "reputation_refused"
    MAIL_TAKEN = "mail_taken"
    MAIL_REFUSED = "mail_refused"
    COMPANION_FAILED = "companion_failed"
    LIBRARY_WARNED = "library_warned"
    LIBRARY_FAILED = "library_failed"


FIELDS_REFUSED = frozenset(
    {
        "address",
        "body",
        "content",
        "data",
        "email",
        "html",
        "password",
        "payload",
        "phone",
        "properties",
        "recipient",
        "secret",
        "subject",
        "text",
        "to",
        "token",
        "traits",
        "write_key",
    }
)


def _drop_refused(_log: object, _method: str, line: _Line) -> _Line:
    refused = FIELDS_REFUSED.intersection(line)
    for name in refused:
        del line[name]
    if refused:
        line["refused"] = sorted(refused)
    return line


class Log:
    """A log bound to one component; `log.info(Action.STARTED, port=8080)` writes one line."""

    def __init__(self, component: str, **fields: object) -> None:
        # Not bound yet: modules make their log while they are imported, before anybody has configured where lines go.
        self._bound = structlog.get_logger(component=component, **fields)

    def debug(self, action: Action, **fields: object) -> None:
        """For the one who looks for a fault."""
        self._bound.debug(action.value, **fields)

    def info(self, action: Action, **fields: object) -> None:
        """Something happened as it should."""
        self._bound.info(action.value, **fields)

    def warning(self, action: Action, **fields: object) -> None:
        """Something happened that someone should look at some day."""
        self._bound.warning(action.value, **fields)

    def error(self, action: Action, *, cause: BaseException | None = None, **fields: object) -> None:
        """Something has to be mended. Of `cause` only the type and the place are written: its text may hold data."""
        if cause is not None:
            fields["cause"] = type(cause).__name__
            fields["at"] = place_of(cause)
        self._bound.error(action.value, **fields)


def get_log(component: str, **fields: object) -> Log:
    """A log for `component` (a module's short name, such as `dispatcher`); `fields` stand on each of its lines."""
    return Log(component, **fields)


def configure_logging(*, stream: TextIO | None = None, debug: bool = False) -> None:
    """Write JSON lines to `stream` (standard error by default), from `info` on, or from `debug` on.

    What libraries say through `logging` becomes such lines, too: from `warning` on, or with `debug` from `info` on.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at_time"),
            structlog.processors.EventRenamer("action"),
            _drop_refused,
            structlog.processors.JSONRenderer(sort_keys=True, ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    capture(_say_captured, level=logging.INFO if debug else logging.WARNING)


def _say_captured(line: Captured) -> None:
    fields: dict[str, object] = {"component": "library", "library": line.logger, "said": line.said}
    if line.cause:
        fields |= {"cause": line.cause, "at": line.at}
    if line.repeated:
        fields["repeated"] = line.repeated
    log = structlog.get_logger(**fields)
    if line.level >= logging.ERROR:
        log.error(Action.LIBRARY_FAILED.value)
    elif line.level >= logging.WARNING:
        log.warning(Action.LIBRARY_WARNED.value)
    else:
        log.debug(Action.LIBRARY_WARNED.value)


class Metrics:
    """All that is measured. Built once per process, by bootstrap; tests build their own.

    Labels are words from closed lists (kinds, channels, answers), never ids.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self.tracing: Tracing | None = None
        """Where spans go; None: nowhere."""
        with_registry: Mapping[str, Any] = {"registry": self.registry}
        self.health = Health()
        """What is not well in this process: anybody who measures may report it."""
        if registry is None:
            ProcessCollector(registry=self.registry)  # memory, CPU time, open files, as every exporter names them
        self.build_info = Gauge("anlass_build_info", "1, with the version that runs.", ["version"], **with_registry)
        self.build_info.labels(__version__).set(1)
        self._add_evaluation(with_registry)
        self._add_delivery(with_registry)
        self._add_cluster(with_registry)
        self._add_sink(with_registry)
        self.degraded = Gauge(
            "anlass_degraded", "What is not well, by the name that /readyz gives it.", ["reason"], **with_registry
        )
        self.health.on_change = lambda name, count: self.degraded.labels(name).set(count)

    def _add_evaluation(self, with_registry: Mapping[str, Any]) -> None:
        """Records in, decisions out, and time."""
        self.events = Counter("anlass_events_total", "Records taken in and durable.", **with_registry)
        self.records = Counter("anlass_records_total", "Records taken in over HTTP, by key.", ["key"], **with_registry)
        self.decisions = Counter(
            "anlass_decisions_total", "Decisions, by the kind in the journal.", ["kind"], **with_registry
        )
        self.clock_skew_seconds = Gauge(
            "anlass_clock_skew_seconds", "How much this clock is ahead of the brokers'.", **with_registry
        )
        self.rows_set_aside = Gauge(
            "anlass_rows_set_aside", "Rows that cannot be read; their customers wait.", **with_registry
        )
        self.refused_values = Counter(
            "anlass_values_refused_total",
            "Values that could not be read and were left out: traits, names of consent, numbers of sums; by what and why.",
            ["what", "reason"],
            **with_registry,
        )
        self.dead_letters = Counter("anlass_dead_letters_total", "Records that could not be applied.", **with_registry)
        self.batch_records = Histogram(
            "anlass_batch_records",
            "Records per batch.",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000),
            **with_registry,
        )
        self.batch_seconds = Histogram(
            "anlass_batch_seconds",
            "Parts of a worker's batch: plan (evaluate), write (changelog and disk), send (what it leads to).",
            ["part"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30),
            **with_registry,
        )
        self.timer_lag_seconds = Histogram(
            "anlass_timer_lag_seconds",
            "From a timer's due time to the moment its record was applied.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600),
            **with_registry,
        )
        self.timers_overdue_seconds = Gauge(
            "anlass_timers_overdue_seconds", "Age of the oldest timer that is due and has not fired.", **with_registry
        )
        self.backlog_records = Gauge(
            "anlass_backlog_records",
            "Records taken in and not yet evaluated; on Kafka: not yet acknowledged.",
            **with_registry,
        )

    def _add_delivery(self, with_registry: Mapping[str, Any]) -> None:
        """Requests in, messages out."""
        self.gaps = Counter(
            "anlass_messages_with_gaps_total",
            "Attempts of messages in whose text something is left out, because its data could not be read.",
            ["channel"],
            **with_registry,
        )
        self.messages = Counter(
            "anlass_messages_total",
            "What became of messages: sent, failed, suppressed, unknown; pending: an attempt that will be repeated.",
            ["channel", "answer"],
            **with_registry,
        )
        self.reports = Counter(
            "anlass_reports_total",
            "What providers and returned mails say of messages: hard, soft, our_fault, deferred, delivered, complained, …",
            ["channel", "class"],
            **with_registry,
        )
        self.mails_in = Counter(
            "anlass_mails_in_total",
            "Mails that came to the addresses for bounces: status, words, feedback, automatic, other, malformed.",
            ["kind"],
            **with_registry,
        )
        self.workflows_paused = Gauge(
            "anlass_workflows_paused",
            "Workflows that are paused: by an operator, for our own fault, for their sends, bounces or complaints.",
            ["cause"],
            **with_registry,
        )
        self.tasks = Gauge("anlass_tasks", "Follow-ups for people, counted every 30 s.", ["status"], **with_registry)
        self.chain_length = Gauge(
            "anlass_chain_length",
            "Where the audit log (audit) and the consent ledger (consents) end: number of the last, and its hash's beginning.",
            ["chain", "hash"],
            **with_registry,
        )
        self.guardrail_trips = Counter(
            "anlass_guardrail_trips_total", "Times that a workflow paused itself.", ["cause"], **with_registry
        )
        self.refused = Counter(
            "anlass_refused_total",
            "Requests and connections that were refused: keyless, unauthorized, token, forged, too_often, connections, …",
            ["reason"],
            **with_registry,
        )
        self.connections = Gauge("anlass_connections", "Open connections of the public port.", **with_registry)
        self.outbox_depth = Gauge("anlass_outbox_depth", "Messages decided and not yet settled.", **with_registry)
        self.paused_until_seconds = Gauge(
            "anlass_paused_until_seconds",
            "Until when nothing goes to a provider (domain empty) or a domain, as Unix time; gone when it is over.",
            ["channel", "domain"],
            **with_registry,
        )
        self.send_seconds = Histogram(
            "anlass_send_seconds",
            "One attempt at the provider.",
            ["channel"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            **with_registry,
        )
        self.intake_seconds = Histogram(
            "anlass_intake_seconds",
            "From a request's arrival to its durable answer.",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            **with_registry,
        )

    def _add_cluster(self, with_registry: Mapping[str, Any]) -> None:
        """What a role on Kafka has besides."""
        self.produce_seconds = Histogram(
            "anlass_produce_seconds",
            "From handing a batch to Kafka's producer to its acknowledgement by all replicas.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30),
            **with_registry,
        )
        self.recovery_seconds = Histogram(
            "anlass_recovery_seconds",
            "From a partition's assignment to its rows being up to date.",
            buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            **with_registry,
        )
        self.lag_records = Gauge(
            "anlass_lag_records",
            "Records on a partition that its role has not finished.",
            ["topic", "partition"],
            **with_registry,
        )
        self.partitions = Gauge(
            "anlass_partitions",
            "Partitions of this process: owned, standby; of the owned ones: restoring, outdated (on older definitions).",
            ["share"],
            **with_registry,
        )
        self.rebalances = Counter(
            "anlass_rebalances_total", "Times that the group shared out its partitions anew.", **with_registry
        )
        self.rebalance_seconds = Histogram(
            "anlass_rebalance_seconds",
            "How long this process took no records for it, without the recovery of partitions that are new here.",
            buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            **with_registry,
        )
        self.definitions_age_seconds = Gauge(
            "anlass_definitions_age_seconds", "Since the newest deploy.", **with_registry
        )
        self.definitions_refused = Gauge(
            "anlass_definitions_refused", "1 while the newest deploy cannot be used here, else 0.", **with_registry
        )

    def _add_sink(self, with_registry: Mapping[str, Any]) -> None:
        """The journal's database."""
        self.sink_rows = Counter(
            "anlass_sink_rows_total", "Rows that the sink wrote into the database.", ["table"], **with_registry
        )
        self.sink_batch_seconds = Histogram(
            "anlass_sink_batch_seconds",
            "One transaction of the sink.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            **with_registry,
        )
        self.sink_lag_records = Gauge(
            "anlass_sink_lag_records",
            "Records on a topic that are not in the database yet.",
            ["topic", "partition"],
            **with_registry,
        )

    def expose(self) -> bytes:
        """The page behind `/metrics`, in Prometheus' text format."""
        return generate_latest(self.registry)

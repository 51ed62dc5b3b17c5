"""Log lines and metrics: closed words, no personal data."""

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from engine.telemetry import FIELDS_REFUSED, Action, Metrics, configure_logging, get_log


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Where the log goes during a test."""
    stream = io.StringIO()
    configure_logging(stream=stream)
    yield stream
    structlog.reset_defaults()


def test_a_line_is_json_with_one_action(lines: io.StringIO) -> None:
    """Each line says what happened, where, when, and about which ids."""
    get_log("dispatcher", worker=3).info(Action.MESSAGE_SENT, message="ab12")
    line = json.loads(lines.getvalue())
    assert line.pop("at_time").endswith("Z")
    assert line == {
        "action": "message_sent",
        "component": "dispatcher",
        "level": "info",
        "message": "ab12",
        "worker": 3,
    }


def test_actions_are_in_the_past_tense() -> None:
    """A line tells what has happened: its last or first word is a past form."""
    past = {"became", "sent", "taken", "withdrawn"}
    assert [a for a in Action if not any(w.endswith("ed") or w in past for w in a.value.split("_"))] == []


def test_no_field_carries_an_address_or_content(lines: io.StringIO) -> None:
    """A canary in any refused field does not reach the log; that it was refused does."""
    get_log("x").warning(Action.REQUEST_REFUSED, **dict.fromkeys(FIELDS_REFUSED, "canary@example.com"))
    assert "canary" not in lines.getvalue()
    assert json.loads(lines.getvalue())["refused"] == sorted(FIELDS_REFUSED)


def test_of_a_cause_only_type_and_place_are_written(lines: io.StringIO) -> None:
    """The text of an exception may hold data of a customer, so it is not written."""
    try:
        int("canary@example.com")
    except ValueError as cause:
        get_log("x").error(Action.BATCH_FAILED, cause=cause)
    line = json.loads(lines.getvalue())
    assert "canary" not in lines.getvalue()
    assert line["cause"] == "ValueError"
    assert "test_telemetry:" in line["at"]


def test_debug_lines_are_written_on_demand_only(lines: io.StringIO) -> None:
    """`--debug` shows more."""
    get_log("x").debug(Action.BATCH_APPLIED)
    assert lines.getvalue() == ""
    configure_logging(stream=lines, debug=True)
    get_log("x").debug(Action.BATCH_APPLIED)
    assert json.loads(lines.getvalue())["level"] == "debug"


def test_metrics_have_their_fixed_names_and_a_registry_of_their_own() -> None:
    """Dashboards rely on the names; two processes in one test do not share numbers."""
    metrics, others = Metrics(), Metrics()
    metrics.events.inc(3)
    metrics.decisions.labels("entered").inc()
    metrics.messages.labels("email", "queued").inc()
    metrics.send_seconds.labels("email").observe(0.2)
    page = metrics.expose().decode()
    for sample in (
        "anlass_events_total 3.0",
        'anlass_decisions_total{kind="entered"} 1.0',
        'anlass_messages_total{answer="queued",channel="email"} 1.0',
        "anlass_dead_letters_total 0.0",
        "anlass_batch_records_count 0.0",
        "anlass_timer_lag_seconds_count 0.0",
        "anlass_timers_overdue_seconds 0.0",
        "anlass_outbox_depth 0.0",
        'anlass_send_seconds_count{channel="email"} 1.0',
        "anlass_intake_seconds_count 0.0",
    ):
        assert f"\n{sample}\n" in page
    assert "\nanlass_events_total 0.0\n" in others.expose().decode()

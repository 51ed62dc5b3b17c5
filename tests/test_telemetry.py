"""Log lines and metrics: closed words, no personal data."""

import io
import json
import logging
import re
import subprocess
import sys
import threading
import warnings
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import structlog

import engine
from engine import __version__
from engine.capture import scrubbed
from engine.telemetry import FIELDS_REFUSED, Action, Metrics, configure_logging, get_log

ENGINE = Path(engine.__file__).parent


@pytest.fixture
def lines() -> io.StringIO:
    """Where the log goes during a test; `conftest.py` ends it."""
    stream = io.StringIO()
    configure_logging(stream=stream)
    return stream


def test_a_line_is_json_with_one_action(lines: io.StringIO) -> None:
    """Each line says what happened, where, when, and about which ids."""
    get_log("dispatcher", worker=3).info(Action.MESSAGE_RETRIED, message="ab12")
    line = json.loads(lines.getvalue())
    assert line.pop("at_time").endswith("Z")
    assert line == {
        "action": "message_retried",
        "component": "dispatcher",
        "level": "info",
        "message": "ab12",
        "worker": 3,
    }


def test_actions_are_in_the_past_tense() -> None:
    """A line tells what has happened: its last or first word is a past form."""
    past = {"became", "sent", "shrank", "taken", "withdrawn", "won"}
    assert [a for a in Action if not any(w.endswith("ed") or w in past for w in a.value.split("_"))] == []


def test_every_action_and_every_metric_is_said_by_the_code() -> None:
    """What a guide tells operators to alert on must be able to happen: a word that no code says is not one."""
    code = "\n".join(path.read_text("utf-8") for path in sorted(ENGINE.rglob("*.py")))
    assert [action for action in Action if not re.search(rf"\bAction\.{action.name}\b", code)] == []
    set_by_themselves = {"registry", "tracing"}
    assert [name for name in vars(Metrics()) if name not in set_by_themselves and f".{name}" not in code] == []


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
    get_log("x").debug(Action.CATALOG_LOADED)
    assert lines.getvalue() == ""
    configure_logging(stream=lines, debug=True)
    get_log("x").debug(Action.CATALOG_LOADED)
    assert json.loads(lines.getvalue())["level"] == "debug"


@pytest.mark.parametrize("number", [1, 2])
def test_no_test_hears_of_the_logging_of_another(number: int) -> None:
    """Each of the two finds the log as a fresh process has it, and leaves it changed."""
    assert not structlog.is_configured(), number
    configure_logging(stream=io.StringIO())


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
        f'anlass_build_info{{version="{__version__}"}} 1.0',
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


# -------------------------------------------------------------------------------------------------- what libraries say


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_librarys_warning_is_a_line_like_ours(lines: io.StringIO) -> None:
    """With the library's name, and what it said; an error of it is another action."""
    logging.getLogger("aiokafka.conn").warning("Unable to connect to %s: %r", "kafka-1:9092", OSError("secret"))
    logging.getLogger("mode").error("Service %s crashed", "Consumer")
    warned, failed = _lines(lines)
    assert warned["action"] == "library_warned"
    assert warned["component"] == "library"
    assert warned["library"] == "aiokafka.conn"
    assert warned["said"] == "Unable to connect to kafka-1:9092: OSError"
    assert (failed["action"], failed["level"]) == ("library_failed", "error")


def test_of_a_librarys_exception_only_type_and_place_are_written(lines: io.StringIO) -> None:
    """No traceback: neither as text nor in the line."""
    try:
        int("canary@example.com")
    except ValueError:
        logging.getLogger("faust").exception("Task of %r failed", {"email": "canary@example.com"})
    [line] = _lines(lines)
    assert "canary" not in lines.getvalue()
    assert "Traceback" not in lines.getvalue()
    assert line["cause"] == "ValueError"
    assert "test_telemetry:" in line["at"]
    assert line["said"] == "Task of … failed"


Partition = namedtuple("Partition", "topic partition")  # noqa: PYI024 - what the clients have


@pytest.mark.parametrize(
    ("text", "args", "said"),
    [
        ("lag of %s is %d", (Partition("anlass.states", 3), 41), "lag of anlass.states-3 is 41"),
        ("took %.2f s", (1.23456789,), "took 1.23456789 s"),
        ("key %r", (b"ana",), "key …"),
        ("customer %s", ("ana@example.com",), "customer …"),
        ("call %s", ("+49 170 1234567",), "call …"),
        ("record %s", ({"traits": 1},), "record …"),
        ("%(name)s at 100%%", ({"name": "commit"},), "commit at 100%"),
        ("failed: <Task exception=ValueError('ana')>", (), "failed: <Task exception=ValueError(…)>"),
        ("mail to ana@example.com failed", (), "mail to … failed"),
        ("two %s %s", ("one",), "two one None"),
        ("a\nb", (), "a b"),
        ("x" * 500, (), "x" * 300 + "…"),
    ],
)
def test_what_is_filled_into_a_librarys_line_is_scrubbed(text: str, args: Any, said: str) -> None:
    """Numbers and names of things may stand there; what could be about a person may not."""
    assert scrubbed(text, args) == said


def test_a_line_that_repeats_is_written_once(lines: io.StringIO) -> None:
    """A broker that is away is not worth a hundred lines a second."""
    for number in range(200):
        logging.getLogger("aiokafka").error("Unable connect to node %d after %d tries", 1, number)
    assert len(_lines(lines)) == 1


def test_warnings_and_threads_that_end_are_lines_too(lines: io.StringIO) -> None:
    """Nothing comes by another door."""
    warnings.warn("this is old", DeprecationWarning, stacklevel=1)
    thread = threading.Thread(target=lambda: 1 / 0, name="fetcher")
    thread.start()
    thread.join()
    found = {line["library"]: line for line in _lines(lines)}
    assert "this is old" in found["py.warnings"]["said"]
    assert found["threading"]["cause"] == "ZeroDivisionError"


def test_a_library_that_logs_nonsense_is_not_harmed(lines: io.StringIO) -> None:
    """Too few arguments, an object that cannot be printed: a line, and no exception."""

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    [handler] = [each for each in logging.root.handlers if type(each).__module__ == "engine.capture"]
    handler.handle(logging.LogRecord("odd", logging.WARNING, __file__, 1, "%s and %s", (Broken(),), None))
    assert _lines(lines)[0]["said"] == "Broken and None"


def test_configured_twice_it_writes_once(lines: io.StringIO) -> None:
    """A command may configure it again."""
    configure_logging(stream=lines)
    logging.getLogger("x").warning("once")
    assert len(_lines(lines)) == 1


def test_debug_shows_what_libraries_tell_besides(lines: io.StringIO) -> None:
    """Their `info` is for who looks for a fault."""
    logging.getLogger("aiokafka").info("joined")
    assert lines.getvalue() == ""
    configure_logging(stream=lines, debug=True)
    logging.getLogger("aiokafka").info("joined")
    assert _lines(lines)[0]["level"] == "debug"


def test_a_process_writes_json_whatever_happens_in_it() -> None:
    """Standard error of a process whose task fails, whose thread ends, whose library complains: JSON, line by line."""
    code = """
import asyncio, gc, logging, threading
from engine.telemetry import configure_logging
configure_logging()
async def fail():
    raise ValueError("canary")
async def main():
    asyncio.create_task(fail()); await asyncio.sleep(0.01); gc.collect()
    asyncio.get_running_loop().call_soon(lambda: 1 / 0); await asyncio.sleep(0.01)
asyncio.run(main())
thread = threading.Thread(target=lambda: [][0]); thread.start(); thread.join()
class Late:
    def __del__(self): raise KeyError("canary")
Late()
logging.getLogger("kafka.client").critical("gone")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["action"] for line in found} == {"library_failed"}
    assert {line.get("cause") for line in found} == {"ValueError", "ZeroDivisionError", "IndexError", "KeyError", None}
    assert "canary" not in done.stderr

"""Workflows that set each other off: they end, say why, and nobody else waits for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Running, anlass, signed_up, wait_for
from tests.faults.conftest import rows

CIRCLES = {
    "echo": "{event: Echo}\nsteps:\n  - emit: {event: Echo}",
    "rabbits": "{event: Rabbit}\nsteps:\n  - emit: {event: Rabbit}\n  - emit: {event: Rabbit}",
    "here": "{event: Go}\nsteps:\n  - enroll: there",
    "there": "{manual: true}\nsteps:\n  - enroll: here",
    "drum": "{event: Drum}\nsteps:\n  - repeat: {times: 1000, steps: [{emit: {event: Beat}}]}",
    "boom": '{event: Boom}\nsteps:\n  - update: {size: "9 ** 9 ** 9 ** 9"}',
    "flood": "{event: Flood}\nsteps:\n  - update: {text: event.name * 300000000}",
}


def test_circles_end_and_starve_nobody(run: Callable[..., Running], project: Path) -> None:
    """Each is parked as failed with a reason that names the mend; another customer's mail leaves at once."""
    for name, text in CIRCLES.items():
        (project / f"workflows/{name}.yaml").write_text(f"workflow: {name}\npurpose: transactional\ntrigger: {text}\n")
    running = run()
    for event in ("Echo", "Rabbit", "Go", "Drum", "Boom", "Flood"):
        running.post({"type": "track", "userId": event.lower(), "event": event, "messageId": event})
    started = time.monotonic()
    running.post(*signed_up("ana"))
    wait_for(running.mailbox, "ana's mail")
    assert time.monotonic() - started < 5
    wait_for(lambda: running.get("/readyz")["backlog"] == 0, "an end of all circles")

    def failed(customer: str) -> str:
        shown = anlass("show", "customer", customer, "-n", "1000", "--json", "--project", project).lines[0]
        return " ".join(each["reason"] for each in shown["timeline"] if each["kind"] == "failed")

    assert "emits the event that triggers it" in failed("echo")
    assert "emits the event that triggers it" in failed("rabbit")
    assert "step limit" in failed("drum")
    assert "too large" in failed("boom")
    assert "cannot multiply" in failed("flood")
    assert rows(project, "SELECT count(*) AS n FROM log")[0]["n"] < 3_000
    assert rows(project, "SELECT count(*) AS n FROM dead_letters")[0]["n"] == 0
    assert "Traceback" not in running.log

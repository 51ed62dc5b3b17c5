"""`anlass task` on a running project and on one that is not: from a workflow's step and from a message to a person."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Running, anlass, wait_for

WORKFLOW = """
workflow: call
purpose: transactional
trigger: {event: Complaint}
steps:
  - task: {title: "Call {{ customer.first_name }}", due: 2d, queue: service}
  - send: {channel: task, template: letter, to: "'bea@shop.example'"}
  - wait_for:
      event: Task Completed
      where: event.outcome == 'reached'
      timeout: 9d
      then: [{exit: called}]
"""


def _events() -> list[dict[str, Any]]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return [
        {"type": "identify", "userId": "ana", "traits": {"first_name": "Ana", "email": "ana@shop.example"}, "messageId": "i1"},
        {"type": "track", "userId": "ana", "event": "Complaint", "messageId": "e1", "timestamp": at, "properties": {"id": "k7"}},
    ]  # fmt: skip


@pytest.mark.timeout(400)
def test_a_task_from_its_opening_to_its_end(run: Callable[..., Running], project: Path) -> None:
    """Listed, shown, handed on, done by the beginning of its id; the workflow goes on, and a second end is refused."""
    (project / "workflows" / "call.yaml").write_text(WORKFLOW, "utf-8")
    (project / "templates" / "task").mkdir()
    (project / "templates" / "task" / "letter.txt").write_text(
        "Write to {{ customer.first_name }}\nAbout {{ event.id }}\n"
    )
    running = run()
    assert running.post(*_events()) == 200

    def listed() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = anlass("task", "list", "--json", "--project", project).lines
        return found if len(found) == 2 else []

    tasks = {task["title"]: task for task in wait_for(listed, "two tasks")}
    call, letter = tasks["Call Ana"], tasks["Write to Ana"]
    assert (call["status"], call["queue"], call["customer"]) == ("open", "service", "ana")
    assert (letter["assignee"], letter["workflow"]) == ("bea@shop.example", "call")
    assert anlass("task", "overdue", "--project", project).out.strip() == "No task is overdue."
    # Two tasks of one customer begin alike: as many characters are asked for as the list shows.
    chars = next(n for n in range(8, 33) if call["id"][:n] != letter["id"][:n])
    assigned = anlass("task", "assign", call["id"][:chars], "bernd", "--queue", "calls", "--project", project)
    assert assigned.status == 0, assigned.err
    done = anlass(
        "task", "done", call["id"][:chars], "--outcome", "reached", "--note", "all well", "--project", project
    )
    assert done.status == 0, done.err
    shown = anlass("task", "show", call["id"], "--json", "--project", project).lines[0]
    assert (shown["status"], shown["outcome"], shown["answer"], shown["assignee"]) == (
        "done",
        "reached",
        "all well",
        "bernd",
    )
    again = anlass("task", "done", call["id"], "--project", project)
    assert again.status == 2
    assert "done already: reached" in again.err
    history = anlass("show", "customer", "ana", "--json", "--project", project).out
    assert "called" in history
    assert running.stop() == 0
    assert [task["title"] for task in anlass("task", "list", "--json", "--project", project).lines] == ["Write to Ana"]
    table = anlass("task", "list", "--all", "--project", project).out
    assert "done: reached" in table
    assert anlass("task", "done", letter["id"], "--project", project).status == 0
    assert anlass("task", "list", "--project", project).out.strip() == "No task is open."
    audited = anlass("audit", "list", "--act", "task", "--json", "--project", project).lines
    assert [line["why"] for line in audited] == ["Task Assigned", "Task Completed", "Task Completed"]
    assert "ana" not in json.dumps(audited)


def test_mistakes_get_a_sentence(run: Callable[..., Running], project: Path) -> None:
    """An id nobody has, too short a beginning, nobody named."""
    run().stop()
    for arguments, sentence in (
        (("task", "show", "ffff0000"), "There is no task 'ffff0000'."),
        (("task", "done", "ab"), "There is no task 'ab'."),
        (("task", "assign", "ffff0000"), "Nobody is named."),
    ):
        done = anlass(*arguments, "--project", project)
        assert done.status != 0
        assert sentence in done.err
        assert "Traceback" not in done.err

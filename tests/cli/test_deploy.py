"""`anlass deploy` against a running engine, a stopped one, and mistakes of every kind."""

from __future__ import annotations

import re
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.conftest import Running, anlass, signed_up, wait_for

Run = Callable[..., Running]


def edit(project: Path, old: str, new: str, file: str = "workflows/welcome.yaml") -> None:
    """Changes a file of the project."""
    path = project / file
    text = path.read_text("utf-8")
    assert old in text, text
    path.write_text(text.replace(old, new), "utf-8")


def journal(project: Path, customer: str) -> list[dict[str, Any]]:
    """What the journal says about a customer, oldest first."""
    shown: dict[str, Any] = anlass("show", "customer", customer, "--json", "--project", project).lines[0]
    return sorted(shown["timeline"], key=lambda line: str(line["at"]))


def kinds(project: Path, customer: str) -> list[str]:
    return [line["kind"] for line in journal(project, customer)]


def waiting(project: Path, customer: str) -> dict[str, Any]:
    """The only enrollment, once it waits."""

    def found() -> Any:
        shown = anlass("show", "customer", customer, "--json", "--project", project)
        runs = shown.lines[0].get("enrollments", []) if shown.status == 0 else []
        return runs[0] if runs and runs[0]["step"] else None

    run: dict[str, Any] = wait_for(found, "the run waits")
    return run


def rows(project: Path, query: str) -> list[Any]:
    """What stands in the store."""
    connection = sqlite3.connect(f"file:{project / 'var' / 'anlass.db'}?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


NAMED = ("- wait: 2d", "- {id: pause, wait: 2d}")


def test_the_running_engine_switches_and_people_stay_on_their_version(run: Run, project: Path) -> None:
    """Ana waits on the old version and stays there; a new workflow with a new template reaches Bea without a restart."""
    running = run()
    running.post(*signed_up("ana"))
    before = waiting(project, "ana")
    edit(project, "- wait: 2d", "- {id: pause, wait: 3d}")
    (project / "templates/email/hello-again.html").write_text("---\nsubject: Again\n---\n<p>Good to see you.</p>\n")
    (project / "workflows/again.yaml").write_text(
        "workflow: again\npurpose: transactional\ntrigger: {event: Came Back}\n"
        "steps:\n  - send: {channel: email, template: hello-again}\n  - send: {channel: sms, template: ping}\n"
    )
    (project / "templates/sms").mkdir()
    (project / "templates/sms/ping.txt").write_text("Ping\n")
    done = anlass("deploy", project)
    assert done.status == 0, done.err
    assert "again: new (" in done.out
    assert re.search(
        r"welcome: changed \(\w{12} → \w{12}\)\n  1 person at steps\.1 of \w{12}: stays on \w{12}", done.out
    )
    assert done.out.endswith("In force: the running engine took it.\n")
    running.post({"type": "track", "userId": "ana", "messageId": "back", "event": "Came Back"})
    wait_for(lambda: any(mail["subject"] == "Again" for mail in running.mailbox()), "the mail of the new template")
    assert waiting(project, "ana") == before
    running.post(*signed_up("bea"))
    assert waiting(project, "bea")["step"] == "pause"
    assert running.stop() == 0
    again = run()
    assert waiting(project, "ana") == before
    assert [line["catalog"] for line in anlass("deploy", project, "--list", "--json").lines] != []
    assert again.stop() == 0


def test_migrate_moves_those_who_wait_and_names_those_who_cannot(run: Run, project: Path) -> None:
    """A step that is gone stops the deploy before anything is written; with `map:` everybody moves."""
    edit(project, *NAMED)
    running = run()
    running.post(*signed_up("ana"))
    assert waiting(project, "ana")["step"] == "pause"
    edit(project, "{id: pause, wait: 2d}", "{id: rest, wait: 4d}")
    deployed = rows(project, "SELECT catalog FROM definitions")
    plan = anlass("deploy", project, "--versions", "migrate", "--plan")
    assert plan.status == 1
    assert "1 person at pause" in plan.out
    assert "cannot move: step pause does not wait any more; name it in `map:`" in plan.out
    refused = anlass("deploy", project, "--versions", "migrate")
    assert refused.status == 1
    assert "Nothing was deployed." in refused.err
    assert "map: {pause: STEP}" in refused.err
    assert rows(project, "SELECT catalog FROM definitions") == deployed
    assert rows(project, "SELECT * FROM handovers") == []
    edit(project, "reentry: never", "reentry: never\nmap: {pause: rest}")
    done = anlass("deploy", project, "--versions", "migrate", "--json")
    assert done.status == 0, done.err
    [welcome, last] = done.lines
    assert welcome["versions"] == "migrate"
    assert [(group["step"], group["people"], group["fate"], group["to"]) for group in welcome["people"]] == [
        ("pause", 1, "moves", "rest")
    ]
    assert last["status"] == "in_force"
    wait_for(lambda: "migrated" in kinds(project, "ana"), "the move")
    run_now = waiting(project, "ana")
    assert (run_now["step"], run_now["version"]) == ("rest", welcome["after"])


def test_end_exits_those_on_older_versions(run: Run, project: Path) -> None:
    """They exit as `superseded`; who enters afterwards is on the new version."""
    running = run()
    running.post(*signed_up("ana"))
    waiting(project, "ana")
    edit(project, "- wait: 2d", "- wait: 5d")
    done = anlass("deploy", project, "--versions", "end")
    assert done.status == 0, done.err
    assert "ends as superseded" in done.out
    wait_for(lambda: "exited" in kinds(project, "ana"), "the end")
    [ended] = [line for line in journal(project, "ana") if line["kind"] == "exited"]
    assert ended["reason"] == "superseded"
    running.post(*signed_up("bea"))
    assert waiting(project, "bea")["version"] != ended["version"]


def test_a_mistake_is_refused_before_anything_is_written(run: Run, project: Path) -> None:
    """All problems at their places, status 1; the engine goes on with what it has."""
    run()
    edit(project, "- wait: 2d", "- wate: 2d")
    (project / "templates/email/tips.html").write_text("---\nsubject: x\n---\n{{ customer. }}")
    refused = anlass("deploy", project)
    assert refused.status == 1
    assert "workflows/welcome.yaml:" in refused.err
    assert "templates/email/tips.html:" in refused.err
    assert rows(project, "SELECT * FROM handovers") == []
    assert anlass("deploy", project, "--plan").status == 1


def test_a_plan_writes_nothing(run: Run, project: Path) -> None:
    """Not even when there would be something to do."""
    run()
    edit(project, "- wait: 2d", "- wait: 5d")
    before = rows(project, "SELECT (SELECT count(*) FROM handovers), (SELECT count(*) FROM definitions)")
    plan = anlass("deploy", project, "--plan", "--json")
    assert plan.status == 0, plan.err
    assert (plan.lines[0]["change"], plan.lines[-1]["status"]) == ("changed", "planned")
    assert rows(project, "SELECT (SELECT count(*) FROM handovers), (SELECT count(*) FROM definitions)") == before


def test_without_a_running_engine_the_next_start_does_it(run: Run, project: Path) -> None:
    """What the deploy says of people in flight is kept until then."""
    running = run()
    running.post(*signed_up("ana"))
    waiting(project, "ana")
    assert running.stop() == 0
    edit(project, "- wait: 2d", "- wait: 5d")
    done = anlass("deploy", project, "--versions", "end")
    assert done.status == 0, done.err
    assert "No engine is running: the next `anlass run` puts it in force" in done.out
    assert "exited" not in kinds(project, "ana")
    run()
    wait_for(lambda: "exited" in kinds(project, "ana"), "the end")


def test_files_changed_before_the_start_are_what_counts(run: Run, project: Path) -> None:
    """`anlass run` puts in force what is on the disk; a handed-over deploy of other files is dropped, with its reason."""
    running = run()
    running.post(*signed_up("ana"))
    waiting(project, "ana")
    running.stop(signal.SIGKILL)
    edit(project, "- wait: 2d", "- wait: 5d")
    assert anlass("deploy", project, "--versions", "end").status == 0
    edit(project, "- wait: 5d", "- wait: 6d")
    running = run()
    running.post(*signed_up("bea"))
    waiting(project, "bea")
    assert "exited" not in kinds(project, "ana")
    [(catalog, problem)] = rows(project, "SELECT catalog, problem FROM handovers WHERE answered_ms > 0")
    assert not catalog
    assert "changed before the engine was started" in problem


def test_before_the_first_run_there_is_nothing_to_hand_over(project: Path) -> None:
    """It says so, makes no store, and lists nothing."""
    done = anlass("deploy", project)
    assert done.status == 0, done.err
    assert "Nothing has run here yet" in done.out
    assert not (project / "var" / "anlass.db").exists()
    assert anlass("deploy", project, "--list").out == "Nothing was put in force here yet.\n"
    assert not (project / "var").exists()


def test_an_earlier_version_can_be_deployed_again(run: Run, project: Path) -> None:
    """The undo: the files of before. Who entered meanwhile finishes on theirs, also after a restart, or moves back."""
    running = run()
    first = (project / "workflows/welcome.yaml").read_text("utf-8")
    edit(project, *NAMED)
    assert anlass("deploy", project).status == 0
    running.post(*signed_up("ana"))
    assert waiting(project, "ana")["step"] == "pause"
    (project / "workflows/welcome.yaml").write_text(first, "utf-8")
    undone = anlass("deploy", project)
    assert undone.status == 0, undone.err
    assert "1 person at pause" in undone.out
    listed = anlass("deploy", project, "--list")
    assert listed.status == 0, listed.err
    assert len(listed.out.splitlines()) == 4, listed.out
    assert "newest" in listed.out.splitlines()[1]
    assert running.stop() == 0
    running = run()
    (project / "workflows/welcome.yaml").write_text(first + "map: {pause: steps.1}\n", "utf-8")
    moved = anlass("deploy", project, "--versions", "migrate", "--json")
    assert moved.status == 0, moved.err
    assert [group["fate"] for group in moved.lines[0]["people"]] == ["moves"]
    wait_for(lambda: waiting(project, "ana")["step"] == "steps.1", "the way back")

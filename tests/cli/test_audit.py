"""`anlass audit`: every act is in the log, with who and why, and without a customer's id; changes to it are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli import conftest
from tests.cli.conftest import Outcome

pytestmark = pytest.mark.usefixtures("commands")


def anlass(*arguments: str | Path) -> Outcome:
    """A command of the operator kim."""
    return conftest.anlass(*arguments, env={"ANLASS_OPERATOR": "kim"})


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project that ran once and knows ana."""
    folder = tmp_path / "shop"
    assert anlass("init", folder).status == 0
    _feed(folder)
    return folder


def _feed(folder: Path) -> None:
    import asyncio

    from engine import bootstrap
    from engine.core.record import Event, Identify

    async def applied() -> None:
        runtime = bootstrap.open_runtime(bootstrap.open_project(folder, with_templates=False))
        await runtime.start()
        try:
            at_ms = 1_800_000_000_000
            traits = {"email": "ana@shop.example", "consent": {"marketing": ["email"]}}
            await runtime.append([Identify(customer="ana", at_ms=at_ms, id="i", time_ms=at_ms, traits=traits)])
            await runtime.append([Event(customer="ana", at_ms=at_ms, id="e", name="Signed Up", time_ms=at_ms)])
            await runtime.idle()
        finally:
            await runtime.stop()

    asyncio.run(applied())


def _lines(folder: Path, *more: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in anlass("audit", "list", "--json", "--project", folder, *more).out.splitlines()]


def test_every_act_is_noted_with_who_what_and_why(shop: Path) -> None:
    """In the order in which they were done; looking for somebody who is not there, or listing, is not an act."""
    assert anlass("pause", "welcome", "--reason", "wrong price", "--project", shop).status == 0
    assert anlass("resume", "welcome", "--project", shop).status == 0
    assert anlass("show", "customer", "ana", "--reason", "ticket 17", "--project", shop).status == 0
    assert anlass("show", "customer", "nobody", "--project", shop).status == 1
    message = json.loads(anlass("show", "customer", "ana", "--json", "--project", shop).out)["sent"][0]["message"]
    assert anlass("show", "message", message, "--project", shop).status == 0
    assert anlass("replay", "--project", shop).status == 0
    assert anlass("replay", "4711", "--project", shop).status == 1
    assert anlass("deploy", shop, "--plan").status == 0
    assert anlass("deploy", shop, "--reason", "new copy").status == 0
    assert anlass("export", "ana", "--project", shop).status == 0
    assert anlass("erase", "ana", "--project", shop).status == 2
    assert anlass("erase", "ana", "--yes", "--reason", "asked by mail", "--project", shop).status == 0
    found = _lines(shop)
    assert [(line["act"], line["what"].split()[0] if line["act"] != "deploy" and line["what"] else "") for line in found] == [
        ("pause", "welcome"), ("resume", "welcome"), ("show_customer", ""), ("show_customer", ""),
        ("show_message", message), ("replay", "4711"), ("deploy", ""), ("export", ""), ("erase", ""),
    ]  # fmt: skip
    assert {line["who"] for line in found} == {"kim"}
    assert [line["why"] for line in found if line["why"]] == ["wrong price", "ticket 17", "new copy", "asked by mail"]
    text = (shop / "var" / "audit.jsonl").read_text("utf-8")
    assert '"ana"' not in text
    assert "shop.example" not in text
    assert [line["act"] for line in _lines(shop, "--customer", "ana")] == [
        "show_customer", "show_customer", "show_message", "export", "erase",
    ]  # fmt: skip
    assert [line["number"] for line in _lines(shop, "--act", "deploy")] == [7]
    assert _lines(shop, "--customer", "ben") == []
    assert "4711" in anlass("audit", "list", "--project", shop).out
    done = anlass("audit", "verify", "--project", shop)
    assert done.status == 0
    assert done.out.startswith("9 lines, each follows from the one before. The end: 9:")


def test_a_pause_says_its_reason_where_people_look(shop: Path) -> None:
    """`show workflow` has who and why; once it goes on it says nothing."""
    anlass("pause", "welcome", "--reason", "wrong price", "--project", shop)
    shown = anlass("show", "workflow", "welcome", "--project", shop).out
    assert "welcome is paused since" in shown
    assert "(operator: wrong price)" in shown
    told = json.loads(anlass("show", "workflow", "welcome", "--json", "--project", shop).out)
    assert told["paused"]["reason"] == "operator: wrong price"
    anlass("resume", "welcome", "--project", shop)
    assert "is paused" not in anlass("show", "workflow", "welcome", "--project", shop).out
    assert json.loads(anlass("show", "workflow", "welcome", "--json", "--project", shop).out)["paused"] is None


def test_what_was_done_to_the_log_is_found(shop: Path) -> None:
    """A word changed; lines cut off at the end, also when the file that says the end is gone but it was noted elsewhere."""
    for workflow in ("welcome", "welcome", "welcome"):
        anlass("pause", workflow, "--project", shop)
    head = json.loads(anlass("audit", "verify", "--json", "--project", shop).out)["head"]
    log = shop / "var" / "audit.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole.replace(b'"who":"kim"', b'"who":"lee"', 1))
    done = anlass("audit", "verify", "--project", shop)
    assert done.status == 1
    assert "line 1 was changed after it was written" in done.err
    assert "audit verify" in anlass("audit", "list", "--project", shop).err
    log.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    done = anlass("audit", "verify", "--project", shop)
    assert done.status == 1
    assert "it ends with line 2, but the last one written was 3" in done.err
    (shop / "var" / "audit.head").unlink()
    assert anlass("audit", "verify", "--project", shop).status == 0
    done = anlass("audit", "verify", "--head", head, "--project", shop)
    assert done.status == 1
    assert "line 3" in done.err
    log.write_bytes(whole)
    assert anlass("audit", "verify", "--head", head, "--project", shop).status == 0
    assert anlass("audit", "verify", "--head", "x", "--project", shop).status == 2


def test_what_cannot_be_noted_is_not_done(shop: Path) -> None:
    """A folder in place of the log: one sentence, and nobody is erased."""
    (shop / "var" / "audit.jsonl").mkdir()
    done = anlass("erase", "ana", "--yes", "--project", shop)
    assert done.status != 0
    assert "audit log" in done.err
    assert "Traceback" not in done.err
    (shop / "var" / "audit.jsonl").rmdir()
    assert anlass("show", "customer", "ana", "--project", shop).status == 0

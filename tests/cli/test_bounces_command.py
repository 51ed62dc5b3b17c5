"""`anlass bounces` says how mails that came back are understood, and hands them in; `anlass show message` shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.channels.conftest import Accepted
from tests.channels.returned_mails import plain, report_of
from tests.cli.conftest import anlass
from tests.test_bootstrap_limits import FILES, greet, running, until

pytestmark = pytest.mark.usefixtures("commands")

RETURN_PATH = 'return_path = "b+{id}@bounces.shop.example"'


@pytest.fixture
async def sent(tmp_path: Path) -> tuple[Path, Accepted]:
    """A project that sent one mail and stopped, and the mail."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    async with running(tmp_path, RETURN_PATH) as (service, server):
        await greet(service, "ana@example.com")
        await until(service, ["sent"])
    return tmp_path, server.accepted[0]


def _bounce(mail: Accepted) -> bytes:
    group = "Final-Recipient: rfc822; ana@example.com\nAction: failed\nStatus: 5.1.1\n"
    return report_of(f"{group}Diagnostic-Code: smtp; 550 5.1.1 <ana@example.com> unknown\n", to=mail.sender)


def test_a_bounce_is_read_and_handed_in(sent: tuple[Path, Accepted]) -> None:
    """Read first, which changes nothing; then handed in, noted in the audit log, and shown with its message."""
    project, mail = sent
    (project / "a.eml").write_bytes(_bounce(mail))
    (project / "b.eml").write_bytes(plain("Out of office\x1b[31m", "x", sender="ana@example.com"))
    read = anlass("bounces", "a.eml", "b.eml", "--json", cwd=project)
    assert read.status == 0, read.err
    first, second = read.lines
    message = first["message"]
    assert (first["kind"], first["means"], first["outcome"], first["code"]) == (
        "status",
        "hard",
        "bounced",
        "550 5.1.1",
    )
    assert (first["customer"], first["proven"], first["usable"]) == ("ana@example.com", True, True)
    assert (second["kind"], second["usable"]) == ("automatic", False)
    assert "suppressed" not in anlass("show", "customer", "ana@example.com", cwd=project).out
    handed = anlass("bounces", "a.eml", "b.eml", "--hand-in", "--reason", "from the postmaster", cwd=project)
    assert handed.status == 0, handed.err
    assert "1 of 2 mails handed in." in handed.out
    assert "\x1b[31m" not in handed.out
    assert "email:ana@example.com: bounced" in anlass("show", "customer", "ana@example.com", cwd=project).out
    shown = anlass("show", "message", message, "--json", cwd=project)
    (line,) = shown.lines
    (outcome,) = [each for each in line["timeline"] if each["kind"] == "outcome"]
    assert (outcome["outcome"], outcome["code"], outcome["verdict"]) == ("bounced", "550 5.1.1", "suppress")
    assert outcome["reason"] == "550 5.1.1 <address> unknown"
    assert "550 5.1.1" in anlass("show", "message", message, cwd=project).out
    assert "from the postmaster" in anlass("audit", "list", cwd=project).out


def test_what_cannot_be_used_is_said(sent: tuple[Path, Accepted]) -> None:
    """A mail about nobody, damage, a missing file: a sentence each, and nothing is recorded."""
    project, mail = sent
    foreign = report_of("Final-Recipient: rfc822; x@y.z\nAction: failed\nStatus: 5.1.1\n", to="x@y.z")
    for raw, why in (
        (foreign, "names no message"),
        (b"", "empty"),
        (plain("Hi", "you", sender="a@b.c"), "not a bounce"),
    ):
        (project / "x.eml").write_bytes(raw)
        done = anlass("bounces", "x.eml", "--hand-in", "--json", cwd=project)
        assert (done.status, done.lines[0]["usable"]) == (0, False)
        assert why in done.lines[0]["why_not"]
        assert "0 of 1 mails handed in." in done.err
    missing = anlass("bounces", "nothing.eml", cwd=project)
    assert (missing.status, "cannot be read" in missing.err) == (2, True)
    piped = anlass("bounces", "-", cwd=project, stdin=_bounce(mail).decode())
    assert "bounced (hard)" in piped.out


def test_without_a_store_it_reads_all_the_same(tmp_path: Path) -> None:
    """In a project that never ran no message is known, and that is what is said."""
    (tmp_path / "workflows").mkdir()
    (tmp_path / "a.eml").write_bytes(plain("failure notice", "<x@y.z>:\n(#5.1.1)"))
    done = anlass("bounces", "a.eml", "--json", cwd=tmp_path)
    assert (done.status, done.lines[0]["kind"], done.lines[0]["usable"]) == (0, "words", False)

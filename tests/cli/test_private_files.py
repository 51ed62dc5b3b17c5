"""What is written is for its owner alone; and a start that would let strangers in is refused."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.cli.private import shared_warning, write_private
from tests.cli.conftest import Running, anlass, signed_up


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nobody_else_reads_what_a_run_writes(run: Callable[..., Running], tmp_path: Path) -> None:
    """The database and its WAL, the mailbox, the folder, an export, also over a file that was there and wide."""
    before = os.umask(0o022)
    try:
        running = run()
        assert running.post(*signed_up("ana")) == 200
    finally:
        os.umask(before)
    var = running.project / "var"
    assert _mode(var) == 0o700
    wide = [path for path in var.rglob("*") if _mode(path) & 0o077]
    assert wide == []
    assert {"anlass.db", "anlass.db-wal", "mailbox.sqlite3"} <= {path.name for path in var.iterdir()}
    assert running.stop() == 0
    export = tmp_path / "ana.json"
    export.write_text("")
    export.chmod(0o644)
    done = anlass("export", "ana", "--project", running.project, "--output", export)
    assert done.status == 0, done.err
    assert _mode(export) == 0o600


def test_a_folder_that_others_can_enter_is_said(tmp_path: Path) -> None:
    """As earlier versions made it, with what to do."""
    var = tmp_path / "var"
    var.mkdir()
    var.chmod(0o755)
    (var / "anlass.db").touch()
    (var / "anlass.db").chmod(0o644)
    said = shared_warning(var)
    assert "anlass.db" in said
    assert f"chmod -R go-rwx {var}" in said
    var.chmod(0o700)
    assert shared_warning(var) == ""
    assert shared_warning(tmp_path / "nothing") == ""


def test_a_file_is_never_wide(tmp_path: Path) -> None:
    """New or not."""
    for path in (tmp_path / "new", tmp_path / "old"):
        if path.name == "old":
            path.write_text("x" * 100)
            path.chmod(0o666)
        write_private(path, b"data")
        assert (path.read_bytes(), _mode(path)) == (b"data", 0o600)


KEYLESS_URLS = ["https://mail.shop.example", "http://10.0.0.1", "https://localhost.evil.example", "http://0.0.0.0:8080"]


@pytest.mark.parametrize("url", KEYLESS_URLS)
def test_without_keys_nothing_starts_for_the_outside(url: str, project: Path) -> None:
    """`run` and `check --settings` refuse alike, with the mend."""
    env = {"ANLASS_COLLECTOR__PUBLIC_URL": url}
    commands: list[tuple[str | Path, ...]] = [("check", project, "--settings")]
    if url == KEYLESS_URLS[0]:
        commands.append(("run", "--project", project))
    for command in commands:
        done = anlass(*command, env=env)
        assert (done.status, "ANLASS_COLLECTOR__WRITE_KEYS" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("https://mail.shop.example", 0),
        ("http://mail.shop.example", 2),
        ("http://127.0.0.1:9000", 0),
        ("http://[::1]:9000", 0),
        ("http://localhost:9000", 0),
    ],
)
def test_a_public_url_in_clear_is_refused_by_the_check(url: str, status: int, project: Path) -> None:
    """Customers' links would be readable on their way."""
    env = {"ANLASS_COLLECTOR__PUBLIC_URL": url, "ANLASS_COLLECTOR__WRITE_KEYS": "mWq0T3nYvR8kZc5LxB1dHf7s"}
    done = anlass("check", project, "--settings", env=env)
    assert done.status == status, done.err
    assert ("https://" in done.err) == (status == 2)
    if url == "https://mail.shop.example":
        assert "ANLASS_COLLECTOR__TRUSTED_PROXIES" in done.out


def test_an_operators_port_that_is_taken_is_said_with_its_mend(project: Path) -> None:
    """As the public one, before anything is started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = anlass("run", "--project", project, env={"ANLASS_CONSOLE__PORT": str(port)})
    assert refused.status == 2
    assert f"127.0.0.1:{port}" in refused.err
    assert "ANLASS_CONSOLE__PORT" in refused.err

"""The PostgreSQL server of the tests: answers, is shared, and ends when nobody uses it."""

import os
import time
from pathlib import Path

import psycopg
import pytest

from engine.errors import ServiceUnreachable
from tests.services import postgres as service


def test_a_database_of_its_own_is_empty_and_takes_rows(postgres: str) -> None:
    """Two tests never see each other's tables."""
    with psycopg.connect(postgres) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        connection.execute("CREATE TABLE journal (seq BIGINT)")
    assert tables == (0,)


def test_the_server_ends_when_its_last_user_has_left(postgres_server: str, tmp_path: Path) -> None:
    """Two users share one server; it stays for the second, and nothing of it is left after both."""
    with service.shared(tmp_path / "s") as first:
        with service.shared(tmp_path / "s") as second:
            assert first == second
        with psycopg.connect(f"{first}postgres") as connection:
            row = connection.execute("SELECT current_setting('data_directory')").fetchone()
            assert row is not None
            data = Path(row[0])
            assert connection.execute("SELECT 1").fetchone() == (1,)
    deadline = time.monotonic() + 20
    while data.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not data.exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"{first}postgres", connect_timeout=2)


def test_without_apt_and_without_postgresql_the_mend_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is missing and how to get it stands in the line of the skip."""
    monkeypatch.setattr(service, "CACHE", tmp_path)
    monkeypatch.setattr(service, "_newest", lambda _: None)
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(ServiceUnreachable, match="apt install postgresql"):
        service.binaries()

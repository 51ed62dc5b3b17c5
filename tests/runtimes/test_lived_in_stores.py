"""Stores of every earlier schema, lived in: the start migrates, nothing is lost, and the ledger tells what mail goes out on."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from engine.clock import ManualClock
from engine.core.consent.proof import standing
from engine.core.customer import CustomerState, Granted, decode_state, encode_state
from engine.core.effect import Decision
from engine.core.message import Message
from engine.runtimes.embedded import EmbeddedRuntime, filling, inbox
from engine.runtimes.embedded import consents as embedded
from engine.runtimes.embedded.statements import MIGRATIONS
from engine.runtimes.journal import Database, DatabaseReader, ledger
from engine.runtimes.journal.statements import Dialect, migrations
from tests.cli.conftest import anlass
from tests.conformance.shop import catalog
from tests.runtimes.journal_records import message

T0 = 1_774_600_000_000
LEDGER = {"embedded": 5, "journal": 2}
"""The schema that has the consent ledger first."""
CHAIN = 13
NAMES = 7
"""The schema of the journal's database that calls tables as the embedded store does."""
RECORD = {"id": "a" * 24, "channel": "email", "address": "u3@shop.example", "basis": "consent"}


def _state(customer: str, since: int) -> bytes:
    """As before the ledger: status, time and source are all that was kept of consent."""
    granted = {"marketing": {"email": Granted("granted", since, "shop")}}
    traits = {"email": f"{customer}@shop.example"}
    body = encode_state(CustomerState(id=customer, position=3, traits=traits, consent=granted))
    assert decode_state(body).consent == granted
    raw = msgspec.msgpack.decode(body)
    shortened = _shortened(raw)
    return msgspec.msgpack.encode(shortened)


def _shortened(value: Any) -> Any:
    if isinstance(value, list) and value[:1] == ["granted"]:
        return value[:3]
    if isinstance(value, list):
        return [_shortened(each) for each in value]
    return {name: _shortened(each) for name, each in value.items()} if isinstance(value, dict) else value


def _decision(customer: str, action: str, at: int, *, records: bool = False) -> Decision:
    detail: dict[str, Any] = {"purpose": "marketing", "channels": ["email"], "action": action, "source": "shop"}
    if records:
        detail["records"] = [{**RECORD, "id": f"{RECORD['id'][:-1]}{at}"}]
    return Decision(at_ms=T0 + at, customer=customer, kind="consent", detail={**detail, "proof": {"wording": "Ja"}})


DECISIONS = [_decision("u2", "request", 1), _decision("u2", "confirm", 2)]
"""u2: in the journal. u3: in the journal with its records, and in the ledger where there is one. u4: in its state alone."""


def _insert(connection: Any, columns: dict[str, dict[str, Any]], table: str, **values: Any) -> None:
    known = columns[table]
    row = {name: values.get(name, default) for name, default in known.items() if name in values or default is not None}
    assert values.keys() <= known.keys()
    marks = ", ".join(["%s" if isinstance(connection, psycopg.Connection) else "?"] * len(row))
    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))  # noqa: S608 - our own words


def _columns_of(connection: sqlite3.Connection, tables: list[str]) -> dict[str, dict[str, Any]]:
    """Table → column → an empty value for what has to be given, None for what need not."""
    empty = {"TEXT": "", "BLOB": b"", "INTEGER": 0}
    return {
        table: {
            name: empty[kind] if needed and default is None and not key else None
            for _, name, kind, needed, default, key in connection.execute(f"PRAGMA table_info({table})")
        }
        for table in tables
    }


def _embedded_store(var: Path, schema: int) -> None:
    var.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(var / "anlass.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    for number, script in MIGRATIONS[:schema]:
        connection.executescript(f"BEGIN;{script}\nPRAGMA user_version = {number};COMMIT;")
    columns = _columns_of(connection, ["states", "journal", "log", "dead_letters"])
    for number, customer in enumerate(("u2", "u3", "u4"), 1):
        _insert(
            connection,
            columns,
            "states",
            number=number,
            customer=customer,
            due_ms=0,
            state=_state(customer, T0 + number),
        )
    for decision in [
        *DECISIONS,
        *([_decision("u3", "grant", 3, records=True)] if schema >= LEDGER["embedded"] else []),
    ]:
        _insert(
            connection, columns, "journal", log_seq=1, at_ms=decision.at_ms, customer=decision.customer, workflow="",
            kind="consent", enrollment="", message="", decision=msgspec.msgpack.encode(decision),
        )  # fmt: skip
    if schema >= LEDGER["embedded"]:
        columns |= _columns_of(connection, ["consents"])
        _insert(
            connection, columns, "consents", number=1, log_seq=1, record=f"{RECORD['id'][:-1]}3", customer="u3",
            purpose="marketing", channel="email", action="grant", basis="consent", address="u3@shop.example", source="shop",
            at_ms=T0 + 3, recorded_ms=T0 + 3, requested_ms=0, proof='{"wording": "Ja"}',
        )  # fmt: skip
    _insert(connection, columns, "dead_letters", at_ms=T0, origin="http", reason="bad", body=b"x")
    connection.close()


@pytest.mark.parametrize("schema", range(1, CHAIN))
async def test_an_embedded_store_of_each_schema_is_filled_and_chained(schema: int, tmp_path: Path) -> None:
    """Once; a second start adds nothing."""
    _embedded_store(tmp_path, schema)
    runtime = EmbeddedRuntime(tmp_path, catalog(), clock=ManualClock(T0 + 10))
    for _ in range(2):
        await runtime.start()
        told = await runtime.consents(customer="u2")
        assert [(each.action, each.at_ms, each.source) for each in told] == [
            ("request", T0 + 1, "shop"), ("confirm", T0 + 2, "shop")
        ]  # fmt: skip
        assert told[1].proof == {"wording": "Ja", "origin": "the journal, before the ledger"}
        (u3,) = await runtime.consents(customer="u3")
        assert u3.source == ("shop" if schema >= LEDGER["embedded"] else "before the ledger")
        (u4,) = await runtime.consents(customer="u4")
        assert (u4.action, u4.source, u4.at_ms) == ("grant", "before the ledger", T0 + 3)
        for customer in ("u2", "u3", "u4"):
            (stands,) = standing(await runtime.consents(customer=customer))
            assert stands.status == "granted"
            state = await runtime.state(customer)
            assert state is not None
            assert state.consent["marketing"]["email"].status == "granted"
        assert [each.reason for each in await runtime.dead_letters()] == ["bad"]
        assert len(runtime._store.connection.execute("SELECT 1 FROM journal").fetchall()) >= len(DECISIONS)
        await runtime.stop()
    with inbox.open_ledger(tmp_path) as connection:
        found = embedded.check(connection)
    assert (found.rows, found.problems) == (4, ())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_after_the_upgrade_the_commands_tell_what_mail_goes_out_on(tmp_path: Path) -> None:
    """`consent verify` asks for a start first; then `consent show` has what was before the ledger."""
    shop = tmp_path / "shop"
    assert anlass("init", shop).status == 0
    _embedded_store(shop / "var", 4)
    (shop / "var" / "secret.key").write_bytes(b"k" * 32)
    early = anlass("consent", "verify", "--project", shop)
    assert (early.status, "no chain yet" in early.err) == (1, True), early.err
    assert anlass("pause", "welcome", "--project", shop).status == 0  # opens the store
    shown = anlass("consent", "show", "u2", "--project", shop)
    assert "granted" in shown.out
    assert "before the ledger" in anlass("consent", "show", "u4", "--project", shop).out
    verified = anlass("consent", "verify", "--project", shop)
    assert verified.status == 0
    head = verified.out.rpartition(" ")[2].strip()
    assert anlass("consent", "verify", "--head", head, "--project", shop).status == 0
    forged = anlass("consent", "verify", "--head", f"2:{'0' * 64}", "--json", "--project", shop)
    assert (forged.status, len(forged.lines[0]["problems"])) == (1, 1)
    assert anlass("consent", "verify", "--head", "2", "--project", shop).status == 2


COLUMNS = ("step", "template", "issue", "variant")
"""What the ledger tells of a message since the schemas 14 and 8, besides its body."""


def _told(number: int) -> Message:
    """A message of a broadcast, or (every third one) of nothing of the kind."""
    broadcast = {"issue": "2026-12-01-0900", "variant": "a"} if number % 3 else {}
    return msgspec.structs.replace(message("u2", number), step=f"mail{number}", **broadcast)


async def test_the_columns_of_messages_are_filled_in_the_embedded_ledger(tmp_path: Path) -> None:
    """A little at a time, once; what cannot be read keeps them empty, and is said elsewhere."""
    _embedded_store(tmp_path, 13)
    many = filling.ROWS_PER_STEP + 3
    with contextlib.closing(sqlite3.connect(tmp_path / "anlass.db", isolation_level=None)) as connection:
        columns = _columns_of(connection, ["ledger"])
        connection.execute("BEGIN")
        for number in range(many):
            told = _told(number)
            body = b"\x00" if number == 7 else msgspec.msgpack.encode(told)
            _insert(
                connection, columns, "ledger", message=told.id, customer="u2", channel="email", lane="email:", priority=0,
                status="sent", scheduled=0, not_before_ms=0, updated_ms=T0, body=body, workflow="welcome",
            )  # fmt: skip
        connection.execute("COMMIT")
    runtime = EmbeddedRuntime(tmp_path, catalog(), clock=ManualClock(T0 + 10))
    for _ in range(2):
        await runtime.start()
        await runtime.tidy()
        asked = f"SELECT {', '.join(COLUMNS)} FROM ledger ORDER BY number"  # noqa: S608 - our own words
        rows = runtime._store.connection.execute(asked).fetchall()
        expected = [tuple(getattr(_told(number), name) for name in COLUMNS) for number in range(many)]
        expected[7] = ("", "", "", "")
        assert rows == expected
        assert not filling.step(runtime._store)
        await runtime.stop()


async def test_the_columns_of_messages_are_filled_in_the_journals_database(
    dialect: Dialect, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """With the migration."""
    url = f"sqlite:///{tmp_path}/journal.db" if dialect == "sqlite" else request.getfixturevalue("postgres")
    _journal_database(url, 7, tmp_path)
    sqlite = dialect == "sqlite"
    connection: Any = (
        sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        if sqlite
        else psycopg.connect(url, autocommit=True)
    )
    with contextlib.closing(sqlite3.connect(tmp_path / "model.db")) as model:
        columns = _columns_of(model, ["ledger"])
    for number in range(6):
        told = _told(number)
        _insert(
            connection, columns, "ledger", number=number + 1, message=told.id, version=1, customer="u2", workflow="welcome",
            step=told.step, template=told.template, status="sent", updated_ms=T0,
            body=b"\x00" if number == 2 else msgspec.msgpack.encode(told),
        )  # fmt: skip
    database = Database(url)
    await database.open()
    await database.close()
    rows = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM ledger ORDER BY number").fetchall()  # noqa: S608 - our own words
    connection.close()
    expected = [tuple(getattr(_told(number), name) for name in COLUMNS) for number in range(6)]
    expected[2] = (*expected[2][:2], "", "")
    assert rows == expected


@pytest.fixture(params=["sqlite", "postgres"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Each kind of database."""
    return "sqlite" if request.param == "sqlite" else "postgresql"


@pytest.mark.parametrize("schema", range(1, 6))
async def test_a_journals_database_of_each_schema_is_filled_and_chained(
    schema: int, dialect: Dialect, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """By the sink that opens it first."""
    url = f"sqlite:///{tmp_path}/journal.db"
    if dialect == "postgresql":
        url = request.getfixturevalue("postgres")
    _journal_database(url, schema, tmp_path)
    for _ in range(2):
        database = Database(url)
        await database.open()
        reader = DatabaseReader(database)
        told = await reader.consents(customer="u2")
        assert [(each.action, each.source) for each in told] == [("request", "shop"), ("confirm", "shop")]
        (u4,) = await reader.consents(customer="u4")
        assert u4.source == "before the ledger"
        (u3,) = await reader.consents(customer="u3")
        assert u3.source == ("shop" if schema >= LEDGER["journal"] else "before the ledger")
        found = await ledger.check(database)
        assert (found.rows, found.problems) == (4, ())
        assert await reader.state("u2") is not None
        await database.close()


def _journal_database(url: str, schema: int, folder: Path) -> None:
    model = sqlite3.connect(folder / "model.db", isolation_level=None)
    connection: Any = model
    steps = migrations("sqlite")[:schema]
    made = "CREATE TABLE schema_migrations (number BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_ms BIGINT NOT NULL)"
    for text in (made, *(text for step in steps for text in step.statements)):
        model.execute(text)
    states, body = ("states", "state") if schema >= NAMES else ("customers", "body")
    tables = ["journal", states, *(["consents"] if schema >= LEDGER["journal"] else [])]
    columns = _columns_of(model, tables)
    for known in columns.values():  # their keys have to be given here
        known |= {name: 0 for name in ("seq", "number") if name in known}
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    else:
        connection = psycopg.connect(url, autocommit=True)
    for text in (made, *(text for step in migrations(_dialect(url))[:schema] for text in step.statements)):
        connection.execute(text)
    for step in steps:
        connection.execute(f"INSERT INTO schema_migrations VALUES ({step.number}, '{step.name}', 0)")  # noqa: S608 - our own words
    for number, customer in enumerate(("u2", "u3", "u4"), 1):
        _insert(
            connection,
            columns,
            states,
            customer=customer,
            partition=0,
            position=3,
            **{body: _state(customer, T0 + number)},
        )
    lines = [*DECISIONS, *([_decision("u3", "grant", 3, records=True)] if schema >= LEDGER["journal"] else [])]
    for number, line in enumerate(lines, 1):
        _insert(
            connection, columns, "journal", seq=number, log_offset=number, at_ms=line.at_ms, customer=line.customer,
            kind="consent", detail=msgspec.json.encode(line.detail).decode(), why="[]",
        )  # fmt: skip
    if schema >= LEDGER["journal"]:
        connection.execute("UPDATE serials SET value = 1 WHERE name = 'consents'")
        _insert(
            connection, columns, "consents", number=1, log_offset=3, record=f"{RECORD['id'][:-1]}3", customer="u3",
            purpose="marketing", channel="email", action="grant", basis="consent", source="shop", at_ms=T0 + 3, proof="{}",
        )  # fmt: skip
    model.close()
    connection.close()


def _dialect(url: str) -> Dialect:
    return "sqlite" if url.startswith("sqlite") else "postgresql"

"""The print channel: letters, collected in one batch a day, which becomes one CSV (and PDF) file for a print shop.

Invariant: a letter is in the spool before its receipt is given, once for each message id, and in exactly one batch. A closed
batch takes no more; its files are written from the spool, whole or not at all, and closing again writes the same ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import importlib.util
import io
import json
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec

from channels import guard
from channels.contract import (
    Capabilities,
    OutgoingMessage,
    PermanentError,
    Receipt,
    TransientError,
    Unsupported,
    Verdict,
)
from channels.recording import moved_aside
from channels.section import read_section

SPOOL = "letters.sqlite3"
_log = logging.getLogger("anlass.letters")
COLUMNS = ("message", "name", "street", "extra", "postal_code", "city", "state", "country", "text")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS letter (
    number INTEGER PRIMARY KEY, message TEXT NOT NULL UNIQUE, day TEXT NOT NULL, name TEXT NOT NULL, address TEXT NOT NULL,
    text TEXT NOT NULL, customer TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS letter_customer ON letter (customer);
CREATE INDEX IF NOT EXISTS letter_day ON letter (day, number);
CREATE TABLE IF NOT EXISTS closed (day TEXT PRIMARY KEY);
"""


class PrintSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`folder` takes the spool and the files. `pdf_font` names a TrueType font; without one only what Latin-1 has is printed."""

    folder: str
    pdf: bool = False
    pdf_font: str = ""
    connections: int = 10


class Letter(msgspec.Struct, frozen=True):
    """One letter in the spool; `address` is JSON of its parts."""

    message: str
    day: str
    name: str
    address: str
    text: str
    customer: str = ""


class Batch(msgspec.Struct, frozen=True):
    """How a day stands."""

    day: str
    letters: int
    closed: bool


class Spool:
    """The letters of all days: one SQLite file. Safe between threads and processes; each call is one transaction."""

    def __init__(self, folder: Path) -> None:
        """Opens or makes it; a damaged file is moved aside, with a line. Raises OSError, sqlite3.Error."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        try:
            self._make()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # locked, or no room: nothing is wrong with the file
            aside = moved_aside(folder / SPOOL)
            _log.error("%s is damaged and was moved to %s: letters of open days are in there", SPOOL, aside.name)
            self._make()

    def _make(self) -> None:
        with self._transaction() as database:
            for statement in _SCHEMA.split(";"):
                database.execute(statement)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self._folder / SPOOL, timeout=10.0, isolation_level=None)
        try:
            database.execute("PRAGMA synchronous=FULL")
            database.execute("PRAGMA secure_delete=ON")
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")
        finally:
            database.close()  # what was not committed is undone

    def add(self, letter: Letter) -> str:
        """Puts the letter into its day's batch, or the next one that is open; returns the day. A known one stays where it is."""
        with self._transaction() as database:
            known = database.execute("SELECT day FROM letter WHERE message = ?", (letter.message,)).fetchone()
            if known is not None:
                return str(known[0])
            (last,) = database.execute("SELECT max(day) FROM closed").fetchone()
            day = letter.day
            if last is not None and day <= last:
                day = (date.fromisoformat(last) + timedelta(days=1)).isoformat()
            row = (letter.message, day, letter.name, letter.address, letter.text, letter.customer)
            database.execute(
                "INSERT INTO letter (message, day, name, address, text, customer) VALUES (?, ?, ?, ?, ?, ?)", row
            )
            return day

    def take_out(self, message: str) -> str:
        """Removes a letter whose batch is open; "" when it did, else why not."""
        with self._transaction() as database:
            known = database.execute("SELECT day FROM letter WHERE message = ?", (message,)).fetchone()
            if known is None:
                return "there is no such letter"
            (last,) = database.execute("SELECT max(day) FROM closed").fetchone()
            if last is not None and known[0] <= last:
                return f"the batch of {known[0]} is closed"
            database.execute("DELETE FROM letter WHERE message = ?", (message,))
            return ""

    def forget(self, customer: str, settings: PrintSettings) -> int:
        """Removes the letters of a customer who is erased, also from files of closed batches; returns how many there were."""
        with self._transaction() as database:
            found = database.execute("SELECT DISTINCT day FROM letter WHERE customer = ?", (customer,)).fetchall()
            removed = database.execute("DELETE FROM letter WHERE customer = ?", (customer,)).rowcount
        for (day,) in found:
            paths = self._paths(day, settings)
            if any(path.exists() for path in paths):
                for path in paths:
                    path.unlink(missing_ok=True)
                self._write(day, settings)
        return removed

    def batches(self) -> list[Batch]:
        """All days with letters, oldest first."""
        with self._transaction() as database:
            (last,) = database.execute("SELECT max(day) FROM closed").fetchone()
            rows = database.execute("SELECT day, count(*) FROM letter GROUP BY day ORDER BY day").fetchall()
        return [Batch(day, count, last is not None and day <= last) for day, count in rows]

    def close(self, day: str, settings: PrintSettings) -> list[Path]:
        """Closes this day and all before it, and writes their files; those of days that were closed already are written
        again if they are missing. Returns the files written.
        """
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO closed (day) VALUES (?)", (day,))
        written: list[Path] = []
        for batch in self.batches():
            if batch.closed:
                written += self._write(batch.day, settings)
        return written

    def _paths(self, day: str, settings: PrintSettings) -> list[Path]:
        return [self._folder / f"letters-{day}.csv"] + [self._folder / f"letters-{day}.pdf"] * settings.pdf

    def _write(self, day: str, settings: PrintSettings) -> list[Path]:
        missing = [path for path in self._paths(day, settings) if not path.exists()]
        if missing:
            with self._transaction() as database:
                rows = database.execute(
                    "SELECT message, day, name, address, text FROM letter WHERE day = ? ORDER BY number", (day,)
                ).fetchall()
            letters = [Letter(*row) for row in rows]
            for path in missing:
                _replace(path, as_csv(letters) if path.suffix == ".csv" else as_pdf(letters, settings))
        return missing


class PrintChannel:
    """Collects letters; the contract is `channels.contract.Channel`."""

    capabilities = Capabilities(idempotent=True)

    def __init__(self, settings: PrintSettings, *, name: str = "print") -> None:
        self.name = name
        self._settings = settings
        self._spool: Spool | None = None
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Opens the spool. ValueError when the folder or the font cannot be used."""
        font = self._settings.pdf_font
        if font and not await asyncio.to_thread(Path(font).is_file):
            raise ValueError(f"The print setting `pdf_font` names {font}, which is not a file.")
        try:
            self._spool = await asyncio.to_thread(Spool, Path(self._settings.folder))
        except (OSError, sqlite3.Error) as error:
            raise ValueError(f"The print folder cannot be used: {error}; set print.folder.") from error

    async def close(self) -> None:
        """Lets the letter under way end. Idempotent."""
        async with self._writing:
            self._spool = None

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        """Into the batch of the day (UTC) on which it was decided."""
        if delivery.html is not None or delivery.subject or delivery.headers:
            raise Unsupported("anything but text")
        letter = _letter(delivery, self._settings)
        async with self._writing:  # SQLite has one writer
            if self._spool is None:
                raise TransientError("the channel is not open", code="closed")
            try:
                day = await asyncio.shield(asyncio.to_thread(self._spool.add, letter))
            except (OSError, sqlite3.Error) as error:
                raise TransientError(f"the spool cannot be written: {type(error).__name__}", code="spool") from error
        return Receipt(delivery.id, f"in the batch of {day}")


def create(settings: Mapping[str, object]) -> PrintChannel:
    """Build the channel from its section of the settings; `ValueError` says which setting is wrong and how.

    `ImportError` when PDFs are wanted and what writes them is not installed: nobody should find that out when a batch closes.
    """
    read = read_section(settings, PrintSettings, section="print")
    if read.pdf and importlib.util.find_spec("fpdf") is None:
        raise ModuleNotFoundError("No module named 'fpdf'", name="fpdf")
    return PrintChannel(read)


def _letter(delivery: OutgoingMessage, settings: PrintSettings) -> Letter:
    try:
        parts = msgspec.json.decode(delivery.to.encode(), type=dict[str, str])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        parts = {}
    if not {"street", "postal_code", "city"} <= parts.keys() <= set(COLUMNS):
        raise PermanentError("it is not a postal address", code="address", address_verdict=Verdict.SUPPRESS)
    guard.check_value("the recipient's name", delivery.to_name)
    texts = [delivery.to_name, delivery.text, *parts.values()]
    try:
        for text in texts:
            text.encode("latin-1" if settings.pdf and not settings.pdf_font else "utf-8")
    except UnicodeEncodeError:
        reason = "it has characters that the PDF's font has not; set print.pdf_font"
        raise PermanentError(reason, code="characters", address_verdict=Verdict.MESSAGE) from None
    if any(char in text for text in texts for char in "\0\x0b\x0c\x1b"):
        raise PermanentError("it has control characters", code="characters", address_verdict=Verdict.MESSAGE)
    day = datetime.fromtimestamp(delivery.date_ms / 1000, UTC).date().isoformat()
    return Letter(delivery.id, day, " ".join(delivery.to_name.split()), delivery.to, delivery.text, delivery.customer)


def as_csv(letters: list[Letter]) -> bytes:
    """UTF-8 with a mark, as spreadsheets want it; every value quoted, and none that one would take for a formula."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for letter in letters:
        values = {"message": letter.message, "name": letter.name, "text": letter.text, **json.loads(letter.address)}
        writer.writerow([_harmless(values.get(column, "")) for column in COLUMNS])
    return out.getvalue().encode("utf-8-sig")


def _harmless(value: str) -> str:
    return f"'{value}" if value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value


def as_pdf(letters: list[Letter], settings: PrintSettings) -> bytes:
    """One letter after the other, each on new pages, its address where the window of a DIN 5008 envelope is."""
    from fpdf import FPDF  # noqa: PLC0415 - it takes long to import, and only who prints needs it

    pdf = FPDF(format="A4")
    day = letters[0].day if letters else "1970-01-01"
    pdf.set_creation_date(datetime.fromisoformat(f"{day}T00:00:00+00:00"))  # the same letters give the same file
    pdf.set_auto_page_break(auto=True, margin=25)
    pdf.set_margins(25, 25, 20)
    family = "Helvetica"
    if settings.pdf_font:
        family = "letter"
        pdf.add_font(family, fname=settings.pdf_font)
    pdf.set_font(family, size=11)
    for letter in letters:
        pdf.add_page()
        pdf.set_xy(25, 50)
        pdf.multi_cell(80, 5, "\n".join(_lines(letter)), new_x="LMARGIN", new_y="NEXT")
        pdf.set_xy(25, 105)
        pdf.multi_cell(0, 5.5, letter.text, new_x="LMARGIN", new_y="NEXT")
    return bytes(pdf.output())


def _lines(letter: Letter) -> list[str]:
    parts = json.loads(letter.address)
    city = f"{parts['postal_code']} {parts['city']}"
    lines = [
        letter.name,
        parts["street"],
        parts.get("extra", ""),
        city,
        parts.get("state", ""),
        parts.get("country", ""),
    ]
    return [line for line in lines if line]


def _replace(path: Path, data: bytes) -> None:
    """The file appears whole or not at all, and survives a loss of power."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

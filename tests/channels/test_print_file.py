"""Letters: each once, in one batch, through crashes; closed batches stay; files are whole, harmless and readable."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.conformance import Conformance, Received, Stage
from channels.contract import OutgoingMessage, PermanentError, TransientError, Verdict
from channels.letters import Letter, PrintChannel, PrintSettings, Spool, as_csv, create
from engine.core.consent.may_send import address_of, clean_address
from engine.core.customer import CustomerState
from engine.core.facts.postal import address
from engine.project.parts import forget_customer
from engine.settings import load_settings
from tests.cli.conftest import anlass

ANA = {"street": "Lindenallee 4", "postalCode": "12345", "city": "Köln"}
DAY = 86_400_000
T0 = 1_790_000_000_123  # 2026-09-21


def letter(n: int, *, day: int = 0, text: str = "Hello", to: str = "", name: str = "Ana Müller") -> OutgoingMessage:
    """The n-th letter, decided so many days later."""
    return OutgoingMessage(
        id=f"{n:032x}", channel="print", to=to or address(ANA), to_name=name, text=text, date_ms=T0 + day * DAY
    )


class TestPrint(Conformance):
    """All that the contract promises; what the print shop has is what the closed batch's file says."""

    impossible = (
        "",
        "Lindenallee 4",
        "{}",
        "[]",
        '{"street": "a", "city": "b"}',
        '{"street":1,"postal_code":"1","city":"b"}',
    )

    @pytest.fixture(autouse=True)
    def _in_a_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Stage]:
        def received() -> list[Received]:
            database = Spool(self.folder)
            with database._transaction() as rows:
                found = rows.execute("SELECT message, address, text, name FROM letter ORDER BY number").fetchall()
            return [Received(id=row[0], to=row[1], text=row[2], raw=repr(row).encode()) for row in found]

        def someone(n: int) -> str:
            return address({**ANA, "street": f"Lindenallee {n}"})

        texts = (
            "",
            "\n",
            ".\n",
            "..a\n.b\n",
            "ü" * 2_000,
            "a" * 5_000 + "\n",
            'She said "no", and {left}\n',
            "👋🏽 ﷽\n",
        )
        channel = PrintChannel(PrintSettings(folder=str(self.folder)))
        yield Stage(channel=channel, received=received, address=someone, texts=texts)


async def _filled(folder: Path, *letters: OutgoingMessage, **changes: object) -> PrintSettings:
    settings = PrintSettings(folder=str(folder), **changes)  # type: ignore[arg-type]  # names of fields
    channel = PrintChannel(settings)
    await channel.open()
    for each in letters:
        await channel.send(each)
    await channel.close()
    return settings


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))


async def test_a_day_becomes_one_file(tmp_path: Path) -> None:
    """Each letter once, in the order it came, with its address in columns; closing again changes nothing."""
    settings = await _filled(
        tmp_path, letter(1), letter(2, text='Say "hi",\nAna'), letter(1), letter(3, day=1), pdf=True
    )
    spool = Spool(tmp_path)
    assert [(batch.day, batch.letters, batch.closed) for batch in spool.batches()] == [
        ("2026-09-21", 2, False), ("2026-09-22", 1, False),
    ]  # fmt: skip
    written = spool.close("2026-09-21", settings)
    assert [path.name for path in written] == ["letters-2026-09-21.csv", "letters-2026-09-21.pdf"]
    rows = _rows(written[0])
    assert [(row["message"][-1], row["city"], row["postal_code"]) for row in rows] == [
        ("1", "Köln", "12345"),
        ("2", "Köln", "12345"),
    ]
    assert rows[1]["text"] == 'Say "hi",\nAna'
    pages = [page.extract_text() for page in pypdf.PdfReader(written[1]).pages]
    assert len(pages) == 2
    assert "Ana Müller\nLindenallee 4\n12345 Köln" in pages[0]
    before = [path.read_bytes() for path in written]
    assert spool.close("2026-09-21", settings) == []
    for path in written:
        path.unlink()
    assert spool.close("2026-09-21", settings) == written
    assert _rows(written[0]) == rows
    assert before[0] == written[0].read_bytes()


async def test_a_closed_batch_takes_no_more(tmp_path: Path) -> None:
    """What comes late goes into the next open day; a letter of a closed batch cannot be taken out."""
    settings = await _filled(tmp_path, letter(1), letter(2))
    spool = Spool(tmp_path)
    assert spool.take_out(letter(2).id) == ""
    assert spool.take_out(letter(2).id) == "there is no such letter"
    [path] = spool.close("2026-09-23", settings)
    assert len(_rows(path)) == 1
    assert spool.take_out(letter(1).id) == "the batch of 2026-09-21 is closed"
    await _filled(tmp_path, letter(3), letter(1))
    assert [(batch.day, batch.letters, batch.closed) for batch in spool.batches()] == [
        ("2026-09-21", 1, True), ("2026-09-24", 1, False),
    ]  # fmt: skip


KILLED = """
import os, sys
from pathlib import Path
from channels.letters import Letter, PrintSettings, Spool
import channels.letters as module
spool = Spool(Path(sys.argv[1]))
address = '{"city": "b", "postal_code": "1", "street": "a"}'
at = int(sys.argv[2])
for n in range(5):
    if n == at:
        os.replace = None
        real = module.sqlite3.connect
        def connect(*args, **kwargs):
            database = real(*args, **kwargs)
            database.set_trace_callback(lambda statement: os._exit(9) if statement.startswith("COMMIT") else None)
            return database
        module.sqlite3.connect = connect
    spool.add(Letter(f"{n:032x}", "2026-09-21", "Ana", address, "Hi"))
    print(n, flush=True)
"""


@pytest.mark.kill
@pytest.mark.parametrize("at", [0, 2, 4])
async def test_a_crash_loses_and_doubles_no_letter(tmp_path: Path, at: int) -> None:
    """Killed just before a commit: what was acknowledged is there, the rest comes again, and nothing is there twice."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(at)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent)}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 9, done.stderr
    assert len(done.stdout.split()) == at
    assert sum(batch.letters for batch in Spool(tmp_path).batches()) == at
    settings = await _filled(tmp_path, *(letter(n) for n in range(5)))
    (tmp_path / ".letters-2026-09-21.csv.draft").write_text("half a fi")
    [path] = Spool(tmp_path).close("2026-09-21", settings)
    assert sorted(row["message"] for row in _rows(path)) == [f"{n:032x}" for n in range(5)]


async def test_what_cannot_be_printed_is_refused(tmp_path: Path) -> None:
    """Characters the font has not, control characters, a folder that is none, a font that is none."""
    channel = PrintChannel(PrintSettings(folder=str(tmp_path), pdf=True))
    await channel.open()
    for text in ("5 €", "Łódź", "a\0b", "a\x1bb", "a\x0cb"):
        with pytest.raises(PermanentError) as caught:
            await channel.send(letter(1, text=text))
        assert (caught.value.code, caught.value.address_verdict) == ("characters", Verdict.MESSAGE)
    await channel.close()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"print\.folder"):
        await PrintChannel(PrintSettings(folder=str(tmp_path / "file"))).open()
    with pytest.raises(ValueError, match="pdf_font"):
        await PrintChannel(PrintSettings(folder=str(tmp_path), pdf_font="/no/font.ttf")).open()
    with pytest.raises(ValueError, match="print"):
        create({"foldr": "x"})
    broken = PrintChannel(PrintSettings(folder=str(tmp_path / "spool")))
    await broken.open()
    (tmp_path / "spool" / "letters.sqlite3").write_bytes(b"no database at all" * 100)
    with pytest.raises(TransientError):
        await broken.send(letter(1))
    await broken.close()


@given(st.text(), st.text())
def test_the_file_holds_every_value_and_no_formula(name: str, text: str) -> None:
    """Read back by a CSV reader every value is what it was, or has an apostrophe before it."""
    kept = [value.encode("utf-8", "replace").decode() for value in (name, text)]
    data = as_csv([Letter("m", "2026-09-21", kept[0], address(ANA), kept[1])])
    [row] = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    for column, value in (("name", kept[0]), ("text", kept[1])):
        assert row[column] in (value, f"'{value}")
        assert row[column][:1] not in {"=", "+", "-", "@"}


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_no_trait_breaks_the_address(value: object) -> None:
    """Whatever stands in the trait: parts that can be printed, or no address."""
    found = address(value)
    assert found == "" or {"street", "postal_code", "city"} <= json.loads(found).keys()


def test_an_address_is_read_from_the_trait() -> None:
    """Segment's names and the usual others; a part that is missing makes it none."""
    state = CustomerState(id="a", traits={"address": {**ANA, "postalCode": 12345, "country": " DE\n"}})
    assert json.loads(address_of(state, "print")) == {
        "street": "Lindenallee 4", "postal_code": "12345", "city": "Köln", "country": "DE",
    }  # fmt: skip
    assert clean_address("somewhere", "print") == ""
    for part in ANA:
        assert address({name: text for name, text in ANA.items() if name != part}) == ""


async def test_the_commands_list_undo_and_close(tmp_path: Path) -> None:
    """With the folder of the settings; a mistake gets a sentence."""
    (tmp_path / "workflows").mkdir()
    missing = anlass("letters", "list", "--project", tmp_path)
    assert (missing.status, "ANLASS_PRINT__FOLDER" in missing.err) == (2, True)
    (tmp_path / "anlass.toml").write_text('[print]\nfolder = "out"\n', "utf-8")
    await _filled(tmp_path / "out", letter(1), letter(2))
    assert anlass("letters", "undo", letter(2).id, "--project", tmp_path).status == 0
    assert anlass("letters", "close", "--day", "2026-09-21", "--project", tmp_path).out.startswith("Wrote ")
    assert anlass("letters", "list", "--json", "--project", tmp_path).lines == [
        {"day": "2026-09-21", "letters": 1, "closed": True}
    ]
    refused = anlass("letters", "undo", letter(1).id, "--project", tmp_path)
    assert (refused.status, "is closed" in refused.err) == (2, True)
    assert anlass("letters", "close", "--day", "soon", "--project", tmp_path).status == 2


async def test_who_is_erased_leaves_the_spool_and_the_files(tmp_path: Path) -> None:
    """Open and closed batches, the file that lies in the folder, and the pages of SQLite; others' letters stay."""
    (tmp_path / "anlass.toml").write_text('[print]\nfolder = "letters"\npdf = true\n', "utf-8")
    folder = tmp_path / "letters"
    text = "only for Ana's eyes"
    anas = [msgspec.structs.replace(letter(n, day=n, text=text), customer="ana") for n in range(2)]
    others = [msgspec.structs.replace(letter(n + 5, day=n, text="for Ben"), customer="ben") for n in range(2)]
    await _filled(folder, *anas, *others)
    printing = PrintSettings(folder=str(folder), pdf=True)
    Spool(folder).close("2026-09-21", printing)
    forget_customer(load_settings(tmp_path), "ana")
    assert [(batch.letters, batch.closed) for batch in Spool(folder).batches()] == [(1, True), (1, False)]
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {"letters-2026-09-21.csv", "letters-2026-09-21.pdf"} <= files.keys()
    assert not [name for name, body in files.items() if text.encode() in body]
    assert [row["message"] for row in _rows(folder / "letters-2026-09-21.csv")] == [others[0].id]
    pages = pypdf.PdfReader(folder / "letters-2026-09-21.pdf").pages
    assert len(pages) == 1

"""`anlass suppression`: addresses listed, added, lifted, imported and exported, on a store that is there."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli.operate.suppression import suppression
from engine.core.consent.suppression import of_objection
from engine.errors import AnlassError, NotFound, UsageError
from engine.runtimes.embedded.audit import read as audit_lines
from engine.runtimes.embedded.batch import address_hash
from engine.runtimes.embedded.store import Store

pytestmark = pytest.mark.usefixtures("commands")

ADDRESS, OTHER_FORM = "Ana@Bücher.example", "<ana@xn--bcher-kva.example>"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project that has run once."""
    (tmp_path / "anlass.toml").write_text("")
    store = Store(tmp_path / "var")
    store.open()
    store.close()
    return tmp_path


def told(shop: Path, *arguments: str | Path) -> Result:
    """What a command of the group answers; our errors are raised."""
    done = CliRunner().invoke(suppression, [*map(str, arguments), "--project", str(shop)], standalone_mode=False)
    if isinstance(done.exception, AnlassError):
        raise done.exception
    assert done.exception is None, done.exception
    return done


def test_an_address_is_added_found_in_either_form_and_lifted(shop: Path) -> None:
    """Twice is once; the list names no address; each act is in the audit log, which names none either."""
    assert told(shop, "add", ADDRESS, "--reason", "letter").output == "1 suppressed.\n"
    assert "had been before" in told(shop, "add", OTHER_FORM, "--reason", "letter").output
    listed = told(shop, "list", "--json").output
    assert listed.count("\n") == 1
    assert '"reason": "operator"' in listed
    assert "cher" not in listed
    assert told(shop, "list", "--address", OTHER_FORM).return_value == 0
    assert told(shop, "list", "--address", "bob@x.example").return_value == 1
    assert "operator is lifted" in told(shop, "lift", OTHER_FORM, "--reason", "she called").output
    assert told(shop, "list").output == "Nothing is suppressed.\n"
    texts, _ = audit_lines(shop / "var")
    assert [b"letter" in text or b"she called" in text for text in texts] == [True] * 3
    assert b"cher" not in b"".join(texts)


def test_what_an_owner_wanted_stays_unless_it_is_named(shop: Path) -> None:
    """An objection and an erasure are lifted by name only; a number is one on its channel."""
    store = Store(shop / "var")
    store.open()
    objection = of_objection("marketing", "email", ADDRESS, source="link", at_ms=5)
    with store.transaction() as connection:
        row = (address_hash(store, objection.channel, address=ADDRESS), objection.channel, objection.reason, 5)
        connection.execute("INSERT INTO suppressed_addresses (hash, channel, reason, at_ms) VALUES (?, ?, ?, ?)", row)
    store.close()
    with pytest.raises(NotFound, match="objected, which stays unless --also names it"):
        told(shop, "lift", OTHER_FORM, "--reason", "x")
    assert '"purpose": "marketing"' in told(shop, "list", "--json", "--why", "objected").output
    assert "objected is lifted" in told(shop, "lift", OTHER_FORM, "--reason", "x", "--also", "objected").output
    told(shop, "add", "+49 1511 2345678", "--channel", "sms", "--reason", "x")
    assert told(shop, "list", "--address", "+4915112345678", "--channel", "sms").return_value == 0
    assert told(shop, "list", "--address", "+4915112345678", "--channel", "whatsapp").return_value == 1


def test_a_list_is_imported_with_a_report_and_an_export_comes_back(shop: Path, tmp_path: Path) -> None:
    """A bad row imports nothing, unless it is allowed; what was exported as hashes is the same afterwards."""
    table, report, out = tmp_path / "in.csv", tmp_path / "refused.csv", tmp_path / "out.csv"
    table.write_text(f"E-Mail;since;who\n{ADDRESS};2026-01-02T03:04:05+01:00;x\nnobody;;\nbob@x.example;yesterday;\n")
    assert told(shop, "import", table, "--reason", "old").return_value == 1
    assert told(shop, "list").output == "Nothing is suppressed.\n"
    done = told(shop, "import", table, "--reason", "old", "--partly", "--report", report)
    assert done.return_value == 1
    assert "1 good row, 2 refused; 1 imported." in done.output
    assert [row[0] for row in csv.reader(report.open())] == ["line", "3", "4"]
    before = told(shop, "list", "--json").output
    assert "2026-01-02T02:04:05" in before
    told(shop, "export", out, "--reason", "move")
    assert out.stat().st_mode & 0o777 == 0o600
    told(shop, "lift", ADDRESS, "--reason", "x")
    assert told(shop, "import", out, "--reason", "back").return_value == 0
    assert told(shop, "list", "--json").output == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "nobody", "--reason", "x"), "is not an e-mail address"),
        (("add", "a@b.example", "--reason", " "), "--reason is empty"),
        (("import", "{}/none.csv", "--reason", "x"), "cannot be read"),
        (("import", "{}/anlass.toml", "--reason", "x"), "The file is empty"),
    ],
)
def test_what_cannot_be_done_is_said(shop: Path, arguments: tuple[str, ...], said: str) -> None:
    """In a sentence, and nothing is done."""
    with pytest.raises(UsageError, match=said):
        told(shop, *(each.format(shop) for each in arguments))


def test_a_project_that_never_ran_has_no_list(tmp_path: Path) -> None:
    """It is said, and no key is made, which would look like a lost store to the first start."""
    (tmp_path / "anlass.toml").write_text("")
    for arguments in (("list",), ("add", "a@b.example", "--reason", "x"), ("lift", "a@b.example", "--reason", "x")):
        with pytest.raises(NotFound, match="no engine data"):
            told(tmp_path, *arguments)
    assert not (tmp_path / "var" / "secret.key").exists()

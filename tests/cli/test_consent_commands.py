"""`anlass consent`: the ledger printed, consents imported, given and taken back from the command line."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.cli.people import consent_proof
from engine.core.consent.proof import ConsentRecord
from tests.cli.conftest import Running, anlass, signed_up, wait_for

Run = Callable[..., Running]
HEADER = "row,customer,purpose,channel,address,given_at,wording"
ROWS = [
    '1,ana,marketing,sms,+49 1511 2345678,2024-05-06T07:08:09+02:00,"Yes, by text message"',
    "2,ben,marketing,email,ben@example.com,2024-05-06T07:08:09+02:00,Ja möchte ich",
    "3,cleo,marketing,email,nobody,2024-05-06T07:08:09+02:00,",
]


def _ran(run: Run) -> Path:
    running = run()
    running.post(*signed_up("ana"))
    wait_for(running.mailbox, "the mail")
    running.stop()
    return running.project


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_ledger_is_shown_given_to_and_taken_from(run: Run, tmp_path: Path) -> None:
    """What the shop said, what an operator says, and the message that cites its record."""
    folder = _ran(run)
    shown = anlass("consent", "show", "ana", "--json", "--project", folder)
    assert shown.status == 0, shown.err
    (first,) = shown.lines[0]["records"]
    assert (first["action"], first["address"], first["source"]) == ("grant", "ana@shop.example", "shop")
    message = anlass("show", "customer", "ana", "--json", "--project", folder).lines[0]["sent"][0]["message"]
    cited = anlass("show", "message", message, "--project", folder)
    assert first["id"] in cited.out

    taken = anlass(
        "consent",
        "withdraw",
        "ana",
        "--purpose",
        "marketing",
        "--channel",
        "email",
        "--reason",
        "a letter",
        "--project",
        folder,
    )
    assert taken.status == 0, taken.err
    records = anlass("consent", "show", "ana", "--json", "--project", folder).lines[0]["records"]
    assert [(each["action"], each["source"]) for each in records] == [("grant", "shop"), ("withdraw", "operator")]
    assert records[1]["proof"]["reason"] == "a letter"
    assert records[1]["proof"]["operator"]
    plain = anlass("consent", "show", "--address", "ANA@shop.example", "--project", folder)
    assert "withdrawn" in plain.out

    page, document = tmp_path / "ana.html", tmp_path / "ana.pdf"
    written = anlass("consent", "show", "ana", "--html", page, "--pdf", document, "--project", folder)
    assert written.status == 0, written.err
    assert records[0]["id"] in page.read_text()
    assert document.read_bytes()[:5] == b"%PDF-"

    for wrong, reason in (
        (("withdraw", "nobody", "--purpose", "marketing", "--channel", "email", "--reason", "x"), "no customer"),
        (("grant", "ana", "--purpose", "marketting", "--channel", "email", "--reason", "x"), "marketing"),
        (("grant", "ana", "--purpose", "marketing", "--channel", "email", "--reason", " "), "reason"),
        (("show", "nobody"), "nothing about"),
        (("show",), "This needs a customer or an address"),
    ):
        refused = anlass("consent", *wrong, "--project", folder)
        assert refused.status
        assert reason in refused.err
        assert "Traceback" not in refused.err


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_import_refuses_by_line_and_can_be_given_again(run: Run, tmp_path: Path) -> None:
    """Dry, then refused as a whole, then the good rows, then the same once more: two records in the end."""
    folder = _ran(run)
    table, report = tmp_path / "old.csv", tmp_path / "refused.csv"
    table.write_text("\n".join((HEADER, *ROWS)), "utf-8-sig")
    given = ("consent", "import", table, "--origin", "Old shop", "--basis", "consent", "--project", folder)
    for more in (("--dry-run",), ()):
        looked = anlass(*given, *more)
        assert (looked.status, "nothing was imported" in looked.out) == (1, True)
        assert f"{table}:4: 'nobody' is not an e-mail address" in looked.err
        assert anlass("consent", "show", "ben", "--project", folder).status
    for _ in range(2):
        partly = anlass(*given, "--partly", "--report", report)
        assert (partly.status, "2 good rows, 1 refused; 2 imported" in partly.out) == (1, True), partly.err
    assert "'nobody'" in report.read_text()
    (ben,) = anlass("consent", "show", "ben", "--json", "--project", folder).lines[0]["records"]
    assert (ben["at"], ben["address"], ben["basis"]) == ("2024-05-06T05:08:09.000Z", "ben@example.com", "consent")
    assert ben["proof"] == {
        "address": "ben@example.com", "basis": "consent", "origin": "Old shop", "row": "2", "wording": "Ja möchte ich",
    }  # fmt: skip
    ana = anlass("consent", "show", "ana", "--json", "--project", folder).lines[0]["stands"]
    assert [(each["channel"], each["status"], each["address"]) for each in ana] == [
        ("email", "granted", "ana@shop.example"), ("sms", "granted", "+4915112345678"),
    ]  # fmt: skip
    for wrong in (("--basis", "hope"), ("--encoding", "klingon"), ("--origin", " ")):
        refused = anlass(*given, *wrong)
        assert refused.status
        assert "Traceback" not in refused.err
    assert anlass("consent", "import", tmp_path / "none.csv", "--origin", "x", "--project", folder).status


RECORD = ConsentRecord(
    id="r1", customer="<b>ana</b>", purpose="marketing", channel="email", action="confirm", address="ana@example.com",
    source="link", at_ms=1_774_600_000_000, recorded_ms=1_774_600_000_000, requested_ms=1_774_500_000_000,
    proof={"wording": "Ja, <script>alert(1)</script> ich möchte", "zone": "Europe/Berlin", "message": "m1"},
)  # fmt: skip


def test_page_and_document_hold_everything_and_obey_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What others wrote is text; both say when it was asked for, confirmed, with which words, in which zone."""
    proof = consent_proof.proof_of("ana", [RECORD], printed_ms=1_774_700_000_000)
    page = consent_proof.as_html(proof).decode()
    assert "<script>" not in page
    assert "&lt;b&gt;ana" in page
    monkeypatch.setattr(consent_proof, "_FONTS", ())
    data = consent_proof.as_pdf(proof)
    streams = re.findall(rb"stream\n(.*?)\nendstream", data, re.DOTALL)
    text = b" ".join(zlib.decompress(each) for each in streams if each[:1] == b"x").decode("latin-1")
    for fact in (
        "Europe/Berlin",
        "2026-03-26T04:40:00.000Z",
        "2026-03-27T08:26:40.000Z",
        "ana@example.com",
        "m1",
        "r1",
    ):
        assert fact in page
        assert fact in text


@pytest.mark.parametrize(
    "text", ["Zoë Łukasz Ωμέγα Иван 李", "\x00\x1b[31m\u202e", "w" * 5_000, "😀" * 50, "\ud800", "a\nb"]
)
def test_any_text_can_be_printed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other scripts, control characters, very long words: with a font that has them, and without."""
    record = ConsentRecord(id="r", customer=text, purpose="p", channel="c", action="grant", proof={"wording": text})
    proof = consent_proof.proof_of(text, [record], printed_ms=0)
    assert consent_proof.as_html(proof)
    assert consent_proof.as_pdf(proof)
    monkeypatch.setattr(consent_proof, "_FONTS", ())
    assert consent_proof.as_pdf(proof)

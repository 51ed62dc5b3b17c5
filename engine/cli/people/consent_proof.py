"""The proof of one customer's consent as a page and as a document, to be printed and handed over.

Invariant: both say the same, in the order of time; every text of others is escaped, and nothing of a proof is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import msgspec

from engine.clock import to_rfc3339
from engine.core.consent.proof import ConsentRecord, standing

if TYPE_CHECKING:
    from fpdf import FPDF

Pairs = tuple[tuple[str, str], ...]

_ACTIONS = {
    "request": "Consent was asked for",
    "grant": "Consent was given",
    "confirm": "Consent was confirmed (double opt-in)",
    "withdraw": "Consent was withdrawn",
}
_BASES = {
    "consent": "consent, Art. 6(1)(a) GDPR",
    "existing_customer": "existing customer, § 7(3) UWG",
    "contract": "contract, Art. 6(1)(b) GDPR",
}
_FONTS = (
    Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"),
    Path("/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf"),
    Path("/usr/share/fonts/TTF/DejaVuSans.ttf"),
    Path("/Library/Fonts/Arial Unicode.ttf"),
)
"""With letters of most languages; without one of these the document has Latin ones, and names others by their number."""


class ProofSection(msgspec.Struct, frozen=True):
    """A headline with facts below it."""

    title: str
    facts: Pairs


class Proof(msgspec.Struct, frozen=True):
    """What is printed."""

    subject: str
    printed_at: str
    stands: tuple[ProofSection, ...]
    entries: tuple[ProofSection, ...]


def proof_of(subject: str, records: Iterable[ConsentRecord], *, printed_ms: int) -> Proof:
    """Everything about `subject`, in words."""
    found = list(records)
    stands = []
    for each in standing(found):
        last = each.withdrawn or each.given or each.requested
        facts = {
            "Status": each.status,
            "Since": to_rfc3339(last.at_ms) if last is not None else "",
            "Address": each.address,
            "Legal basis": _BASES.get(each.basis, each.basis),
            "Asked for": to_rfc3339(each.given.requested_ms) if each.given and each.given.requested_ms else "",
            "Given": to_rfc3339(each.given.at_ms) if each.given else "",
            "Withdrawn": to_rfc3339(each.withdrawn.at_ms) if each.withdrawn else "",
            "Rests on record": last.id if last is not None else "",
        }
        stands.append(ProofSection(f"{each.purpose} by {each.channel}", _pairs(facts)))
    entries = [ProofSection(_ACTIONS.get(record.action, record.action), _pairs(_facts(record))) for record in found]
    return Proof(subject, to_rfc3339(printed_ms), tuple(stands), tuple(entries))


def _facts(record: ConsentRecord) -> dict[str, str]:
    proof = {name.replace("_", " ").capitalize(): str(text) for name, text in record.proof.items() if name != "basis"}
    return {
        "Record": record.id,
        "Customer": record.customer,
        "Purpose": record.purpose,
        "Channel": record.channel,
        "For the address": record.address,
        "Legal basis": "" if record.action == "withdraw" else _BASES.get(record.basis, record.basis),
        "Happened": to_rfc3339(record.at_ms),
        "Recorded": to_rfc3339(record.recorded_ms),
        "Was asked for": to_rfc3339(record.requested_ms) if record.requested_ms else "",
        "Came from": record.source,
        **proof,
    }


def _pairs(facts: dict[str, str]) -> Pairs:
    return tuple((name, text) for name, text in facts.items() if text)


def as_html(proof: Proof) -> bytes:
    """One page that loads nothing."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("consent.html").render(proof=proof).encode("utf-8", "backslashreplace")


def as_pdf(proof: Proof) -> bytes:
    """A document on A4."""
    from fpdf import FPDF

    pdf = FPDF()
    font = next((path for path in _FONTS if path.exists()), None)
    if font is not None:
        pdf.add_font("body", fname=font)
    pdf.set_title("Proof of consent")
    pdf.set_creator("Anlass")
    pdf.set_margin(20)
    pdf.add_page()
    page = _Page(pdf, "body" if font is not None else "helvetica", letters=None if font is not None else "latin-1")
    page.line("Proof of consent", size=18)
    page.line(f"{proof.subject}, printed {proof.printed_at}", size=10)
    for title, sections in (("Where consent stands", proof.stands), ("The ledger", proof.entries)):
        page.line(title, size=14, before=6)
        for section in sections:
            page.line(section.title, size=11, before=3)
            for name, text in section.facts:
                page.fact(name, text)
    return bytes(pdf.output())


class _Page:
    """Lines of text, one below the other. `letters` None: the font has them all."""

    def __init__(self, pdf: FPDF, font: str, *, letters: str | None) -> None:
        self._pdf = pdf
        self._font = font
        self._letters = letters

    def line(self, text: str, *, size: int, before: int = 0) -> None:
        self._pdf.ln(before)
        self._pdf.set_font(self._font, size=size)
        self._pdf.multi_cell(0, size * 0.5, self._sayable(text), new_x="LMARGIN", new_y="NEXT")

    def fact(self, name: str, text: str) -> None:
        from fpdf.enums import WrapMode

        self._pdf.set_font(self._font, size=9)
        self._pdf.cell(38, 5, self._sayable(name))
        self._pdf.multi_cell(0, 5, self._sayable(text), new_x="LMARGIN", new_y="NEXT", wrapmode=WrapMode.CHAR)

    def _sayable(self, text: str) -> str:
        text = "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)
        return text if self._letters is None else text.encode(self._letters, "backslashreplace").decode(self._letters)

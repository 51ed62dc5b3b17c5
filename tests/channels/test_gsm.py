"""Segments and alphabets: the vectors that Twilio publishes with its own counter, and what must hold for every text.

The vectors are those of the tests of github.com/TwilioDevEd/message-segment-calculator (MIT).
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.phone import gsm

DIGITS = "1234567890" * 40
FLAG, RAINBOW, ACCENTS = "🇮🇹", "🏳️‍🌈", "e\u0301\u0301\u0301"

VECTORS = [
    (DIGITS[:160], "GSM-7", 1),
    (DIGITS[:161], "GSM-7", 2),
    (DIGITS[:306], "GSM-7", 2),
    (DIGITS[:307], "GSM-7", 3),
    ("😜" + DIGITS[1:69], "UCS-2", 1),
    ("😜" + DIGITS[1:70], "UCS-2", 2),
    ("😜" + DIGITS[1:134], "UCS-2", 3),
    (FLAG + DIGITS[1:67], "UCS-2", 1),
    (FLAG + DIGITS[1:68], "UCS-2", 2),
    (RAINBOW + DIGITS[1:65], "UCS-2", 1),
    (RAINBOW + DIGITS[1:66], "UCS-2", 2),
    *((sign + DIGITS[:158], "GSM-7", 1) for sign in "|^€{}[]~\\"),
    *((sign + DIGITS[:159], "GSM-7", 2) for sign in "|^€{}[]~\\"),
    *((sign * 70, "UCS-2", 1) for sign in "ÁÚúçíÍóÓ"),
    *((sign * 71, "UCS-2", 2) for sign in "ÁÚúçíÍóÓ"),
    ("😀" + "]" * 68, "UCS-2", 1),
    ("😀" + "]" * 69, "UCS-2", 2),
    (ACCENTS + "a" * 66, "UCS-2", 1),
    (ACCENTS + "a" * 67, "UCS-2", 2),
    ("", "GSM-7", 1),
]


@pytest.mark.parametrize(("text", "encoding", "segments"), VECTORS)
def test_published_vectors(text: str, encoding: str, segments: int) -> None:
    """Twilio's counter says the same."""
    size = gsm.size_of(text)
    assert (size.encoding, size.segments) == (encoding, segments)


def test_a_sign_of_two_places_is_not_cut() -> None:
    """An escape at the end of a segment goes to the next one with its letter: 2 × 153 septets do not fit into two then."""
    assert gsm.size_of("a" * 152 + "€" + "a" * 152).segments == 3
    assert gsm.size_of("a" * 151 + "€" + "a" * 153).segments == 2
    assert gsm.size_of("ж" * 66 + "😀" + "ж" * 66).segments == 3


def test_the_alphabet_has_its_127_signs_and_the_extension_ten() -> None:
    """GSM 03.38; German and what it has not: no lower c with a cedilla, no German quotes."""
    assert (len(gsm.BASIC), len(gsm.EXTENDED)) == (127, 10)
    assert set("äöüÄÖÜß§") <= gsm.BASIC
    assert not set("ç„“–") & (gsm.BASIC | gsm.EXTENDED)
    assert gsm.foreign("„Für“ – „ç“") == "„“–ç"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("„Größe“ – ‚jetzt‘ …", "\"Größe\" - 'jetzt' ..."),
        ("Açaí à São Paulo", "Acai à Sao Paulo"),
        ("Çelik 5 €", "Çelik 5 €"),
        ("STRAẞE\u00a0№ 1", "STRASSE No. 1"),
        ("Hallo 😀", "Hallo 😀"),
        ("Привет", "Привет"),
        ("a\u0308o\u0308", "äö"),
        ("½ ﬁ", "½ fi"),
    ],
)
def test_transliteration(text: str, plain: str) -> None:
    """What has a like is said in it; what has none stays."""
    assert gsm.transliterated(text) == plain


@given(st.text())
def test_no_text_breaks_the_count(text: str) -> None:
    """At least one segment; units as they are sent; never fewer segments than the places need."""
    size = gsm.size_of(text)
    if size.encoding == "UCS-2":
        assert size.units == len(text.encode("utf-16-be", "surrogatepass")) // 2
    else:
        assert len(text) <= size.units <= 2 * len(text)
    alone, together = (160, 153) if size.encoding == "GSM-7" else (70, 67)
    assert size.segments >= 1
    assert (size.segments == 1) == (size.units <= alone)
    assert size.units <= max(alone, size.segments * together)


@given(st.text(st.sampled_from(sorted(gsm.BASIC | gsm.EXTENDED))))
def test_what_is_gsm_stays_as_it_is(text: str) -> None:
    """Transliteration changes nothing that needs no change."""
    assert gsm.transliterated(text) == text
    assert gsm.foreign(text) == ""


@given(st.text())
def test_transliteration_is_done_at_once(text: str) -> None:
    """A second time changes nothing, and nothing becomes dearer by it."""
    once = gsm.transliterated(text)
    assert gsm.transliterated(once) == once
    if gsm.size_of(text).encoding == "GSM-7":
        assert gsm.size_of(once).encoding == "GSM-7"

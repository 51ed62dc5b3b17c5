"""What people mean who answer a text message with one word: no more, again, help; and what they are answered.

Invariant: pure. A message asks for one of the three only if nothing but the word (and a courtesy) stands in it, so that "the end
of the week suits me" is an answer and no objection.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final, Literal

from channels.callbacks import Wish

Language = Literal["en", "de"]

STOP: Final = frozenset(
    {
        "stop", "stopall", "unsubscribe", "cancel", "end", "quit", "arret",
        "stopp", "abmelden", "abbestellen", "kundigen", "kuendigen", "ende",
    }
)  # fmt: skip
START: Final = frozenset({"start", "unstop", "starten", "anmelden"})
HELP: Final = frozenset({"help", "info", "hilfe"})
_GERMAN: Final = frozenset(
    {"stopp", "abmelden", "abbestellen", "kundigen", "kuendigen", "ende", "starten", "anmelden", "hilfe", "bitte"}
)
_COURTESY: Final = frozenset({"bitte", "danke", "please", "thanks", "sms", "all", "alle"})
_CHARS_MAX: Final = 60
_NO_LETTER: Final = re.compile(r"[^a-z0-9]+")
_COUNTRIES: Final = ("+49", "+43", "+41", "+423")
"""Where German is answered to a word that is the same in both languages."""

_TEXTS: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "stop": "{brand}You will get no more messages from us here. Reply START to get them again.",
        "start": "{brand}You will get our messages here again. Reply STOP to get no more of them.",
        "help": "{brand}Reply STOP to get no more messages from us here.{contact}",
        "contact": " Help: {contact}",
    },
    "de": {
        "stop": "{brand}Du bekommst hier keine Nachrichten mehr von uns. Mit START bekommst du sie wieder.",
        "start": "{brand}Du bekommst hier wieder Nachrichten von uns. Mit STOP bestellst du sie ab.",
        "help": "{brand}Antworte STOP, um hier keine Nachrichten mehr von uns zu bekommen.{contact}",
        "contact": " Hilfe: {contact}",
    },
}
_LINKS: Final[Mapping[Language, str]] = {"en": "No more texts:", "de": "Keine SMS mehr:"}


def folded(text: str) -> str:
    """In small letters, without accents and punctuation, words parted by one space: `Kündigen!!` is `kundigen`."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return _NO_LETTER.sub(" ", "".join(char for char in plain if not unicodedata.combining(char))).strip()


def wish_of(text: str) -> Wish:
    """What is asked for, "" when it is none of these."""
    if len(text) > _CHARS_MAX:
        return ""
    words = [word for word in folded(text).split() if word not in _COURTESY]
    if len(words) == 2 and words[0] in STOP and words[1] in STOP:  # noqa: PLR2004 - "stop stop"
        words = words[:1]
    if len(words) != 1:
        return ""
    return "stop" if words[0] in STOP else "start" if words[0] in START else "help" if words[0] in HELP else ""


def language_of(text: str, number: str) -> Language:
    """The language to answer in: that of the word; where it is the same in both, that of the number's country."""
    if _GERMAN.intersection(folded(text).split()):
        return "de"
    return "de" if number.startswith(_COUNTRIES) else "en"


def answer(wish: Wish, language: Language, *, brand: str = "", contact: str = "") -> str:
    """What somebody who wished this is told; "" for no wish."""
    if not wish:
        return ""
    texts = _TEXTS[language]
    reach = texts["contact"].format(contact=contact) if contact else ""
    return texts[wish].format(brand=f"{brand}: " if brand else "", contact=reach)


def with_link(text: str, url: str, locale: str) -> str:
    """The text with a link to get no more, for senders that cannot be answered; as it is when the link is in it already."""
    if not url or url in text:
        return text
    words = _LINKS["de" if locale.lower().startswith("de") else "en"]
    return f"{text.rstrip()}\n{words} {url}"

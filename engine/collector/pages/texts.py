"""The words of the customers' pages, and in which language somebody reads them.

Invariant: every language has every text; a test holds them against each other.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.collector.pages.me_texts import ME_TEXTS
from engine.core.channel import KINDS

_LINK_TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "unsubscribe_title": "Unsubscribe?",
        "unsubscribe_ask": "You will get no more {purpose} messages by {channel}.",
        "unsubscribe_button": "Unsubscribe",
        "unsubscribed_title": "You are unsubscribed",
        "unsubscribed_text": "You will get no more {purpose} messages by {channel}. One that is on its way may still arrive.",
        "confirm_title": "Please confirm",
        "confirm_ask": "Yes, I want {purpose} messages by {channel}. I can withdraw this at any time: every message has a link.",
        "confirm_button": "Confirm",
        "confirmed_title": "Thank you",
        "confirmed_text": "You will receive {purpose} messages by {channel} from now on.",
        "preferences_title": "What you receive",
        "preferences_ask": "Tick what you want to receive. You can change it at any time.",
        "preferences_none": "There is nothing to choose: you receive only what belongs to your orders.",
        "preferences_button": "Save",
        "preferences_saved": "Saved.",
        "preferences_pending": "Where you have to confirm, a message with a link is on its way.",
        "broken_title": "This link does not work",
        "broken_text": "It is incomplete or too old. Please copy the whole link from the message.",
        "later_title": "Please try again",
        "later_text": "This could not be saved just now. Nothing was changed. Please try again in a few minutes.",
        "archive_title": "Our newsletters",
        "archive_empty": "There are none to read yet.",
        "archive_missing": "There is no such newsletter here. The list has all of them.",
        "archive_later": "Our newsletters cannot be shown just now. Please try again in a few minutes.",
        "or": "or",
        "marketing": "marketing",
        "service": "service",
        "transactional": "order",
    },
    "de": {
        "unsubscribe_title": "Abmelden?",
        "unsubscribe_ask": "Du bekommst dann keine „{purpose}“ mehr per {channel}.",
        "unsubscribe_button": "Abmelden",
        "unsubscribed_title": "Du bist abgemeldet",
        "unsubscribed_text": "Du bekommst keine „{purpose}“ mehr per {channel}. Was schon unterwegs ist, kann noch ankommen.",
        "confirm_title": "Bitte bestätigen",
        "confirm_ask": "Ja, ich möchte „{purpose}“ per {channel} bekommen. Das kann ich jederzeit widerrufen.",
        "confirm_button": "Bestätigen",
        "confirmed_title": "Vielen Dank",
        "confirmed_text": "Du bekommst von nun an „{purpose}“ per {channel}.",
        "preferences_title": "Was du bekommst",
        "preferences_ask": "Kreuze an, was du bekommen möchtest. Du kannst es jederzeit ändern.",
        "preferences_none": "Hier gibt es nichts auszuwählen: Du bekommst nur, was zu deinen Bestellungen gehört.",
        "preferences_button": "Speichern",
        "preferences_saved": "Gespeichert.",
        "preferences_pending": "Wo du noch bestätigen musst, ist eine Nachricht mit einem Link unterwegs.",
        "broken_title": "Dieser Link funktioniert nicht",
        "broken_text": "Er ist nicht vollständig oder zu alt. Bitte kopiere den ganzen Link aus der Nachricht.",
        "later_title": "Bitte versuche es noch einmal",
        "later_text": "Das ließ sich gerade nicht speichern, und nichts wurde geändert. Bitte versuche es bald wieder.",
        "archive_title": "Unsere Newsletter",
        "archive_empty": "Noch gibt es keinen zu lesen.",
        "archive_missing": "Diesen Newsletter gibt es hier nicht. In der Liste stehen alle.",
        "archive_later": "Unsere Newsletter lassen sich gerade nicht zeigen. Bitte versuche es bald wieder.",
        "or": "oder",
        "marketing": "Werbung",
        "service": "Service",
        "transactional": "Bestellung",
    },
}
TEXTS: Mapping[str, Mapping[str, str]] = {
    lang: {**{kind.name: kind.labels[lang] for kind in KINDS.values()}, **texts, **ME_TEXTS[lang]}
    for lang, texts in _LINK_TEXTS.items()
}
_HEADER_CHARS_MAX = 200
_RANGES_MAX = 20


def language(accept_language: str) -> str:
    """The language that the header `Accept-Language` likes best, of those we have; English when it names none."""
    best, best_quality = "en", 0.0
    for part in accept_language[:_HEADER_CHARS_MAX].split(",")[:_RANGES_MAX]:
        tag, _, parameter = part.strip().lower().partition(";")
        known = tag.partition("-")[0].strip()
        quality = _quality(parameter)
        if known in TEXTS and quality > best_quality:
            best, best_quality = known, quality
    return best


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def word(lang: str, name: str) -> str:
    """A purpose's or channel's name in that language; names that a shop made up stay as they are."""
    return TEXTS[lang].get(name, name.replace("_", " "))


def title(lang: str, name: str) -> str:
    """The same with a capital at its beginning, for a headline."""
    text = word(lang, name)
    return text[:1].upper() + text[1:]


def sentence(lang: str, key: str, purposes: Mapping[str, list[str]]) -> str:
    """A text with the names of the purposes and channels that it is about."""
    either = f" {TEXTS[lang]['or']} "
    channels = dict.fromkeys(channel for names in purposes.values() for channel in names)
    return TEXTS[lang][key].format(
        purpose=either.join(word(lang, purpose) for purpose in purposes),
        channel=either.join(word(lang, channel) for channel in channels),
    )

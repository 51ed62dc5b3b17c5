"""The one word that people answer with, in every spelling; and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.callbacks import Wish
from channels.phone import gsm, opt_out

WORDS = [
    "STOP",
    "STOPALL",
    "UNSUBSCRIBE",
    "CANCEL",
    "END",
    "QUIT",
    "ARRET",
    "STOPP",
    "ABMELDEN",
    "ABBESTELLEN",
    "KÜNDIGEN",
    "ENDE",
]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(
    "form", ["{}", "{}.", " {}! ", "„{}“", "{} 🙏", "\n{}\n", "bitte {}", "{} please", "*{}*", "{} SMS"]
)
def test_every_word_in_every_form_stops(word: str, form: str) -> None:
    """In capitals, small and mixed; with punctuation, courtesy, an emoji."""
    for spelt in (word, word.lower(), word.title(), word.swapcase()):
        assert opt_out.wish_of(form.format(spelt)) == "stop"


@pytest.mark.parametrize("word", ["ARRÊT", "KUENDIGEN", "ku\u0308ndigen", "ＳＴＯＰ", "stop stop", "Stop all", "ſtop"])
def test_other_spellings_stop_too(word: str) -> None:
    """Accents, umlauts written out or joined, wide letters."""
    assert opt_out.wish_of(word) == "stop"


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("START", "start"), ("unstop", "start"), ("Anmelden", "start"), ("help", "help"), ("HILFE!", "help"), ("Info?", "help"),
        ("", ""), ("bitte", ""), ("STOP the parcel", ""), ("Das Ende der Woche passt", ""), ("end of June", ""), ("non-stop", ""),
        ("Stopp! Nicht vor Freitag liefern", ""), ("infos", ""), ("Cancel my order", ""), ("🛑", ""), ("stop " * 30, ""),
        ("Ja", ""), ("yes", ""), ("s t o p", ""),
    ],
)  # fmt: skip
def test_what_else_is_meant(text: str, wish: str) -> None:
    """A word within a sentence is an answer for a person to read."""
    assert opt_out.wish_of(text) == wish


@pytest.mark.parametrize(
    "text",
    [
        "OPTOUT", "opt-out", "REVOKE", "Abmeldung", "Keine SMS mehr", "keine Nachrichten mehr bitte", "Bitte keine Werbung mehr",
        "STOP bitte", "Stop!", "STOP ALL", "stop promotions", "Stop texting me", "STOP Lindenhof", "stop now",
        "Stop, please!!", "unsubscribe me",
        "no more texts", "No more messages please", "ARRÊT", "désinscription", "se désabonner", "plus de SMS", "basta",
        "disiscrivimi",
        "BAJA", "darme de baja", "no más mensajes", "SAIR", "afmelden", "uitschrijven", "geen berichten meer", "wypisz mnie",
        "rezygnuję", "odhlásit",
        "СТОП", "отписаться", "退订", "Widerruf", "remove me",
        "Please remove me from your list", "don't text me anymore", "Do not message me again", "I want to opt out", "stop it",
        "Ich möchte mich abmelden", "Hört auf!", "Lasst mich bitte in Ruhe", "Bitte nicht mehr schreiben",
        "Bitte meine Nummer löschen",
        "Newsletter abbestellen", "Promotionen stoppen", "je ne veux plus de SMS", "ne m'envoyez plus de messages",
        "non voglio più messaggi",
        "no quiero más mensajes", "não quero mais receber mensagens", "proszę nie pisać do mnie", "Больше не пишите мне",
        "Inga fler sms",
    ],
)  # fmt: skip
def test_more_words_that_stop(text: str) -> None:
    """By language, and with something short behind STOP."""
    assert opt_out.wish_of(text) == "stop"


@pytest.mark.parametrize(
    "text",
    [
        "please don't stop", "stop by tomorrow?", "stop by tomorrow", "Can you stop by?", "stop the delivery", "non stop",
        "Stop it is not my order", "Kommt der Bus an der Stop Haltestelle",
        "keine Ahnung", "keine Eile", "no problem", "no worries, more later", "no", "nein", "red",
        "remove the blue one from my order", "Cancel my order please", "Ende der Woche", "Ich möchte mehr Nachrichten",
        "not more than two messages arrived", "Stop? Wann kommt ihr?", "more texts please", "the end",
        "Stopp, die Lieferung bitte nicht vor Freitag", "Keine SMS bekommen", "keine Mail erhalten", "I get no messages",
        "remove me from the order", "Do not write to me at work, use this number", "Lieferung stoppen", "Hör auf den Hund",
    ],
)  # fmt: skip
def test_sentences_are_answers(text: str) -> None:
    """A person has to read them."""
    assert opt_out.wish_of(text) == ""


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    """Whatever comes: one of four answers, and a language."""
    assert opt_out.wish_of(text) in {"stop", "start", "help", ""}
    assert opt_out.language_of(text, "+1") in {"en", "de"}


@pytest.mark.parametrize("wish", ["stop", "start", "help"])
@pytest.mark.parametrize("language", ["en", "de"])
def test_answers_are_one_segment(wish: Wish, language: opt_out.Language) -> None:
    """With a brand and a contact; in GSM-7."""
    said = opt_out.answer(wish, language, brand="Lindenhof", contact="service@shop.example")
    assert str(gsm.size_of(said)) == "1 segment, GSM-7"
    assert said.startswith("Lindenhof: ")
    assert opt_out.answer("", language) == ""

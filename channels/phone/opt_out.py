"""What people mean who answer a text message with one word: no more, again, help; and what they are answered.

Invariant: pure. A message asks for one of the three only if nothing but the word stands in it, a courtesy, or (behind STOP)
something short that makes no sentence of it, so that "the end of the week suits me" and "stop by tomorrow?" are answers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Final, Literal

from channels.callbacks import Wish

Language = Literal["en", "de"]

_NO_LETTER: Final = re.compile(r"[\W_]+")


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return _NO_LETTER.sub(" ", "".join(char for char in plain if not unicodedata.combining(char))).strip()


_OF_ENGLISH: Final = (
    "stop", "stopall", "unsubscribe", "unsub", "optout", "opt out", "revoke", "remove", "remove me", "take me off",
    "take me off your list", "unsubscribe me",
    "remove my number", "delete my number", "leave me alone", "do not text", "do not text me", "dont text me",
    "do not contact me", "dont message me",
)  # fmt: skip
_OF_GERMAN: Final = (
    "stopp", "stoppen", "abmelden", "abmeldung", "melde mich ab", "mich abmelden", "abbestellen", "abbestellung",
    "abbestellt", "austragen", "widerruf", "widerrufen", "ich widerrufe",
    "kundigen", "kuendigen", "kundigung", "kuendigung", "widerspruch", "ich widerspreche", "loschen", "loeschen", "aufhoren",
    "aufhoeren", "abmelden stop",
)  # fmt: skip
_OF_OTHERS: Final = (
    "arret", "arreter", "arretez", "desinscrire", "desinscription", "desabonner", "desabonnement", "me desinscrire",
    "se desinscrire", "me desabonner", "se desabonner", "desabonnez moi", "desinscrivez moi", "stop pub",
    "ferma", "fermare", "basta", "disiscrivi", "disiscrivimi", "disiscrizione", "cancellami", "rimuovi", "rimuovimi",
    "annulla iscrizione",
    "alto", "baja", "darme de baja", "dar de baja", "dame de baja", "date de baja", "parar", "pare", "detener", "desuscribir",
    "desuscribirme", "cancelar suscripcion",
    "sair", "descadastrar", "descadastre", "remover", "pare de enviar", "cancelar inscricao",
    "afmelden", "afmelding", "uitschrijven", "uitschrijving", "opzeggen", "meld me af", "schrijf me uit",
    "wypisz", "wypisz mnie", "wypisuje sie", "rezygnuje", "rezygnacja", "usun", "usun mnie", "koniec",
    "odhlasit", "zrusit", "afmeld", "avmeld", "avregistrera", "avsluta", "avregistrer", "lopeta", "peruuta tilaus",
    "leiratkozas", "leiratkozom", "dezabonare", "iptal",
    "стоп", "отписаться", "отписка", "отпишите меня", "отмена", "хватит", "відписатися", "退订", "退訂", "取消订阅",
    "配信停止", "停止",
    "해지", "수신거부", "στοπ",
)  # fmt: skip
_ALONE: Final = frozenset(
    {"cancel", "end", "quit", "ende", "annuler", "annulla", "cancella", "cancelar", "anuluj", "fin", "finito", "genug"}
)
"""They mean it only where nothing else stands."""
STOP: Final = (
    frozenset({" ".join(_folded(words).split()) for words in (*_OF_ENGLISH, *_OF_GERMAN, *_OF_OTHERS)}) | _ALONE
)
_STARTS: Final = frozenset(
    {"stop", "stopp", "stopall", "arret", "unsubscribe", "optout", "abmelden", "abbestellen", "стоп"}
)
"""Anything short may stand behind them."""
START: Final = frozenset({"start", "unstop", "starten", "anmelden"})
HELP: Final = frozenset({"help", "info", "hilfe"})
_GERMAN: Final = frozenset(
    {
        *(word for words in _OF_GERMAN for word in words.split()),
        "ende",
        "starten",
        "anmelden",
        "hilfe",
        "bitte",
        "keine",
        "nachrichten",
        "werbung",
        "mehr",
    }
)
_COURTESY: Final = frozenset(
    {
        "bitte",
        "danke",
        "please",
        "pls",
        "thanks",
        "thank",
        "you",
        "sms",
        "all",
        "alle",
        "now",
        "jetzt",
        "sofort",
        "merci",
        "svp",
        "grazie",
        "gracias",
        "por",
        "favor",
        "obrigado",
        "dank",
        "prosze",
        "ok",
        "hallo",
        "hi",
        "hello",
    }
)
_NO_MORE: Final = re.compile(
    r"(?:(?:i|ich|bitte|please|pls|je|ne|no|quiero|voglio|non|wil|ik|nie|want|mochte|moechte|will|wunsche|senden|sende|sie|"
    r"mir|schick\w*|send|me) ){0,6}"
    r"(?:(?:no|not any) more|keine|keinerlei|plus de|pas de|aucun|niente piu|non piu|basta|no mas|nao quero mais|chega de|"
    r"geen|nie chce|zadnych|stop|no|больше не|не)"
    r"(?: (?:more|weiteren?|weitere|altri|mais|mas|meer|wiecej|any|your|eure|ihre|deine|these))*"
    r" (?:sms|texts?|text messages?|messages?|msgs?|nachrichten|nachricht|werbung|newsletter|mails?|e ?mails?|werbe ?sms|"
    r"infos|angebote|ads?|advertising|marketing|promotions?|promos?|offers|spam|pub|publicite|promozioni|messaggi|pubblicita|"
    r"mensajes|publicidad|promociones|mensagens|propaganda|berichten|reclame|berichtjes|wiadomosci|reklam|смс|рассылки|"
    r"сообщении|пишите)"
    r"(?: (?:mehr|bitte|please|danke|senden|schicken|erhalten|bekommen|zusenden|piu|mas|mais|meer|wiecej|more|anymore|to me|"
    r"an mich|a me|haben|empfangen|thanks|per favore|por favor|svp|merci))*"
)
_THINGS: Final = (
    r"(?:sms|texts?|messages?|mails?|e ?mails?|newsletter|nachrichten|werbung|promotions?|promotionen|aktionen|werbeaktionen|"
    r"angebote|marketing|pub|publicite|messaggi|promozioni|pubblicita|mensajes|publicidad|promociones|mensagens|propaganda|"
    r"promocoes)"
)
_SENTENCES: Final = re.compile(
    r"stop (?:it|this)|"
    r"i (?:want|wish|would like|d like) to (?:unsubscribe|opt out|be removed)|"
    r"(?:remove|delete|take) (?:me|my (?:phone )?number)(?: off| from)? (?:your|this|the)(?: mailing| contact)? lists?|"
    r"(?:do not|dont|don t|never) (?:text|message|contact|write|write to) me(?: ever)?(?: again| any ?more)?|"
    r"hoe?rt? auf|lasst? mich in ruhe|ich (?:mochte|moechte|will) mich (?:abmelden|austragen)|"
    r"(?:mich|meine (?:\w{4,7})?nummer) (?:loe?schen|entfernen|austragen|streichen)|"
    r"(?:schreib|schick|sende)\w* mir nichts? mehr|(?:mir )?nichts? mehr (?:an)?(?:schreiben|schicken|senden)|"
    rf"{_THINGS} (?:abbestellen|stoppen|beenden|kue?ndigen|einstellen)|"
    rf"je ne veux plus (?:de |recevoir (?:de |vos |ces )?){_THINGS}|ne m envoyez plus (?:rien|(?:de )?{_THINGS})|"
    rf"ne plus recevoir(?: (?:de |vos ){_THINGS})?|non voglio piu (?:ricevere )?{_THINGS}|"
    rf"no (?:quiero|deseo|me envien?|me manden?)(?: recibir)? mas {_THINGS}|nao quero mais(?: receber)? {_THINGS}|"
    r"nie (?:pisac|piszcie)(?: do mnie)?(?: wiecej)?|(?:больше )?не (?:пишите|присылаите)(?: мне)?(?: больше)?|"
    r"(?:ingen|inga) flere? (?:sms|meldinger|meddelanden|beskeder)"
)
_NONE_CAME: Final = re.compile(
    r"keine (?:sms|mails?|e ?mails?|nachricht(?:en)?|newsletter) (?:bekommen|erhalten|empfangen|haben)"
)
"""Somebody misses a message."""
_OTHERWISE: Final = frozenset(
    {
        "by", "at", "in", "on", "over", "off", "the", "a", "an", "my", "until", "till", "when", "where", "why", "before",
        "after", "tomorrow", "today", "tonight", "later", "order", "parcel", "delivery", "shipment",
        "shipping", "payment", "it", "for", "and",
        "but", "not", "dont", "never", "if",
        "mein", "meine", "meinen", "der", "die", "das", "den", "dem", "bis", "wann", "wo", "warum", "vor", "nach", "morgen",
        "heute", "lieferung", "paket", "bestellung", "nicht", "noch", "aber", "und", "am", "im", "um", "lieferungen", "mal",
        "hier", "here", "there",
        "la", "le", "les", "ma", "mon", "mes", "livraison", "commande", "pas", "demain", "aujourd", "el", "mi", "pedido",
        "manana", "il", "lo", "ordine", "domani", "ik", "de", "het", "mijn", "bestelling",
    }
)  # fmt: skip
"""Behind a word that stops they make a sentence of it: about an order, a visit, a time."""
_SHORT_WORDS, _SHORT_CHARS = 3, 32
_CHARS_MAX: Final = 60
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
    return _folded(text)


def wish_of(text: str, *, own: Collection[str] = ()) -> Wish:
    """What is asked for, "" when it is none of these. `own`: words of the operator's that stop, too."""
    said = folded(text)
    if any(said == folded(word) for word in own) and said:
        return "stop"
    if len(text.strip()) > _CHARS_MAX:
        return ""
    words = [word for word in said.replace("'", "").split() if word not in _COURTESY]
    plain = " ".join(words)
    if not words:
        return ""
    if plain in STOP or (all(word in STOP for word in words[:_SHORT_WORDS]) and len(words) <= 2):  # noqa: PLR2004 - "stop stop"
        return "stop"
    if plain in START or plain in HELP:
        return "start" if plain in START else "help"
    if "?" in text:
        return ""
    if _NO_MORE.fullmatch(said) or _SENTENCES.fullmatch(plain) or _SENTENCES.fullmatch(said):
        return "" if _NONE_CAME.fullmatch(said) else "stop"
    if _OTHERWISE.intersection(words):
        return ""
    return "stop" if words[0] in _STARTS and len(words) - 1 <= _SHORT_WORDS and len(plain) <= _SHORT_CHARS else ""


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

"""Languages, as `de`, `de-AT`, `de_AT.UTF-8`, `zh-Hant-TW`.

Invariant: as the package's. The canonical form is a language in small letters, a script with a capital, a country in
capitals, with hyphens; what follows (variants, extensions, an encoding) is left out, because nothing here depends on it.
"""

from __future__ import annotations

import re

from engine.core.reading.countries import country_codes, read_country
from engine.core.reading.missing import is_missing

LOCALE_CHARS_MAX = 60
NOT_UNDERSTOOD = "it is not a language that is known; write its code, such as de or de-AT"
_FORM = re.compile(
    r"([a-z]{2,3})(?:[-_]([a-z]{4}))?(?:[-_]([a-z]{2}|\d{3}))?(?:[-_](?:[a-z0-9]{5,8}|\d[a-z0-9]{3}|[a-z0-9](?:[-_][a-z0-9]{2,8})+))*"
    r"(?:\.[a-z0-9-]+)?(?:@[a-z]+)?",
    re.ASCII | re.IGNORECASE,
)
_LANGUAGE_CODES = """
aa ab ae af agq ak am an ann apc ar arn as asa ast av ay az ba bal bas be bem bew bez bg bgc bgn bh bho bi blo blt bm bn
bo br brx bs bss byn ca cad cch ccp ce ceb cgg ch cho chr cic ckb co cop cr cs csw cu cv cy da dav de dje doi dsb dua dv
dyo dz ebu ee el en eo es et eu ewo fa ff fi fil fj fo fr frr fur fy ga gaa gd gez gl gn gsw gu guz gv ha haw he hi hnj
ho hr hsb ht hu hy hz ia id ie ig ii ik in io is it iu iw ja jbo jgo ji jmc jv ka kaa kab kaj kam kcg kde kea ken kg kgp
khq ki kj kk kkj kl kln km kn ko kok kpe kr ks ksb ksf ksh ku kv kw kxv ky la lag lb lg li lij lkt lld lmo ln lo lrc lt
ltg lu luo luy lv mai mas mdf mer mfe mg mgh mgo mh mhn mi mic mk ml mn mni mo moh mr ms mt mua mus my myv mzn na naq nb
nd nds ne ng nl nmg nn nnh no nqo nr nso nus nv ny nyn oc oj om or os osa pa pap pcm pi pis pl prg ps pt qu quc raj rhg
rif rm rn ro rof ru rw rwk sa sah saq sat sbp sc scn sd sdh se seh ses sg sh shi shn si sid sk skr sl sm sma smj smn sms
sn so sq sr ss ssy st su sv sw syr szl ta te teo tg th ti tig tk tl tn to tok tpi tr trv trw ts tt tw twq ty tyv tzm ug
uk ur uz vai ve vec vi vmw vo vun wa wae wal wbp wo xh xnr xog yav yi yo yrl yue za zgh zh zu
"""
_LANGUAGES = frozenset(_LANGUAGE_CODES.split())
"""ISO 639-1, and the languages that Unicode CLDR has words for."""
_THREE_LETTERS = """
deu-de ger-de eng-en fra-fr fre-fr ita-it spa-es nld-nl dut-nl por-pt pol-pl ces-cs cze-cs slk-sk slo-sk slv-sl hun-hu
ron-ro rum-ro bul-bg hrv-hr srp-sr ell-el gre-el tur-tr rus-ru ukr-uk swe-sv dan-da nor-no nob-nb nno-nn fin-fi est-et
lav-lv lit-lt zho-zh chi-zh jpn-ja kor-ko ara-ar heb-he hin-hi
"""
_THREE = dict(pair.split("-") for pair in _THREE_LETTERS.split())
"""The other code of a language that has one of two letters (ISO 639-2)."""


def read_locale(value: object) -> tuple[str, str]:
    """(the language, "") or ("", why not). A missing one is ("", "")."""
    if is_missing(value):
        return "", ""
    found = _FORM.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= LOCALE_CHARS_MAX else None
    if found is None:
        return "", NOT_UNDERSTOOD
    language = found[1].lower()
    language = _THREE.get(language, language)
    country = found[3] or ""
    if country and not country.isdigit():
        country = country.upper() if country.upper() in country_codes() else read_country(country)[0]
        if not country:
            return "", NOT_UNDERSTOOD
    if language not in _LANGUAGES:
        return "", NOT_UNDERSTOOD
    return "-".join(part for part in (language, (found[2] or "").title(), country) if part), ""

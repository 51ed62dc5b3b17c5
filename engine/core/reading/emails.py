"""Whether a text can be an e-mail address at all.

Invariant: as the package's. What is canonical about an address (its domain's form, its case) is
`engine.core.consent.may_send`'s; here it is only bare, without blanks around it.
"""

from __future__ import annotations

from engine.core.reading.missing import is_missing

EMAIL_CHARS_MAX, LOCAL_CHARS_MAX, LABEL_CHARS_MAX = 254, 64, 63
NOT_AN_ADDRESS = "it is not an e-mail address"
_NEVER = frozenset('"(),:;<>[]\\')


def read_email(value: object) -> tuple[str, str]:
    """(the address as it was written, without blanks around it, "") or ("", why not). A missing one is ("", "")."""
    if is_missing(value):
        return "", ""
    if not isinstance(value, str):
        return "", NOT_AN_ADDRESS
    text = value.strip()
    if len(text) > EMAIL_CHARS_MAX:
        return "", "it is too long for an e-mail address"
    if "<" in text and text.endswith(">"):
        return "", "it has a name beside the address; send the address alone"
    local, _, domain = text.rpartition("@")
    labels = domain.split(".")
    sound = 0 < len(local) <= LOCAL_CHARS_MAX and "@" not in local and not _NEVER & set(text)
    sound = sound and not any(char.isspace() or not char.isprintable() for char in text)
    sound = sound and not (local.startswith(".") or local.endswith(".") or ".." in local)
    sound = sound and (len(labels) > 1 or domain.lower() == "localhost")
    sound = sound and all(0 < len(label) <= LABEL_CHARS_MAX and label.strip("-") == label for label in labels)
    sound = sound and not labels[-1].isdigit()
    return (text, "") if sound else ("", NOT_AN_ADDRESS)

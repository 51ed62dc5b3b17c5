"""Keys that events come with: `[[collector.keys]]`, and how strong a key has to be.

Invariant: a secret never stands in anlass.toml; and what proves who a customer is, a browser never holds: a browser key has
a public `key`, which pages send, and a `secret`, which only the shop's server knows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from engine.settings.console import split_list
from engine.settings.section import Section

BITS_MIN = 128
"""What a key must be able to hold by its length and its alphabet."""
BITS_LEFT_MIN = 100
"""What must be left of it without words, sequences and repetitions; random keys lose a little by chance."""
MEND = "Make one with `anlass key new NAME`."
_WORDS = (
    "change|secret|password|passwort|example|default|replace|insert|random|write|anlass|shop|demo|test|long|your|here|dummy"
    "|sample|server|browser|token|characters|sixteen|letters|local|prod|please|admin|hello|live|akey|qwerty|asdf|zxcv"
)
_WORD = re.compile(_WORDS, re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_PHRASE = re.compile(r"[A-Z]?[a-z]+([-_. ]+[A-Z]?[a-z]+)*")
_ALPHABETS = (10, 32, 62)
"""The size of a key's alphabet, by how many cases its letters have; one without letters is a number."""
_BITS_OF_WORD = 11.0
_RUN_MIN = 4


class KeySection(Section):
    """One key, with a name of its own so that it can be seen in what it did, and taken back alone."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,49}$")]
    kind: Literal["server", "browser"] = "server"
    key: Annotated[str, Field(max_length=200)] = ""
    """Of a browser key: what pages send. Anybody can read it there."""
    secret: SecretStr | None = None
    """Of a server key: what is sent. Of a browser key: what proves a `userId` (`context.userHash`)."""
    secret_file: Path | None = None
    origins: Annotated[tuple[str, ...], BeforeValidator(split_list)] = ()
    """The pages that a browser key is taken from; none: only from apps, which send no Origin."""
    events: Annotated[tuple[str, ...], BeforeValidator(split_list)] = ()
    """Names of events, exact or with `*`; none: all that its kind may send."""
    revoked: bool = False

    @model_validator(mode="after")
    def _fits_its_kind(self) -> KeySection:
        if self.kind == "server" and (self.key or self.origins):
            what = "key" if self.key else "origins"
            raise ValueError(f'the key {self.name} has {what}, which is for keys of kind = "browser"')
        if self.kind == "browser" and not self.key and not self.revoked:
            raise ValueError(
                f"the browser key {self.name} has no key, the public word that pages send;"
                f" make one with `anlass key new --browser {self.name}`"
            )
        for origin in self.origins:
            if not _is_origin(origin):
                raise ValueError(
                    f"the key {self.name} has the origin {origin!r}, which is not one; write it as https://shop.example"
                )
        return self

    @property
    def variable(self) -> str:
        """What its secret is called in `key_secrets`."""
        return self.name.lower().replace("-", "_")

    @property
    def sent(self) -> str:
        """What a request shows; "" while nothing does."""
        if self.kind == "browser":
            return self.key
        return self.secret.get_secret_value() if self.secret else ""


def _is_origin(origin: str) -> bool:
    try:
        url = urlsplit(origin)
        url.port  # noqa: B018 - raises when it is none
    except ValueError:
        return False
    return bool(url.scheme and url.netloc) and f"{url.scheme}://{url.netloc}" == origin == origin.lower()


def weakness(key: str) -> str:
    """Why a key could be guessed; "" when it could not. The key is not repeated."""
    if _bits(key, len(key)) < BITS_MIN:
        return f"has fewer than {BITS_MIN} bits"
    if _PHRASE.fullmatch(key):
        words = re.split(r"[-_. ]+", key)
        if len(words) > 1 and _BITS_OF_WORD * len(words) < BITS_LEFT_MIN:
            return "is made of words"
    rest = _WORD.sub("", key)
    left = min(len(_without_runs(rest)), len({rest[at : at + 3] for at in range(len(rest) - 2)}) + 2)
    return "is made of words, sequences or repetitions" if _bits(key, left) < BITS_LEFT_MIN else ""


def _bits(key: str, chars: int) -> float:
    """What so many characters of the key's alphabet hold."""
    plain = key.rstrip("=")
    chars -= len(key) - len(plain)
    if _HEX.fullmatch(plain.replace("-", "")):
        return 4.0 * (chars - plain.count("-"))
    cases = sum(bool(re.search(case, plain)) for case in ("[a-z]", "[A-Z]"))
    return max(chars, 0) * math.log2(_ALPHABETS[cases])


def _without_runs(text: str) -> str:
    """Without the inside of runs such as 4567 or aaaa."""
    kept, run = "", 1
    for at, char in enumerate(text):
        goes_on = at > 1 and ord(char) - ord(text[at - 1]) == ord(text[at - 1]) - ord(text[at - 2])
        run = run + 1 if goes_on and abs(ord(char) - ord(text[at - 1])) <= 1 else 1
        kept += char if run < _RUN_MIN - 1 else ""
    return kept


def read_keys(text: str) -> list[str]:
    """The keys in a file: one a line, or with commas between them; what follows a # is a comment."""
    lines = (line.partition("#")[0] for line in text.splitlines())
    return [key.strip() for line in lines for key in line.split(",") if key.strip()]


def twice(names: Iterable[str]) -> str:
    """The first that is there twice; "" when none is."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""

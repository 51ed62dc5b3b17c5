"""Reads style sheets as far as inlining needs: rules, selectors, declarations, and which of two declarations wins.

Invariant: nothing is dropped: the texts of the rules of a sheet, joined, say what the sheet says. Linear in its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

_WORD: Final = re.compile(
    r"/\*.*?(?:\*/|\Z)|\"(?:\\.|[^\"\\])*+(?:\"|\Z)|'(?:\\.|[^'\\])*+(?:'|\Z)|\\.|[^/\"'\\{};(),\[\]]++|.", re.DOTALL
)
_IMPORTANT: Final = re.compile(r"\s*!\s*important\s*\Z", re.IGNORECASE)
_STRUCTURE: Final = frozenset(
    [
        "first-child",
        "last-child",
        "only-child",
        "nth-child",
        "nth-last-child",
        "first-of-type",
        "last-of-type",
        "only-of-type",
        "nth-of-type",
        "nth-last-of-type",
        "empty",
    ]
)
_LEGACY: Final = frozenset({"before", "after", "first-line", "first-letter"})
_PSEUDO: Final = re.compile(r"(::?)([-\w]+)(\((?:[^()]|\([^()]*\))*\))?")
_HELD: Final = re.compile(r"\[(?:[^\]\"']|\"[^\"]*\"|'[^']*')*\]")
_FAMILIES: Final = (
    "background",
    "border",
    "font",
    "margin",
    "padding",
    "list-style",
    "text-decoration",
    "outline",
    "flex",
)
_GROUPS: Final = ("@media", "@supports", "@container", "@document", "@-moz-document", "@layer")


class Declaration(msgspec.Struct, frozen=True):
    """One property and its value, without the `!important` that `important` tells of."""

    name: str
    value: str
    important: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.value}{' !important' if self.important else ''}"


class Rule(msgspec.Struct, frozen=True):
    """`head { body }`, or `head;` where there is no body. `text` is as written."""

    head: str
    body: str | None
    text: str

    @property
    def is_at(self) -> bool:
        """Whether it begins with an @."""
        return self.head.startswith("@")

    @property
    def holds_rules(self) -> bool:
        """Whether its body is rules again."""
        return self.body is not None and self.head.lower().startswith(_GROUPS)

    @property
    def selectors(self) -> list[str]:
        """What stands between the commas of its head."""
        return [part for part in (_bare(part) for part in _split(self.head, ",")) if part]

    @property
    def declarations(self) -> list[Declaration]:
        """Its declarations, in order."""
        return declarations(self.body or "")


def rules(sheet: str) -> Iterator[Rule]:
    """The rules of a sheet, in order; what follows the last one comes as a rule without a body."""
    start = depth = inner = 0
    opened = -1
    for word in _WORD.finditer(sheet):
        sign = word.group()
        if sign == "{":
            opened = word.end() if not depth else opened
            depth += 1
        elif sign == "}" and depth:
            depth -= 1
            if not depth:
                yield _rule(sheet, start, opened, word.end())
                start, opened = word.end(), -1
        elif not depth and sign in "([":
            inner += 1
        elif not depth and sign in ")]":
            inner -= 1
        elif sign == ";" and not depth and inner <= 0:
            yield _rule(sheet, start, -1, word.end())
            start = word.end()
    if sheet[start:].strip():
        yield _rule(sheet, start, opened, len(sheet))


def _rule(sheet: str, start: int, opened: int, end: int) -> Rule:
    text = sheet[start:end].strip()
    if opened < 0:
        return Rule(_bare(sheet[start:end]).removesuffix(";").strip(), None, text)
    return Rule(_bare(sheet[start : opened - 1]), sheet[opened:end].removesuffix("}"), text)


def _bare(text: str) -> str:
    """A text without comments, and without the `<!--` and `-->` that hid sheets from old browsers."""
    plain = re.sub(r"/\*.*?(?:\*/|\Z)", " ", text, flags=re.DOTALL).strip()
    return plain.removeprefix("<!--").removeprefix("-->").strip()


def _split(text: str, sign: str) -> list[str]:
    parts = [""]
    depth = 0
    for word in _WORD.finditer(text):
        found = word.group()
        depth += (found in "([{") - (found in ")]}") if len(found) == 1 else 0
        if found == sign and depth <= 0:
            parts.append("")
        elif not found.startswith("/*"):
            parts[-1] += found
    return parts


def declarations(body: str) -> list[Declaration]:
    """What a body or a style attribute declares, in order."""
    found: list[Declaration] = []
    for part in _split(body, ";"):
        name, colon, value = part.strip().partition(":")
        if colon and value.strip():
            plain = _IMPORTANT.sub("", value)
            important = plain != value
            found.append(Declaration(name.strip().lower(), plain.strip(), important))
    return found


def meets(one: str, other: str) -> bool:
    """Whether two properties set the same thing, the one perhaps as a part of the other."""
    if one == other:
        return True
    if {one, other} == {"font", "line-height"}:
        return True
    family = next((each for each in _FAMILIES if one.startswith(each) and other.startswith(each)), "")
    return bool(family) and (family == "border" or one.startswith(f"{other}-") or other.startswith(f"{one}-"))


def specificity(selector: str) -> tuple[int, int, int]:
    """Ids, then classes and their like, then elements. `:where` weighs nothing, `:not` and `:is` what is in them."""
    attributes = len(_HELD.findall(selector))
    plain = _HELD.sub("", selector)
    extra = [0, attributes, 0]
    for match in _PSEUDO.finditer(plain):
        name = match[2].lower()
        if name in {"not", "is", "has", "matches"}:
            inside = max(map(specificity, _split((match[3] or "()")[1:-1], ",")))
            extra = [mine + more for mine, more in zip(extra, inside, strict=True)]
        elif match[1] == "::" or name in _LEGACY:
            extra[2] += 1
        elif name != "where":
            extra[1] += 1
    plain = _PSEUDO.sub("", plain)
    ids, classes = len(re.findall(r"#[\w-]", plain)), len(re.findall(r"\.[A-Za-z_-]", plain))
    elements = len(re.findall(r"(?:^|[\s>+~])[A-Za-z]", plain))
    return ids + extra[0], classes + extra[1], elements + extra[2]


def pseudos(selector: str) -> list[str]:
    """The names of its pseudo-classes and pseudo-elements, `:not` passed over and what is in it counted."""
    found = [match[1].lower() for match in re.finditer(r"::?([-\w]+)", _HELD.sub("", selector))]
    return [name for name in found if name != "not"]


def is_static(selector: str) -> bool:
    """Whether it is settled what it selects as soon as the document is there."""
    return all(name in _STRUCTURE for name in pseudos(selector))


def is_of_neighbours(selector: str) -> bool:
    """Whether what it selects depends on how often an element is repeated or left out."""
    return bool(re.search(r"[+~]", _HELD.sub("", re.sub(r"\([^)]*\)", "", selector)))) or any(
        name in _STRUCTURE for name in pseudos(selector)
    )


def at_rest(selector: str) -> str:
    """The selector of the elements that it may select in some state; "" when it selects no element."""
    names = pseudos(selector)
    if "::" in selector or not _LEGACY.isdisjoint(names):
        return ""
    plain = _PSEUDO.sub(lambda match: match.group() if match[2].lower() in {*_STRUCTURE, "not"} else "", selector)
    return re.sub(r"(^|[\s>+~])(?=[\s>+~]|\Z)", r"\1*", plain.strip()) if plain.strip() else "*"


def names_in(selector: str) -> tuple[set[str], set[str]]:
    """Its classes and ids, and its elements."""
    plain = _PSEUDO.sub("", _HELD.sub("", selector))
    marks = {match.lower() for match in re.findall(r"[.#]([\w-]+)", plain)}
    return marks, {match.lower() for match in re.findall(r"(?:^|[\s>+~])([A-Za-z][\w-]*)", plain)}


def has_attribute(selector: str) -> bool:
    """Whether it asks about an attribute."""
    return _HELD.search(selector) is not None

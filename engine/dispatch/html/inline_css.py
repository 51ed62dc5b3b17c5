"""CSS goes into style attributes once per template, with expressions and loops in place, not once per recipient.

Invariant: nothing is fetched and no file is read; if the HTML parser would change what the template means (an `if`
that opens an element it does not close, say), `Unfit` is raised instead of inlining.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Final

import css_inline
from jinja2 import nodes

from engine.dispatch.html.markup import SCAN
from engine.dispatch.html.sheets import Sheets
from engine.dispatch.templates.linear import Piece, Scattered, Spelling, assemble, check_complete

VOID: Final = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
)

_TABLE_ROW: Final = re.compile(
    r"<!--(?!zq\d+x).*?-->|(<table\b[^>]*>)((?:\s|<!--zq\d+x\d+xqz-->)*)(?=<tr\b)", re.IGNORECASE | re.DOTALL
)
_BODY: Final = re.compile(r"<body\b[^>]*>", re.IGNORECASE)
# No transparent colour: spam filters take it for text in the colour of its ground.
_HIDDEN: Final = '<div style="display:none;max-height:0;max-width:0;overflow:hidden;opacity:0;mso-hide:all">'


class Unfit(Exception):
    """The template's HTML cannot be processed; the message says why and the mend."""


def has_style(pieces: list[Piece]) -> bool:
    """Tell whether there is a style sheet to inline."""
    return any(piece.kind == "data" and "<style" in piece.text.lower() for piece in pieces)


def with_preheader(pieces: list[Piece], preheader: list[nodes.Node]) -> list[nodes.Node]:
    """Return the tree with the preheader as the first, hidden, text of the body: mail programs show it in the list."""
    spelling = Spelling(pieces)
    text = spelling.plain()
    found = _BODY.search(text)
    at = found.end() if found else 0
    opening = nodes.Output([nodes.TemplateData(_HIDDEN, lineno=1)], lineno=1)
    closing = nodes.Output([nodes.TemplateData("</div>", lineno=1)], lineno=1)
    try:
        before, after = spelling.read(text[:at]), spelling.read(text[at:])
        return [*assemble(before), opening, *preheader, closing, *assemble(after)]
    except Scattered:
        raise Unfit("a preheader needs a <body> outside of any {% if %} or {% for %}") from None


def inline(pieces: list[Piece]) -> list[nodes.Node]:
    """Return the tree with the rules of its style elements moved into style attributes; what only a sheet can say is kept."""
    spelling = Spelling(pieces)
    document = _TABLE_ROW.sub(_with_tbody, _protected(spelling))
    try:
        sheets = Sheets(spelling, document)
        result = sheets.inlined()
    except (css_inline.InlineError, ValueError) as error:
        raise Unfit(f"its CSS cannot be inlined: {str(error).splitlines()[0]}") from None
    after = spelling.read(result)
    try:
        # A value of a rule may be gone: no element has it, or another rule wins everywhere.
        kept = [piece for index, piece in enumerate(pieces) if index not in sheets.values]
        check_complete(kept, after, may_drop=False)
        tree = assemble(after)
    except Scattered:
        raise Unfit(
            "its CSS cannot be inlined because an {% if %}, a {% for %} or a value is where HTML does not keep it; "
            "put it around whole elements, whole rules, or into a quoted attribute"
        ) from None
    _check_balance(spelling, result)
    return tree


def _with_tbody(match: re.Match[str]) -> str:
    """Write the <tbody> that the parser would put in anyway, but before a loop over rows instead of inside of it."""
    return f"{match[1]}<tbody>{match[2]}" if match[1] else match.group()


class _Position(HTMLParser):
    """Knows, after each piece of text, where in HTML we are: between elements, in a tag, or in raw text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.stack: list[int] = []
        self.names: list[str] = []
        self._next = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._next += 1
            self.stack.append(self._next)
            self.names.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """`<path/>` opens nothing."""

    def handle_endtag(self, tag: str) -> None:
        if tag in self.names:
            while self.names.pop() != tag:
                self.stack.pop()
            self.stack.pop()


def _protected(spelling: Spelling) -> str:
    """Return the document with tokens: comments between elements (tables keep those), bare ones everywhere else."""
    text = spelling.plain()
    token = re.compile(re.escape(spelling.token(0)[: -len("0xqz")]) + r"\d+xqz")
    parts: list[str] = []
    at = 0
    for markup in SCAN.finditer(text):
        parts.append(token.sub(r"<!--\g<0>-->", text[at : markup.start()]))
        _check_tag(markup.group(), token)
        parts.append(markup.group())
        at = markup.end()
    parts.append(token.sub(r"<!--\g<0>-->", text[at:]))
    return "".join(parts)


def _check_tag(markup: str, token: re.Pattern[str]) -> None:
    if markup.startswith("<!--"):
        return
    tag = re.match(r"<(?:[^>\"']|\"[^\"]*\"|'[^']*')*>?", markup)
    bare = re.sub(r"=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'>]+)", "=", tag.group()) if tag else ""
    if token.search(bare):
        raise Unfit(
            "its CSS cannot be inlined because an {% if %} or a value is inside a tag; "
            "put it into the quotes of an attribute, such as class=\"{{ 'a' if b }}\""
        )


def _check_balance(spelling: Spelling, document: str) -> None:
    """Refuse controls that open an element in one branch and close it elsewhere: a parser repairs them to nonsense."""
    place = _Position()
    levels: dict[int, tuple[int, ...]] = {}
    for match in re.finditer(r"(?P<text>.*?)(?:<!--(?P<token>zq\d+x\d+xqz)-->|\Z)", document, re.DOTALL):
        place.feed(match["text"])
        if not match["token"]:
            continue
        for piece in spelling.read(match["token"]):
            if piece.kind in {"open", "middle", "close"} and levels.setdefault(piece.id, tuple(place.stack)) != tuple(
                place.stack
            ):
                raise Unfit(
                    "its CSS cannot be inlined because an {% if %} or {% for %} opens an element that it does not "
                    "close (or the other way round); close every element in the branch that opens it"
                )

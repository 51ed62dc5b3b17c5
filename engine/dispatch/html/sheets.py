"""The style elements of a document: which are for attributes, and what of them stays where it stood.

Invariant: a sheet that is for other media, or that its author told us to leave, comes out as it went in; so do comments, and
with them the conditions that Outlook reads.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Final

import msgspec
from jinja2 import nodes

from engine.dispatch.html import css_rules
from engine.dispatch.html.cascade import Cascade, NumberedDocument, inlined, unimportant
from engine.dispatch.html.css_rules import Rule
from engine.dispatch.html.markup import SCAN, attributes
from engine.dispatch.templates.grammar import walk
from engine.dispatch.templates.linear import Spelling

_SCREEN: Final = re.compile(r"(?:only\s+)?(?:all|screen)\Z", re.IGNORECASE)
_LEFT: Final = {
    "data-premailer": {"ignore"},
    "data-inline": {"false", "ignore", "no"},
    "data-css-inline": {"ignore", "keep"},
    "data-embed": {"", "true"},
}
_REVEALED: Final = re.compile(r"<!\[[^>]*>")
_STYLE: Final = re.compile(
    r"(<style\b(?:[^>\"']|\"[^\"]*\"|'[^']*')*>)(.*?)(</style\s*>|\Z)", re.IGNORECASE | re.DOTALL
)


class _Told(msgspec.Struct, frozen=True):
    """One rule of one sheet, with the numbers of its selectors; a control of the template has none."""

    rule: Rule
    numbers: list[int]


class _Sheet(msgspec.Struct, frozen=True):
    opening: str
    text: str
    told: list[_Told]


class Sheets:
    """Inlines one document."""

    def __init__(self, spelling: Spelling, document: str) -> None:
        self._spelling = spelling
        self._start = spelling.token(0).removesuffix("0xqz")
        self._token = re.compile(rf"{self._start}(\d+)xqz")
        self._marker = f"data-{self._start}n"
        self._raw: list[tuple[str, str]] = []
        self._elsewhere: set[int] = set()
        """The sheets for other media than the screen, by their place in `_raw`."""
        self.values: set[int] = set()
        """Values within rules, by their place in the row of pieces."""
        self._count = 0
        self._styles: dict[str, list[css_rules.Declaration]] = {}
        self._names: set[str] = set()
        self._classes = ""
        self._document = self._replaced(document)

    def inlined(self) -> str:
        """The document with its rules in attributes, and what stays in style elements where they stood."""
        cascade = Cascade(self._described())
        sheets = {index: self._read(cascade, index) for index, found in enumerate(self._raw) if found[0]}
        cascade.settle()
        numbers = (number for sheet in sheets.values() for told in sheet.told for number in told.numbers)
        result = unimportant(cascade, inlined(self._document, cascade.inlined_text(numbers)), self._marker)

        def put(match: re.Match[str]) -> str:
            index = int(match[1] or match[2])
            return self._written(cascade, sheets[index]) if index in sheets else self._raw[index][1]

        return re.sub(rf"<script>{self._start}s(\d+)xqz</script>|<!--{self._start}s(\d+)xqz-->", put, result)

    def _replaced(self, document: str) -> str:
        """The document with numbers on its start tags, and stand-ins for its sheets."""
        parts: list[str] = []
        at = 0
        for markup in SCAN.finditer(document):
            parts += (document[at : markup.start()], self._tag(markup.group()))
            at = markup.end()
        return "".join((*parts, document[at:]))

    def _tag(self, markup: str) -> str:
        style = _STYLE.fullmatch(markup)
        if style is not None:
            told = attributes(style[1])
            left = any(told.get(name, "-").lower() in values for name, values in _LEFT.items())
            media = [each.strip() for each in told.get("media", "").split(",") if each.strip()]
            self._raw.append(("" if left else style[1], markup if left else style[2]))
            inside = {int(found[1]) for found in self._token.finditer("" if left else style[2])}
            self.values |= {index for index in inside if self._spelling.pieces[index].kind == "value"}
            if media and not any(map(_SCREEN.match, media)):
                self._elsewhere.add(len(self._raw) - 1)
            return f"<script>{self._start}s{len(self._raw) - 1}xqz</script>"
        if _REVEALED.fullmatch(markup):
            self._raw.append(("", markup))
            return f"<!--{self._start}s{len(self._raw) - 1}xqz-->"
        name = re.match(r"<[a-zA-Z][^\s/>]*", markup)
        if name is None:
            return markup
        number = str(self._count)
        self._count += 1
        told = attributes(markup)
        self._names |= {name.group()[1:].lower(), told.get("id", "").lower(), *told.get("class", "").lower().split()}
        self._classes += f" {told.get('class', '')} {told.get('id', '')}"
        if "style" in told:
            self._styles[number] = css_rules.declarations(html.unescape(told["style"]))
        return f'{name.group()} {self._marker}="{number}"{markup[name.end() :]}'

    def _described(self) -> NumberedDocument:
        pieces = self._spelling.pieces
        values = [pieces[int(found[1])] for found in self._token.finditer(self._classes)]
        words = {
            word.lower()
            for piece in values
            if piece.kind == "value"
            for node in walk(piece.node)
            if isinstance(node, nodes.Const) and isinstance(node.value, str)
            for word in node.value.split()
        }
        return NumberedDocument(
            text=self._document,
            marker=self._marker,
            names=frozenset(self._names),
            dynamic=frozenset(words),
            has_dynamic=bool(values),
            has_controls=any(isinstance(piece.node, nodes.If | nodes.For) for piece in pieces),
            styles=self._styles,
        )

    def _read(self, cascade: Cascade, index: int) -> _Sheet:
        told: list[_Told] = []
        opening, sheet = self._raw[index]
        depth = 1 if index in self._elsewhere else 0
        for rule in css_rules.rules(sheet):
            for part in self._apart(rule):
                depth += self._step(part) if part.body is None else 0
                fixed = self._steps(part.text)
                kept = fixed or self._token.search(part.head) is not None
                told.append(_Told(part, cascade.add(part, kept=kept or depth > 0, fixed=fixed)))
        return _Sheet(opening, sheet, told)

    def _apart(self, rule: Rule) -> Iterator[Rule]:
        """The controls and statements before a rule, and the rule."""
        text = rule.text
        while (found := re.match(rf"\s*{self._token.pattern}", text)) and (
            rule.body is None or self._spelling.pieces[int(found[1])].kind != "value"
        ):
            yield Rule(found.group().strip(), None, found.group().strip())
            text = text[found.end() :]
        if text.strip():
            yield next(css_rules.rules(text))

    def _step(self, part: Rule) -> int:
        found = self._token.fullmatch(part.head)
        kind = self._spelling.pieces[int(found[1])].kind if found else ""
        return {"open": 1, "close": -1}.get(kind, 0)

    def _steps(self, text: str) -> bool:
        """Whether there is a control within a rule."""
        return any(self._spelling.pieces[int(found[1])].kind != "value" for found in self._token.finditer(text))

    def _written(self, cascade: Cascade, sheet: _Sheet) -> str:
        """What stays, in order. A program that stumbles over one rule drops its style element: @rules stand apart."""
        texts = [cascade.kept(told.rule, told.numbers) for told in sheet.told]
        if texts == [told.rule.text for told in sheet.told]:
            return f"{sheet.opening}{sheet.text}</style>" if texts else ""
        runs: list[tuple[str, list[str]]] = []
        for told, text in zip(sheet.told, texts, strict=True):
            if not text or not told.rule.head:  # a comment
                continue
            kind = "at" if told.rule.is_at else "rule"
            if told.rule.body is None and not told.rule.is_at:
                kind = runs[-1][0] if runs else "at"
            apart = not runs or (runs[-1][0] != kind and not self._is_open(runs))
            if apart:
                runs.append((kind, []))
            runs[-1][1].append(text)
        return "\n".join(f"{sheet.opening}\n{chr(10).join(lines)}\n</style>" for _, lines in runs)

    def _is_open(self, runs: list[tuple[str, list[str]]]) -> bool:
        """Whether a control that was opened in the last style element still has to be closed there."""
        return sum(self._step(Rule(text, None, text)) for text in runs[-1][1]) > 0

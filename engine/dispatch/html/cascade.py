"""Parts style sheets into what can stand in style attributes and what only a sheet can say, as premailer and juice do.

Invariant: where a program reads both, an element looks as the sheets alone would have it look: what is kept and would have
won is `!important`, and what is inlined is so only where it would have won over what is kept.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Final

import css_inline
import msgspec

from engine.dispatch.html import css_rules
from engine.dispatch.html.css_rules import Declaration, Rule

_PROBE: Final = "--zqprobe"
# What programs put around or into our mails; nothing in a template has these names.
_THEIRS: Final = re.compile(
    r"externalclass|readmsgbody|outlook|moz-|yshortcuts|gmail|msg|mso|apple|im\Z|abn\Z|ii\Z|a6s\Z|t0\Z|owa|bloop|ymail",
    re.IGNORECASE,
)
TAG: Final = re.compile(r'<!--.*?(?:-->|\Z)|<(?P<name>[a-zA-Z][^\s/>]*+)(?:[^>"]|"[^"]*")*>', re.DOTALL)
"""A start tag as serializers write it, or a comment, which has no name."""
Weight = tuple[bool, tuple[int, int, int], int]


class Selected(msgspec.Struct, frozen=True):
    """One selector of one rule: what it declares, how it weighs, and the elements it may select, by their numbers."""

    selector: str
    rule: Rule
    order: int
    inlined: bool
    elements: frozenset[str]

    def weight(self, declaration: Declaration) -> Weight:
        """Greater wins."""
        return declaration.important, css_rules.specificity(self.selector), self.order


class NumberedDocument(msgspec.Struct, frozen=True):
    """The document whose start tags have numbers, and what is known of it without rendering it."""

    text: str
    marker: str
    names: frozenset[str]
    """Its classes, ids and elements."""
    dynamic: frozenset[str]
    """Words of values in class attributes."""
    has_dynamic: bool
    has_controls: bool
    styles: dict[str, list[Declaration]]
    """Its own style attributes, by number."""


def inlined(document: str, sheet: str) -> str:
    """The document with the declarations of a sheet in its attributes; nothing is fetched. Raises InlineError, ValueError."""
    return css_inline.CSSInliner(load_remote_stylesheets=False, base_url=None, extra_css=sheet).inline(document)


class Cascade:
    """All rules of a document, in the order of its sheets."""

    def __init__(self, document: NumberedDocument) -> None:
        self._document = document
        self._known: list[tuple[str, Rule, bool]] = []
        self._selected: list[Selected] = []
        self._fixed: set[str] = set()

    def add(self, rule: Rule, *, kept: bool, fixed: bool = False) -> list[int]:
        """Takes a rule; `kept` when it cannot be inlined for a reason of its own, `fixed` when its text must stay as it is.

        Returns the numbers of its selectors.
        """
        if fixed:
            self._fixed.add(rule.text)
        if rule.holds_rules:
            return [number for inner in css_rules.rules(rule.body or "") for number in self.add(inner, kept=True)]
        if rule.is_at or rule.body is None:
            return []
        start = len(self._known)
        self._known += [(selector, rule, not kept and self._fits(selector, rule)) for selector in rule.selectors]
        return list(range(start, len(self._known)))

    def _fits(self, selector: str, rule: Rule) -> bool:
        if "{" in (rule.body or "") or not css_rules.is_static(selector):
            return False
        return not (self._document.has_controls and css_rules.is_of_neighbours(selector))

    def settle(self) -> None:
        """Asks the inliner itself which elements each selector selects."""
        document = self._document
        sheet = "".join(
            f"{at_rest}{{{_PROBE}{number}:1}}\n"
            for number, (selector, _, _) in enumerate(self._known)
            if (at_rest := css_rules.at_rest(selector))
        )
        probed = inlined(document.text, sheet)
        elements: dict[int, set[str]] = {}
        for tag in TAG.finditer(probed):
            if tag["name"] and _PROBE in tag.group():
                number = re.search(rf'{document.marker}="(\d+)"', tag.group())
                for told in re.findall(rf"{_PROBE}(\d+)", tag.group()):
                    elements.setdefault(int(told), set()).add(number[1] if number else tag["name"].lower())
        for order, (selector, rule, fits) in enumerate(self._known):
            found = frozenset(elements.get(order, ()))
            self._selected.append(Selected(selector, rule, order, fits and bool(found), found))

    def kept(self, rule: Rule, numbers: list[int]) -> str:
        """What of a rule stays in its sheet."""
        if rule.text in self._fixed:
            return rule.text
        if rule.holds_rules:
            return self._kept_group(rule, numbers)
        if rule.is_at or rule.body is None:
            return rule.text
        mine = [self._selected[number] for number in numbers]
        stays = [each for each in mine if self._stays(each)]
        if not stays:
            return ""
        body = self._body(rule, [each for each in stays if not each.inlined])
        if len(stays) == len(mine) and body is None:
            return rule.text
        return f"{', '.join(each.selector for each in stays)} {{{rule.body if body is None else body}}}"

    def _kept_group(self, rule: Rule, numbers: list[int]) -> str:
        left = iter(numbers)
        parts: list[str] = []
        changed = False
        for inner in css_rules.rules(rule.body or ""):
            count = _count(inner)
            text = self.kept(inner, [next(left) for _ in range(count)])
            changed = changed or text != inner.text
            parts.append(text)
        return f"{rule.head} {{\n{chr(10).join(parts)}\n}}" if changed else rule.text

    def _stays(self, one: Selected) -> bool:
        """Whether a sheet has to say it: always what cannot be inlined, and what may meet something only elsewhere."""
        document = self._document
        marks, elements = css_rules.names_in(one.selector)
        if one.inlined:
            return not marks.isdisjoint(document.dynamic)
        if not self._known[one.order][2] or one.elements:
            return True
        if css_rules.has_attribute(one.selector) or css_rules.is_of_neighbours(one.selector):
            return True
        if any(_THEIRS.match(mark) for mark in marks) or (document.has_dynamic and marks):
            return True
        return len(marks | elements) > 1 and not (marks | elements).isdisjoint(document.names)

    def _body(self, rule: Rule, kept: list[Selected]) -> str | None:
        """The declarations of a kept rule with `!important` where an inlined one would win that must not; None: as written."""
        raised = [
            declaration.important or any(self._must_win(each, declaration) for each in kept)
            for declaration in rule.declarations
        ]
        if raised == [declaration.important for declaration in rule.declarations]:
            return None
        told = zip(rule.declarations, raised, strict=True)
        return " " + "; ".join(str(msgspec.structs.replace(one, important=now)) for one, now in told) + "; "

    def _must_win(self, kept: Selected, declaration: Declaration) -> bool:
        weight, needed = kept.weight(declaration), False
        if any(
            css_rules.meets(own.name, declaration.name)
            for number in kept.elements
            for own in self._document.styles.get(number, ())
        ):
            return False
        for other in self._selected:
            if not other.inlined or other.elements.isdisjoint(kept.elements):
                continue
            for one in other.rule.declarations:
                if css_rules.meets(one.name, declaration.name):
                    if other.weight(one) > weight:
                        return False
                    needed = True
        return needed

    def stays_important(self, number: str, name: str) -> bool:
        """Whether the inlined declaration of an element has to keep its `!important`, because it wins over a kept one."""
        mine = [each for each in self._selected if number in each.elements]
        weights = [
            each.weight(one)
            for each in mine
            if each.inlined
            for one in each.rule.declarations
            if one.important and one.name == name
        ]
        rivals = [
            each.weight(one)
            for each in mine
            if not each.inlined
            for one in each.rule.declarations
            if one.important and css_rules.meets(one.name, name)
        ]
        return bool(weights and rivals) and max(weights) > max(rivals)

    def is_own(self, number: str, name: str) -> bool:
        """Whether the element's own style attribute says it is important."""
        return any(own.name == name and own.important for own in self._document.styles.get(number, ()))

    def inlined_text(self, numbers: Iterable[int]) -> str:
        """The rules that go into attributes."""
        picked = (self._selected[number] for number in numbers)
        return "\n".join(f"{one.selector} {{{one.rule.body}}}" for one in picked if one.inlined)


def _count(rule: Rule) -> int:
    if rule.holds_rules:
        return sum(map(_count, css_rules.rules(rule.body or "")))
    return 0 if rule.is_at or rule.body is None else len(rule.selectors)


def unimportant(cascade: Cascade, document: str, marker: str) -> str:
    """The inlined document without its numbers, and without each `!important` that a kept rule must be able to win over."""
    numbered = re.compile(rf'\s{marker}="(\d+)"')

    def put(match: re.Match[str]) -> str:
        if not match["name"]:
            return match.group()
        found = numbered.search(match.group())
        tag = numbered.sub("", match.group())
        if "important" not in tag:
            return tag
        number = found[1] if found else match["name"].lower()
        return re.sub(r'(?<=\sstyle=")[^"]*', lambda style: _calmer(style.group(), number), tag)

    def _calmer(style: str, number: str) -> str:
        told = css_rules.declarations(html.unescape(style))
        kept = [
            msgspec.structs.replace(
                one,
                important=one.important
                and (cascade.is_own(number, one.name) or cascade.stays_important(number, one.name)),
            )
            for one in told
        ]
        return html.escape(";".join(map(str, kept)) + ";").replace("&#x27;", "'")

    return TAG.sub(put, document)

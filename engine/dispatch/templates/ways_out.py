"""Whether a mail shows a way to get no more of its kind: a link that is seen, on whatever path the template takes.

Invariant: what stands only in a branch, in a loop that may be empty, in a comment or in a hidden element does not count.
"""

from __future__ import annotations

import re
from typing import Final

from jinja2 import nodes
from lxml import etree
from lxml import html as lxml_html

from engine.dispatch.templates.grammar import walk
from engine.dispatch.templates.linear import Piece, Spelling, linearize

WAYS: Final = ("unsubscribe_url", "preferences_url")
_HIDDEN: Final = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d]*[1-9])|opacity\s*:\s*0(?![.\d]*[1-9])"
    r"|mso-hide\s*:\s*all",
    re.IGNORECASE,
)


def always_offered(tree: nodes.Template, *, as_html: bool) -> bool:
    """Whether a straight tree shows one of `WAYS` whatever the data: as a link in HTML, as an address in a text."""
    pieces = linearize(tree.body)
    ways = _names(tree)
    spelling = Spelling(pieces)
    places = [place for place, piece in enumerate(pieces) if piece.kind == "value" and _reads(piece.node, ways)]
    if as_html and places:
        shown = _shown(spelling.plain())
        places = [place for place in places if spelling.token(place) in shown]
    return bool(places) and _sure(pieces, frozenset(places), ways)


def _names(tree: nodes.Template) -> frozenset[str]:
    """The names that stand for one of the addresses: arguments of macros and what is set hold them, too."""
    ways = frozenset(WAYS)
    while True:
        more = set(ways)
        for node in walk(tree):
            pairs: list[tuple[nodes.Node, nodes.Node]] = []
            if isinstance(node, nodes.With):
                pairs = list(zip(node.targets, node.values, strict=True))
            elif isinstance(node, nodes.Assign):
                pairs = [(node.target, node.node)]
            more |= {name.name for name, value in pairs if isinstance(name, nodes.Name) and _reads(value, ways)}
        if more == ways:
            return ways
        ways = frozenset(more)


def _reads(node: nodes.Node, ways: frozenset[str]) -> bool:
    return any(isinstance(name, nodes.Name) and name.name in ways for name in walk(node))


def _shown(document: str) -> str:
    """The addresses of the links that are seen, one after the other."""
    try:
        tree = lxml_html.document_fromstring(document)
    except (etree.LxmlError, ValueError):
        return ""
    found: list[str] = []
    for link in tree.iter("a", "area"):
        around = [link, *link.iterancestors()]
        hidden = any(
            _HIDDEN.search(each.get("style") or "")
            or each.get("hidden") is not None
            or each.tag in {"head", "template"}
            for each in around
        )
        shows = "".join(link.itertext()).strip() or link.get("alt") or any(each.get("alt") for each in link.iter("img"))
        if shows and not hidden:
            found.append(link.get("href") or "")
    return " ".join(found)


def _sure(pieces: list[Piece], places: frozenset[int], ways: frozenset[str]) -> bool:
    """Whether one of the places is passed on each path."""
    stack: list[list[bool]] = [[False]]
    for place, piece in enumerate(pieces):
        if piece.kind == "open":
            stack.append([False])
        elif piece.kind == "middle":
            stack[-1].append(False)
        elif piece.kind == "close":
            branches = stack.pop()
            stack[-1][-1] |= _passes(piece.node, branches, ways)
        elif place in places:
            stack[-1][-1] = True
    return stack[0][0]


def _passes(node: nodes.Node, branches: list[bool], ways: frozenset[str]) -> bool:
    if isinstance(node, nodes.With) or (isinstance(node, nodes.If) and _reads(node.test, ways) and branches[0]):
        return branches[0]  # whoever asks for one of our addresses always finds it
    return all(branches) and getattr(node, "else_", None) not in (None, [])

"""The plain text of an HTML mail, made once per template from the template itself.

Invariant: links stay readable (`text (address)`), hidden elements are left out, and values and loops of the HTML stay
values and loops of the text.
"""

from __future__ import annotations

import copy
import re
from typing import Final

from inscriptis import Inscriptis
from inscriptis.model.config import ParserConfig
from jinja2 import nodes
from jinja2.visitor import NodeTransformer
from lxml import etree
from lxml import html as lxml_html

from engine.dispatch.grammar import walk
from engine.dispatch.inline_css import Unfit
from engine.dispatch.linear import Piece, Scattered, Spelling, assemble, check_complete

_TABLE_ELEMENTS: Final = {"table": "div", "tr": "div", "tbody": "div", "thead": "div", "tfoot": "div", "caption": "div"}
_MARKUP: Final = frozenset({"e", "escape", "nl2br", "safe"})
_HIDDEN: Final = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_MEND: Final = "no text part can be made from this HTML; write a .txt file beside it"


def generate(pieces: list[Piece]) -> list[nodes.Node]:
    """Return the tree of the text part."""
    spelling = Spelling([_as_text(piece) for piece in pieces])
    text = _text_of(spelling.plain())
    text = _tidy(text, spelling)
    after = spelling.read(text)
    try:
        check_complete(spelling.pieces, after, may_drop=True)
        return assemble(after)
    except Scattered:
        raise Unfit(_MEND) from None


def _as_text(piece: Piece) -> Piece:
    if piece.kind != "value":
        return piece
    if not any(isinstance(node, nodes.Filter) and node.name in _MARKUP for node in walk(piece.node)):
        return piece
    node = _Unescaped().visit(copy.deepcopy(piece.node))
    return Piece(piece.kind, node=node, id=piece.id, branch=piece.branch, around=piece.around)


class _Unescaped(NodeTransformer):
    """Text is not HTML: what escaped is dropped, what was HTML on purpose loses its tags."""

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802 - the visitor's naming
        self.generic_visit(node)
        if node.name in {"e", "escape", "nl2br"} and node.node is not None:
            return node.node
        if node.name == "safe":
            node.name = "striptags"
        return node


def _text_of(document: str) -> str:
    if not document.strip():
        return ""
    try:
        tree = lxml_html.document_fromstring(document)
        for element in list(tree.iter()):
            _prepare(element)
        return str(Inscriptis(tree, ParserConfig(display_links=False, display_images=False)).get_text())
    except (etree.LxmlError, ValueError, RecursionError):
        raise Unfit(_MEND) from None


def _prepare(element: etree._Element) -> None:
    if not isinstance(element.tag, str):
        return
    parent = element.getparent()
    if parent is not None and (
        _HIDDEN.search(element.get("style") or "") or element.tag in {"style", "script", "head"}
    ):
        element.drop_tree()
        return
    # Tables in mails are layout: cells follow each other, rows stand on lines. A column layout would tear loops apart.
    if element.tag in {"td", "th"}:
        element.tag = "span"
        if element.getnext() is not None:
            element.tail = " " + (element.tail or "").lstrip()
    element.tag = _TABLE_ELEMENTS.get(element.tag, element.tag)
    if element.tag == "img":
        _replace_image(element)
    elif element.tag == "a":
        _append_address(element)


def _replace_image(element: etree._Element) -> None:
    element.tag = "span"
    element.text = (element.get("alt") or "").strip()


def _append_address(element: etree._Element) -> None:
    address = (element.get("href") or "").strip().removeprefix("mailto:")
    shown = "".join(element.itertext()).strip()
    if not address or address.startswith("#") or shown == address:
        return
    suffix = f" ({address})" if shown or len(element) else address
    if len(element):
        element[-1].tail = (element[-1].tail or "").rstrip() + suffix
    else:
        element.text = (element.text or "").rstrip() + suffix


def _without_blanks(match: re.Match[str]) -> str:
    return re.sub(r"[ \t]", "", match.group())


def _tidy(text: str, spelling: Spelling) -> str:
    """Let a control on a line of its own leave no empty line behind, and at most one empty line anywhere."""
    controls = "|".join(
        spelling.token(index)
        for index, piece in enumerate(spelling.pieces)
        if piece.kind in {"open", "middle", "close", "statement"}
    )
    soft = "|".join(
        spelling.token(index)
        for index, piece in enumerate(spelling.pieces)
        if piece.kind == "statement" or isinstance(piece.node, nodes.With)
    )
    row = f"(?:{controls})" if controls else "(?!)"
    # Indentation of the source means nothing, except before the bullet or number of a list.
    tidied = re.sub(rf"^(?:[ \t]*{row})*[ \t]+(?![*\d])", _without_blanks, text.strip("\n"), flags=re.MULTILINE)
    tidied = re.sub(rf"[ \t]+(?:{row}[ \t]*)*$", _without_blanks, tidied, flags=re.MULTILINE)
    tidied = re.sub(rf"^({row}(?:[ \t]*{row})*)\n", r"\1", tidied, flags=re.MULTILINE)
    # Blocks and macros leave empty lines around them; what they hold always shows, so two line ends are enough.
    blank = rf"\n(?:\n|{soft})*\n(?:\n|{soft})*\n" if soft else r"\n{3,}"
    tidied = re.sub(blank, lambda match: "\n\n" + match.group().replace("\n", ""), tidied).strip("\n")
    return tidied + "\n" if tidied else ""

"""The plain text of an HTML mail, made once per template from the template itself.

Invariant: each link of the HTML that is not hidden stands in the text with the address that a browser would open
(`text (address)`); entities are read once, hidden elements are left out, values and loops stay values and loops.
"""

from __future__ import annotations

import copy
import html
import re
from typing import Final

from inscriptis import Inscriptis
from inscriptis.model.config import ParserConfig
from jinja2 import nodes
from jinja2.visitor import NodeTransformer
from lxml import etree
from lxml import html as lxml_html

from engine.dispatch.html.inline_css import Unfit
from engine.dispatch.html.markup import SCAN
from engine.dispatch.links import anchors
from engine.dispatch.templates.grammar import filter_call, walk
from engine.dispatch.templates.linear import Piece, Scattered, Spelling, assemble, check_complete

_TABLE_ELEMENTS: Final = {"table": "div", "tr": "div", "tbody": "div", "thead": "div", "tfoot": "div", "caption": "div"}
_MARKUP: Final = frozenset({"e", "escape", "nl2br", "safe"})
_HIDDEN: Final = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_MEND: Final = "no text part can be made from this HTML; write a .txt file beside it"


def generate(pieces: list[Piece]) -> list[nodes.Node]:
    """Return the tree of the text part."""
    spelling = Spelling([_as_text(piece) for piece in pieces])
    links = _Links(spelling)
    text = _text_of(_read_once(anchors.in_html(spelling.plain(), links.take)), links)
    text = links.put_back(_tidy(text, spelling))
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


class _Links:
    """Holds the addresses while HTML tools work: none of them sees one, so none can alter it."""

    def __init__(self, spelling: Spelling) -> None:
        self._spelling = spelling
        self._addresses: list[str] = []
        self._start = spelling.token(0).removesuffix("0xqz") + "a"
        self._stand_in = re.compile(rf"{self._start}(\d+)xqz")

    def take(self, address: str) -> str:
        """Returns what stands in for an address."""
        self._addresses.append(address)
        return f"{self._start}{len(self._addresses) - 1}xqz"

    def address(self, stand_in: str) -> str:
        """The address that something stands in for."""
        return self._stand_in.sub(lambda match: self._addresses[int(match[1])], stand_in)

    def put_back(self, text: str) -> str:
        """The text with its addresses, spelled so that no mail program cuts one short."""
        count = len(self._spelling.pieces)
        spelled = [self._spelled(address, count) for address in self._addresses]
        of_links = [_as_address(piece) for piece in self._spelling.pieces]
        self._spelling.pieces = [*self._spelling.pieces, *of_links]
        return self._stand_in.sub(lambda match: spelled[int(match[1])], text)

    def _spelled(self, address: str, count: int) -> str:
        """The same, with tokens of values that are spelled when they are known."""
        tokens = {self._spelling.token(index): self._spelling.token(index + count) for index in range(count)}
        token = re.compile(self._start.removesuffix("a") + r"\d+xqz")
        return token.sub(lambda match: tokens[match.group()], anchors.spelled(address))


def _as_address(piece: Piece) -> Piece:
    """A value as a part of an address in a text."""
    if piece.kind != "value":
        return piece
    node = filter_call(filter_call(piece.node.node, "_address"), "_out")
    return Piece(piece.kind, node=node, id=piece.id, branch=piece.branch, around=piece.around)


def _read_once(document: str) -> str:
    """The document with the references of its texts read as browsers do; older parsers know fewer of them."""
    parts: list[str] = []
    at = 0
    for markup in SCAN.finditer(document):
        parts += (_plain(document[at : markup.start()]), markup.group())
        at = markup.end()
    return "".join((*parts, _plain(document[at:])))


def _plain(text: str) -> str:
    return html.escape(html.unescape(text), quote=False) if "&" in text else text


class _Unescaped(NodeTransformer):
    """Text is not HTML: what escaped is dropped, what was HTML on purpose loses its tags."""

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802 - the visitor's naming
        self.generic_visit(node)
        if node.name in {"e", "escape", "nl2br"} and node.node is not None:
            return node.node
        if node.name == "safe":
            node.name = "striptags"
        return node


def _text_of(document: str, links: _Links) -> str:
    if not document.strip():
        return ""
    try:
        tree = lxml_html.document_fromstring(document)
        for element in list(tree.iter()):
            _prepare(element, links)
        for element in tree.iter():  # what writes the text reads references, too, and they have been read
            element.text, element.tail = _kept(element.text), _kept(element.tail)
        return str(Inscriptis(tree, ParserConfig(display_links=False, display_images=False)).get_text())
    except (etree.LxmlError, ValueError, RecursionError):
        raise Unfit(_MEND) from None


def _kept(text: str | None) -> str | None:
    return text.replace("&", "&amp;") if text else text


def _prepare(element: etree._Element, links: _Links) -> None:
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
    if element.tag in {"img", "area"}:
        _replace_image(element)
    if element.get("href"):
        _append_address(element, links)


def _replace_image(element: etree._Element) -> None:
    element.tag = "span" if element.tag == "img" else "div"
    element.text = (element.get("alt") or "").strip()


def _append_address(element: etree._Element, links: _Links) -> None:
    stand_in = (element.get("href") or "").strip()
    address = links.address(stand_in)
    if address == stand_in or not address or address.startswith("#"):
        return
    shown = "".join(element.itertext()).strip()
    plain = address.removeprefix("mailto:")
    if shown == plain and anchors.spelled(plain) == plain:
        return
    if plain != address and "?" not in plain:
        stand_in = links.take(plain)
    suffix = f" ({stand_in})" if shown or len(element) else stand_in
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

"""A straight template as one row of pieces, so that HTML tools can work on a template as if it were a document.

Every expression and every `if`/`for`/`with` becomes a token that HTML tools carry along. Afterwards the row is built
back into a tree. Invariant: `assemble` gives back each control exactly once, in order and properly nested, or raises
`Scattered`; a tool that lost or moved one can never change what a template means.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import msgspec
from jinja2 import nodes

Kind = Literal["data", "value", "open", "middle", "close", "statement"]
END: Final = "xqz"


class Piece(msgspec.Struct, frozen=True):
    """One element of the row. `data` has only text; the others have their node, and `id` numbers what belongs together.

    `branch` counts the middles of one control: elifs first, the else is -1. `around` are the ids of the open controls.
    """

    kind: Kind
    text: str = ""
    node: Any = None
    id: int = 0
    branch: int = 0
    around: tuple[int, ...] = ()


class Scattered(Exception):
    """The tokens did not come back the way they went in."""


def linearize(body: list[nodes.Node]) -> list[Piece]:
    """Return the pieces of a straight tree in the order written."""
    pieces: list[Piece] = []
    _linearize(body, (), pieces)
    return pieces


def _linearize(body: list[nodes.Node], around: tuple[int, ...], pieces: list[Piece]) -> None:
    for node in body:
        number = len(pieces)
        if isinstance(node, nodes.Output):
            for child in node.nodes:
                if isinstance(child, nodes.TemplateData):
                    pieces.append(Piece("data", text=child.data))
                else:
                    pieces.append(Piece("value", node=child, id=len(pieces), around=around))
        elif isinstance(node, nodes.If | nodes.For | nodes.With):
            inner = (*around, number)
            pieces.append(Piece("open", node=node, id=number, around=around))
            _linearize(node.body, inner, pieces)
            for branch, other in enumerate(node.elif_ if isinstance(node, nodes.If) else (), start=1):
                pieces.append(Piece("middle", node=other, id=number, branch=branch, around=around))
                _linearize(other.body, inner, pieces)
            if not isinstance(node, nodes.With) and node.else_:
                pieces.append(Piece("middle", node=node, id=number, branch=-1, around=around))
                _linearize(node.else_, inner, pieces)
            pieces.append(Piece("close", node=node, id=number, around=around))
        else:
            pieces.append(Piece("statement", node=node, id=number, around=around))


class Spelling:
    """Spells pieces as text with tokens, and reads such a text back."""

    def __init__(self, pieces: list[Piece]) -> None:
        """Choose a token that occurs nowhere in the data: letters and digits only, so that no tool alters it."""
        self.pieces = pieces
        data = "".join(piece.text for piece in pieces).lower()
        number = 0
        while (start := f"zq{number}x") in data:
            number += 1
        self._start = start
        self._token = re.compile(rf"<!--{start}(\d+){END}-->|{start}(\d+){END}", re.IGNORECASE)

    def token(self, index: int) -> str:
        """Return the token of the piece at that index of the row."""
        return f"{self._start}{index}{END}"

    def plain(self) -> str:
        """Return the row as text, with bare tokens."""
        return "".join(
            piece.text if piece.kind == "data" else self.token(index) for index, piece in enumerate(self.pieces)
        )

    def read(self, text: str) -> list[Piece]:
        """Return the row that a text with tokens spells."""
        found: list[Piece] = []
        at = 0
        for match in self._token.finditer(text):
            index = int(match[1] or match[2])
            if index >= len(self.pieces):
                raise Scattered
            if match.start() > at:
                found.append(Piece("data", text=text[at : match.start()]))
            found.append(self.pieces[index])
            at = match.end()
        if at < len(text):
            found.append(Piece("data", text=text[at:]))
        return found


def check_complete(before: list[Piece], after: list[Piece], *, may_drop: bool) -> None:
    """Raise `Scattered` unless every piece came back; with `may_drop` values and whole controls may be gone."""
    kept = {(piece.kind, piece.id, piece.branch) for piece in after if piece.kind != "data"}
    for piece in before:
        if piece.kind == "data" or (piece.kind, piece.id, piece.branch) in kept:
            continue
        if not may_drop or piece.kind == "statement":
            raise Scattered
        # An if may vanish as a whole, never one of its branches alone.
        if piece.kind in {"open", "middle", "close"} and any(
            id_ == piece.id for kind, id_, _ in kept if kind != "value"
        ):
            raise Scattered


def assemble(pieces: list[Piece]) -> list[nodes.Node]:
    """Build the tree that a row of pieces spells."""
    body, at = _body(pieces, 0, (), set())
    if at != len(pieces):
        raise Scattered
    return body


def _body(pieces: list[Piece], at: int, around: tuple[int, ...], seen: set[int]) -> tuple[list[nodes.Node], int]:
    body: list[nodes.Node] = []
    while at < len(pieces):
        piece = pieces[at]
        if piece.kind in {"middle", "close"}:
            return body, at
        if piece.kind == "data":
            body.append(nodes.Output([nodes.TemplateData(piece.text, lineno=1)], lineno=1))
        elif piece.kind == "value":
            # A value may be moved or repeated, as long as what its names refer to is still around it.
            if around[: len(piece.around)] != piece.around:
                raise Scattered
            body.append(nodes.Output([piece.node], lineno=piece.node.lineno))
        else:
            if piece.around != around or piece.id in seen:
                raise Scattered
            seen.add(piece.id)
            if piece.kind == "statement":
                body.append(piece.node)
            else:
                node, at = _control(pieces, at, around, seen)
                body.append(node)
        at += 1
    return body, at


def _control(pieces: list[Piece], at: int, around: tuple[int, ...], seen: set[int]) -> tuple[nodes.Node, int]:
    head = pieces[at]
    inner = (*around, head.id)
    main, at = _body(pieces, at + 1, inner, seen)
    elifs: list[nodes.If] = []
    else_: list[nodes.Node] = []
    while at < len(pieces) and pieces[at].kind == "middle":
        middle = pieces[at]
        branch, at = _body(pieces, at + 1, inner, seen)
        if middle.id != head.id or else_ or (middle.branch > 0 and middle.branch != len(elifs) + 1):
            raise Scattered
        if middle.branch == -1:
            else_ = branch
        else:
            elifs.append(nodes.If(middle.node.test, branch, [], [], lineno=middle.node.lineno))
    if at >= len(pieces) or pieces[at].kind != "close" or pieces[at].id != head.id:
        raise Scattered
    node = head.node
    if isinstance(node, nodes.If):
        return nodes.If(node.test, main, elifs, else_, lineno=node.lineno), at
    if isinstance(node, nodes.With):
        return nodes.With(node.targets, node.values, main, lineno=node.lineno), at
    return nodes.For(node.target, node.iter, main, else_, node.test, False, lineno=node.lineno), at  # noqa: FBT003 - Jinja's order

"""A document with mistakes made fit for checking the rest of it: what is wrong is taken out or replaced.

Invariant: the tree that was read is not touched (a copy is), and whatever is put in is marked, so that nothing is reported
about what nobody wrote. A mended document is for finding more mistakes; it never becomes part of a catalog.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from engine.definition.documents.workflow import Misfit
from engine.definition.problem import Spot
from engine.definition.yaml.source import Node, Source, words_of

_CLOSE = 0.7
"""How near an unknown key has to be to a known one to be read as that: `sned` is 0.75 of `send`."""
_STEP: dict[str, Any] = {"wait": "1d"}
_NEUTRAL: dict[str, Any] = {
    "workflow": "x", "purpose": "x", "trigger": {"manual": True}, "steps": [_STEP], "event": "x", "trait": "x",
    "wait": "1d", "for": "1d", "timeout": "1d", "if": "true", "channel": "x", "template": "x", "name": "x",
    "weight": 1, "variants": {"x": {"weight": 1}}, "title": "x", "times": 1,
    "segments": {}, "where": "true", "policy": "x", "consent": "none", "at_most": 1, "per": "1d",
    "tests": "x", "cases": [{"name": "x", "expect": []}], "at": "0s", "of": "x", "expect": [], "entered": "x",
}  # fmt: skip
"""What stands in for a key that has to be there."""


class Mender:
    """Mends one document, round by round: each removes what the last one found, which may bring more to light."""

    def __init__(self, source: Source) -> None:
        self._file = source.file
        self._root = _copied(source.root)
        self._lost: set[str] = set()
        self._wrong: list[tuple[list[Node], Node]] = []

    def follows(self, path: Sequence[str | int], details: Mapping[str, Any]) -> bool:
        """Whether this error only comes from what was mended before."""
        nodes = list(_along(self._root, path))
        last = nodes[-1]
        if any(node.made for node in nodes):
            return True
        misfit = details.get("ctx", {}).get("error")
        if isinstance(misfit, Misfit):
            return misfit.lacks and bool(last.lost)
        if details["type"] == "missing":
            holder = nodes[: len(path)][-1]
            return str(path[-1]) in holder.lost
        if details["type"] == "too_short" and last.lost:
            return True
        # The guess was wrong: what stands there is nothing that this key can have.
        return last.guessed and len(nodes) == len(path) + 1

    def unknown(self, path: Sequence[str | int], known: Iterable[str]) -> None:
        """An unknown key is read as the known one that is near and not there yet, else it is dropped."""
        *above, key = path
        parent = _node(self._root, above)
        if parent is None or parent.items is None or not isinstance(key, str) or key not in parent.items:
            return
        free = [word for word in known if word not in parent.items]
        near = close(key, free)
        parent.lost.update([key], difflib.get_close_matches(key, free, n=1, cutoff=0.6))
        if near:
            spot, node = parent.items.pop(key)
            node.guessed = True
            parent.items[near] = (spot, node)
        else:
            _drop(parent, key, self._lost)

    def missing(self, path: Sequence[str | int]) -> None:
        """A key that has to be there is put in."""
        parent = _node(self._root, path[:-1])
        if parent is not None:
            _fill(parent, str(path[-1]))

    def misfit(self, path: Sequence[str | int], misfit: Misfit) -> None:
        """Keys that do not go together are dropped, a key that another needs is put in."""
        parent = _node(self._root, path)
        if parent is None or parent.items is None:
            return
        for key in misfit.drop:
            _drop(parent, key, self._lost)
        if misfit.fill:
            _fill(parent, misfit.fill)
            parent.lost.add(misfit.fill)

    def wrong(self, path: Sequence[str | int], *, key_itself: bool = False) -> None:
        """A value of the wrong shape is replaced where one has to be, else dropped."""
        found = list(_along(self._root, path))
        if len(found) < 2:  # noqa: PLR2004 - the root and something in it
            return
        parent, node, step = found[-2], found[-1], path[len(found) - 2]
        if parent.nodes is not None:
            # Taken out at the end of the round, so that the indexes of the others still hold.
            self._lost.update(words_of(node))
            self._wrong.append((parent.nodes, node))
            parent.lost.add(str(step))
            return
        assert parent.items is not None
        assert isinstance(step, str)
        known = step in _NEUTRAL and not node.made and not key_itself
        _drop(parent, step, self._lost)
        if known:
            _fill(parent, step)
            parent.lost.discard(step)

    def mended(self) -> Source:
        """The document as it stands after this round."""
        for nodes, wrong in self._wrong:
            nodes[:] = [node for node in nodes if node is not wrong]
        self._wrong.clear()
        source = Source(self._file, self._root)
        source.mended = True
        source.lost = frozenset(self._lost)
        return source


def close(word: str, known: Iterable[str]) -> str:
    """The known word that this one is surely a slip of; "" when there is none."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=_CLOSE)), "")


def renamed(source: Source, old: str, new: str) -> Source:
    """The document with another word for one of its topmost keys."""
    mender = Mender(source)
    mender.unknown([old], [new])
    return mender.mended()


def _fill(parent: Node, key: str) -> None:
    if parent.items is not None and key in _NEUTRAL and key not in parent.items:
        parent.items[key] = (parent.spot, _made(_NEUTRAL[key], parent.spot))


def _made(value: Any, spot: Spot) -> Node:
    node = Node(spot)
    node.made = True
    if isinstance(value, dict):
        node.items = {key: (spot, _made(inner, spot)) for key, inner in value.items()}
    elif isinstance(value, list):
        node.nodes = [_made(inner, spot) for inner in value]
    else:
        node.value = value
    return node


def _drop(parent: Node, key: str, lost: set[str]) -> None:
    assert parent.items is not None
    if key in parent.items:
        lost.add(key)
        lost.update(words_of(parent.items.pop(key)[1]))
        parent.lost.add(key)


def _along(root: Node, path: Sequence[str | int]) -> Iterator[Node]:
    """The nodes on the way, as far as it leads."""
    node = root
    yield node
    for step in path:
        if node.items is not None and isinstance(step, str) and step in node.items:
            node = node.items[step][1]
        elif node.nodes is not None and isinstance(step, int) and step < len(node.nodes):
            node = node.nodes[step]
        else:
            return
        yield node


def _node(root: Node, path: Sequence[str | int]) -> Node | None:
    found = list(_along(root, path))
    return found[-1] if len(found) == len(path) + 1 else None


def _copied(node: Node) -> Node:
    """A copy of the tree. Recursion is bounded by the depth that was read."""
    copy = Node(node.spot, node.value)
    if node.items is not None:
        copy.items = {key: (spot, _copied(inner)) for key, (spot, inner) in node.items.items()}
    if node.nodes is not None:
        copy.nodes = [_copied(inner) for inner in node.nodes]
    return copy

"""YAML text to plain data, with the line and column of every key and value.

Invariant: whatever the bytes are, the answer is a tree or problems, never an exception, in time bounded by the limits below.
The dialect is YAML 1.2 (core schema) less anchors, aliases, tags and directives: `NO` and `22:30` are text, a key stands
in a mapping once (`scanner.py` has the one addition). The tree is built from the parser's events, without recursion, so that
no nesting can exhaust the stack. A tree is never changed once it is built, so that the same text is parsed once.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from engine.definition.problem import Problem, Problems, Spot
from engine.definition.yaml.scanner import events

BYTES_MAX = 256 * 1024
DEPTH_MAX = 60
NODES_MAX = 20_000
FILES_KEPT_MAX = 128
"""Parsed files that are kept."""
_DIGITS_MAX = 18
_PLAIN = 0

_INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII)
_WORDS = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


class Node:
    """A value of the document: a scalar (`value`), a mapping (`items`: key → (key's spot, node)) or a sequence (`nodes`)."""

    __slots__ = ("guessed", "items", "lost", "made", "nodes", "spot", "value")

    def __init__(self, spot: Spot, value: Any = None) -> None:
        self.spot = spot
        self.made = False
        """Put in by `mend.py` for something wrong: nobody wrote this."""
        self.guessed = False
        """Written under an unknown key, and read as the nearest known one's."""
        self.lost: set[str] = set()
        """Keys (indexes as texts) right below that were taken out, put in or read as another."""
        self.value = value
        self.items: dict[str, tuple[Spot, Node]] | None = None
        self.nodes: list[Node] | None = None


class Source:
    """One parsed file: `data` is plain Python (dict, list, str, int, float, bool, None)."""

    def __init__(self, file: str, root: Node) -> None:
        self.file = file
        self.root = root
        self.data: Any = _plain(root)
        self.mended = False
        """Whether it differs from what was written: mistakes were taken out, to look for others."""
        self.lost: frozenset[str] = frozenset()
        """The words in what was taken out."""

    def words(self) -> Iterator[str]:
        """Every text of the file, keys too."""
        yield from words_of(self.root)

    def made(self, path: Sequence[str | int]) -> bool:
        """Whether what stands there was put in for something wrong: then there is nothing to say about it."""
        return any(node.made for _, node in along(self.root, path))

    def altered(self, path: Sequence[str | int]) -> bool:
        """Whether something was put in there, or taken out right below."""
        *_, last = [self.root, *(node for _, node in along(self.root, path))]
        return bool(last.lost) or self.made(path)

    def spot(self, path: Sequence[str | int], *, key: bool = False) -> Spot:
        """Where that path stands; `key`: the key itself instead of its value. Steps that are not there are passed over."""
        spot = self.root.spot
        for spot_of_key, node in along(self.root, path):
            spot = spot_of_key if key else node.spot
        return spot


def along(root: Node, path: Sequence[str | int]) -> Iterator[tuple[Spot, Node]]:
    """The nodes on the way, each with its key's spot (its own in a sequence). Steps that are not there are passed over."""
    node = root
    for step in path:
        if node.items is not None and isinstance(step, str) and step in node.items:
            spot, node = node.items[step]
            yield spot, node
        elif node.nodes is not None and isinstance(step, int) and step < len(node.nodes):
            node = node.nodes[step]
            yield node.spot, node


def parse(file: str, raw: bytes, *, problems: Problems) -> Source | None:
    """The file's tree, or None when the problems found leave none."""
    source, found = _parsed(file, raw)
    problems.found += found
    return source


@functools.lru_cache(maxsize=FILES_KEPT_MAX)
def _parsed(file: str, raw: bytes) -> tuple[Source | None, tuple[Problem, ...]]:
    """Tests, simulations and deploys read the same files again and again."""
    problems = Problems()
    source = _read(file, raw, problems)
    return source, tuple(problems.found)


def _read(file: str, raw: bytes, problems: Problems) -> Source | None:
    start = Spot(file)
    if len(raw) > BYTES_MAX:
        problems.error(start, "too-large", message=f"the file has more than {BYTES_MAX:,} bytes; split it")
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        problems.error(Spot(file, line), "not-utf8", message="the file is not UTF-8 text; save it as UTF-8")
        return None
    root = _Builder(file, problems).build(text)
    return None if root is None else Source(file, root)


class _Builder:
    """Builds nodes from events, keeping the open containers on a list of its own."""

    _OPENING: ClassVar = (MappingStartEvent, SequenceStartEvent)
    _CLOSING: ClassVar = (MappingEndEvent, SequenceEndEvent)

    def __init__(self, file: str, problems: Problems) -> None:
        self.file = file
        self.problems = problems
        self.root: Node | None = None
        self.open: list[Node] = []
        self.keys: list[tuple[str, Spot] | None] = []
        self.count = 0
        self.documents = 0

    def build(self, text: str) -> Node | None:
        before = len(self.problems.found)
        try:
            for event in events(text):
                if not self._take(event):
                    return None
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            spot = Spot(self.file) if mark is None else Spot(self.file, mark.line + 1, mark.column + 1)
            self.problems.error(spot, "yaml", message=_readable(error))
            return None
        except (YAMLError, ValueError, RecursionError, IndexError, AttributeError, AssertionError) as error:
            # The scanner fails on some malformed inputs with errors of its own making; all mean that this is not YAML.
            first_line = str(error).strip().split("\n")[0] or type(error).__name__
            self.problems.error(Spot(self.file), "yaml", message=f"this is not YAML: {first_line}")
            return None
        if self.root is None and len(self.problems.found) == before:
            self.problems.error(Spot(self.file), "empty", message="the file is empty")
        return self.root if len(self.problems.found) == before else None

    def _take(self, event: Event) -> bool:
        """Adds the event to the tree. False: there is no use in going on."""
        mark = event.start_mark
        spot = Spot(self.file, mark.line + 1, mark.column + 1)
        if isinstance(event, DocumentStartEvent):
            return self._document(event, spot)
        if isinstance(event, self._CLOSING):
            self.open.pop()
            self.keys.pop()
            return True
        if isinstance(event, AliasEvent):
            self.problems.error(
                spot, "alias", message=f"aliases (`*{event.anchor}`) are not allowed; write the value out"
            )
            return False
        if not isinstance(event, (ScalarEvent, *self._OPENING)):
            return True
        self._refuse_extras(event, spot)
        self.count += 1
        if self.count > NODES_MAX:
            self.problems.error(spot, "too-large", message=f"the file has more than {NODES_MAX:,} values; split it")
            return False
        node = Node(spot)
        if isinstance(event, ScalarEvent):
            node.value = self._scalar(event, spot)
        elif isinstance(event, MappingStartEvent):
            node.items = {}
        else:
            node.nodes = []
        return self._place(node, event)

    def _place(self, node: Node, event: Any) -> bool:
        parent = self.open[-1] if self.open else None
        scalar = isinstance(event, ScalarEvent)
        if parent is None:
            self.root = node
        elif parent.nodes is not None:
            parent.nodes.append(node)
        elif parent.items is not None:
            key = self.keys[-1]
            if key is None:
                if not scalar:
                    self.problems.error(node.spot, "key", message="a key has to be text, not a list or a mapping")
                    return False
                name = str(event.value)
                if name in parent.items:
                    line = parent.items[name][0].line
                    self.problems.error(
                        node.spot, "duplicate-key", message=f"`{name}` appears here twice (also on line {line})"
                    )
                self.keys[-1] = (name, node.spot)
                return True
            parent.items[key[0]] = (key[1], node)
            self.keys[-1] = None
        if not scalar:
            self.open.append(node)
            self.keys.append(None)
            if len(self.open) > DEPTH_MAX:
                self.problems.error(
                    node.spot, "too-deep", message=f"nested more than {DEPTH_MAX} levels deep; make it flatter"
                )
                return False
        return True

    def _document(self, event: DocumentStartEvent, spot: Spot) -> bool:
        self.documents += 1
        if self.documents > 1:
            self.problems.error(
                spot, "documents", message="one file holds one document; move what follows `---` to its own file"
            )
            return False
        if event.version is not None or event.tags:
            self.problems.error(
                spot, "directive", message="`%` directives are not allowed; the dialect is always YAML 1.2"
            )
            return False
        return True

    def _refuse_extras(self, event: Any, spot: Spot) -> None:
        if event.anchor is not None:
            self.problems.error(
                spot, "anchor", message=f"anchors (`&{event.anchor}`) are not allowed; write the value out"
            )
        if event.tag is not None:
            self.problems.error(spot, "tag", message=f"tags (`{event.tag}`) are not allowed; put text into quotes")

    def _scalar(self, event: ScalarEvent, spot: Spot) -> Any:
        text = str(event.value)
        if any("\ud800" <= character <= "\udfff" for character in text):
            self.problems.error(spot, "text", message="this text has half a character (a surrogate) in it")
            return ""
        if not event.implicit[_PLAIN] or event.style:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _NOT_FINITE.fullmatch(text):
            self.problems.error(
                spot, "number", message=f"`{text}` is not a number that can be used; quotes make it text"
            )
        elif _INT.fullmatch(text) or _BASED.fullmatch(text):
            if len(text) > _DIGITS_MAX:
                self.problems.error(spot, "number", message="this number is too long; quotes make it text")
                return 0
            return int(text) if _INT.fullmatch(text) else int(text, 0)
        elif _FLOAT.fullmatch(text):
            number = float(text)
            if number in (float("inf"), float("-inf")):
                self.problems.error(spot, "number", message="this number is too large; quotes make it text")
                return 0
            return number
        return text


def _readable(error: MarkedYAMLError) -> str:
    problem = " ".join(str(error.problem or error.context or "this is not YAML").split())
    if "'\\t'" in problem:
        return "a tab cannot indent; use spaces"
    mend = ""
    if "mapping values are not allowed" in problem:
        mend = "; check the indentation, and put text that contains `: ` into quotes"
    elif "expected <block end>" in problem:
        mend = "; check the indentation"
    return problem + mend


def words_of(root: Node) -> Iterator[str]:
    """Every text in there, keys too: any of them may be a name that others refer to."""
    if root.items is not None:
        for key, (_, node) in root.items.items():
            yield key
            yield from words_of(node)
    elif root.nodes is not None:
        for node in root.nodes:
            yield from words_of(node)
    elif isinstance(root.value, str):
        yield root.value


def _plain(root: Node) -> Any:
    """The data without the spots. Recursion is bounded by DEPTH_MAX."""
    if root.items is not None:
        return {key: _plain(node) for key, (_, node) in root.items.items()}
    if root.nodes is not None:
        return [_plain(node) for node in root.nodes]
    return root.value

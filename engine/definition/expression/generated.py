"""What the generator of expressions passes around.

Invariant: `Code.code` is Python source made by us: names and texts reach it only through `repr`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from jinja2 import nodes

NAMES = frozenset({"event", "customer", "enrollment", "now"})
ZONE_TRAITS = ("country", "timezone")
"""Traits that decide the customer's zone, so whatever depends on local time depends on them."""


class ExpressionReason(NamedTuple):
    """Why a text is not an expression."""

    code: str
    message: str


class Code(NamedTuple):
    """Python source of a value, and what is known about it.

    `kind` is one of `number text bool` for a constant (which is in `constant`), `count` for what is always a number, `json`
    for what may be anything in JSON and so is never a time, `time`, `list`, `none`, or `any` for the rest.
    """

    code: str
    kind: str = "any"
    constant: Any = None


NOTHING = Code("None", "none")
_GIVEN = "given("


def as_given(code: str) -> str:
    """The code of a value from data, for which a blank text counts as missing."""
    return code if code.startswith(_GIVEN) else f"{_GIVEN}{code})"


def as_stored(code: str) -> str:
    """The code without that: where a blank text and a missing value come to the same."""
    return code[len(_GIVEN) : -1] if code.startswith(_GIVEN) else code


class Writer(Protocol):
    """The part of the generator that paths, calls and comparisons use."""

    names: frozenset[str]
    counted: set[tuple[str, str, int]]
    traits: set[str]
    segments: set[str]
    timed: bool

    def value(self, node: nodes.Node, depth: int) -> Code:
        """The code of a node with at most `depth` more levels below it."""

    def refuse(self, code: str, message: str) -> Code:
        """Notes why this is not an expression; the code returned is never run."""

    def doubt(self, message: str) -> None:
        """Notes that it can never work, though it can be compiled."""

    def tried(self, code: Code, *operands: Code) -> Code:
        """The code; where all that goes into it is constant it is run once."""

    def temporary(self) -> str:
        """A fresh local name."""

    def constant(self, value: object) -> str:
        """A global name of the generated function that stands for the value."""

    def known(self, name: str) -> bool:
        """Whether that name may be used here; refuses it otherwise."""

"""YAML text to the parser's events: ruamel.yaml's own, with one thing added.

Invariant: in a plain text between braces, commas inside ( ) belong to the text, so that
`{where: sum('Order Completed', 'total') >= 1000}` means what it says; everything else is as ruamel.yaml has it. (Its scanner
with the slow parts written anew gained a fifth: too little for leaning on its insides. What is parsed is kept instead.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.events import Event
from ruamel.yaml.scanner import Scanner
from ruamel.yaml.tokens import ScalarToken

CALL_MAX = 2_000
"""The longest plain text between braces that is looked through for ( )."""
_LINE = re.compile(rf"[^\0\r\n\x85\u2028\u2029]{{0,{CALL_MAX}}}")


def events(text: str) -> Iterator[Event]:
    """The events of a text. Raises ruamel.yaml's errors, and a few others that it lets through."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Scanner = _CallScanner
    yield from yaml.parse(text)


class _CallScanner(Scanner):
    """Takes calls in plain texts of a flow collection as a whole, as far as they close on their line."""

    _unclosed_line = -1

    def scan_plain(self) -> Any:
        length = self._call_length() if self.flow_level else 0
        if not length:
            return super().scan_plain()
        start = self.reader.get_mark()
        self.allow_simple_key = False
        text = self.reader.prefix(length)
        self.reader.forward(length)
        return ScalarToken(text, True, start, self.reader.get_mark())  # noqa: FBT003 - plain

    def _call_length(self) -> int:
        """The length of the plain text here when there are ( ) in it; 0: leave it to YAML's own rules."""
        if self.reader.line == self._unclosed_line:
            return 0
        found = _LINE.match(self.reader.buffer, self.reader.pointer)
        assert found is not None, "it matches nothing too"
        if "(" not in found[0]:
            return 0
        depth, quote, called, length = 0, "", False, 0
        for index, character in enumerate(found[0]):
            if quote:
                quote = "" if character == quote else quote
            elif depth and character in "'\"":
                quote = character
            elif character == "(":
                depth, called = depth + 1, True
            elif character == ")":
                depth -= 1
            elif not depth and character in ",[]{}#":
                return length if called else 0
            elif not depth and character == ":":
                return 0
            if character not in " \t":
                length = index + 1
        if called:
            self._unclosed_line = self.reader.line
        return 0

"""Comments that silence a warning where it stands: `# anlass: ignore[code] why`, in templates `{# anlass: ignore[code] why #}`.

Invariant: errors are never silenced, and a comment that silences nothing is a warning itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from engine.definition.problem import WARNING, Problem

UNUSED = "unused-ignore"
_YAML = re.compile(r"(?:^|\s)#\s*anlass:\s*ignore(?:\[([^\]\n]*)\])?")
_TEMPLATE = re.compile(r"\{#-?\s*anlass:\s*ignore(?:\[([^\]\n]*)\])?.*?#\}")
_COMMENT = re.compile(r"\s*(#|\{#.*#\}\s*$|$)")


class _Comment:
    def __init__(self, file: str, line: int, column: int, *, codes: tuple[str, ...], covers: frozenset[int]) -> None:
        self.file, self.line, self.column = file, line, column
        self.codes, self.covers = codes, covers
        self.used: set[str] = set()


def silenced(problems: Iterable[Problem], texts: Mapping[str, str]) -> list[Problem]:
    """The problems without those that a comment silences, and a warning for each comment that silences nothing.

    `texts`: the files of the project by name.
    """
    comments = [comment for file, text in texts.items() for comment in _comments(file, text)]
    by_file: dict[str, list[_Comment]] = {}
    for comment in comments:
        by_file.setdefault(comment.file, []).append(comment)
    left = [problem for problem in problems if not _is_silenced(problem, by_file.get(problem.file, ()))]
    for comment in comments:
        for code in comment.codes:
            if code not in comment.used:
                message = f"there is no `{code}` to silence on this line or the next; remove the comment"
                left.append(Problem(comment.file, comment.line, comment.column, WARNING, UNUSED, message))
        if not comment.codes:
            message = (
                "it says no code, so it silences nothing; write `anlass: ignore[CODE]` with the code of the warning"
            )
            left.append(Problem(comment.file, comment.line, comment.column, WARNING, UNUSED, message))
    return left


def _is_silenced(problem: Problem, comments: Iterable[_Comment]) -> bool:
    if problem.severity != WARNING:
        return False
    found = False
    for comment in comments:
        if problem.code in comment.codes and problem.line in comment.covers:
            comment.used.add(problem.code)
            found = True
    return found


def _comments(file: str, text: str) -> list[_Comment]:
    if "anlass:" not in text:
        return []
    lines, found = text.splitlines(), []
    template = file.startswith("templates/")
    for number, line in enumerate(lines, 1):
        # In the front matter of a template, which is YAML, either form will do.
        for pattern in (_TEMPLATE, _YAML) if template else (_YAML,):
            for match in pattern.finditer(line):
                codes = tuple(code.strip() for code in (match[1] or "").split(",") if code.strip())
                covers = frozenset({number, _next(lines, number)} | ({1} if template else set()))
                found.append(_Comment(file, number, match.start() + 1, codes=codes, covers=covers))
    return found


def _next(lines: list[str], number: int) -> int:
    """The next line that is more than a comment, from 1."""
    for index in range(number, len(lines)):
        if not _COMMENT.match(lines[index]):
            return index + 1
    return number

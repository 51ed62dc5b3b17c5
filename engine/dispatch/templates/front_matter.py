"""The front matter of a template: a small YAML mapping between two `---` lines at the top of the file.

Invariant: whatever the bytes, `split` returns; what it does not like becomes a problem at a line and column.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode

from engine.dispatch.templates.template_problem import TemplateProblem, nearest

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

KEYS: Final = ("subject", "preheader", "from", "reply_to", "to", "utm")
VARIANT: Final = "subject_"
"""How the key of a tested subject begins: `subject_b` is that of the variant `b`."""
_VARIANT_KEY: Final = re.compile(r"subject_[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
LENGTH_MAX: Final = 8_192  # characters of the whole front matter
FENCE: Final = "---"
_TAGS: Final = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp"))


class FrontMatterField(msgspec.Struct, frozen=True):
    """One value of the front matter, a template of its own, with the place it starts at."""

    source: str
    line: int
    column: int


class FrontMatter(msgspec.Struct, frozen=True):
    """The fields by key, and the body with the line of the file it starts at (from 1)."""

    fields: dict[str, FrontMatterField]
    body: str
    body_line: int


def split(file: str, source: str, *, problems: list[TemplateProblem]) -> FrontMatter:
    """Separate front matter and body. A file that does not start with `---` is all body."""
    lines = source.split("\n")
    if lines[0].rstrip() != FENCE:
        return FrontMatter(fields={}, body=source, body_line=1)
    end = next((i for i, line in enumerate(lines[1:], start=1) if line.rstrip() == FENCE), 0)
    if not end:
        problems.append(
            TemplateProblem(file, 1, 1, "front_matter", "the front matter is not closed; end it with a line of '---'")
        )
        return FrontMatter(fields={}, body="", body_line=len(lines))
    yaml = "\n".join(lines[1:end])
    fields = _fields(file, yaml, problems)
    return FrontMatter(fields=fields, body="\n".join(lines[end + 1 :]), body_line=end + 2)


def _fields(file: str, yaml: str, problems: list[TemplateProblem]) -> dict[str, FrontMatterField]:
    if len(yaml) > LENGTH_MAX:
        problems.append(
            TemplateProblem(file, 2, 1, "front_matter", f"the front matter is longer than {LENGTH_MAX} characters")
        )
        return {}
    try:
        root = _compose(yaml)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 2, mark.column + 1) if mark else (2, 1)
        problems.append(TemplateProblem(file, line, column, "front_matter", _yaml_reason(error)))
        return {}
    except (YAMLError, ValueError, RecursionError, AssertionError, LookupError, AttributeError, TypeError) as error:
        reason = str(error).split("\n", maxsplit=1)[0] or type(error).__name__
        problems.append(TemplateProblem(file, 2, 1, "front_matter", f"this is not YAML: {reason}"))
        return {}
    if root is None:
        return {}
    if not isinstance(root, MappingNode):
        problems.append(TemplateProblem(file, 2, 1, "front_matter", "the front matter must be lines of 'key: value'"))
        return {}
    return _mapping(file, root, problems)


def _compose(yaml: str) -> Node | None:
    # Only the node tree is built: no value is constructed, so `subject: 22:30` and `subject: NO` stay what was typed.
    return YAML(typ="safe", pure=True).compose(yaml)  # type: ignore[no-any-return]


def _yaml_reason(error: MarkedYAMLError) -> str:
    reason = error.problem or error.context or "it cannot be read"
    mend = ""
    if "unhashable" in str(reason) or "flow" in str(error.context or "") or "{" in str(reason) or "%" in str(reason):
        mend = "; put a value that starts with '{{' or '{%' into quotes"
    return f"this is not YAML: {str(reason).splitlines()[0]}{mend}"


def _mapping(file: str, root: MappingNode, problems: list[TemplateProblem]) -> dict[str, FrontMatterField]:
    fields: dict[str, FrontMatterField] = {}
    for key_node, value_node in root.value:
        line, column = key_node.start_mark.line + 2, key_node.start_mark.column + 1
        key = key_node.value if isinstance(key_node, ScalarNode) else ""
        if key not in KEYS and not _VARIANT_KEY.fullmatch(key):
            known = f"unknown key '{key}'{nearest(key, KEYS)}" if key else "a key must be a word"
            message = f"{known}; available: {', '.join(KEYS)}, subject_VARIANT"
            problems.append(TemplateProblem(file, line, column, "front_matter", message))
            continue
        if key in fields:
            problems.append(TemplateProblem(file, line, column, "front_matter", f"'{key}' is written twice"))
            continue
        line, column = value_node.start_mark.line + 2, value_node.start_mark.column + 1
        if not isinstance(value_node, ScalarNode) or value_node.anchor or value_node.tag not in _TAGS:
            message = f"'{key}' must be a text; put a value that starts with '{{{{' into quotes"
            problems.append(TemplateProblem(file, line, column, "front_matter", message))
            continue
        fields[key] = FrontMatterField(source=value_node.value.strip(), line=line, column=column)
    return fields

"""Gathers the doubts about a project: what works and is probably not as meant, less what its authors silenced in place.

Invariant: nothing is doubted in a project with errors in its workflows, where one slip would look like many.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from engine.definition.check import ProjectDraft
from engine.definition.doubts.expressions import expression_doubts
from engine.definition.doubts.names import Mention, mentions_of, named_once
from engine.definition.doubts.plans import plans
from engine.definition.problem import Problem
from engine.project.template_doubts import TemplateFile, spots_of_names, template_doubts, template_files

_BYTES_MAX = 4 * 1024 * 1024
"""Of the examples; more are not read."""
_FILE_BYTES_MAX = 262_144
_IN_TEMPLATES = {
    "property": re.compile(r"(?<![\w.])(?:enrollment\.)?event\.([A-Za-z_]\w*)(?![\w(])"),
    "trait": re.compile(r"(?<![\w.])customer\.([A-Za-z_]\w*)(?![\w(])"),
}
_OF_EVENTS = frozenset({"id", "name", "time", "properties"})


def doubts(project: ProjectDraft, texts: Mapping[str, str], *, folder: Path, now_ms: int) -> list[Problem]:
    """Every warning about workflows, policy and templates that stand in `texts`, the files by name."""
    files = template_files(texts)
    names = [*mentions_of(project), *mentions_in_templates(files)]
    workflows = {name: compiled.workflow for name, compiled in project.workflows.items()}
    return [
        *named_once(names, _examples(folder)),
        *expression_doubts(project),
        *plans(project, now_ms=now_ms),
        *template_doubts(texts, workflows),
    ]


def mentions_in_templates(files: Iterable[TemplateFile]) -> Iterator[Mention]:
    """Every property and trait that templates name."""
    for kind, name, spot, template in spots_of_names(list(files), _IN_TEMPLATES):
        if kind != "property" or name not in _OF_EVENTS:
            yield Mention(kind, name, spot, template, given=True)


def project_texts(folder: Path) -> dict[str, str]:
    """The workflows, tests and templates by name, for comments that silence and for what is read as text."""
    found = {}
    for root, endings in (("workflows", {".yaml", ".yml"}), ("templates", {".html", ".txt"})):
        for path in sorted((folder / root).rglob("*")):
            try:
                if path.suffix in endings and path.is_file() and path.stat().st_size <= _FILE_BYTES_MAX:
                    found[path.relative_to(folder).as_posix()] = path.read_text("utf-8", errors="replace")
            except OSError:  # the project's other checks speak of it
                continue
    return found


def _examples(folder: Path) -> dict[str, set[str]]:
    """The names of events, properties and traits in `examples/*.jsonl`."""
    found: dict[str, set[str]] = {"event": set(), "property": set(), "trait": set()}
    left = _BYTES_MAX
    for path in sorted((folder / "examples").glob("*.jsonl")):
        try:
            if not path.is_file() or path.stat().st_size > left:
                continue
            text = path.read_text("utf-8", errors="replace")
        except OSError:
            continue
        left -= len(text)
        for line in text.splitlines():
            _learn(line, found)
    return found


def _learn(line: str, found: dict[str, set[str]]) -> None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return
    records = record.get("batch", [record]) if isinstance(record, dict) else []
    for each in records if isinstance(records, list) else []:
        if not isinstance(each, dict):
            continue
        name = each.get("event", each.get("type") if "specversion" in each else None)
        if isinstance(name, str):
            found["event"].add(name)
        for field, kind in (("properties", "property"), ("data", "property"), ("traits", "trait")):
            values = each.get(field)
            if isinstance(values, dict):
                found[kind].update(values)

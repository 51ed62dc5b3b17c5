"""From the text of a template's files to its compiled parts: parse, resolve, put in the preheader and the CSS, compile.

Invariant: parts come back only if nothing is wrong with them; every name they use is one that rendering provides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from jinja2 import nodes

from engine.core import utm
from engine.core.channel import MAIL_CHANNELS, OWN_CHANNELS
from engine.dispatch.html.inline_css import Unfit, has_style, inline, with_preheader
from engine.dispatch.html.text_part import generate
from engine.dispatch.templates.compiled import CompiledPart
from engine.dispatch.templates.flatten import Flattener, undeclared
from engine.dispatch.templates.front_matter import VARIANT, FrontMatter, FrontMatterField, split
from engine.dispatch.templates.grammar import LINES_PER_FILE, TemplateSources, parse, walk
from engine.dispatch.templates.linear import linearize
from engine.dispatch.templates.render import ENROLLMENT_MEMBERS, NAMES, OWN_NAMES
from engine.dispatch.templates.template_problem import TemplateProblem, nearest

FIELDS: Final = {
    "subject": "subject",
    "preheader": "preheader",
    "from": "from_",
    "reply_to": "reply_to",
    "to": "to",
    "utm": "utm",
}


class Builder:
    """Builds the parts of one template after the other from the same layouts."""

    def __init__(
        self,
        layouts: Mapping[str, nodes.Template],
        broken: Collection[str],
        *,
        sources: TemplateSources,
        problems: list[TemplateProblem],
    ) -> None:
        self._broken = broken
        self._sources = sources
        self._problems = problems
        self._flattener = Flattener(layouts, broken, sources=sources, problems=problems)

    def build(self, channel: str, files: Mapping[str, tuple[str, int]]) -> dict[str, CompiledPart] | None:
        """Return the parts by field of `Rendered`, front matter first. `files` has text and index by kind."""
        main, index = files.get("html") or files["txt"]
        front = split(self._sources.files[index], main, problems=self._problems)
        parts: dict[str, CompiledPart | None] = {}
        trees = self._fields(front, index, channel)
        for key, tree in trees.items():
            parts[FIELDS.get(key, key)] = self._compile(tree, frozenset())
        if channel in MAIL_CHANNELS and not front.fields.get("subject", FrontMatterField("", 0, 0)).source:
            message = "an email needs a subject; start the file with lines of '---', 'subject: ...', '---'"
            self._report(index, 1, "missing_subject", message)
        body = self._straight(front.body, index, front.body_line)
        own = frozenset(trees) & OWN_NAMES | {"locale"}
        if "html" not in files:
            parts["text"] = None if body is None else self._compile(body, own)
        elif body is not None:
            parts |= self._documents(body, trees.get("preheader"), files, own)
        if body is None or any(part is None for part in parts.values()):
            return None
        return {field: part for field, part in parts.items() if part is not None}

    def _report(self, index: int, line: int, code: str, message: str) -> None:
        self._problems.append(self._sources.problem(index * LINES_PER_FILE + line, code, message=message))

    def _straight(self, source: str, index: int, line: int) -> nodes.Template | None:
        before = len(self._problems)
        tree = parse(source, index, first_line=line, sources=self._sources, problems=self._problems)
        return self._flattener.flatten(tree) if len(self._problems) == before else None

    def _fields(self, front: FrontMatter, index: int, channel: str) -> dict[str, nodes.Template]:
        trees: dict[str, nodes.Template] = {}
        for key, field in front.fields.items():
            of_mails = key in {"subject", "preheader", "reply_to", "utm"} or key.startswith(VARIANT)
            if channel not in MAIL_CHANNELS and of_mails:
                self._report(index, field.line, "front_matter", f"'{key}' is of mails; {channel} has no such thing")
            if channel not in OWN_CHANNELS and key == "to":
                message = f"'to' is of {' and '.join(sorted(OWN_CHANNELS))}; {channel} goes to the customer"
                self._report(index, field.line, "front_matter", message)
            if key == "utm" and (problem := utm.problem_of(field.source)):
                self._report(index, field.line, "front_matter", problem)
            tree = self._straight(field.source, index, field.line)
            if tree is not None:
                trees[key] = tree
        return trees

    def _documents(
        self,
        body: nodes.Template,
        preheader: nodes.Template | None,
        files: Mapping[str, tuple[str, int]],
        own: frozenset[str],
    ) -> dict[str, CompiledPart | None]:
        """Compile the HTML part, and the text part from its file or else from the HTML."""
        index = files["html"][1]
        parts: dict[str, CompiledPart | None] = {}
        if not self._names_known(body, own):
            return {"html": None}
        try:
            html = body
            if preheader is not None and not any(_reads(body, "preheader")):
                html = nodes.Template(with_preheader(linearize(body.body), preheader.body), lineno=body.lineno)
            pieces = linearize(html.body)
            if has_style(pieces):
                html = nodes.Template(inline(pieces), lineno=body.lineno)
            parts["html"] = self._part(html, html=True)
            if "txt" in files:
                parts["text"] = self._sibling(*files["txt"], own)
            else:
                text = nodes.Template(generate(linearize(body.body)), lineno=body.lineno)
                parts["text"] = self._part(text, html=False)
        except Unfit as error:
            self._report(index, 1, "html", str(error))
            return {"html": None}
        return parts

    def _sibling(self, source: str, index: int, own: frozenset[str]) -> CompiledPart | None:
        front = split(self._sources.files[index], source, problems=self._problems)
        if front.body_line > 1:
            self._report(index, 1, "front_matter", "the front matter belongs in the .html file beside this one")
            return None
        tree = self._straight(front.body, index, front.body_line)
        return None if tree is None else self._compile(tree, own)

    def _compile(self, tree: nodes.Template, own: frozenset[str]) -> CompiledPart | None:
        return self._part(tree, html=False) if self._names_known(tree, own) else None

    def _part(self, tree: nodes.Template, *, html: bool) -> CompiledPart | None:
        try:
            return CompiledPart(tree, html=html)
        except ValueError as error:
            self._problems.append(self._sources.problem(tree.lineno, "too_large", message=str(error)))
            return None

    def _names_known(self, tree: nodes.Template, own: frozenset[str]) -> bool:
        """Report names that rendering does not know, at their first use; tell whether there was none."""
        before = len(self._problems)
        known = NAMES | own
        unknown: dict[str, int] = {}
        for name in undeclared(tree.body, known):
            unknown.setdefault(name.name, name.lineno)
        for word, line in unknown.items():
            mend = nearest(word, known) or f"; available: {', '.join(sorted(known))}"
            self._problems.append(
                self._sources.problem(line, "unknown_name", message=f"unknown name '{word}'{mend}", word=word)
            )
        for node in walk(tree):
            if isinstance(node, nodes.Filter) and node.name == "_path" and _is_name(node.node, "enrollment"):
                self._check_enrollment(node)
        return len(self._problems) == before

    def _check_enrollment(self, node: nodes.Filter) -> None:
        names = node.args[0]
        assert isinstance(names, nodes.Const), "the rewriter writes the links as a constant"
        member = str(names.value[0])
        if member not in ENROLLMENT_MEMBERS:
            mend = nearest(member, ENROLLMENT_MEMBERS) or f"; it has {', '.join(sorted(ENROLLMENT_MEMBERS))}"
            message = f"unknown 'enrollment.{member}'{mend}"
            self._problems.append(self._sources.problem(node.lineno, "unknown_name", message=message, word=member))


def _is_name(node: nodes.Node | None, name: str) -> bool:
    return isinstance(node, nodes.Name) and node.name == name


def _reads(tree: nodes.Node, name: str) -> Iterator[bool]:
    return (True for node in walk(tree) if _is_name(node, name))

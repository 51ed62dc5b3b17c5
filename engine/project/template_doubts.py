"""What is probably not as meant in templates: files nobody sends, missing languages, links that lead nowhere, `data` that no step
gives.

Invariant: reads the files as they were written and the compiled workflows; warnings only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from engine.core.channel import MAIL_CHANNELS, template_channel
from engine.core.journey.workflow import Send, Workflow
from engine.definition.problem import WARNING, Problem, Spot, nearest
from engine.dispatch.filters.local_format import known_locale
from engine.dispatch.templates.needs import constants_that_fail, needed_data
from engine.dispatch.templates.template_set import LAYOUTS

_NAME = re.compile(r"(?P<name>[a-z0-9][a-z0-9_-]*)(?:\.(?P<locale>[A-Za-z0-9_-]+))?\.(?:html|txt)")
_SUFFIX = re.compile(r"(?P<name>.+?)[_-](?P<locale>[a-z]{2}(?:[_-][a-z]{2})?)")
_LINK = re.compile(
    r"""(?<![\w-])(href|src|background|poster)\s*=\s*(?:"([^"]*)"|'([^']*)')|(url)\(\s*["']?([^"')\s]*)""",
    re.IGNORECASE,
)
_LEADS = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:|#|\{\{|\{%|\{#|$)", re.IGNORECASE)
_BY_ANLASS = frozenset({"access-link", "confirm-subscription", "confirm-address", "address-change-notice"})
"""Templates that Anlass asks for by name."""


class TemplateFile(msgspec.Struct, frozen=True):
    """One file of a channel: `welcome.de.html` has the name `welcome` and the locale `de`."""

    file: str
    channel: str
    name: str
    locale: str
    text: str


def template_files(texts: Mapping[str, str]) -> list[TemplateFile]:
    """The templates among the files of a project, without layouts."""
    found = []
    for file, text in sorted(texts.items()):
        folder, _, rest = file.removeprefix("templates/").partition("/")
        match = _NAME.fullmatch(rest)
        if file.startswith("templates/") and folder != LAYOUTS and match is not None:
            locale = (match["locale"] or "").replace("_", "-").lower()
            found.append(TemplateFile(file, folder, match["name"], locale, text))
    return found


def template_doubts(texts: Mapping[str, str], workflows: Mapping[str, Workflow]) -> list[Problem]:
    """All warnings about the templates. `texts`: the files by name; `workflows` those in force."""
    files = template_files(texts)
    sends = [(workflow, op) for workflow in workflows.values() for op in workflow.ops.values() if isinstance(op, Send)]
    found = [*_unsent(files, sends), *_languages(files, sends), *_without_data(files, sends)]
    for file, text in texts.items():
        if file.startswith("templates/"):
            found += _relative(file, text)
            for line, said in constants_that_fail(text):
                found.append(Problem(file, line, 1, WARNING, "never-works", said))
    return found


def _sent(sends: list[tuple[Workflow, Send]]) -> set[tuple[str, str]]:
    pairs = {(channel, op.template) for _, op in sends for channel in op.channels}
    return pairs | {(template_channel(channel), name) for channel, name in pairs}


def _unsent(files: list[TemplateFile], sends: list[tuple[Workflow, Send]]) -> Iterator[Problem]:
    sent = _sent(sends)
    names = {(file.channel, file.name) for file in files}
    told: set[tuple[str, str]] = set()
    for file in sorted(files, key=lambda file: (file.channel, file.name, file.locale)):
        key = (file.channel, file.name)
        if key in sent or key in told or file.name in _BY_ANLASS:
            continue
        suffix = _SUFFIX.fullmatch(file.name)
        base = (file.channel, suffix["name"]) if suffix else key
        if suffix and known_locale(suffix["locale"]) and (base in names or base in sent):
            ending = file.file.rpartition(".")[2]
            right = f"{suffix['name']}.{suffix['locale'].replace('_', '-')}.{ending}"
            message = f"a language stands behind a dot: as it is called, nobody gets it; rename it to {right}"
            yield Problem(file.file, 1, 1, WARNING, "locale-in-name", message)
            continue
        told.add(key)
        known = sorted({name for channel, name in sent if channel == file.channel})
        mend = nearest(file.name, known)
        mend = mend if "did you mean" in mend else ""
        message = f"no workflow sends the template {file.channel}/{file.name}; remove it, or send it{mend}"
        yield Problem(file.file, 1, 1, WARNING, "template-unused", message)


def _languages(files: list[TemplateFile], sends: list[tuple[Workflow, Send]]) -> Iterator[Problem]:
    by_name: dict[tuple[str, str], dict[str, TemplateFile]] = {}
    sent = _sent(sends)
    for file in files:
        if (file.channel, file.name) in sent:  # what nobody sends needs no language
            by_name.setdefault((file.channel, file.name), {})[file.locale] = file
    partners = _partners(by_name, sends)
    for key, own in sorted(by_name.items()):
        channel = [other for other in by_name if other[0] == key[0] and other != key]
        for locale in sorted({locale for other in channel for locale in by_name[other] if locale}):
            if _covered(locale, own):
                continue
            having = [other for other in channel if locale in by_name[other]]
            beside = [other for other in having if other in partners.get(key, ())]
            if beside or 2 * len(having) >= len(channel) + 1:
                shown = by_name[(beside or having)[0]][locale].file.removeprefix("templates/")
                first = own.get("") or next(iter(own.values()))
                message = f"there is no {locale} of {key[0]}/{key[1]}, and its neighbour {shown} has one: write it, too"
                yield Problem(first.file, 1, 1, WARNING, "language-missing", message)


def _partners(
    by_name: Mapping[tuple[str, str], object], sends: list[tuple[Workflow, Send]]
) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """Templates that one workflow sends by one channel."""
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for workflow in {id(workflow): workflow for workflow, _ in sends}.values():
        pairs = _sent([(each, op) for each, op in sends if each is workflow]) & by_name.keys()
        for pair in pairs:
            found.setdefault(pair, set()).update(pairs - {pair})
    return found


def _covered(locale: str, own: Mapping[str, object]) -> bool:
    """Whether a customer of that locale gets words of their language."""
    base = locale.partition("-")[0]
    return locale in own or base in own or base == "en"


def _without_data(files: list[TemplateFile], sends: list[tuple[Workflow, Send]]) -> Iterator[Problem]:
    for file in files:
        needed = needed_data(file.text)
        if not needed:
            continue
        for workflow, op in sends:
            places = {each for channel in op.channels for each in (channel, template_channel(channel))}
            if op.template != file.name or file.channel not in places:
                continue
            given = {name for name, _ in op.data}
            for name, line in needed.items():
                if name not in given:
                    mend = nearest(name, given)
                    mend = mend if "did you mean" in mend else f"; add `data: {{{name}: …}}` there"
                    message = (
                        f"it needs `data.{name}`, and the step `{op.id}` of {workflow.name} does not give it{mend}, or write "
                        f"`data.{name} | default('…')`"
                    )
                    yield Problem(file.file, line, 1, WARNING, "data-missing", message)


def _relative(file: str, text: str) -> Iterator[Problem]:
    channel = file.removeprefix("templates/").partition("/")[0]
    if not file.endswith(".html") or channel not in (*MAIL_CHANNELS, LAYOUTS):
        return
    for match in _LINK.finditer(text):
        attribute, value = match[1] or match[4], match[2] or match[3] or match[5] or ""
        if _LEADS.match(value):
            continue
        line = text.count("\n", 0, match.start()) + 1
        column = match.start() - text.rfind("\n", 0, match.start())
        what = "a picture" if attribute.lower() != "href" else "a link"
        message = f"`{value[:80]}` leads nowhere in a mail, which has no site that {what} could be looked up in; begin with https://"
        yield Problem(file, line, column, WARNING, "relative-link", message)


def spots_of_names(
    files: list[TemplateFile], names: Mapping[str, re.Pattern[str]]
) -> Iterator[tuple[str, str, Spot, str]]:
    """Kind, name, place and template of what templates name."""
    for file in files:
        for kind, pattern in names.items():
            for match in pattern.finditer(file.text):
                line = file.text.count("\n", 0, match.start(1)) + 1
                column = match.start(1) - file.text.rfind("\n", 0, match.start(1))
                yield kind, match[1], Spot(file.file, line, column), f"{file.channel}/{file.name}"

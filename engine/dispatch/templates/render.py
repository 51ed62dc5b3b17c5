"""A template that is ready to render, and what rendering returns.

Invariant: `Template.render` returns a whole `Rendered` or raises `TemplateError`; nothing is ever half-rendered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from jinja2 import nodes

from engine.dispatch.filters.local_format import known_locale, known_zone
from engine.dispatch.filters.values import Budget, RenderFailure
from engine.dispatch.links.schemes import harmless_html, harmless_text, written
from engine.dispatch.templates.compiled import CompiledPart
from engine.dispatch.templates.flatten import paths, undeclared
from engine.dispatch.templates.front_matter import VARIANT
from engine.dispatch.templates.grammar import LINES_PER_FILE, walk
from engine.dispatch.templates.sample import ADDRESSES, sample_context
from engine.dispatch.templates.template_problem import TemplateError
from engine.dispatch.templates.ways_out import always_offered

# The names a template may use, and nothing else.
NAMES: Final = frozenset({"customer", "event", "enrollment", "data", "now", *ADDRESSES})
# Names that rendering adds: the language of the template, and its own rendered front matter for use in the body.
OWN_NAMES: Final = frozenset({"locale", "subject", "preheader"})
ENROLLMENT_MEMBERS: Final = frozenset({"event", "entered_at", "key"})


class Rendered(msgspec.Struct, frozen=True):
    """One message's content. Parts a channel has no use for are empty: an SMS has only `text`.

    `subject`, `preheader`, `from_` and `reply_to` are single lines of plain text; `html` is a whole document.
    """

    subject: str
    preheader: str
    from_: str
    reply_to: str
    html: str
    text: str
    to: str = ""
    """Who gets it, for channels whose templates may say so."""
    utm: str = ""
    """The template's own campaign parameters, as `engine.core.utm` reads them."""
    warnings: tuple[str, ...] = ()
    """What stood in the data and could not be read, such as a price `600,00`: its place in the text is empty."""


class Template:
    """One template in one language. Immutable and safe to share between threads."""

    __slots__ = (
        "_files",
        "_locale_default",
        "_parts",
        "_schemes",
        "_zone_default",
        "channel",
        "file",
        "locale",
        "name",
        "version",
    )

    def __init__(self, key: TemplateKey, parts: Mapping[str, CompiledPart], *, files: Sequence[str]) -> None:
        """Built by `TemplateSet.load`. `parts` are by field of `Rendered`; `files` by the index encoded in lines."""
        self.channel = key.channel
        self.name = key.name
        self.locale = key.locale
        self.file = key.file
        self.version = key.version
        self._locale_default = key.locale or key.locale_default
        self._zone_default = key.zone_default
        self._parts = dict(parts)
        tree = parts["html"].tree if "html" in parts else None
        found = walk(tree) if tree is not None else ()
        self._schemes = written(node.data for node in found if isinstance(node, nodes.TemplateData))
        self._files = files

    def render(self, context: Mapping[str, Any]) -> Rendered:
        """Return the message for one recipient.

        `context` maps `NAMES` to plain data: `customer` (traits and `id`), `event` (properties and `name`, `id`,
        `time`), `enrollment` (`event`, `entered_at`, `key`), `data`, `now` (RFC 3339, datetime or milliseconds), and
        the addresses; `variant` chooses the subject. Raises `TemplateError` with file, line and, for a missing value, its name.
        """
        return self._render(context, CompiledPart.render)

    def render_fully(self, context: Mapping[str, Any]) -> Rendered:
        """Do as `render`, always by Jinja2 alone: the reference that `render` is tested against."""
        return self._render(context, CompiledPart.render_fully)

    def _render(self, context: Mapping[str, Any], way: Any) -> Rendered:
        names = dict(context)
        budget = self._budget(names.get("customer"))
        names["locale"] = self._locale_default
        parts = self._parts
        done = {
            "subject": "",
            "preheader": "",
            "from_": "",
            "reply_to": "",
            "html": "",
            "text": "",
            "to": "",
            "utm": "",
        }
        try:
            for field, found in parts.items():
                if field.startswith(VARIANT):
                    continue
                part = found if field != "subject" else self._subject(names.get("variant"), found)
                text = way(part, names, budget)
                if field == "html":
                    text = harmless_html(text, self._schemes)
                elif field == "text":
                    text = harmless_text(text)
                else:
                    text = names[field] = " ".join(text.split())
                done[field] = text
        except RenderFailure as failure:
            raise self._error(failure) from None
        return Rendered(**done, warnings=tuple(budget.notes))

    def _subject(self, variant: Any, plain: CompiledPart) -> CompiledPart:
        """The subject of a variant that is tested, or the plain one."""
        return self._parts.get(f"{VARIANT}{variant}", plain) if variant else plain

    @property
    def locale_default(self) -> str:
        """The language of a template that names none."""
        return self._locale_default

    def subjects(self) -> frozenset[str]:
        """Return the variants that have a subject of their own."""
        return frozenset(field.removeprefix(VARIANT) for field in self._parts if field.startswith(VARIANT))

    def _budget(self, customer: Any) -> Budget:
        locale, zone = self._locale_default, self._zone_default
        if isinstance(customer, Mapping):
            wanted, where = customer.get("locale"), customer.get("timezone")
            # Dates in the words of the template's language, in the customer's variety of it: de-AT for a `de` template.
            if isinstance(wanted, str) and wanted[:2].lower() == locale[:2].lower() and known_locale(wanted):
                locale = wanted
            if isinstance(where, str) and known_zone(where):
                zone = where
        return Budget(locale=locale, zone=zone)

    def _error(self, failure: RenderFailure) -> TemplateError:
        index, line = divmod(failure.line, LINES_PER_FILE)
        file = self._files[index] or self.file
        mend = f"Give it a value, or write {{{{ {failure.name} | default('...') }}}}." if failure.name else None
        return TemplateError(failure.reason, file=file, line=line if index else 0, name=failure.name, mend=mend)

    def is_fast(self) -> bool:
        """Tell whether every part renders by a generated function."""
        return all(part.is_fast for part in self._parts.values())

    def paths(self) -> frozenset[str]:
        """Return the chains of members the template reads, such as `customer.first_name` or `data.code`."""
        return frozenset().union(*(paths(part.tree) for part in self._parts.values()))

    def names(self) -> frozenset[str]:
        """Return the names the template reads, layouts included, such as `customer` or `unsubscribe_url`."""
        return frozenset().union(
            *({name.name for name in undeclared(part.tree.body, ())} for part in self._parts.values())
        )

    def offers_way_out(self) -> bool:
        """Tell whether each part of the mail shows a link to unsubscribe or to choose, whatever the data."""
        bodies = [(field, self._parts[field]) for field in ("html", "text") if field in self._parts]
        return all(always_offered(part.tree, as_html=field == "html") for field, part in bodies)

    def sample_context(self, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return a context in which every name the template reads has a value: `given` first, then made-up ones.

        For previews and `send-test` when there is no real customer.
        """
        return sample_context([part.tree for part in self._parts.values()], given or {})


class TemplateKey(msgspec.Struct, frozen=True):
    """What a template is called, where it lies, and what its text depends on."""

    channel: str
    name: str
    locale: str
    file: str
    version: str
    locale_default: str
    zone_default: str

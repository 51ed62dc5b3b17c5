"""The templates of a project: found, read, checked and compiled once, then looked up by channel, name and locale.

Invariant: loading never raises for what stands in the files; every problem of every file is collected, and a template
that has one cannot be rendered.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

import msgspec
from jinja2 import nodes

from engine.core.channel import TEMPLATE_OPTIONAL, TEXT_CHANNELS, template_channel
from engine.dispatch.filters.local_format import known_locale
from engine.dispatch.templates.build import Builder
from engine.dispatch.templates.grammar import SOURCE_LENGTH_MAX, TemplateSources, parse
from engine.dispatch.templates.render import Template, TemplateKey
from engine.dispatch.templates.template_problem import TemplateError, TemplateProblem, nearest

FILES_MAX: Final = 5_000
CACHE_SIZE: Final = 2_000  # compiled templates kept between loads, so that a reload compiles only what changed
LAYOUTS: Final = "layouts"

_NAME: Final = re.compile(r"(?P<name>[a-z0-9][a-z0-9_-]*)(?:\.(?P<locale>[A-Za-z0-9_-]+))?\.(?P<kind>html|txt)")
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")
_CHANNEL: Final = re.compile(r"[a-z][a-z0-9_-]*")

_cache: dict[TemplateKey, Template] = {}


class _File(msgspec.Struct, frozen=True):
    path: str
    text: str


class TemplateSet:
    """All templates of one `templates/` folder."""

    def __init__(self, templates: dict[tuple[str, str, str], Template | None], problems: list[TemplateProblem]) -> None:
        """Built by `load`. `templates` is keyed by channel, name and locale; None stands for one with problems."""
        self._templates = templates
        self._problems = sorted(set(problems))

    @classmethod
    def load(cls, folder: Path, *, locale: str = "en", zone: str = "UTC") -> TemplateSet:
        """Read a folder. `locale` is the language of files without one in their name, `zone` the project's.

        A folder that does not exist is an empty set.
        """
        return _Loader(folder, locale=locale, zone=zone).load()

    def check(self) -> list[TemplateProblem]:
        """Return every problem found, in the order of file and line."""
        return list(self._problems)

    def names(self, channel: str) -> list[str]:
        """Return the names of a channel's templates, those it falls back to included."""
        channels = {channel, template_channel(channel)}
        return sorted({name for found, name, _ in self._templates if found in channels})

    def find(self, channel: str, name: str, *, locale: str | None = None) -> Template:
        """Return the template for a locale: `de-AT`, then `de`, then the default.

        Raises `TemplateError` when there is none, or when the one that is meant has problems.
        """
        wanted = [*_narrowing(locale), ""]
        for place in dict.fromkeys((channel, template_channel(channel))):
            for language in wanted:
                key = (place, name, language)
                if key in self._templates:
                    return self._ready(key)
        known = self.names(channel)
        if channel in TEMPLATE_OPTIONAL and name not in known:
            return Template(TemplateKey(channel, name, "", "", "", "en", "UTC"), {}, files=("",))
        if name in known:
            raise TemplateError(f"template '{channel}/{name}' has no default language and none for '{locale}'")
        raise TemplateError(f"there is no template '{channel}/{name}'{nearest(name, known)}")

    def variants(self, channel: str, name: str) -> list[Template]:
        """Return the template in every language, without those that have problems; empty when there is none."""
        for place in dict.fromkeys((channel, template_channel(channel))):
            found = [self._templates[key] for key in sorted(self._templates) if key[:2] == (place, name)]
            if found:
                return [template for template in found if template is not None]
        return []

    def _ready(self, key: tuple[str, str, str]) -> Template:
        found = self._templates[key]
        if found is None:
            channel, name, language = key
            stem = f"{channel}/{name}.{language}." if language else f"{channel}/{name}."
            own = [problem for problem in self._problems if problem.file.startswith((stem, f"{LAYOUTS}/"))]
            first = next(iter(own), None)
            message = first.message if first else "it has problems"
            raise TemplateError(message, file=first.file if first else stem, line=first.line if first else 0)
        return found


def _narrowing(locale: str | None) -> list[str]:
    parts = (locale or "").replace("_", "-").split("-")
    return ["-".join(parts[:length]).lower() for length in range(len(parts), 0, -1) if parts[0]]


class _Loader:
    def __init__(self, folder: Path, *, locale: str, zone: str) -> None:
        self._folder = folder
        self._locale = locale
        self._zone = zone
        self._problems: list[TemplateProblem] = []
        self._sources = TemplateSources()
        self._files: dict[tuple[str, str, str], dict[str, _File]] = {}
        self._layouts: dict[str, _File] = {}

    def load(self) -> TemplateSet:
        for found in self._paths():
            self._sort(found)
        trees: dict[str, nodes.Template] = {}
        for path, file in self._layouts.items():
            before = len(self._problems)
            tree = parse(
                file.text,
                self._sources.add(path, file.text),
                first_line=1,
                sources=self._sources,
                problems=self._problems,
            )
            if len(self._problems) == before:
                trees[path] = tree
        broken = frozenset(self._layouts) - frozenset(trees)
        builder = Builder(trees, broken, sources=self._sources, problems=self._problems)
        templates = {key: self._template(key, files, builder) for key, files in self._files.items()}
        self._check_defaults()
        return TemplateSet(templates, self._problems)

    def _paths(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        found = sorted(path for path in self._folder.rglob("*") if not path.is_dir() and path.name[0] != ".")
        if len(found) > FILES_MAX:
            self._problem(".", "too_large", f"more than {FILES_MAX} files")
        return found[:FILES_MAX]

    def _problem(self, file: str, code: str, message: str, line: int = 1) -> None:
        self._problems.append(TemplateProblem(file, line, 1, code, message))

    def _sort(self, path: Path) -> None:
        """Read one file and put it where it belongs."""
        relative = path.relative_to(self._folder).as_posix()
        channel, _, rest = relative.partition("/")
        match = _NAME.fullmatch(rest)
        if channel == LAYOUTS and path.suffix in {".html", ".txt"}:
            file = self._read(path, relative)
            if file is not None:
                self._layouts[relative] = file
            return
        if not match or not _CHANNEL.fullmatch(channel):
            message = "not a template: they are CHANNEL/NAME.html, CHANNEL/NAME.LOCALE.txt or in layouts/"
            self._problem(relative, "unknown_file", f"{message}; names are of a-z, 0-9, '-' and '_'")
            return
        locale = match["locale"] or ""
        if locale and not known_locale(locale):
            self._problem(relative, "unknown_locale", f"'{locale}' is not a locale such as 'de' or 'de-AT'")
            return
        if channel in TEXT_CHANNELS and match["kind"] == "html":
            self._problem(relative, "not_allowed", f"{channel} is text only; write a .txt file")
            return
        file = self._read(path, relative)
        if file is not None:
            key = (channel, match["name"], locale.replace("_", "-").lower())
            self._files.setdefault(key, {})[match["kind"]] = file

    def _read(self, path: Path, relative: str) -> _File | None:
        try:
            if not path.resolve().is_relative_to(self._folder.resolve()):
                self._problem(relative, "unreadable", "a link that leads out of the templates folder")
                return None
            if not path.is_file() or path.stat().st_size > SOURCE_LENGTH_MAX:
                self._problem(relative, "too_large", f"longer than {SOURCE_LENGTH_MAX} bytes, or not a file")
                return None
            raw = path.read_bytes()
            text = raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
            self._problem(relative, "unreadable", "not UTF-8 text; save the file as UTF-8", line)
            return None
        except OSError as error:
            self._problem(relative, "unreadable", f"cannot be read: {error.strerror or error}")
            return None
        found = _CONTROL.search(text)
        if found:
            line = text[: found.start()].count("\n") + 1
            self._problem(relative, "unreadable", f"a control character (U+{ord(found[0]):04X}); remove it", line)
            return None
        return _File(relative, text)

    def _template(self, key: tuple[str, str, str], files: dict[str, _File], builder: Builder) -> Template | None:
        digest = hashlib.sha256()
        for file in (*self._layouts.values(), *files.values()):
            digest.update(f"{len(file.path)}:{len(file.text)}:{file.path}{file.text}".encode())
        main = files.get("html") or files["txt"]
        channel, name, locale = key
        language = (known_locale(locale) or "").replace("_", "-")
        identity = TemplateKey(channel, name, language, main.path, digest.hexdigest(), self._locale, self._zone)
        indexes = {kind: self._sources.add(file.path, file.text) for kind, file in files.items()}
        known = _cache.get(identity)
        if known is not None:
            return known
        before = len(self._problems)
        parts = builder.build(channel, {kind: (file.text, indexes[kind]) for kind, file in files.items()})
        if parts is None or len(self._problems) > before:
            return None
        template = Template(identity, parts, files=self._sources.files)
        if len(_cache) >= CACHE_SIZE:
            _cache.clear()
        _cache[identity] = template
        return template

    def _check_defaults(self) -> None:
        for (channel, name, locale), files in self._files.items():
            if locale and (channel, name, "") not in self._files:
                file = next(iter(files.values())).path
                message = f"'{channel}/{name}' has no default; write one without a locale in its name"
                self._problem(file, "missing_default", message)

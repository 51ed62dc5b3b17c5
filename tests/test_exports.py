"""What the packages offer: every module imports, every promised name is there, every import is a declared dependency.

Invariant: whoever installs the distribution gets all that its modules import, and finds all that they promise.
"""

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from channels import registry

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("anlass", "engine", "channels")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
)


@cache
def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]  # type: ignore[no-any-return]


def _plain(requirement: str) -> str:
    """`ruamel.yaml>=0.18; python_version > "3"` becomes `ruamel-yaml`."""
    name = re.match(r"[\w.-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def _missing(module: str) -> list[str]:
    """The names that a module promises in `__all__` and does not have."""
    loaded = importlib.import_module(module)
    return [name for name in getattr(loaded, "__all__", ()) if not hasattr(loaded, name)]


def _imports(source: str) -> set[str]:
    """The top-level names of all that a module imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@cache
def _providers() -> Mapping[str, list[str]]:
    """Import names and the distributions that provide them; reading them takes a second."""
    return packages_distributions()


def _undeclared(source: str, declared: set[str]) -> set[str]:
    """The third-party imports that no declared distribution provides."""
    foreign = _imports(source) - set(sys.stdlib_module_names) - set(PACKAGES)
    providers = _providers()
    return {name for name in foreign if not declared & {_plain(one) for one in providers.get(name, [])}}


def test_every_module_imports_and_has_what_it_promises() -> None:
    """Every module imports, and every name in its `__all__` exists; all that fails is shown at once."""
    wrong: dict[str, object] = {}
    for module in MODULES:
        try:
            if missing := _missing(module):
                wrong[module] = missing
        except Exception as error:  # noqa: BLE001 - whatever a module raises, the others are still looked at
            wrong[module] = error
    assert not wrong


def test_a_broken_promise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in `__all__` that is not there is noticed."""
    errors = importlib.import_module("engine.errors")
    monkeypatch.setattr(errors, "__all__", [*errors.__all__, "NoSuchThing"])
    assert _missing("engine.errors") == ["NoSuchThing"]


def test_every_import_is_a_declared_dependency() -> None:
    """What the packages import is declared, so an installation without the development tools works."""
    extras = _project()["optional-dependencies"]
    optional = [one for extra in extras if extra not in {"all", "dev"} for one in extras[extra]]
    declared = {_plain(requirement) for requirement in [*_project()["dependencies"], *optional]}
    undeclared = {
        f"{path.relative_to(ROOT)} imports {name}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for name in _undeclared(path.read_text(encoding="utf-8"), declared)
    }
    assert sorted(undeclared) == []


def test_an_undeclared_import_is_found() -> None:
    """An import of a development tool, or of nothing known, is noticed."""
    assert _undeclared("import pytest\nimport json\nfrom ruamel.yaml import YAML\n", {"ruamel-yaml"}) == {"pytest"}
    assert _undeclared("def f():\n    import no_such_thing\n", {"ruamel-yaml"}) == {"no_such_thing"}


def _blocks(lines: list[str]) -> list[tuple[str, list[str]]]:
    """Each pin with its hashes."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith(" "):
            found[-1][1].append(line.strip().removesuffix(" \\"))
        elif line and not line.startswith("#"):
            found.append((line, []))
    return found


def test_every_dependency_is_pinned() -> None:
    """Every declared dependency, and every one of the development tools, has its exact version in the lock."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line.removesuffix(" \\") for line in lines if line and not line.startswith(("#", " "))]
    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9-]+==[\w.]+", pin)] == []
    for pin, hashes in _blocks(lines):
        assert hashes, f"{pin} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) for line in hashes), pin
    assert "--require-hashes -r requirements.lock" in (ROOT / "Makefile").read_text(encoding="utf-8")
    pinned = {_plain(pin) for pin in pins}
    extras = [one for extra in _project()["optional-dependencies"].values() for one in extra]
    wanted = [one for one in [*_project()["dependencies"], *extras] if _plain(one) != "anlass"]
    assert [one for one in wanted if _plain(one) not in pinned] == []


def test_the_command_and_the_channels_are_where_they_are_said_to_be() -> None:
    """The console script and the registry's rows of the built-in channels name things that exist."""
    named = [*_project()["scripts"].values(), *registry.BUILT_IN.values(), *registry.CALLBACKS.values()]
    for place in named:
        module, _, name = place.partition(":")
        assert callable(getattr(importlib.import_module(module), name))

"""The shape of the house: sizes, parameters, depth, names, documentation, and what may not stand in a tracked file.

Invariant: each rule is a function from a source to the violations in it, and each has a planted violation that it must
find: a check that cannot fail is none.
"""

import ast
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("anlass", "engine", "channels")
CODE = (*PACKAGES, "tests", "benchmarks")

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
PARAMETERS_MAX = 6
POSITIONAL_MAX = 3  # ADR 0008
PACKAGE_DEPTH_MAX = 3  # below the root package: engine/runtimes/kafka/group is the deepest there is
MODULES_MAX = 24  # of one folder; about 15 is what somebody can look over

# The language, aiosmtpd's hooks, Jinja's sandbox and pydantic-settings decide about the parameters of these; and
# `evaluate(catalog, state, record)` is written so wherever it is spoken of.
SIGNATURE_IS_GIVEN = re.compile(
    r"__(?!init__|new__|call__)\w+__|handle_[A-Z]+|call_binop|call_unop|decode_complex_value|evaluate"
)

VAGUE_WORDS = {"util", "utils", "helper", "helpers", "manager", "managers", "common", "misc", "shared", "stuff"}
VAGUE_STEMS = VAGUE_WORDS | {"models", "types", "lib", "tools", "functions", "classes"}

# What the core may import: msgspec, idna, our errors, and the parts of the standard library that only compute.
CORE_MAY_IMPORT = {
    *("engine.core", "engine.errors", "idna", "msgspec", "__future__"),
    *("abc", "base64", "bisect", "calendar", "collections", "contextlib", "copy", "dataclasses", "datetime", "decimal"),
    *("difflib", "enum", "fractions", "functools", "hashlib", "heapq", "hmac", "itertools", "json", "keyword", "math"),
    *("operator", "re", "string", "struct", "textwrap", "types", "typing", "unicodedata", "zoneinfo"),
}

# Written in pieces, so that this file does not find itself.
PATH_OF_A_MACHINE = re.compile(r"(?<![\w.$}/-])/(?:ho" + "me|Us" + "ers|ro" + "ot|wo" + r"rk)/[\w.-]+")


# ------------------------------------------------------------------------------------------------- the rules


def module_too_long(source: str) -> Iterator[str]:
    """Yields one violation when the module has too many lines."""
    lines = source.count("\n") + (not source.endswith("\n"))
    if lines > MODULE_LINES_MAX:
        yield f"1: {lines} lines, at most {MODULE_LINES_MAX}"


def functions_too_long(source: str) -> Iterator[str]:
    """Yields the functions with too many lines; the docstring counts, decorators do not."""
    for function in _functions(source):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            yield f"{function.lineno}: {function.name} has {lines} lines, at most {FUNCTION_LINES_MAX}"


def parameters_too_many(source: str) -> Iterator[str]:
    """Yields functions with too many parameters, and public ones that take too many by position.

    A private function is called from its own module only, where its few callers can be read beside it.
    """
    for function in _functions(source):
        if SIGNATURE_IS_GIVEN.fullmatch(function.name):
            continue
        positional = [*function.args.posonlyargs, *function.args.args]
        if positional and positional[0].arg in {"self", "cls", "mcs"}:
            positional = positional[1:]
        total = len(positional) + len(function.args.kwonlyargs)
        if total > PARAMETERS_MAX:
            yield f"{function.lineno}: {function.name} takes {total} parameters, at most {PARAMETERS_MAX}"
        private = function.name.startswith("_") and not function.name.startswith("__")
        if len(positional) > POSITIONAL_MAX and not private:
            yield (
                f"{function.lineno}: {function.name} takes {len(positional)} by position; after the third they are "
                f"keyword-only: put a `*` before `{positional[POSITIONAL_MAX].arg}`"
            )


def docstring_missing(source: str) -> Iterator[str]:
    """Yields one violation when the module does not say what it is for."""
    if not ast.get_docstring(_module(source)[0]):
        yield "1: no module docstring that says what it is for and its invariant"


def test_without_words(source: str) -> Iterator[str]:
    """Yields the tests that do not say which behaviour they show."""
    for function in _functions(source):
        if function.name.startswith("test_") and not ast.get_docstring(function):
            yield f"{function.lineno}: {function.name} has no docstring that says which behaviour it shows"


test_without_words.__test__ = False  # type: ignore[attr-defined]  # a rule about tests, no test


def engine_class(source: str) -> Iterator[str]:
    """Yields classes with the name that says everything and nothing."""
    for node in _module(source)[1]:
        if isinstance(node, ast.ClassDef) and node.name == "Engine":
            yield f"{node.lineno}: class Engine says nothing about what it does"


def core_imports(source: str) -> Iterator[str]:
    """Yields imports that the pure core may not have, wherever they stand in the module."""
    for node in _module(source)[1]:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # `from engine import clock` names the module in its second half.
            module = node.module or ""
            names = [f"engine.{alias.name}" for alias in node.names] if module == "engine" else [module]
            names = ["engine.core"] if node.level else names
        else:
            continue
        for name in names:
            allowed = ".".join(name.split(".")[:2]) if name.startswith("engine") else name.split(".")[0]
            if allowed not in CORE_MAY_IMPORT:
                yield f"{node.lineno}: the core may not import {name}"


def foreign_path(source: str) -> Iterator[str]:
    """Yields lines that name a path that exists on one machine only."""
    for number, line in enumerate(source.splitlines(), 1):
        if found := PATH_OF_A_MACHINE.search(line):
            yield f"{number}: names a path of one machine: {found.group()}"


def examples_pinned(source: str) -> Iterator[str]:
    """Yields properties whose number of examples the profile of the first tier cannot lower."""
    for node in _module(source)[1]:
        if isinstance(node, ast.keyword) and node.arg == "max_examples" and isinstance(node.value, ast.Constant):
            yield f"{node.value.lineno}: write `max_examples=examples({ast.unparse(node.value)})`, from tests.properties"


def name_vague(path: str) -> Iterator[str]:
    """Yields one violation when a module's or package's name does not say what is in it."""
    for part in Path(path).with_suffix("").parts:
        words = set(part.strip("_").lower().split("_"))
        if part in VAGUE_STEMS or words & VAGUE_WORDS:
            yield f"`{part}` does not say what is in it"


def package_too_deep(path: str) -> Iterator[str]:
    """Yields one violation when a module lies too many packages deep."""
    depth = len(Path(path).parent.parts) - 1
    if depth > PACKAGE_DEPTH_MAX:
        yield f"{depth} packages deep, at most {PACKAGE_DEPTH_MAX}"


def folder_too_wide(paths: str) -> Iterator[str]:
    """Yields one violation for each folder among these paths, one a line, that holds too many modules."""
    for folder, count in sorted(Counter(Path(path).parent.as_posix() for path in paths.splitlines()).items()):
        if count > MODULES_MAX:
            yield f"{folder}: {count} modules, at most {MODULES_MAX}: give it inner walls"


def init_under_tests(path: str) -> Iterator[str]:
    """Yields one violation for an `__init__.py` under tests, which would make them a package."""
    if Path(path).parts[0] == "tests" and Path(path).name == "__init__.py":
        yield "tests are not a package; two files of one name would hide each other"


@lru_cache(maxsize=2)  # of the newest file: all rules look at one before they look at the next
def _module(source: str) -> tuple[ast.Module, list[ast.AST]]:
    """The module, and all that is in it."""
    module = ast.parse(source)
    return module, list(ast.walk(module))


def _functions(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in _module(source)[1]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


# ------------------------------------------------------------------------------------------------- the house


@cache
def python_files(*tops: str) -> tuple[str, ...]:
    """Our Python files under these folders, relative to the root."""
    return tuple(
        sorted(
            path.relative_to(ROOT).as_posix()
            for top in tops
            for path in (ROOT / top).rglob("*.py")
            if not {"__pycache__", "node_modules", ".cache"} & set(path.parts)
        )
    )


@cache
def source_of(path: str) -> str:
    """The text of one of our files."""
    return (ROOT / path).read_text(encoding="utf-8")


Rule = Callable[[str], Iterator[str]]

SOURCE_RULES: list[tuple[Rule, tuple[str, ...]]] = [
    (module_too_long, CODE),
    (functions_too_long, CODE),
    (parameters_too_many, (*PACKAGES, "benchmarks")),  # a test asks for as many fixtures as it needs
    (docstring_missing, CODE),
    (test_without_words, ("tests",)),
    (examples_pinned, ("tests",)),
    (engine_class, CODE),
    (core_imports, ("engine/core",)),
]
# Files that a rule leaves out, each with the reason. One that no longer needs it has to go from here.
EXEMPT: dict[tuple[Rule, str], str] = {
    (
        parameters_too_many,
        "engine/core/expression/comparison.py",
    ): "called by generated code, where a keyword costs time per event",
    (parameters_too_many, "engine/core/expression/arithmetic.py"): "the same",
    (parameters_too_many, "engine/core/expression/moments.py"): "the same",
    (examples_pinned, "tests/conftest.py"): "it is where the profile of the first tier is made",
}
PATH_RULES: list[tuple[Rule, tuple[str, ...]]] = [
    (name_vague, CODE),
    (package_too_deep, PACKAGES),
    (init_under_tests, ("tests",)),
]


def test_every_module_keeps_the_rules() -> None:
    """Every module of ours keeps those that are about it; all violations are shown at once, each with its file and line."""
    about = [(rule, set(python_files(*tops))) for rule, tops in SOURCE_RULES]
    assert all(files for _, files in about), "a rule would check nothing"
    violations = [
        f"{path}:{found}"
        for path in python_files(*CODE)
        for rule, files in about
        if path in files and (rule, path) not in EXEMPT
        for found in rule(source_of(path))
    ]
    assert not violations, "\n" + "\n".join(violations)


@pytest.mark.parametrize(("rule", "path"), EXEMPT, ids=lambda value: getattr(value, "__name__", value))
def test_every_exemption_is_needed(rule: Rule, path: str) -> None:
    """A file is exempt only as long as it breaks the rule."""
    assert list(rule(source_of(path)))


@pytest.mark.parametrize(("rule", "tops"), PATH_RULES, ids=lambda value: getattr(value, "__name__", ""))
def test_every_name_and_place_keeps_the_rule(rule: Rule, tops: tuple[str, ...]) -> None:
    """Every module of ours has a name that says what is in it, and lies where it may."""
    violations = [f"{path}: {found}" for path in python_files(*tops) for found in rule(path)]
    assert not violations, "\n" + "\n".join(violations)


def test_no_folder_is_too_wide() -> None:
    """No folder of the packages holds more modules than somebody can look over."""
    violations = list(folder_too_wide("\n".join(python_files(*PACKAGES))))
    assert not violations, "\n" + "\n".join(violations)


def test_every_test_file_has_a_name_of_its_own() -> None:
    """No two test files share a basename, so a report names one file; two names are given by pytest and Python."""
    given = {"conftest.py", "__main__.py"}
    names = Counter(Path(path).name for path in python_files("tests") if Path(path).name not in given)
    assert [name for name, times in names.items() if times > 1] == []


def test_tracked_files_name_no_machine() -> None:
    """A clone works anywhere: no tracked file names somebody's folder."""
    git = shutil.which("git")
    listed = git and subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if not listed or listed.returncode != 0 or not listed.stdout:
        pytest.skip("this is not a git checkout, so nothing is tracked; clone the repository to run this test")
    violations = []
    for path in listed.stdout.rstrip("\0").split("\0"):
        try:
            text = (ROOT / path).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # a picture, or a file that is removed in this change
        violations += [f"{path}:{found}" for found in foreign_path(text)]
    assert not violations, "\n" + "\n".join(violations)


# ----------------------------------------------------------------------------------- the rules can fail, all


LONG_FUNCTION = "def long():\n" + "    pass\n" * FUNCTION_LINES_MAX

PLANTED: list[tuple[Rule, str, str]] = [
    (module_too_long, "x = 1\n" * (MODULE_LINES_MAX + 1), "x = 1\n" * MODULE_LINES_MAX),
    (functions_too_long, LONG_FUNCTION, LONG_FUNCTION.replace("    pass\n", "", 1)),
    (functions_too_long, "class A:\n    async " + LONG_FUNCTION.replace("\n    ", "\n        "), "class A: pass"),
    (parameters_too_many, "def f(a, b, *, c, d, e, f, g): ...", "def f(a, b, *, c, d, e, f): ..."),
    (parameters_too_many, "class A:\n def f(self, a, b, c, d): ...", "class A:\n def f(self, a, b, c, *, d): ..."),
    (parameters_too_many, "def f(a, b, c, d=1): ...", "def f(a, /, b, c): ..."),
    (parameters_too_many, "def f(a, b, c, d): ...", "def _f(a, b, c, d): ..."),
    (
        parameters_too_many,
        "class A:\n def __init__(self, a, b, c, d): ...",
        "class A:\n def __exit__(self, a, b, c, d): ...",
    ),
    (docstring_missing, "import ast", '"""What it is for."""'),
    (test_without_words, "def test_a(): ...", 'def test_a():\n    """A is so."""'),
    (engine_class, "def f():\n    class Engine: ...", "class EngineRoom: ..."),
    (core_imports, "import time", "from datetime import time"),
    (core_imports, "def f():\n    from engine import clock", "from engine.errors import AnlassError"),
    (core_imports, "from engine.clock import Clock", "from engine.core.record import Record"),
    (core_imports, "import os.path", "import zoneinfo"),
    (
        examples_pinned,
        "@settings(max_examples=300)\ndef f(): ...",
        "@settings(max_examples=examples(300))\ndef f(): ...",
    ),
    (foreign_path, "cd /ho" + "me/ana/anlass", "GET /homes/1, https://example.org/ho" + "me/x, ./wo" + "rk/x"),
    (name_vague, "engine/core/string_utils.py", "engine/core/record.py"),
    (name_vague, "engine/models.py", "engine/runtimes/base.py"),
    (name_vague, "engine/helpers/a.py", "engine/telemetry.py"),
    (package_too_deep, "engine/a/b/c/d/e.py", "engine/runtimes/kafka/group/app.py"),
    (
        folder_too_wide,
        "\n".join(f"engine/a/m{number}.py" for number in range(MODULES_MAX + 1)),
        "\n".join(f"engine/{folder}/m{number}.py" for number in range(MODULES_MAX) for folder in "ab"),
    ),
    (init_under_tests, "tests/core/__init__.py", "engine/core/__init__.py"),
]


@pytest.mark.parametrize(
    ("rule", "bad", "good"), PLANTED, ids=[f"{rule.__name__}-{i}" for i, (rule, _, _) in enumerate(PLANTED)]
)
def test_a_planted_violation_is_found(rule: Rule, bad: str, good: str) -> None:
    """Each rule finds the violation that was planted for it, and leaves its lawful twin alone."""
    assert list(rule(bad))
    assert list(rule(good)) == []


def test_every_rule_has_a_planted_violation() -> None:
    """No rule is trusted without having been seen to fail."""
    rules = {rule for rule, _ in SOURCE_RULES + PATH_RULES} | {foreign_path, folder_too_wide}
    assert rules == {rule for rule, _, _ in PLANTED}

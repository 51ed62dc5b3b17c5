"""What the README and the guides show is true: their files are compiled, their tests run, their commands print what they say."""

from __future__ import annotations

import ast
import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from engine.definition.load import load_files
from engine.rehearsal.report import failure
from engine.rehearsal.testing import run_tests
from engine.settings import load_settings
from tests.docs.page import PAGES, ROOT, Block, Session, blocks, commands, missing

KINDS = ("workflow", "segments", "policy", "tests")
LANGUAGES = {"console", "yaml", "html", "json", "python", "javascript", "toml", "text", "sql"}
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A reader in an empty folder."""
    reader = Session(tmp_path)
    yield reader
    reader.stop()


def _in_yaml(page: Path) -> Iterator[Block]:
    return (block for block in blocks(page) if block.language == "yaml")


def _definition(block: Block, number: int) -> tuple[str, bytes]:
    """A block as a file of a project: as it is, or as the steps or the trigger of a workflow around it."""
    content = YAML(typ="safe").load(block.text)
    kind = next((kind for kind in KINDS if isinstance(content, dict) and kind in content), "")
    if kind == "tests":
        return f"workflows/{content['tests']}-{number}.test.yaml", block.text.encode()
    if kind:
        stem = content["workflow"] if kind == "workflow" else f"{kind}-{number}"
        return f"workflows/{stem}.yaml", block.text.encode()
    indented = "".join(f"  {line}\n" for line in block.text.splitlines())
    if isinstance(content, list):
        around = f"workflow: part-{number}\ntrigger: {{manual: true}}\nsteps:\n{indented}"
    else:
        rest = "" if "steps" in content else "steps: []\n"
        trigger = "" if "trigger" in content else "trigger: {manual: true}\n"
        around = f"workflow: part-{number}\n{trigger}{block.text}{rest}"
    return f"workflows/part-{number}.yaml", around.encode()


@by_page
def test_every_block_is_of_a_kind_that_is_tested(page: Path) -> None:
    """A fence in a language that nobody checks would be the way for an untrue example to come in."""
    assert {block.language for block in blocks(page)} <= LANGUAGES


@by_page
def test_the_yaml_of_a_page_is_a_project_without_problems(page: Path) -> None:
    """All blocks of a page together are compiled as one project; parts are put into a workflow around them."""
    files = [_definition(block, block.line) for block in _in_yaml(page)]
    if files:
        loaded = load_files(files)
        assert [str(problem) for problem in loaded.problems] == []
        assert loaded.catalog is not None


@by_page
def test_the_tests_shown_on_a_page_pass(page: Path) -> None:
    """The cases run against the workflows of the same page."""
    loaded = load_files([_definition(block, block.line) for block in _in_yaml(page)])
    if loaded.catalog is not None:
        for result in run_tests(loaded.catalog, loaded.tests, templates=None):
            assert result.passed, "\n".join(failure(result))


@pytest.mark.slow
@pytest.mark.timeout(400)
@by_page
def test_the_commands_of_a_page_do_what_it_says(page: Path, session: Session) -> None:
    """From an empty folder, in the order of the page: files are saved, commands run, and print the lines shown."""
    if shutil.which("curl") is None:
        pytest.skip("curl is needed to run the examples as they are written; apt install curl")
    for block in blocks(page):
        if block.file:
            session.save(block)
        elif block.language == "console":
            for command, expected in commands(block):
                session.do(command, expected)


@by_page
def test_other_blocks_are_at_least_well_formed(page: Path) -> None:
    """JSON is JSON, Python is Python; settings are taken by the settings' own reader elsewhere."""
    for block in blocks(page):
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "python":
            ast.parse(block.text)
        elif block.language == "toml":
            tomllib.loads(block.text)


@by_page
def test_settings_shown_are_settings(page: Path, tmp_path: Path) -> None:
    """A `toml` block is an anlass.toml that is taken, unless it is part of a package's pyproject.toml."""
    for name in ("smtp-password", "webhook-secret", "bounces-password", "twilio-token", "write-keys"):
        (tmp_path / name).write_text("secret", "utf-8")
    for block in blocks(page):
        if block.language == "toml" and not block.text.startswith("[project"):
            (tmp_path / "anlass.toml").write_text(block.text, "utf-8")
            load_settings(tmp_path)


@by_page
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links and pictures name files that exist, and headings that exist in them."""
    text = page.read_text("utf-8")
    found = [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'src="([^"]+)"', text)]
    assert found
    for target in found:
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}, f"{page.name} links to {target}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_a_wrong_page_is_found_out(tmp_path: Path, session: Session) -> None:
    """The checks can fail: a lie in the output, a command that fails, YAML with a mistake, a missing make target."""
    assert missing(["2 of … passed"], "1 of 1 passed") == "2 of … passed"
    assert missing(["a", "b"], "b\na\n") == "b"
    for command, expected in (("echo no", ["yes"]), ("false", []), ("make tea", []), ("anlass fly", [])):
        with pytest.raises(AssertionError):
            session.do(command, expected)
    page = tmp_path / "page.md"
    page.write_text("```yaml\n- sned: {channel: email, template: x}\n```\n", "utf-8")
    assert load_files([_definition(block, block.line) for block in _in_yaml(page)]).catalog is None

"""Each test is of exactly one tier: what needs a program from outside, kills or is slow is not of the first.

Invariant: the expressions that choose the tiers are read from the Makefile, so what is shown here is what runs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHOSEN = dict(re.findall(r"(?m)^(test\S*):.*\n\t\$\(PYTEST\)(.*)$", (ROOT / "Makefile").read_text("utf-8")))
"""Target of the Makefile → what it gives to pytest."""

SAMPLE = '''
"""Tests of both tiers."""

import pytest

@pytest.fixture(params=["memory", "kafka"])
def runtime(request):
    if request.param == "kafka":
        request.getfixturevalue("kafka")

@pytest.fixture
def collector(runtime):
    return runtime

@pytest.mark.parametrize("name", ["kafka", "postgres"])
def test_first_of_a_word(name): ...
def test_first_plain(topic_prefix): ...
def test_through(collector): ...
def test_rest_broker(kafka): ...
def test_rest_own_broker(kafka_cluster): ...
def test_rest_jars(kafka_jars): ...
def test_rest_database(postgres): ...
def test_rest_proxy(behind_nginx): ...
def test_rest_node(npm): ...
def test_rest_commands(commands): ...
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_chosen(kind, request): ...
@pytest.mark.kill
def test_rest_kills(): ...
@pytest.mark.slow
def test_rest_slow(): ...
'''


def _pytest(at: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=at, env=env | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )


def _collected(at: Path, target: str) -> list[str]:
    chosen = ["-m", found[1]] if (found := re.search(r"-m '?([^']+)", CHOSEN[target])) else []
    told = _pytest(at, "--collect-only", "-q", *chosen).stdout
    return re.findall(r"::(\S+)", told)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The sample under our conftest."""
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    return tmp_path


def test_a_fixture_puts_a_test_into_its_tier(folder: Path) -> None:
    """Whoever uses a broker is not of the first tier, directly or through others; of a parametrised fixture only that case."""
    first, rest, everything = (_collected(folder, target) for target in ("test", "test-rest", "test-all"))
    assert sorted([*first, *rest]) == sorted(everything)
    assert len(set(everything)) == len(everything) == 16
    assert {name for name in everything if name.startswith("test_first")} <= set(first)
    assert {name for name in everything if name.startswith("test_rest")} <= set(rest)
    assert {"test_through[memory]", "test_chosen[sqlite]"} <= set(first)
    assert {"test_through[kafka]", "test_chosen[postgres]"} <= set(rest)


def test_what_asks_for_a_broker_behind_our_back_fails_in_the_first_tier(folder: Path) -> None:
    """A fixture asked for by name, where no list and no parameter shows it, is found when it runs."""
    (folder / "test_sample.py").write_text("def test_hidden(request):\n    request.getfixturevalue('kafka')\n")
    run = _pytest(folder, "-m", "not rest")
    assert run.returncode == 1
    assert "A test of the first tier asks for a program from outside" in run.stdout


def test_this_run_has_each_test_in_its_tier(request: pytest.FixtureRequest) -> None:
    """The same of all tests of ours that were chosen beside this one."""
    wrong = [
        item.nodeid
        for item in request.session.items
        if {"kafka", "kafka_cluster", "kafka_jars", "postgres_server"} & set(getattr(item, "fixturenames", ()))
        and not item.get_closest_marker("rest")
    ]
    assert wrong == []


@pytest.mark.parametrize("fails", ["", "test", "test-rest"])
def test_ci_runs_the_first_tier_and_then_the_rest(fails: str, tmp_path: Path) -> None:
    """Each once, the second also when the first fails; any failure is the status, and the last line is pytest's own."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("ruff", "lint-imports", "mypy"):
        (tmp_path / ".venv" / "bin" / name).symlink_to("/bin/true")
    make = tmp_path / "make"
    make.write_text(
        f'#!/bin/sh\necho "$2 CI=$CI" >> calls\necho "pytest\'s last line of $2"\n'
        f'if [ "$2" = \'{fails}\' ]; then echo "make: *** [Makefile:1: $2] Error 1"; exit 2; fi\n'
    )
    make.chmod(0o755)
    env = {name: value for name, value in os.environ.items() if name != "CI"} | {"MAKE": str(make)}
    run = subprocess.run([tmp_path / ".ci" / "run"], env=env, capture_output=True, text=True, check=False)
    assert (tmp_path / "calls").read_text().splitlines() == ["venv CI=", "test CI=true", "test-rest CI=true"]
    assert (run.returncode != 0) == bool(fails)
    assert run.stdout.splitlines()[-1] == "pytest's last line of test-rest"
    assert "make: ***" not in run.stdout

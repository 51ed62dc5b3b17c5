"""Who may import whom: the contracts in pyproject.toml are kept, and each has a planted import that breaks it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("engine", "channels", "anlass")

IMPORTS_PLANTED = {
    "core asks the clock": ("engine/core/record.py", "import engine.clock", "core.record -> engine.clock"),
    "core opens a database": ("engine/core/record.py", "import sqlite3", "core.record -> sqlite3"),
    "core uses pydantic": ("engine/core/record.py", "import pydantic", "core.record -> pydantic"),
    "a lower floor uses a higher one": ("engine/errors.py", "import engine.clock", "errors -> engine.clock"),
    "a floor that nobody has drawn": ("engine/cellar.py", '"""A cellar."""', "cellar"),
    "operations build": (
        "engine/operations/port.py",
        "import engine.bootstrap.service",
        "port -> engine.bootstrap.service",
    ),
    "a partition knows Faust": ("engine/runtimes/kafka/partition/store.py", "import faust", "partition.store -> faust"),
    "a partition knows its role": (
        "engine/runtimes/kafka/partition/store.py",
        "import engine.runtimes.kafka.worker.plan",
        "partition.store -> engine.runtimes.kafka.worker.plan",
    ),
    "Kafka reads its copy": (
        "engine/runtimes/kafka/topics.py",
        "import engine.runtimes.journal.reader",
        "topics -> engine.runtimes.journal.reader",
    ),
    "the inside goes through the door": ("channels/contract.py", "import anlass.adapter", "contract -> anlass.adapter"),
    "a channel knows the engine": ("channels/contract.py", "import engine.errors", "contract -> engine.errors"),
}


def _lint_imports(at: Path) -> subprocess.CompletedProcess[str]:
    linter = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([linter, "--no-cache", "--no-logo"], cwd=at, capture_output=True, text=True, check=False)


def _copy_of_the_house(to: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, to / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", to)
    return to


def test_the_import_contracts_are_kept() -> None:
    """The floors of the house are kept: layers, the pure core, channels that know nothing of the engine."""
    run = _lint_imports(ROOT)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
@pytest.mark.parametrize("what", IMPORTS_PLANTED)
def test_a_planted_import_breaks_a_contract(what: str, tmp_path: Path) -> None:
    """Each way to break the house is noticed by the import linter."""
    house = _copy_of_the_house(tmp_path)
    path, line, named = IMPORTS_PLANTED[what]
    with (house / path).open("a", encoding="utf-8") as module:
        module.write(f"\n{line}\n")
    run = _lint_imports(house)
    assert run.returncode != 0
    assert named in run.stdout, run.stdout + run.stderr

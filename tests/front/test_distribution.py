"""Wheel and sdist: built with what is installed here, installed into fresh environments, and run far from the checkout.

Nothing is fetched. A fresh environment gets links to exactly those installed packages that the wheel's metadata asks for, with
the extra `all` and without, so a dependency that is not declared is missing there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from engine import __version__
from tests.front.running import environment, mailbox_within, running

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("anlass", "engine", "channels")
BUILD = "import sys, setuptools.build_meta as backend; print(backend.build_{kind}(sys.argv[1]))"
SOURCES = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", *PACKAGES)


def _build(kind: str, tree: Path, to: Path) -> Path:
    """As `python -m build --no-isolation` does it: the backend that pyproject.toml names, in the folder of the sources."""
    to.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", BUILD.format(kind=kind), str(to)]
    done = subprocess.run(command, cwd=tree, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return to / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources, without what a checkout has beside them."""
    folder = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of the tree."""
    return _build("sdist", tree, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist, as pip does where there is no wheel."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return _build("wheel", folder / sdist.name.removesuffix(".tar.gz"), folder / "dist")


def _contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_sdist_builds_the_same_wheel(tree: Path, wheel: Path, tmp_path: Path) -> None:
    """Byte for byte what the checkout builds."""
    direct = _build("wheel", tree, tmp_path)
    assert direct.name == wheel.name == f"anlass-{__version__}-py3-none-any.whl"
    assert _contents(direct) == _contents(wheel)


def test_the_wheel_has_every_file_of_the_packages(tree: Path, wheel: Path) -> None:
    """Templates, SQL, pages, the starter's project, `py.typed`: all but what only this repository needs."""
    names = _contents(wheel).keys()
    files = {
        path.relative_to(tree).as_posix()
        for package in PACKAGES
        for path in (tree / package).rglob("*")
        if path.is_file() and path.suffix != ".md" and path.name != "ruff.toml"
    }
    assert files <= names, sorted(files - names)
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    rest = {name for name in names if name not in files}
    assert all(name.startswith(f"anlass-{__version__}.dist-info/") for name in rest), sorted(rest)


def test_the_sdist_has_the_sources_and_nothing_else(sdist: Path) -> None:
    """Licence, changelog and the packages; no half of the tests, nothing that a checkout left behind."""
    with tarfile.open(sdist) as archive:
        tops = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert tops - {"PKG-INFO", "setup.cfg", "anlass.egg-info"} == set(SOURCES)


def _wanted(requirements: list[str], extras: set[str]) -> Iterator[tuple[str, set[str]]]:
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            yield requirement.name, set(requirement.extras)


def _closure(wheel: Path, extras: set[str]) -> dict[str, Distribution]:
    """What the wheel's metadata asks for with these extras, and what that asks for."""
    [metadata] = [text for name, text in _contents(wheel).items() if name.endswith(".dist-info/METADATA")]
    asked = [
        line.removeprefix("Requires-Dist: ")
        for line in metadata.decode().splitlines()
        if line.startswith("Requires-Dist: ")
    ]
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [("anlass", {"", *extras})]
    while waiting:
        name, more = waiting.pop()
        new = {extra for extra in more if (name, extra) not in seen}
        if not new:
            continue
        seen |= {(name, extra) for extra in new}
        if name != "anlass":
            found[name] = distribution(name)
        requirements = asked if name == "anlass" else found[name].requires or []
        waiting += [(each, {"", *theirs}) for each, theirs in _wanted(requirements, new)]
    return found


@pytest.fixture(scope="module", params=["bare", "all"])
def installed(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of scripts of a fresh environment with the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp(request.param) / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    [site] = (folder / "lib").glob("python*/site-packages")
    for each in _closure(wheel, {"all"} if request.param == "all" else set()).values():
        for top in {file.parts[0] for file in each.files or () if file.parts[0] not in {"..", "__pycache__"}}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(each.locate_file(top))))
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(folder / "bin" / "python"),
        "install",
        "--no-deps",
        "--no-index",
    ]
    done = subprocess.run([*command, str(wheel)], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "bin"


@pytest.mark.timeout(300)
def test_it_runs_where_it_is_installed(installed: Path, tmp_path: Path) -> None:
    """`--version`, `init`, `check`, `test` and `run`: an event becomes a mail, from the wheel alone."""

    def anlass(*arguments: str, cwd: Path = tmp_path, **env: str) -> subprocess.CompletedProcess[str]:
        command = [str(installed / "anlass"), *arguments]
        return subprocess.run(
            command, cwd=cwd, env=environment(**env), capture_output=True, text=True, check=False, timeout=100
        )

    where = [
        str(installed / "python"),
        "-c",
        "import anlass.testing, engine, json; print(json.dumps([anlass.__file__, engine.__file__]))",
    ]
    done = subprocess.run(where, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert all(file.startswith(str(installed.parent)) for file in json.loads(done.stdout))
    assert anlass("--version").stdout == f"anlass {__version__}\n"
    assert anlass("init", "shop").returncode == 0
    for command in ("check", "test"):
        done = anlass(command, cwd=tmp_path / "shop")
        assert done.returncode == 0, done.stdout + done.stderr
    with running([str(installed / "anlass"), "run"], tmp_path / "shop", environment()) as here:
        assert anlass("emit", "examples/events.jsonl", "--to", here["collector"], cwd=tmp_path / "shop").returncode == 0
        assert mailbox_within(here["operators"], seconds=60), "no mail came"
    done = anlass("worker", cwd=tmp_path / "shop", ANLASS_KAFKA="127.0.0.1:9")
    if installed.parent.parent.name.startswith("bare"):
        assert (done.returncode, "pip install 'anlass[kafka]'" in done.stderr) == (2, True), done.stderr
    else:
        assert done.returncode == 3, done.stderr  # all that it lacks is a broker

"""A skipped test is an honest line at home and a failure where CI=true."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = '''
"""Tests that cannot run here."""

import pytest

def test_needs_java():
    """Needs what is missing."""
    pytest.skip("Java is missing; install a JRE 17 to run this test")

@pytest.mark.xfail(strict=True)
def test_known_gap():
    """Fails as expected."""
    assert False

def test_fine():
    """Passes."""
'''
WHOLE_FILE = 'import pytest\npytest.importorskip("no_such_module", reason="install no-such-module")\n'


def _pytest(at: Path, *, ci: bool) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", "."]
    return subprocess.run(
        command, cwd=at, env=env | ({"CI": "true"} if ci else {}), capture_output=True, text=True, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of tests under our conftest."""
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    return tmp_path


def test_at_home_a_skip_is_one_line_that_says_how_to_get_it(folder: Path) -> None:
    """A missing part does not fail a developer's run."""
    run = _pytest(folder, ci=False)
    assert run.returncode == 0, run.stdout
    assert "1 passed, 1 skipped, 1 xfailed" in run.stdout
    assert "install a JRE 17" in run.stdout


def test_in_ci_a_skip_is_a_failure_with_the_same_words(folder: Path) -> None:
    """A missing part fails the run; what is expected to fail does not."""
    run = _pytest(folder, ci=True)
    assert run.returncode == 1
    assert "1 failed, 1 passed, 1 xfailed" in run.stdout
    assert "install a JRE 17" in run.stdout


def test_in_ci_a_file_that_skips_itself_is_a_failure(folder: Path) -> None:
    """A file that skips while it is imported is not a way around it."""
    (folder / "test_whole.py").write_text(WHOLE_FILE)
    assert _pytest(folder, ci=False).returncode == 0
    run = _pytest(folder, ci=True)
    assert run.returncode != 0
    assert "install no-such-module" in run.stdout

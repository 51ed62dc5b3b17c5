"""What holds for every test.

Invariant: a test sees nothing of the developer's own configuration, and with `CI=true` no test is skipped: what a machine
lacks is then a failure, with the same sentence that says what is missing and how to get it.
"""

import os
from collections.abc import Generator
from typing import Any

import hypothesis
import pytest

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

# Examples are the same in every CI run, so that a red run can be repeated; at home they vary and find more.
hypothesis.settings.register_profile("home", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if IN_CI else "home")


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ANLASS_")]:
        monkeypatch.delenv(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns a skipped test into a failed one when CI=true; expected failures stay what they are."""
    report = yield
    return _refuse_skip(report) if report.skipped and not hasattr(report, "wasxfail") else report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file that is skipped while it is imported."""
    report = yield
    return _refuse_skip(report) if report.skipped else report


def _refuse_skip(report: Any) -> Any:
    if IN_CI:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{reason}\nWith CI=true nothing may be missing, so this skip is a failure."
    return report

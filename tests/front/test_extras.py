"""The bare installation does what it promises, and whoever needs more is told which extra to install.

The modules of the extras are hidden from a process of its own, as if they were not installed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Collection
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from engine.extras import EXTRAS, not_installed
from tests.front.running import environment, mailbox_within, running

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.slow  # each case starts the command line some times
ALL = frozenset[str]().union(*(modules for _, modules in EXTRAS.values()))
HIDING = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
from engine.cli import main
main()
"""
SMS = {
    "ANLASS_SMS__ACCOUNT_SID": "AC" + "0" * 32,
    "ANLASS_SMS__AUTH_TOKEN": "t" * 32,
    "ANLASS_SMS__FROM": "+4915111223344",
}
TEXTING = "workflow: hi\npurpose: transactional\ntrigger: {event: Hi}\nsteps:\n  - send: {channel: %s, template: hi}\n"
MISSING = {
    "the demo texts": ("sms", {}, ["demo", "--seconds", "5"]),
    "a channel of Twilio's": ("sms", SMS, ["run"]),
    "letters as PDF": ("letters", {"ANLASS_PRINT__FOLDER": "out", "ANLASS_PRINT__PDF": "true"}, ["run"]),
    "a worker": ("kafka", {"ANLASS_KAFKA": "127.0.0.1:9"}, ["worker"]),
    "a question to a cluster": ("kafka", {"ANLASS_KAFKA": "127.0.0.1:9"}, ["show", "customer", "ana"]),
    "events to a topic": ("kafka", {}, ["emit", "--to", "kafka://127.0.0.1:9", "examples/events.jsonl"]),
}


def _command(*arguments: str, hidden: Collection[str] = ALL) -> list[str]:
    return [sys.executable, "-c", HIDING.format(hidden=set(hidden)), *arguments]


def _anlass(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(*arguments), cwd=folder, env=environment(PYTHONPATH=str(ROOT), **env), capture_output=True, text=True,
        check=False, timeout=100,
    )  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that a bare installation made."""
    folder = tmp_path_factory.mktemp("bare")
    done = _anlass(folder, "init", "shop")
    assert done.returncode == 0, done.stderr
    return folder / "shop"


def test_the_bare_installation_runs_mail_on_sqlite(shop: Path) -> None:
    """`init`, `check`, `test` and `run` need no extra: an event becomes a mail in the local mailbox."""
    for command in ("check", "test"):
        done = _anlass(shop, command)
        assert done.returncode == 0, done.stdout + done.stderr
    env = environment(PYTHONPATH=str(ROOT))
    with running(_command("run"), shop, env) as where:
        done = _anlass(shop, "emit", "examples/events.jsonl", "--to", where["collector"])
        assert done.returncode == 0, done.stderr
        assert mailbox_within(where["operators"], seconds=30), "no mail came"


@pytest.mark.parametrize("what", MISSING)
def test_what_is_missing_is_said_with_its_extra(what: str, shop: Path) -> None:
    """One sentence, status 2, and never a traceback."""
    extra, env, arguments = MISSING[what]
    for channel in ("sms", "print"):
        (shop / "workflows" / f"{channel}.yaml").write_text(
            TEXTING.replace("hi\np", f"{channel}\np") % channel, "utf-8"
        )
        (shop / "templates" / channel).mkdir(exist_ok=True)
        (shop / "templates" / channel / "hi.txt").write_text("Hello\n", "utf-8")
    done = _anlass(shop, *arguments, **env)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].endswith(f"Install it with: pip install 'anlass[{extra}]'"), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ("postgres", "from engine.runtimes.journal import Database; Database('postgresql://a@b/c')"),
        (
            "otel",
            "from engine.tracing import open_tracing; open_tracing('worker', {'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://a'})",
        ),
    ],
)
def test_what_only_roles_on_kafka_open_says_it_too(extra: str, code: str, tmp_path: Path) -> None:
    """The database's driver where the URL says postgresql, and traces where an endpoint is named."""
    hiding = HIDING.format(hidden=set(EXTRAS[extra][1])).partition("from engine.cli")[0]
    done = subprocess.run(
        [sys.executable, "-c", f"{hiding}from engine.runtimes.journal import Database\nDatabase('sqlite:///j.db')\n{code}"],
        cwd=tmp_path, env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    last = done.stderr.splitlines()[-1]
    assert last.startswith("engine.errors.SettingsError: "), done.stderr
    assert last.endswith(f"Install it with: pip install 'anlass[{extra}]'")


def test_the_table_of_extras_is_that_of_the_distribution() -> None:
    """Every extra has its sentence, every package of an extra a module in the table, and every module its package."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert declared.keys() - {"all", "dev"} == EXTRAS.keys()
    assert declared["all"] == [f"anlass[{','.join(sorted(EXTRAS))}]"]
    assert "anlass[all]" in declared["dev"]
    provided: dict[str, set[str]] = {}
    for module, names in packages_distributions().items():
        for name in names:
            provided.setdefault(re.sub(r"[-_.]+", "-", name).lower(), set()).add(module)
    for extra, (_, modules) in EXTRAS.items():
        packages = [re.sub(r"[-_.]+", "-", re.split(r"[\[~><=; ]", one)[0]).lower() for one in declared[extra]]
        assert all(provided[package] & modules for package in packages), extra
        assert modules <= set[str]().union(*(provided[package] for package in packages)), extra


def test_another_missing_module_is_our_mistake() -> None:
    """What no extra brings is not blamed on an extra."""
    assert not_installed(ModuleNotFoundError("No module named 'engine.attic'", name="engine.attic")) is None
    assert not_installed(ImportError("cannot import name 'x'")) is None

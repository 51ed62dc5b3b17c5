"""`anlass key`: what is made is taken as it is printed; the list shows no secret; weak keys stop a start and the check."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli.entry import anlass as command
from engine.collector.intake.key_use import FILE
from engine.settings import load_settings, weak_key

pytestmark = pytest.mark.usefixtures("commands")


def run(*words: str) -> Result:
    """In this process: none of it needs another."""
    return CliRunner().invoke(command, words)


@pytest.mark.parametrize("browser", [False, True])
def test_what_is_printed_is_taken(browser: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The TOML into the file, the variable into the environment; another one each time."""
    words = ["key", "new", *(["--browser", "--origin", "https://shop.example"] if browser else []), "web-shop"]
    printed = [run(*words).output for _ in range(2)]
    assert printed[0] != printed[1]
    text, _, rest = printed[0].partition("\n\n")
    name, _, value = rest.strip().splitlines()[-1].partition("=")
    (tmp_path / "anlass.toml").write_text(text)
    monkeypatch.setenv(name, value)
    collector = load_settings(tmp_path).collector
    [key] = collector.all_keys
    assert (key.name, key.kind, weak_key(collector)) == ("web-shop", "browser" if browser else "server", None)
    assert value not in text
    assert key.secret is not None
    assert key.secret.get_secret_value() == value


def test_a_name_that_cannot_be_is_refused() -> None:
    """With the mend."""
    for words in (["key", "new", "a b"], ["key", "new", "--origin", "https://shop.example", "x"]):
        done = run(*words)
        assert done.exit_code != 0


def test_the_list_says_when_and_shows_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, kind, last use."""
    (tmp_path / "anlass.toml").write_text(
        '[[collector.keys]]\nname = "shop"\n[[collector.keys]]\nname = "old"\nrevoked = true\nevents = ["Order *"]\n'
    )
    (tmp_path / "var").mkdir()
    (tmp_path / "workflows").mkdir()
    (tmp_path / "var" / FILE).write_text('{"shop": 1774602000000}')
    monkeypatch.setenv("ANLASS_COLLECTOR__KEY_SECRETS__SHOP", "mWq0T3nYvR8kZc5LxB1dHf7s")
    for more in ((), ("--json",)):
        done = run("key", "list", "--project", str(tmp_path), *more)
        assert done.exit_code == 0, done.output
        for word in ("shop", "server", "2026-03-27T09:00:00", "old", "revoked"):
            assert word in done.output
        assert "mWq0T3" not in done.output


@pytest.mark.parametrize("key", ["a", "change-me"])
def test_a_weak_key_stops_the_check(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the mend; commands that only read go on."""
    (tmp_path / "workflows").mkdir()
    monkeypatch.setenv("ANLASS_COLLECTOR__WRITE_KEYS", key)
    done = run("check", "--settings", str(tmp_path))
    assert done.exit_code != 0
    assert "anlass key new key1" in str(done.exception)
    assert run("key", "list", "--project", str(tmp_path)).exit_code == 0

"""Adapters that live outside of Anlass: installed by pip, found by entry point, asked by the suite, used by `anlass run`."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import SettingsError
from engine.settings.serving import foreign_serves
from tests.cli.conftest import Running, signed_up, wait_for

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples"
PACKAGES = ("anlass-postmark", "anlass-channel-template")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both packages as pip installs them, in a folder of their own."""
    folder = tmp_path_factory.mktemp("library")
    copies = tmp_path_factory.mktemp("sources")
    for name in PACKAGES:
        subprocess.run(["cp", "-r", str(EXAMPLES / name), str(copies)], check=True)  # pip builds inside the source
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    sources = [str(copies / name) for name in PACKAGES]
    done = subprocess.run([*command, "--target", str(folder), *sources], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def _environment(library: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{library}"}


@pytest.mark.parametrize("name", PACKAGES)
def test_it_passes_the_suite_that_ships(library: Path, tmp_path: Path, name: str) -> None:
    """Its own tests, as its author runs them; they subclass the suite of the installed Anlass."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(EXAMPLES / name)]
    done = subprocess.run(
        command,
        cwd=EXAMPLES / name,
        env=_environment(library),
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
    passed = int(done.stdout.rpartition(" passed")[0].split()[-1])
    assert passed >= 17


def _double() -> Any:
    path = EXAMPLES / "anlass-postmark" / "tests" / "postmark_double.py"
    spec = importlib.util.spec_from_file_location("postmark_double", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def postmark() -> Iterator[Any]:
    """A stand-in of Postmark's API on a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    module = _double()

    async def build() -> Any:
        double = module.PostmarkDouble()
        await double.start()
        return double

    double = asyncio.run_coroutine_threadsafe(build(), loop).result(10)
    double.token = module.TOKEN
    yield double
    asyncio.run_coroutine_threadsafe(double.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_anlass_run_sends_through_it(library: Path, run: Callable[..., Running], postmark: Any) -> None:
    """A workflow's mail leaves by the API of another package's adapter, because its settings say that it serves email."""
    running = run(
        {
            "PYTHONPATH": f"{ROOT}:{library}",
            "ANLASS_POSTMARK_API__SERVES": "email,newsletter",
            "ANLASS_POSTMARK_API__SERVER_TOKEN": postmark.token,
            "ANLASS_POSTMARK_API__FROM": "Shop <shop@example.com>",
            "ANLASS_POSTMARK_API__BASE_URL": postmark.url,
            "ANLASS_POSTMARK_API__ALLOW_HOSTS": "127.0.0.1",
        }
    )
    assert running.post(*signed_up("ana")) == 200
    wait_for(lambda: postmark.taken, "the mail at Postmark")
    [mail] = postmark.taken
    assert (mail["To"], mail["From"]) == ('"Ana" <ana@shop.example>', '"Shop" <shop@example.com>')
    assert mail["Subject"] == "Welcome, Ana"
    assert "Nice to have you here" in mail["HtmlBody"]
    assert {"Name": "List-Unsubscribe-Post", "Value": "List-Unsubscribe=One-Click"} in mail["Headers"]


def test_a_workflow_may_name_a_foreign_channel(library: Path, tmp_path: Path) -> None:
    """`check` knows the channels of installed packages, and still finds a misspelt one."""
    shop = tmp_path / "shop"
    (shop / "workflows").mkdir(parents=True)
    (shop / "templates" / "example").mkdir(parents=True)
    (shop / "templates" / "example" / "hello.txt").write_text("Hello\n", "utf-8")
    text = "workflow: hi\npurpose: transactional\ntrigger: {event: Hi}\nsteps:\n  - send: {channel: example, template: hello}\n"
    command = [sys.executable, "-m", "engine.cli", "check", str(shop)]
    for written, status in ((text, 0), (text.replace("channel: example", "channel: exampel"), 1)):
        (shop / "workflows" / "hi.yaml").write_text(written, "utf-8")
        done = subprocess.run(
            command, env=_environment(library), capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == status, done.stdout + done.stderr
    assert "did you mean `example`?" in done.stdout + done.stderr


def test_what_an_adapter_serves() -> None:
    """Its own name, a list, or names with commas between; anything else is a mistake with a mend."""
    assert foreign_serves("postmark", {}) == ("postmark",)
    assert foreign_serves("postmark", {"serves": ["email", "newsletter"]}) == ("email", "newsletter")
    assert foreign_serves("postmark", {"serves": "email, newsletter"}) == ("email", "newsletter")
    for wrong in ([], "", "email,,", 3, [1], {"email": True}):
        with pytest.raises(SettingsError, match=r"postmark\.serves"):
            foreign_serves("postmark", {"serves": wrong})

"""The clients that shops really use, each installed by its own package manager into a cache, against a real socket.

Invariant: every call of the client arrives once, with the ids and traits it was given; a permanent refusal is not resent.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.core.record import Event, Identify, Merge, Record
from tests.collector.conftest import KEY, Beside

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "sdk"
INSTALL_SECONDS_MAX = 300
RUN_SECONDS_MAX = 60
PYTHON_SDKS = (
    ("segment-analytics-python==2.3.4", "segment.analytics"),
    ("segment-analytics-python==2.4.0", "segment.analytics"),
    ("rudder-sdk-python==2.1.9", "rudderstack.analytics"),
)
NODE_SDK = "@segment/analytics-node@3.1.0"

PYTHON_PROGRAM = """
import datetime, importlib, json, sys
module, url, key = sys.argv[1:4]
client_module = importlib.import_module(module + ".client")
errors = []
options = {"host": url, "on_error": lambda error, items: errors.append(str(error)), "gzip": len(sys.argv) > 4, "max_retries": 2}
try:
    client = client_module.Client(key, **options)
except TypeError:
    options["timeout"] = 5
    client = client_module.Client(key, **options)
client.identify("c1", {"email": "ana@example.com", "consent": {"marketing": ["email"]}})
client.track("c1", "Product Added", {"cart_id": "k1", "cart_total": 80.5, "name": "M\\u00fctze"})
client.page("c1", "Shop", "Cart", {"url": "https://shop.example/cart"})
client.screen("c1", "App", "Start")
client.group("c1", "g1", {"plan": "pro"})
client.alias("old-1", "c1")
client.track(anonymous_id="anon-7", event="Cart Viewed")
for number in range(250):
    client.track("c2", "Viewed", {"number": number})
client.flush()
client.join()
print(json.dumps(errors))
"""

NODE_PROGRAM = """
const { Analytics } = require('@segment/analytics-node');
const [url, key] = process.argv.slice(1);
const client = new Analytics({ writeKey: key, host: url, maxRetries: 2 });
const errors = [];
client.on('error', (error) => errors.push(String(error.reason || error.code)));
client.identify({ userId: 'c1', anonymousId: 'anon-7', traits: { email: 'ana@example.com', consent: { marketing: ['email'] } } });
client.track({ userId: 'c1', event: 'Product Added', properties: { cart_id: 'k1', cart_total: 80.5, name: 'M\\u00fctze' } });
client.page({ userId: 'c1', name: 'Cart', properties: { url: 'https://shop.example/cart' } });
client.screen({ userId: 'c1', name: 'Start' });
client.group({ userId: 'c1', groupId: 'g1', traits: { plan: 'pro' } });
client.alias({ userId: 'c1', previousId: 'old-1' });
for (let number = 0; number < 250; number += 1) client.track({ userId: 'c2', event: 'Viewed', properties: { number } });
client.closeAndFlush().then(() => console.log(JSON.stringify(errors)));
"""


def installed(folder: Path, command: list[str], mend: str) -> Path:
    """The folder with the client in it; skips with one line when it cannot be installed."""
    done = folder / ".installed"
    if done.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        run = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"{mend} ({type(error).__name__})")
    if run.returncode:
        pytest.skip(f"{mend} ({(run.stderr.strip().splitlines() or ['no reason given'])[-1][:200]})")
    done.touch()
    return folder


@pytest.fixture(params=PYTHON_SDKS, ids=[package for package, _ in PYTHON_SDKS])
def sdk(outside: None, request: pytest.FixtureRequest) -> tuple[Path, str]:
    """Each of the three Python clients: where it is installed, and its module."""
    package, module = request.param
    folder = installed(
        CACHE / package.replace("==", "-"),
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", ".", package],
        f"{package} is missing; it is installed by pip, which needs its package index",
    )
    return folder, module


def run_python(beside: Beside, sdk: tuple[Path, str], *more: str, key: str = KEY) -> list[str]:
    """Lets the client talk to the collector; returns the errors it saw."""
    target, module = sdk
    run = subprocess.run(
        [sys.executable, "-c", PYTHON_PROGRAM, module, beside.url, key, *more],
        env={**os.environ, "PYTHONPATH": str(target)}, capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    errors: list[str] = json.loads(run.stdout.strip().splitlines()[-1])
    return errors


def of_type(records: list[Record], kind: type[Any], customer: str) -> list[Any]:
    """The records of that kind of that customer."""
    return [record for record in records if isinstance(record, kind) and record.customer == customer]


def assert_arrived(records: list[Record]) -> None:
    """What both programs send has arrived, each once."""
    identify = of_type(records, Identify, "c1")
    assert [record.traits for record in identify] == [{"email": "ana@example.com", "consent": {"marketing": ["email"]}}]
    events = {record.name: record.properties for record in of_type(records, Event, "c1")}
    assert events["Product Added"] == {"cart_id": "k1", "cart_total": 80.5, "name": "Mütze"}
    assert events["Page Viewed"]["name"] == "Cart"
    assert events["Page Viewed"]["url"] == "https://shop.example/cart"
    assert events["Screen Viewed"]["name"] == "Start"
    assert events["Group Joined"] == {"group_id": "g1", "traits": {"plan": "pro"}}
    assert [record.into for record in of_type(records, Merge, "old-1")] == ["c1"]
    numbers = [record.properties["number"] for record in of_type(records, Event, "c2")]
    assert numbers == list(range(250))
    ids = [(type(record), record.id) for record in records if isinstance(record, Event | Identify | Merge)]
    assert len(set(ids)) == len(ids)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("more", [(), ("gzip",)], ids=["plain", "gzip"])
def test_everything_a_python_client_sends_arrives_once(
    sdk: tuple[Path, str], more: tuple[str, ...], beside: Beside
) -> None:
    """Each of the three clients, plain and compressed."""
    assert run_python(beside, sdk, *more) == []
    assert_arrived(beside.records)
    assert [record.name for record in of_type(beside.records, Event, "anon-7")] == ["Cart Viewed"]


@pytest.mark.timeout(400)
def test_a_python_client_understands_a_refusal(sdk: tuple[Path, str], beside: Beside) -> None:
    """An unknown write key is an error that the client reports, in our words, instead of crashing on the answer."""
    errors = run_python(beside, sdk, key="wrong")
    assert errors
    assert all("write key" in error for error in errors)
    assert beside.records == []


@pytest.mark.timeout(400)
def test_everything_the_node_client_sends_arrives_once(npm: None, beside: Beside) -> None:
    """@segment/analytics-node, with an identify that joins an anonymous visitor."""
    folder = installed(
        CACHE / "analytics-node",
        ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", ".", NODE_SDK],
        f"{NODE_SDK} is missing; it is installed by npm, which needs its package index",
    )
    run = subprocess.run(
        ["node", "-e", NODE_PROGRAM, "--", beside.url, KEY],
        cwd=folder, capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.strip().splitlines()[-1]) == []
    assert_arrived(beside.records)
    assert [record.into for record in of_type(beside.records, Merge, "anon-7")] == ["c1"]

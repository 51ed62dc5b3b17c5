"""The front door: what others import from `anlass` is there, is what the house uses itself, and is enough to test with."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import anlass
from anlass import adapter, testing
from channels import conformance, contract, guard, outbound
from engine import __version__

ROOT = Path(__file__).resolve().parent.parent.parent
WELCOME = """
workflow: welcome
purpose: transactional
trigger: {event: Signed Up}
steps:
  - wait: 1h
  - send: {channel: email, template: welcome}
"""


def test_the_door_hands_out_what_the_house_uses() -> None:
    """A channel built on the public names is one for the dispatcher: they are the same classes, and the old paths stay."""
    assert anlass.__version__ == __version__
    for name in (
        "Capabilities",
        "Channel",
        "OutgoingMessage",
        "PermanentError",
        "Receipt",
        "Resolver",
        "UnknownOutcome",
    ):
        assert getattr(adapter, name) is getattr(contract, name)
    assert adapter.Outbound is outbound.Outbound
    assert adapter.guard is guard
    assert testing.Conformance is conformance.Conformance


def test_all_of_the_contract_is_public() -> None:
    """What the page of the contract defines can be imported from the front door."""
    defined = {name for name, value in vars(contract).items() if getattr(value, "__module__", "") == contract.__name__}
    assert {name for name in defined if not name.startswith("_")} <= set(adapter.__all__)


@pytest.mark.parametrize("package", ["anlass-channel-template", "anlass-postmark"])
def test_the_examples_come_through_the_door(package: str) -> None:
    """Packages to copy import nothing that may move."""
    for path in (ROOT / "examples" / package).rglob("*.py"):
        assert re.findall(r"^\s*(?:from|import) (?:engine|channels)\b.*", path.read_text("utf-8"), re.MULTILINE) == []


async def test_a_workflow_runs_in_memory() -> None:
    """YAML to a decided message in virtual time, with the public names alone."""
    loaded = testing.load_files([("workflows/welcome.yaml", WELCOME.encode())])
    assert loaded.problems == ()
    assert loaded.catalog is not None
    runtime = testing.MemoryRuntime(loaded.catalog, clock=testing.ManualClock(1_790_000_000_000))
    await runtime.append(
        [
            testing.Identify(
                customer="ana", at_ms=1_790_000_000_000, id="i1", time_ms=0, traits={"email": "ana@example.com"}
            ),
            testing.Event(
                customer="ana", at_ms=1_790_000_000_000, id="e1", name="Signed Up", time_ms=1_790_000_000_000
            ),
        ]
    )
    assert await runtime.messages(customer="ana") == []
    runtime.advance_to(1_790_000_000_000 + 3_600_000)
    [message] = await runtime.messages(customer="ana")
    assert (message.message.workflow, message.status) == ("welcome", "pending")


def test_python_dash_m() -> None:
    """`python -m anlass` is the command line."""
    done = subprocess.run([sys.executable, "-m", "anlass", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"anlass {__version__}\n"

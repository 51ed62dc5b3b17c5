"""Why, why not: `anlass explain`, and the events in `anlass show customer`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Running, anlass, signed_up, wait_for

BIG_CART = """\
workflow: big-cart
purpose: marketing
trigger:
  event: Product Added
  where: event.total >= 50 and (customer.country == 'AT' or customer.country == 'DE')
reentry: never
steps:
  - branch:
      - {if: customer.vip, steps: [{send: {channel: [sms, email], template: welcome}, id: vip}]}
      - {else: [{wait: 1h}]}
"""


@pytest.fixture(scope="module")
def shop(scaffold: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ana put something cheap into her cart; bernd something dear; nobody asks about clara's event."""
    project = tmp_path_factory.mktemp("explain") / "shop"
    shutil.copytree(scaffold, project)
    (project / "workflows" / "big-cart.yaml").write_text(BIG_CART)
    (project / "templates" / "sms").mkdir(exist_ok=True)
    (project / "templates" / "sms" / "welcome.txt").write_text("Welcome")
    running = Running(project)
    running.post(
        *signed_up("ana"),
        {"type": "track", "userId": "ana", "event": "Product Added", "properties": {"total": 20}},
        {"type": "identify", "userId": "bernd", "traits": {"country": "AT", "consent": {"marketing": ["email"]}}},
        {"type": "track", "userId": "bernd", "event": "Product Added", "properties": {"total": 80}},
        {"type": "track", "userId": "clara", "event": "Nobody Asks", "properties": {"x": 1}},
    )
    wait_for(lambda: anlass("show", "customer", "bernd", "--project", project).status == 0, "bernd")
    running.stop()
    return project


def explained(shop: Path, customer: str, workflow: str = "big-cart") -> tuple[list[dict[str, Any]], str]:
    done = anlass("explain", workflow, customer, "--json", "--project", shop)
    assert done.status == 0, done.err
    *findings, last = done.lines
    return findings, last["answer"]


def test_each_condition_is_there_with_its_value(shop: Path) -> None:
    """The whole, its parts, what they looked at; and the answer names the part that keeps her out."""
    before = (shop / "var" / "anlass.db").read_bytes()
    findings, answer = explained(shop, "ana")
    asked = {each["text"]: (each["holds"], each["value"]) for each in findings if each["section"] == "entry"}
    assert asked["event.total >= 50"] == (False, "event.total is 20")
    assert asked["customer.country == 'AT'"] == (False, "customer.country is missing")
    assert "event.total >= 50 (event.total is 20)" in answer
    people = anlass("explain", "big-cart", "ana", "--project", shop)
    assert "no       event.total >= 50  (event.total is 20)" in people.out
    assert len((shop / "var" / "anlass.db").read_bytes()) == len(before)  # nothing was decided


def test_who_is_in_it_is_told_where_and_what_may_be_sent(shop: Path) -> None:
    """Where he waits, the branch's condition, each channel with its reason."""
    findings, answer = explained(shop, "bernd")
    assert answer.startswith("bernd is in big-cart and waits at steps.0.1.else.0 until ")
    texts = {each["text"]: each for each in findings}
    assert texts["if the same event came now: not_entered active"]["holds"] is False
    assert texts["steps.0: if customer.vip"]["holds"] is False
    assert texts["sms may be used"]["value"] == "no_address"
    assert texts["email may be used"]["value"] == "no_address"


def test_who_is_not_kept_is_explained_all_the_same(shop: Path) -> None:
    """Her events are on the log although no workflow asks about them; an unknown id and an unknown workflow are refused."""
    _, answer = explained(shop, "clara")
    assert "event 'Product Added': none among" in answer
    nobody = anlass("explain", "big-cart", "nobody", "--project", shop)
    assert (nobody.status, nobody.out) == (1, "")
    assert "There is no customer 'nobody'" in nobody.err
    typo = anlass("explain", "big-carts", "ana", "--project", shop)
    assert "did you mean 'big-cart'" in typo.err.replace("`", "'")


def test_show_customer_lists_what_came_in(shop: Path) -> None:
    """Events with their properties and traits, newest first, also where nothing else is kept of the customer."""
    shown = anlass("show", "customer", "ana", "--json", "--project", shop).lines[0]["events"]
    assert [(each["kind"], each["name"]) for each in shown] == [
        ("event", "Product Added"),
        ("event", "Signed Up"),
        ("identify", "consent, email, first_name"),
    ]
    assert shown[0]["properties"] == {"total": 20}
    clara = anlass("show", "customer", "clara", "--project", shop)
    assert clara.status == 0
    assert "Nobody Asks" in clara.out


def test_times_are_local_for_people_and_utc_for_programs(shop: Path) -> None:
    """The project's zone, with its offset."""
    people = anlass("show", "customer", "ana", "--project", shop).out
    assert "+01:00" in people or "+02:00" in people
    program = json.dumps(anlass("show", "customer", "ana", "--json", "--project", shop).lines[0]["first_seen"])
    assert program.endswith('Z"')


def test_an_address_that_nothing_is_sent_to_is_said(shop: Path) -> None:
    """The list of suppressed addresses is asked as dispatch asks it; the answer says what would not leave, and why."""
    _, before = explained(shop, "ana", "welcome")
    assert "would not be sent" not in before
    done = anlass("suppression", "add", "ana@shop.example", "--reason", "she asked by phone", "--project", shop)
    assert done.status == 0, done.err
    findings, answer = explained(shop, "ana", "welcome")
    asked = [(each["holds"], each["value"]) for each in findings if each["text"] == "email may be used"]
    assert asked
    assert set(asked) == {(False, "suppressed_address: operator")}
    assert "What would not be sent now: " in answer
    assert "(email suppressed_address: operator)" in answer
    assert anlass("suppression", "lift", "ana@shop.example", "--reason", "a mistake", "--project", shop).status == 0
    assert "would not be sent" not in explained(shop, "ana", "welcome")[1]

"""One vocabulary: what shipped workflows ask about stands in the guide for shops, as Segment's or as ours."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from engine.core.effect import Decision
from engine.core.record import Event, Identify
from engine.definition.check import matches_of
from engine.definition.doubts.names import Mention, mentions_of
from engine.definition.doubts.reading import names_in, trees
from engine.definition.doubts.vocabulary import BY_ANLASS, OURS, SPEC
from engine.definition.load import load_project
from engine.project.doubting import mentions_in_templates, project_texts
from engine.project.opening import Rehearsal, open_rehearsal
from engine.project.template_doubts import template_files
from engine.rehearsal.stage import RehearsalStage

ROOT = Path(__file__).resolve().parents[2]
START_MS = 1_774_602_000_000
HOUR_MS = 3_600_000
OF_ANLASS = frozenset().union(*BY_ANLASS.values())
RAISED = {"change", "email", "issue"}


@cache
def _table() -> dict[str, tuple[str, set[str], set[str]]]:
    """Event → whose it is, its properties of the specification, and ours, as the guide for shops has them."""
    text = (ROOT / "docs/shops/sending-events.md").read_text()
    section = text.partition("### The events of the shipped workflows")[2].partition("\n## ")[0]
    found = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            name, whose, spec, ours = (cell.strip() for cell in line.split("|")[1:5])
            found[name.strip("`")] = (whose, set(re.findall("`([^`]+)`", spec)), set(re.findall("`([^`]+)`", ours)))
    return found


@cache
def _mentions() -> list[Mention]:
    loaded = load_project(ROOT)
    assert loaded.project is not None
    shipped = [each for each in mentions_of(loaded.project) if not each.spot.file.endswith(".test.yaml")]
    return [*shipped, *mentions_in_templates(template_files(project_texts(ROOT)))]


def test_the_guide_says_what_the_specification_says() -> None:
    """The guide's table, Segment's list and ours are one."""
    for event, (whose, spec, ours) in _table().items():
        assert whose == ("Segment" if event in SPEC else "ours"), event
        assert spec <= SPEC.get(event, frozenset()), event
        assert not ours & SPEC.get(event, frozenset()), event
        assert ours == OURS.get(event, frozenset()), event
    assert OURS.keys() <= _table().keys()


def test_every_event_of_a_shipped_workflow_stands_in_the_guide() -> None:
    """No shipped workflow waits for what nobody is told to send."""
    events = {mention.name for mention in _mentions() if mention.kind == "event"}
    assert sorted(events - _table().keys() - BY_ANLASS.keys()) == []


def test_every_property_of_a_shipped_workflow_stands_in_the_guide() -> None:
    """Nor asks for a property that nobody is told of, templates included."""
    told = set().union(*(spec | ours for _, spec, ours in _table().values()))
    asked = {mention.name for mention in _mentions() if mention.kind == "property"}
    assert sorted(asked - told - OF_ANLASS - RAISED) == []


def test_a_condition_asks_only_for_what_its_own_event_has() -> None:
    """A property of another event would always be missing."""
    loaded = load_project(ROOT)
    assert loaded.project is not None
    for compiled in loaded.project.written:
        for match, _ in matches_of(compiled):
            name = getattr(match, "name", "")
            if match.where is None or name not in _table():
                continue
            _, spec, ours = _table()[name]
            own = re.sub(r"enrollment\.event\.\w+", "0", match.where.text)
            asked = {each.name for tree in trees(own) for each in names_in(tree) if each.kind == "property"}
            assert asked <= spec | ours, (compiled.workflow.name, name, asked - spec - ours)


@cache
def _project() -> Rehearsal:
    return open_rehearsal(ROOT)


def _played(*events: tuple[float, str, dict[str, object]]) -> list[Decision]:
    project = _project()
    decisions: list[Decision] = []
    stage = RehearsalStage(
        project.catalog, start_ms=START_MS, templates=project.templates, on_decision=decisions.append
    )
    traits = {"email": "u1@example.com", "consent": {"marketing": ["email"]}, "timezone": "Europe/Berlin"}
    stage.memory.step(Identify(customer="u1", at_ms=START_MS, id="i", time_ms=START_MS, traits=traits))
    for index, (hours, name, properties) in enumerate(events):
        at_ms = START_MS + int(hours * HOUR_MS)
        stage.memory.run_until(at_ms)
        record = Event(customer="u1", at_ms=at_ms, id=f"e{index}", name=name, time_ms=at_ms, properties=properties)
        stage.memory.step(record)
    stage.memory.run_until(START_MS + 60 * 24 * HOUR_MS)
    broken = [each for each in decisions if each.kind == "failed" or each.detail.get("reason") == "template_error"]
    assert broken == []
    return decisions


def _told(decisions: list[Decision], workflow: str) -> list[str]:
    return [
        f"{each.kind} {each.step or each.detail.get('reason', '')}".strip()
        for each in decisions
        if each.workflow == workflow and each.kind in ("entered", "send", "exited", "completed")
    ]


PRODUCT = {"product_id": "p1", "sku": "s", "name": "Oil", "price": 18, "quantity": 1, "cart_id": "k1"}
ORDER = {"order_id": "o1", "total": 50, "currency": "EUR", "products": [PRODUCT]}


def test_an_order_that_is_shipped_is_not_said_to_be_late() -> None:
    """`Order Shipped`, as the guide shows it, ends the wait for the shipment and starts the tracking."""
    decisions = _played((0, "Order Completed", ORDER), (24, "Order Shipped", {"order_id": "o1"}))
    told = _told(decisions, "order-confirmation")
    assert told == ["entered", "send confirmation", "exited shipped"]
    assert _told(decisions, "shipment-tracking")[:3] == ["entered", "send on_its_way", "send delayed"]


def test_an_order_that_is_delivered_is_followed_up() -> None:
    """`Order Delivered` and a review of the specification, without an order's number, move what follows."""
    review = {"product_id": "p1", "review_id": "r1", "rating": 5}
    decisions = _played(
        (0, "Order Completed", {**ORDER, "objection_notice": True}), (24, "Order Shipped", {"order_id": "o1"}),
        (48, "Order Delivered", {"order_id": "o1"}), (24 * 13, "Product Reviewed", review),
    )  # fmt: skip
    assert _told(decisions, "shipment-tracking")[-1] == "completed"
    assert "send aftercare" in _told(decisions, "after-sales")
    assert _told(decisions, "after-sales")[-1] in ("exited reviewed", "completed")


def test_a_cart_of_the_specification_is_recovered_and_ends_with_the_order() -> None:
    """Prices stand for the total, and an order without a cart's number ends the cart."""
    added = [(at, "Product Added", {**PRODUCT, "product_id": f"p{at}"}) for at in (0, 0.1)]
    assert "send reminder" in _told(_played(*added), "cart-recovery")
    told = _told(_played(*added, (0.5, "Order Completed", ORDER)), "cart-recovery")
    assert told == ["entered", "exited bought"]


def test_a_cart_too_small_to_matter_stays_alone() -> None:
    """The limit counts without `cart_total`, too."""
    assert _told(_played((0, "Product Added", PRODUCT)), "cart-recovery") == []

"""What the customer's pages read: forms and events of others, of which nothing may make them fail."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.collector.pages.me_fields import filled
from engine.collector.pages.me_orders import orders_of
from engine.core.customer import CustomerState
from tests.collector.conftest import T0


@given(
    st.dictionaries(
        st.sampled_from(["first_name", "birthday", "locale", "email", "city", "x"]), st.lists(st.text(), min_size=1)
    )
)
def test_no_form_makes_the_fields_fail(form: dict[str, list[str]]) -> None:
    """Whatever is sent: traits, or the names of what is wrong."""
    found = filled(form, {"email": "a@b.de", "address": "not an object", "birthday": 7}, now_ms=T0)
    assert not (found.wrong and (found.traits or found.email))


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["name", "time", "properties", "id"]),
            st.text() | st.dictionaries(st.just("order_id"), st.text() | st.integers()),
        )
    )
)
def test_no_event_makes_the_orders_fail(events: list[dict[str, Any]]) -> None:
    """Contexts of messages hold what shops sent."""

    class Told:
        def __init__(self, event: dict[str, Any]) -> None:
            self.context = {"event": event}

    assert orders_of(CustomerState(id="c"), [Told(event) for event in events]) is not None  # type: ignore[misc]


def test_a_link_that_leads_elsewhere_than_the_web_is_not_shown() -> None:
    """A parcel's address comes from outside."""
    for url in ("javascript:alert(1)", "data:text/html,x", "//evil", "http:", "https://[", 7, None):
        context = {
            "event": {"name": "Shipment Sent", "time": "t", "properties": {"order_id": "1", "tracking_url": url}}
        }
        told = type("Told", (), {"context": context})()
        (order,) = orders_of(CustomerState(id="c"), [told])
        assert order.shown("en")["url"] == ""

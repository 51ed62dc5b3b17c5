"""Conditions taken apart for those who explain them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.expression.scope import Scope
from engine.core.time.schedule import zone_named
from engine.definition.expression.parse import compile_expression, parse_tree
from engine.definition.expression.parts import ConditionPart, parts_of, written

TEXTS = [
    "event.total >= 50 and customer.country == 'AT'",
    "not (customer.vip or event.total > 10) and event.name != 'x'",
    "1 <= event.quantity < 5",
    "count('Order Completed', within='7d') >= 2 or days_since(last('Order Completed')) > 30",
    "(event.total | default(0)) + 3 * 2 - 1 > 5 if customer.vip else event.total is defined",
    "event.items[0].sku in ['a', 'b'] and customer.plan not in ['free']",
    "(customer.first_name | lower | trim) ~ '!' == 'ana!'",
    "-event.total < 0 and in_segment('vip') and bucket('x') < 50",
    "event.total ** 2 // 3 % 2 == 1 and now.hour >= 9 and none is not defined",
]  # fmt: skip


def scope() -> Scope:
    made = Scope(customer_id="ana", now_ms=1_774_000_000_000, project_zone=zone_named("Europe/Berlin"))
    made.properties = {"total": 40, "quantity": 3, "items": [{"sku": "a"}]}
    made.traits = {"country": "AT", "plan": "free", "first_name": " Ana"}
    made.event_name = "Order Completed"
    return made


def leaves(part: ConditionPart) -> list[ConditionPart]:
    return [leaf for each in part.parts for leaf in leaves(each)] if part.parts else [part]


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_written_again_means_the_same(text: str) -> None:
    """The text of a part compiles to the same value, and written twice it does not change."""
    again = written(parse_tree(text))
    assert written(parse_tree(again)) == again
    assert compile_expression(again).value(scope()) == compile_expression(text).value(scope())


@pytest.mark.parametrize("text", TEXTS)
def test_the_parts_make_up_the_whole(text: str) -> None:
    """`and`, `or` and `not` of the parts' values are the value of the whole, on every level."""

    def asked(part: ConditionPart) -> bool:
        value = part.expression.holds(scope())
        if part.word == "and":
            assert value == all(asked(each) for each in part.parts)
        elif part.word == "or":
            assert value == any(asked(each) for each in part.parts)
        elif part.word == "not":
            assert value == (not asked(part.parts[0]))
        return value

    asked(parts_of(text))


def test_what_a_comparison_looks_at_is_named() -> None:
    """Constants are not repeated."""
    part = parts_of("event.total >= 50 and customer.country == 'AT'")
    assert part.word == "and"
    assert [[text for text, _ in each.operands] for each in part.parts] == [["event.total"], ["customer.country"]]


CONDITIONS = st.recursive(
    st.sampled_from(["event.total > 10", "customer.vip", "event.total == 40", "customer.country != 'DE'"]),
    lambda inner: st.one_of(
        inner.map(lambda one: f"not ({one})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda each: f"({each[0]}) {each[1]} ({each[2]})"),
    ),
    max_leaves=8,
)


@given(CONDITIONS)
def test_any_condition_can_be_taken_apart(text: str) -> None:
    """Its leaves are neither `and` nor `or`, and the whole keeps its value."""
    part = parts_of(text)
    assert all(leaf.word == "" for leaf in leaves(part))
    assert part.expression.holds(scope()) == compile_expression(text).holds(scope())

"""Filters and tests that Jinja2 has as well mean what they mean there; what neither knows is refused with the nearest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment
from jinja2.filters import FILTERS as DEFAULT_FILTERS

from engine.core.expression import vocabulary
from engine.core.message import names
from engine.definition.expression.calls import FUNCTIONS
from engine.definition.expression.generate import _FILTERS, _TESTS
from engine.definition.expression.generated import NAMES
from engine.dispatch.filters.list_filters import FILTERS
from engine.dispatch.filters.questions import TESTS
from engine.dispatch.templates import render
from engine.dispatch.templates.template_problem import TemplateError
from engine.dispatch.templates.template_set import TemplateSet
from tests.core.stage import Play, workflow

PRODUCTS = [
    {"name": "Mug", "category": "kitchen", "price": 9.5, "sale": True, "tags": ["a", "b"]},
    {"name": "shoe", "category": "Shoes", "price": 80, "stock": 3},
    {"name": "Pan", "category": "Kitchen", "price": 30, "sale": False, "stock": 0},
    {"name": "boot", "category": "shoes", "price": 120, "sale": True, "stock": 7},
]
DATA = {
    "products": PRODUCTS, "words": ["b", "A", "a", "c", "B"], "numbers": [3, 1, 2, 3], "text": "hello wORLD (of mail)",
    "long": "one two three four five six", "nothing": [], "map": {"b": 1, "A": 2}, "url": "a/b c?d=ü", "price": 4.25,
}  # fmt: skip
SAME = [
    "products | selectattr('sale') | map(attribute='name') | join(',')",
    "products | selectattr('sale', 'defined') | map(attribute='name') | join(',')",
    "products | rejectattr('sale', 'defined') | map(attribute='name') | join(',')",
    "products | selectattr('stock', 'undefined') | map(attribute='name') | join(',')",
    "products | rejectattr('sale') | map(attribute='name') | join(',')",
    "products | selectattr('price', 'gt', 20) | map(attribute='name') | join(',')",
    "products | selectattr('price', '>=', 30) | map(attribute='name') | join(',')",
    "products | selectattr('category', 'equalto', 'shoes') | map(attribute='name') | join(',')",
    "products | selectattr('category', 'in', ['shoes', 'Shoes']) | map(attribute='name') | join(',')",
    "products | rejectattr('category', 'eq', 'shoes') | map(attribute='name') | join(',')",
    "products | selectattr('sale', 'ne', true) | map(attribute='name') | join(',')",
    "products | selectattr('sale', 'true') | map(attribute='name') | join(',')",
    "products | map(attribute='stock', default=1) | join(',')",
    "products | map(attribute='name') | map('upper') | join(' ')",
    "products | map(attribute='name') | map('replace', 'o', '0') | join(' ')",
    "products | map(attribute='tags.0', default='-') | join(',')",
    "products | sort(attribute='price') | map(attribute='name') | join(',')",
    "products | sort(attribute='category,price', reverse=true) | map(attribute='name') | join(',')",
    "products | sort(true, false, 'name') | map(attribute='name') | join(',')",
    "words | sort | join", "words | sort(case_sensitive=true) | join", "words | sort(reverse=true) | join",
    "words | unique | join", "words | unique(case_sensitive=true) | join", "words | unique(true) | join",
    "products | unique(attribute='category') | map(attribute='name') | join(',')",
    "products | sum(attribute='price')", "numbers | sum", "numbers | sum(start=10)", "nothing | sum",
    "products | max(attribute='price') | length", "words | min", "words | max", "numbers | max", "words | max(true)",
    "words | select('in', ['a', 'b']) | join", "numbers | reject('odd') | join(',')", "numbers | select | join",
    "numbers | select('divisibleby', 3) | join", "words | reject('upper') | join",
    "words | reverse | join", "'abc' | reverse", "numbers | list | length", "numbers | first", "numbers | last",
    "words | join(', ')", "products | join(', ', attribute='name')", "products | join(attribute='name', d='/')",
    "text | title", "text | capitalize", "text | wordcount", "text | trim('hl')", "text | replace('o', '0', 1)",
    "long | truncate(9)", "long | truncate(9, true)", "long | truncate(9, false, '…', 0)", "long | truncate(12, leeway=0)",
    "long | truncate(9, true, '', 0)", "long | truncate",
    "url | urlencode", "{'a': 'b c', 'd': 'e/f'} | urlencode", "price | round", "price | round(1, 'floor')",
    "price | round(1, 'ceil')", "price | round(1)", "missing | default(default_value='x')", "'' | default('x', boolean=true)",
    "map | dictsort | length", "3 is divisibleby(num=3)", "'a' is in(words)", "3 is gt(2)", "price is float", "3 is integer",
    "words is iterable", "'A' is upper", "3 is eq(3)", "true is true", "text | e | length", "map | items | list | length",
]  # fmt: skip
LOOPS = [
    "{% for row in words | batch(2, '-') %}{{ row | join }};{% endfor %}",
    "{% for row in words | batch(3) %}{{ row | join }};{% endfor %}",
    "{% for row in words | slice(3, '-') %}{{ row | join }};{% endfor %}",
    "{% for row in words | slice(2) %}{{ row | join }};{% endfor %}",
    "{% for category, items in products | groupby('category') %}{{ category }}:{{ items | length }};{% endfor %}",
    "{% for group in products | groupby('stock', default=0) %}{{ group.grouper }}:{{ group.list | length }};{% endfor %}",
    "{% for each in products | groupby('category', case_sensitive=true) %}{{ each[0] }}:{{ each[1] | length }};{% endfor %}",
    "{% for key, value in map | dictsort %}{{ key }}{{ value }}{% endfor %}",
    "{% for key, value in map | dictsort(by='value', reverse=true) %}{{ key }}{{ value }}{% endfor %}",
    "{% for key, value in map | dictsort(true) %}{{ key }}{{ value }}{% endfor %}",
]


def _rendered(source: str, folder: Path, data: dict[str, Any]) -> str:
    sms = folder / "templates" / "sms"
    sms.mkdir(parents=True)
    (sms / "t.txt").write_text(source, "utf-8")
    loaded = TemplateSet.load(folder / "templates")
    assert loaded.check() == []
    return loaded.find("sms", "t", locale="en").render({"data": data, "customer": {}}).text


def test_filters_and_tests_mean_what_jinja_says(tmp_path: Path) -> None:
    """Side by side, over all of them."""
    ours = "\n".join(f"{{{{ {each} }}}}" for each in SAME).replace("missing |", "data.missing |")
    for name in DATA:
        ours = ours.replace(f"{{{{ {name} ", f"{{{{ data.{name} ").replace(f"in({name})", f"in(data.{name})")
    loops = "\n".join(f"{each}." for each in LOOPS)
    for name in ("words", "products", "map"):
        loops = loops.replace(f"in {name} |", f"in data.{name} |")
    found = _rendered(f"{ours}\n{loops}", tmp_path, DATA).splitlines()
    jinja = Environment(autoescape=False)  # noqa: S701 - compared as text
    for source, line in zip(
        [*(f"{{{{ {each} }}}}" for each in SAME), *(f"{each}." for each in LOOPS)], found, strict=True
    ):
        assert jinja.from_string(source).render(**DATA) == line, source


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ data.x | selectattr('sale', 'defind') | join }}", "unknown test 'defind'; did you mean 'defined'?"),
        ("{{ data.x | selectattr('category', 'shoes') | join }}", "whether a member equals a value is"),
        ("{{ data.x | map('uper') | join }}", "unknown filter 'uper'; did you mean 'upper'?"),
        ("{{ data.x | reject(data.y) | join }}", "has to be text in quotes"),
        ("{{ data.x | grupby('a') }}", "unknown filter 'grupby'; did you mean 'groupby'?"),
        ("{{ data.x | xmlattr }}", "unknown filter 'xmlattr'"),
        ("{{ data.x is definde }}", "unknown test 'definde'; did you mean 'defined'?"),
    ],
)
def test_what_is_unknown_is_refused_with_the_nearest(source: str, message: str, tmp_path: Path) -> None:
    """When it is loaded, so that `check` says it."""
    (tmp_path / "sms").mkdir()
    (tmp_path / "sms" / "t.txt").write_text(source, "utf-8")
    (problem,) = TemplateSet.load(tmp_path).check()
    assert message.replace("'", "") in str(problem).replace("'", "").replace("`", "")


@pytest.mark.parametrize("call", ["batch(0)", "slice(99999)", "selectattr('a', 'gt', 'b')"])
def test_what_makes_no_sense_is_a_template_error(call: str, tmp_path: Path) -> None:
    """Bounded, and with a sentence."""
    with pytest.raises(TemplateError):
        _rendered(f"{{{{ data.x | {call} | length }}}}", tmp_path, {"x": [{"a": 1}]})


def test_a_template_sees_the_segments_as_a_condition_does() -> None:
    """The same list; empty for who is in none, also in a message of an older Anlass."""
    segments = "segments:\n  vip: {where: customer.tier == 'gold'}\n"
    steps = "[{send: {channel: email, template: t, data: {same: \"'vip' in customer.segments\"}}}]"
    for tier, expected in (("gold", ["vip"]), ("tin", [])):
        play = Play(segments, workflow("trigger: {event: A}", steps))
        play.identify("0s", email="a@example.com", tier=tier)
        play.event("0s", "A")
        shown = names(play.messages[0])
        assert shown["customer"]["segments"] == expected
        assert shown["data"]["same"] is bool(expected)


def test_there_is_one_list_of_words() -> None:
    """Of the compiler of expressions, of templates, and of the guide."""
    both, alone = vocabulary.FILTERS["both"], vocabulary.FILTERS["templates"]
    assert set(both) == set(_FILTERS)
    assert {*both, *alone} == set(FILTERS)
    assert set(vocabulary.TESTS["both"]) == set(_TESTS)
    assert {*vocabulary.TESTS["both"], *vocabulary.TESTS["templates"]} == set(TESTS)
    assert set(vocabulary.FUNCTIONS) == set(FUNCTIONS)
    assert {name for name, where in vocabulary.NAMES.items() if where == "both"} == set(NAMES)
    assert set(vocabulary.NAMES) == set(render.NAMES)
    assert set(FILTERS) - set(DEFAULT_FILTERS) == set(vocabulary.OUR_FILTERS)
    guide = Path(__file__).parents[2] / "docs" / "marketers" / "language.md"
    assert vocabulary.as_markdown() in guide.read_text("utf-8")

"""The generated function gives what Jinja2 gives: same text, or same error, for generated templates and contexts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dispatch.filters.values import Budget, RenderFailure
from engine.dispatch.templates.build import Builder
from engine.dispatch.templates.compiled import CompiledPart
from engine.dispatch.templates.grammar import TemplateSources
from tests.properties import examples

NAMES = ("a", "b", "items", "é")

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1000, 1000)
    | st.floats(-1e6, 1e6)
    | st.text(max_size=6)
    | st.sampled_from(["<b>", "&amp;", '"quoted"', "ünïcödé 🎈", "", "2026-03-27", "12.5"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=12,
)
contexts = st.fixed_dictionaries(
    {},
    optional={
        "customer": st.dictionaries(st.sampled_from(NAMES), values, max_size=4),
        "event": st.dictionaries(st.sampled_from(NAMES), values, max_size=4),
        "data": values,
        "now": st.just("2026-03-27T09:00:00Z"),
        "view_url": st.text(max_size=8),
    },
)

FILTERS = [
    "default('d')",
    "default",
    "default('d', true)",
    "upper",
    "length",
    "join('<,>')",
    "first",
    "last",
    "safe",
    "e",
    "truncate(3)",
    "money('EUR', 'de')",
    "number(1)",
    "date('long', 'de', 'UTC')",
    "int",
    "replace('a', '<')",
    "striptags",
    "urlencode",
    "sort",
    "sum",
    "map(attribute='a')",
    "join(', ', attribute='b')",
    "nl2br",
    "round(1)",
    "items",
    "reverse",
    "unique",
    "string",
    "min",
    "selectattr('a')",
]
OPERATORS = ["+", "-", "*", "/", "%", "~", "==", "!=", "<", "<=", "and", "or", "in"]
TESTS = ["defined", "none", "not defined", "string", "number", "odd"]
roots = st.sampled_from(["customer", "event", "data", "now", "view_url", "x", "y"])
chains = st.builds(
    lambda root, names: root + "".join(names),
    roots,
    st.lists(st.sampled_from([".a", ".b", ".items", "['é']", "[0]"]), max_size=3),
)
literals = st.sampled_from(["1", "2.5", "'<i>'", "'t'", "true", "none", "[1, 'b']", "''"])
expressions = st.recursive(
    chains | literals,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(OPERATORS), inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("(not {})".format, inner),
        st.builds("(-{})".format, inner),
        st.builds("({} is {})".format, inner, st.sampled_from(TESTS)),
        st.builds(
            "({} | {})".format,
            inner,
            st.sampled_from(FILTERS),
        ),
    ),
    max_leaves=5,
)  # fmt: skip
IF = "{{% if {} %}}{}{{% elif {} %}}{}{{% else %}}{}{{% endif %}}"
FOR = "{{% for {} in {} %}}{}{}{{% else %}}{}{{% endfor %}}"
LOOPS = st.sampled_from(
    ["", "{{ loop.index }}{{ loop.last }}", "{{ loop.revindex0 }}{{ loop.length }}{{ loop.first }}"]
)
bodies = st.recursive(
    st.builds("{{{{ {} }}}}".format, expressions) | st.sampled_from(["text ", "<p title='", "ü\n", "\\n'{", "'>"]),
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds(IF.format, expressions, inner, expressions, inner, inner),
        st.builds(FOR.format, st.sampled_from("xy"), expressions, inner, LOOPS, inner),
        st.builds("{{% for x in {} if {} %}}{}{}{{% endfor %}}".format, expressions, expressions, inner, LOOPS),
        st.builds("{{% for x, y in {} | items %}}{}{{% endfor %}}".format, chains, inner),
        st.builds("{{% with {} = {} %}}{}{{% endwith %}}".format, st.sampled_from("xy"), expressions, inner),
        st.builds("{{% set {} = {} %}}{}".format, st.sampled_from(["x", "y", "data"]), expressions, inner),
    ),
    max_leaves=6,
)  # fmt: skip


def part(source: str, kind: str) -> CompiledPart | None:
    """Build the body of one source; None when it is refused."""
    sources = TemplateSources()
    file = f"push/a.{kind}"
    builder = Builder({}, frozenset(), sources=sources, problems=[])
    parts = builder.build("push", {kind: (source, sources.add(file, source))})
    return parts["html" if kind == "html" else "text"] if parts else None


def outcome(way: Any, context: dict[str, Any]) -> tuple[str, Any]:
    try:
        return "text", way({"locale": "de", **context}, Budget(locale="de", zone="UTC"))
    except RenderFailure as failure:
        return "error", (failure.reason, failure.line, failure.name)


@settings(max_examples=examples(150), deadline=None)
@given(body=bodies, context=contexts, kind=st.sampled_from(["html", "txt"]))
def test_fast_and_full_rendering_agree(body: str, context: dict[str, Any], kind: str) -> None:
    """Whatever the template and the data, both ways end the same."""
    template = part("{% set x = 1 %}" + body if "%} set" in body else body, kind)
    if template is None:
        return
    full = outcome(template.render_fully, context)
    assert outcome(template.render, context) == full
    if full[0] == "text" and template._fast is not None:
        # Without the net below it: where Jinja2 has a text, the generated function has the same one by itself.
        assert template._fast({"locale": "de", **context}, Budget(locale="de", zone="UTC")) == full[1]


@pytest.mark.parametrize(
    ("source", "fast"),
    [
        ("Hallo {{ customer.a }}", True),
        ("{% for x in data.items if x.a is defined %}{{ loop.index }}{{ x.a | money }}{% else %}-{% endfor %}", True),
        ("{% if customer.a %}{% elif event.a == 2 %}b{% else %}c{% endif %}", True),
        ("{% set x = 1 %}{{ x }}{% with y = x %}{{ y }}{% endwith %}", True),
        ("{% if data.a %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}", False),
    ],
)
def test_usual_templates_are_fast(source: str, fast: bool) -> None:
    """What mails are made of is compiled; what has Jinja2's own scoping rules is left to it."""
    found = part(source, "html")
    assert found is not None
    assert found.is_fast is fast

"""The text part made from the HTML: its links are the HTML's, to the letter, and entities are read once."""

from __future__ import annotations

import html
import re
from html.entities import html5
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.core.policy import Tracking
from engine.dispatch.links.tracking import marked
from tests.dispatch.mails import rendered
from tests.dispatch.test_tracked_content import LINKS, MESSAGE
from tests.properties import examples

LEGACY = sorted(name for name in html5 if not name.endswith(";"))
"""Names that browsers read without a semicolon, too: `&copy`, `&curren`, `&lt`, …"""


class _Links(HTMLParser):
    """The links of a document, by another reader than ours."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"a", "area"}:
            self.found.append(dict(attrs).get("href") or "")


def of_text(text: str) -> list[str]:
    """The addresses in brackets."""
    return re.findall(r"\(((?:https?|mailto|tel):\S*)\)", text)


def as_sent(address: str) -> str:
    """What a browser makes of the few letters that end a link in a text."""
    return re.sub(r"[\s\"<>`{}|\\^]", lambda match: quote(match.group(), safe=""), address)


def test_entities_are_read_once(tmp_path: Path) -> None:
    """What was written to be read as `&copy;` is, and what browsers read without a semicolon as well."""
    body = "<p>&amp;copy; &amp;amp;lt; AT&T &copy &lt;b&gt; &period; {{ data.x }}</p>"
    assert rendered(tmp_path, body, data={"x": "&amp; <i>"}).text == "&copy; &amp;lt; AT&T © <b> . &amp; <i>\n"


@pytest.mark.parametrize(
    ("href", "address"),
    [
        ("https://s.example/?a=1&amp;currency=EUR&amp;copy=2", "https://s.example/?a=1&currency=EUR&copy=2"),
        ("https://s.example/?a=1&currency=EUR&copy=2", "https://s.example/?a=1&currency=EUR&copy=2"),
        ("https://s.example/?a=&amp;amp;b", "https://s.example/?a=&amp;b"),
        ("https://s.example/red shoes?q=&quot;a b&quot;", "https://s.example/red%20shoes?q=%22a%20b%22"),
        (" https://s.example/a\nb ", "https://s.example/ab"),
        ("https://bücher.example/ä?ö=ü", "https://bücher.example/ä?ö=ü"),
        ("https://s.example/it's", "https://s.example/it's"),
        ("mailto:a@s.example?subject=Hi there&amp;body=x", "mailto:a@s.example?subject=Hi%20there&body=x"),
        ("tel:+49 30 1", "tel:+49%2030%201"),
        ("https://s.example/{{ data.x }}?lt={{ data.x }}&amp;lt=1", "https://s.example/a%20%22b?lt=a%20%22b&lt=1"),
        ("{% if data.x %}https://s.example/y{% else %}https://s.example/n{% endif %}", "https://s.example/y"),
    ],
)
def test_an_address_is_the_same_in_both_parts(tmp_path: Path, href: str, address: str) -> None:
    """Entities, blanks, quotes, values and conditions in it."""
    made = rendered(tmp_path, f'<p>Look: <a href="{href}">here</a>.</p>', data={"x": 'a "b'})
    assert made.text == f"Look: here ({address}).\n"


def test_areas_are_links_too_and_hidden_ones_are_not(tmp_path: Path) -> None:
    """Maps of images are read; an address that is shown is not repeated."""
    body = (
        '<map><area alt="Shoes" href="https://s.example/1"><area alt="Hats" href="https://s.example/2"></map>'
        '<a style="display:none" href="https://s.example/3">x</a><a href="mailto:a@s.example">a@s.example</a>'
    )
    text = rendered(tmp_path, body).text
    assert of_text(text) == ["https://s.example/1", "https://s.example/2"]
    assert text.count("a@s.example") == 1


_QUERY = st.lists(
    st.tuples(
        st.sampled_from([*LEGACY, "currency", "notit", "param", "amp;copy", "x"]),
        st.sampled_from(["1", "", "a b", "ä", "'", '"', "<", "&amp;", "."]),
    ),
    max_size=4,
)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=_QUERY, strict=st.booleans(), dynamic=st.booleans(), tracked=st.booleans())
@example(query=[(name, "1") for name in LEGACY], strict=True, dynamic=False, tracked=True)
@example(query=[(name, "1") for name in LEGACY], strict=False, dynamic=False, tracked=False)
@example(query=[(name, "1") for name in LEGACY], strict=True, dynamic=True, tracked=True)
def test_links_are_the_same_whatever_their_parameters_are_called(
    tmp_path: Path, *, query: list[tuple[str, str]], strict: bool, dynamic: bool, tracked: bool
) -> None:
    """Every name that is also an entity's; escaped as it must be, or as people write; also led through us."""
    address = "https://s.example/p?" + "&".join(f"{name}={value}" for name, value in query)
    written = "{{ data.x }}" if dynamic else html.escape(address) if strict else address.replace('"', "%22")
    made = rendered(
        tmp_path, f'<p><a href="{written}">one</a>, <a href="https://s.example/2">two</a></p>', data={"x": address}
    )
    if tracked:
        made, _ = marked(made, MESSAGE, LINKS, rules=Tracking(utm=(("utm_source", "n"),)), tracked=True)
    if not strict and not dynamic:
        address = address.replace('"', "%22").replace(
            "&amp;", "&"
        )  # the one reference that nothing follows as in a query
    if tracked:
        assert of_text(made.text) == [as_sent(link) for link in _Links(made.html).found]
        assert of_text(made.text)[1].startswith("https://m.shop.example/")
    else:
        assert of_text(made.text) == [as_sent(address), "https://s.example/2"]

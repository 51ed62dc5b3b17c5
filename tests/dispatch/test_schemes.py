"""Addresses from events in rendered messages: whatever their scheme and however it is hidden, nothing but the web opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.dispatch.links.schemes import is_harmless
from engine.dispatch.templates.template_problem import TemplateError
from engine.dispatch.templates.template_set import TemplateSet

PAGE = """---
subject: s
---
<body><a href="{{ event.url }}">go</a> <a href='{{ event.url }}'>on</a> <img src="{{ event.url }}" alt="p">
<a href="myshop://product/{{ event.id }}">app</a> <a href={{ event.url }}>bare</a></body>
"""
BAD = [
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "\tjavascript:alert(1)", "java\nscript:alert(1)",
    "java\tscript:alert(1)", "\x01javascript:alert(1)", "javascript&colon;alert(1)", "&#106;avascript:alert(1)",
    "&#x6A;avascript:x", "javascript\u200b:alert(1)", "\u00a0javascript:x", "vbscript:x", "data:text/html,<script>x</script>",
    "data:text/html;base64,eA==", "data:image/svg+xml,<svg/>", "file:///etc/passwd", "blob:https://x/y", "ms-msdt:/id",
    "view-source:https://x", "about:blank", "jav&#x09;ascript:x", "javascript:https://shop.example/",
]  # fmt: skip
GOOD = [
    "https://shop.example/a?b=c:d", "http://shop.example", "HTTPS://shop.example/", "mailto:a@b.example", "tel:+49151",
    "sms:+49151", "/path:with:colons", "?q=a:b", "#part", "page.html", "//cdn.example/x.png", "",
]  # fmt: skip


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> TemplateSet:
    folder = tmp_path_factory.mktemp("templates")
    (folder / "email").mkdir()
    (folder / "email" / "links.html").write_text(PAGE, "utf-8")
    return TemplateSet.load(folder, zone="UTC")


def _rendered(templates: TemplateSet, url: str) -> Any:
    context = {
        "event": {"url": url, "id": "7"},
        "customer": {},
        "data": {},
        "enrollment": {},
        "now": "2026-01-01T00:00:00Z",
    }
    return templates.find("email", "links", locale="en").render(context)


@pytest.mark.parametrize("url", BAD)
def test_an_address_that_runs_something_leads_nowhere(url: str, templates: TemplateSet) -> None:
    """In whatever attribute and quotes; the author's own schemes stay, and the text has no such address either."""
    found = _rendered(templates, url)
    assert found.html.count('href="#"') >= 2
    assert 'src="#"' in found.html
    assert 'href="myshop://product/7"' in found.html
    for part in (found.html, found.text):
        assert not [word for word in ("javascript:", "vbscript:", "data:text") if word in part.lower()], part


@pytest.mark.parametrize("url", GOOD)
def test_an_address_of_the_web_stays(url: str, templates: TemplateSet) -> None:
    """As it was written."""
    assert is_harmless(url)
    if url.startswith("http"):
        assert f'href="{url}"' in _rendered(templates, url).html


def test_a_picture_in_its_own_bytes_is_shown_and_opened_by_nothing() -> None:
    """Pictures may stand in `src`; the same in `href` would be a page."""
    assert is_harmless("data:image/png;base64,eA==", picture=True)
    assert not is_harmless("data:image/png;base64,eA==")


NUMBERS = [
    "1e308",
    1e308,
    -1e308,
    1e30,
    10**29,
    10**400,
    float("inf"),
    float("nan"),
    "nan",
    "inf",
    "1e400",
    "9" * 5_000,
    1e25,
]
EXPRESSIONS = [
    "{{ event.x | money }}", "{{ event.x | money('JPY') }}", "{{ event.x | number }}", "{{ event.x | number(10) }}",
    "{{ event.x | int }}", "{{ event.x | float }}", "{{ event.x | round(2) }}", "{{ event.x | abs }}", "{{ event.x }}",
    "{{ event.x * event.x }}", "{{ event.x - event.x }}", "{{ event.x ** 8 }}", "{{ event.x // 3 }}", "{{ event.x % 3 }}",
    "{{ [event.x, event.x] | sum }}", "{{ event.x | date }}", "{{ event.x | time }}", "{{ 'a' | truncate(event.x) }}",
    "{{ event.many | join(',') }}", "{{ event.many | sum }}", "{{ event.many | sort | first }}", "{{ event.deep }}",
    "{% for a in event.many %}{% for b in event.many %}x{% endfor %}{% endfor %}", "{{ event.many[event.x] }}",
]  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_no_number_prints_the_name_of_an_exception(expression: str, tmp_path: Path) -> None:
    """A number that nobody means is a sentence about the template, or is printed; never Python's words."""
    (tmp_path / "sms").mkdir()
    (tmp_path / "sms" / "n.txt").write_text(expression, "utf-8")
    template = TemplateSet.load(tmp_path, zone="Asia/Tokyo").find("sms", "n", locale="de")
    deep: Any = 1
    for _ in range(60):
        deep = [deep]
    for number in NUMBERS:
        event = {"x": number, "many": list(range(40_000)), "deep": deep}
        try:
            text = template.render(
                {"event": event, "customer": {}, "data": {}, "enrollment": {}, "now": "2026-01-01"}
            ).text
        except TemplateError as error:
            said = str(error)
            assert not [word for word in ("decimal", "Error", "<class", "Exception", "Traceback") if word in said], said
        else:
            assert isinstance(number, str) or not [
                word for word in ("inf", "nan", "Infinity", "NaN") if word in text
            ], text

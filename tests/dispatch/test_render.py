"""Rendering: what recipients read, what fails with a place and a name, and that hostile templates end within the bound."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from engine.dispatch.templates.template_problem import TemplateError
from engine.dispatch.templates.template_set import TemplateSet

BASE = """<!doctype html>
<html lang="{{ locale }}"><head><title>{{ subject }}</title>
<style>.btn { color: white } td { padding: 4px } @media (max-width: 600px) { .btn { display: block } }</style></head>
<body class="{{ 'vip' if customer.vip is defined }}">
<!--[if mso]><table><tr><td>{{ customer.name }}</td></tr></table><![endif]-->
<table>
{% block rows %}{% endblock %}
</table>
<p>{% block end %}<a href="{{ unsubscribe_url }}">Abmelden</a>{% endblock %}</p>
</body></html>
"""
PARTS = '{% macro button(label, url) %}<a class="btn" href="{{ url }}">{{ label }}</a>{% endmacro %}'
CART = """---
subject: "{{ customer.name }}, dein Korb"
preheader: Noch {{ event.products | length }} Teile
from: "Laden <laden@example.com>"
reply_to: hilfe@example.com
---
{% extends "base.html" %}
{% from "parts.html" import button %}
{% block rows %}
{% for item in event.products %}
<tr class="r{{ loop.index }}"><td>{{ item.name }}</td><td>{{ item.price | money('EUR') }}</td></tr>
{% else %}
<tr><td>leer</td></tr>
{% endfor %}
<tr><td>{{ button("Zur Kasse", "https://shop.example/cart?id=" ~ event.cart_id ~ "&x=1") }}</td></tr>
{% endblock %}
{% block end %}{{ super() }} &middot; {{ event.time | date('long') }}{% endblock %}
"""
ANA: dict[str, Any] = {
    "customer": {"id": "c1", "name": "Ana <b>", "locale": "de-AT", "timezone": "Europe/Vienna"},
    "event": {
        "cart_id": "k1",
        "time": "2026-03-27T23:30:00Z",
        "products": [{"name": "Tasse & Co", "price": 9.9}, {"name": "Teller", "price": 1200}],
    },
    "unsubscribe_url": "https://x.example/u?a=1&b=2",
}


def mail(folder: Path, source: str = CART) -> TemplateSet:
    """Write one email with its layout and load it."""
    for path, text in {"layouts/base.html": BASE, "layouts/parts.html": PARTS, "email/cart.html": source}.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    templates = TemplateSet.load(folder, locale="de", zone="Europe/Berlin")
    assert templates.check() == []
    return templates


def sms(folder: Path, source: str, context: dict[str, Any] | None = None) -> str:
    """Render one SMS, both ways, and return it."""
    (folder / "sms").mkdir(exist_ok=True)
    (folder / "sms" / "a.txt").write_text(source, encoding="utf-8")
    templates = TemplateSet.load(folder, locale="de", zone="Europe/Berlin")
    assert templates.check() == []
    template = templates.find("sms", "a")
    return template.render(context or {}).text


def test_a_mail_has_all_its_parts(tmp_path: Path) -> None:
    """Layout, macro, loop, front matter, locale and zone come together; each part is escaped as it needs."""
    rendered = mail(tmp_path).find("email", "cart", locale="de-AT").render(ANA)
    assert rendered.subject == "Ana <b>, dein Korb"
    assert rendered.preheader == "Noch 2 Teile"
    assert (rendered.from_, rendered.reply_to) == ("Laden <laden@example.com>", "hilfe@example.com")
    assert '<html lang="de">' in rendered.html
    assert "<title>Ana &lt;b&gt;, dein Korb</title>" in rendered.html
    assert re.search(r'<body class=""><div style="display:none[^>]*>Noch 2 Teile</div>', rendered.html)
    assert '<tr class="r1"><td style="padding: 4px;">Tasse &amp; Co</td>' in rendered.html
    assert 'href="https://shop.example/cart?id=k1&amp;x=1" style="color: white;"' in rendered.html
    assert "@media (max-width: 600px)" in rendered.html
    assert "<!--[if mso]><table><tr><td>Ana &lt;b&gt;</td></tr></table><![endif]-->" in rendered.html
    assert "28. März 2026" in rendered.html
    assert rendered.html.count("<tbody>") == rendered.html.count("</tbody>") == 1


def test_the_text_part_is_made_from_the_html(tmp_path: Path) -> None:
    """Loops, links and entities are readable; hidden texts, styles and tags are gone."""
    rendered = mail(tmp_path).find("email", "cart").render(ANA)
    assert rendered.text.replace("\xa0", " ") == (
        "Tasse & Co € 9,90\nTeller € 1.200,00\n"
        "Zur Kasse (https://shop.example/cart?id=k1&x=1)\n\n"
        "Abmelden (https://x.example/u?a=1&b=2) · 28. März 2026\n"
    )


def test_a_txt_file_beside_the_html_is_the_text_part(tmp_path: Path) -> None:
    """Whoever writes the text by hand gets exactly that."""
    mail(tmp_path)
    (tmp_path / "email" / "cart.txt").write_text("Hallo {{ customer.name }}\n", encoding="utf-8")
    assert TemplateSet.load(tmp_path).find("email", "cart").render(ANA).text == "Hallo Ana <b>"


@pytest.mark.parametrize(
    ("context", "name", "line"),
    [
        ({**ANA, "customer": {}}, "customer.name", 2),
        ({**ANA, "customer": {"name": None}}, "customer.name", 2),
        ({**ANA, "event": {**ANA["event"], "products": [{"name": "x"}]}}, "item.price", 11),
        ({name: value for name, value in ANA.items() if name != "unsubscribe_url"}, "unsubscribe_url", 0),
    ],
)
def test_a_missing_value_fails_with_its_name_and_place(
    tmp_path: Path, context: dict[str, Any], name: str, line: int
) -> None:
    """Nothing is half-rendered; the error says which name, in which file and line."""
    with pytest.raises(TemplateError, match=re.escape(f"'{name}' is undefined")) as caught:
        mail(tmp_path).find("email", "cart").render(context)
    assert caught.value.name == name
    assert not line or (caught.value.file, caught.value.line) == ("email/cart.html", line)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ data.a.b.c | default('x') }}", "x"),
        ("{{ data.null | default('x') }}", "x"),
        ("{{ data.no is defined }} {{ data.n is defined }}", "False True"),
        ("{{ data.items | length }} {{ data.title }}", "2 T"),
        ("{{ data.name.upper() }} {{ data.name | truncate(6, leeway=0) }}", "ANA MARIA Ana..."),
        ("{% for k, v in data.map.items() %}{{ k }}={{ v }};{% endfor %}", "a=1;b=2;"),
        ("{{ data.n + 1 }} {{ data.n * 2 }} {{ data.n / 2 }} {{ 2 ** 3 }} {{ 7 % 4 }} {{ 7 // 2 }} {{ -data.n }}",
         "4 6 1.5 8 3 3 -3"),
        ("{{ data.name ~ '!' ~ 1 }} {{ data.name + '?' }}", "Ana Maria!1 Ana Maria?"),
        ("{{ data.items | join(', ', attribute='n') }}", "a, b"),
        ("{{ data.items | map(attribute='n') | join('-') }} {{ (data.items | first).n }} {{ data.items[1].n }}", "a-b a b"),
        ("{{ data.name[:3] }} {{ 'ja' if data.n > 2 else 'nein' }} {{ 'a' in data.name }}", "Ana ja True"),
        ("{% set x = data.n %}{% with y = x + 1 %}{{ y }}{% endwith %}{% for z in [1, x] %}{{ z }}{% endfor %}", "413"),
        ("{% if data.n == 1 %}a{% elif data.n == 3 %}b{% else %}c{% endif %}", "b"),
        ("{{ 1234.5 | money('USD', 'en-US') }} {{ 1234.567 | number(2) }} {{ data.name | urlencode }}",
         "$1,234.50 1.234,57 Ana%20Maria"),
        ("{{ 1774600000000 | date('d. MMMM y') }} {{ '2026-03-27T09:00:00Z' | time }} {{ '2026-03-27' | date('short') }}",
         "27. März 2026 10:00 27.03.26"),
        ("{{ data.w }} <b>", "a<b>&c <b>"),
        ("{{ data.map[data.k] }}", "1"),
    ],
)  # fmt: skip
def test_expressions_mean_what_people_expect(tmp_path: Path, source: str, expected: str) -> None:
    """Members win over methods, null counts as missing, chains need no guards, arithmetic and filters work."""
    data = {
        "n": 3,
        "null": None,
        "title": "T",
        "name": "Ana Maria",
        "map": {"a": 1, "b": 2},
        "items": [{"n": "a"}, {"n": "b"}],
        "k": "a",
        "w": "a<b>&c",
    }
    assert sms(tmp_path, source, {"data": data}) == expected


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{% for a in data.long %}{% for b in data.long %}{% for c in data.long %}x{% endfor %}{% endfor %}{% endfor %}",
         "too much work"),
        ("{{ 10 ** 10000000 }}", "exponent"),
        ("{{ (10 ** 30) * (10 ** 30) }}", "too large"),
        ("{% set a = data.text ~ data.text %}{% set b = a ~ a ~ a ~ a %}{% set c = b ~ b ~ b ~ b %}{{ c }}", "longer than"),
        ("{{ data.long | join(data.text) }}", "longer than"),
        ("{{ data.text | replace('a', data.text) }}", "longer than"),
        ("{% for a in data.long %}{{ data.text }}{% endfor %}{% for a in data.long %}{{ data.text | upper }}{% endfor %}",
         "longer than|too much work"),
        ("{% set a = [data.long, data.long] %}{{ a | length }}", "single values"),
        ("{{ data.long }}", "cannot be printed"),
        ("{{ data }}", "cannot be printed"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ 1 | money('EURO') }}", "currency"),
        ("{{ 'soon' | date }}", "is not a date"),
        ("{{ 1 | date('%Y') }}|{{ 1 | date('QQQQ') }}", "date format"),
        ("{{ 'x' | truncate(1, 2, 3, 4, 5) }}", "wrong arguments"),
        ("{{ data.text.__class__ }}", "undefined"),
        ("{{ now.year.real }}", "undefined"),
    ],
)  # fmt: skip
def test_hostile_and_mistaken_templates_end_quickly_with_a_reason(tmp_path: Path, source: str, reason: str) -> None:
    """Loops in loops, bombs and nonsense end within the bound, and say what is wrong."""
    context = {"data": {"long": list(range(5_000)), "text": "a" * 8_000}, "now": 1_774_600_000_000}
    start = time.process_time()
    with pytest.raises(TemplateError, match=reason) as caught:
        sms(tmp_path, source, context)
    assert time.process_time() - start < 2.0
    assert caught.value.file == "sms/a.txt"


def test_the_longest_permitted_work_ends_soon(tmp_path: Path) -> None:
    """A loop that just stays within the budget takes well under the time a worker can spare."""
    source = "{% for a in data.long %}{% if a > 1 and a < 9 %}{{ a }}{% endif %}{% endfor %}" * 8
    start = time.process_time()
    sms(tmp_path, source, {"data": {"long": list(range(9_000))}})
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize(
    ("body", "mend"),
    [
        ("<table {% if data.x %}class='a'{% endif %}></table>", "inside a tag"),
        ("{% if data.x %}<div class='a'>{% else %}<div class='b'>{% endif %}x</div>", "does not close"),
        ("<table><tr>{% if data.x %}<td>a</td></tr><tr>{% endif %}<td>b</td></tr></table>", "does not close"),
    ],
)
def test_html_that_inlining_would_break_is_refused(tmp_path: Path, body: str, mend: str) -> None:
    """The parser of the inliner repairs HTML; where that would change the template's meaning, the author is told."""
    (tmp_path / "email").mkdir()
    source = f"---\nsubject: x\n---\n<html><head><style>a {{ color: red }}</style></head><body>{body}</body></html>"
    (tmp_path / "email" / "a.html").write_text(source)
    assert [mend in problem.message for problem in TemplateSet.load(tmp_path).check()] == [True]


def test_values_in_css_and_attributes_survive_inlining(tmp_path: Path) -> None:
    """Expressions in href, style, class and in a style sheet's value arrive where they belong."""
    (tmp_path / "email").mkdir()
    source = """---
subject: x
---
<html><head><style>.a { color: {{ data.color }} } p { margin: 0 }</style></head><body>
{% if data.show %}<p class="a" style="top: {{ data.top }}px">
{% for x in data.list %}<i title="{{ x }}">{{ x }}</i>{% endfor %}</p>{% endif %}
<a href="{% if data.show %}{{ data.url }}?{% endif %}q={{ data.q | urlencode }}&amp;z=1">go</a></body></html>"""
    (tmp_path / "email" / "a.html").write_text(source)
    templates = TemplateSet.load(tmp_path)
    assert templates.check() == []
    data = {"color": "#123456", "show": True, "top": 3, "list": ["<", '"'], "url": "https://x.example", "q": "a b"}
    html = templates.find("email", "a").render({"data": data}).html
    assert '<p class="a" style="' in html
    assert "color: #123456" in html
    assert "top: 3px" in html
    assert '<i title="&lt;">&lt;</i><i title="&#34;">&#34;</i>' in html
    assert '<a href="https://x.example?q=a%20b&amp;z=1">go</a>' in html


def test_a_header_stays_one_line(tmp_path: Path) -> None:
    """A line break in a name cannot start another header."""
    context = {**ANA, "customer": {"name": "Ana\r\nBcc: evil@example.com"}}
    assert mail(tmp_path).find("email", "cart").render(context).subject == "Ana Bcc: evil@example.com, dein Korb"


def test_a_preview_needs_no_customer(tmp_path: Path) -> None:
    """Every name the template reads gets a made-up value of a fitting kind; given values win."""
    template = mail(tmp_path).find("email", "cart")
    rendered = template.render(template.sample_context({"customer": {"name": "Bo"}}))
    assert rendered.subject == "Bo, dein Korb"
    assert "19,90" in rendered.text
    assert "event.cart_id" in template.paths()


def test_threads_share_a_template(tmp_path: Path) -> None:
    """Eight threads render different recipients at once, each gets its own."""
    template = mail(tmp_path).find("email", "cart")
    wrong: list[str] = []

    def work(number: int) -> None:
        for _ in range(50):
            name = f"Name{number}"
            rendered = template.render({**ANA, "customer": {"name": name}})
            if rendered.subject != f"{name}, dein Korb":
                wrong.append(rendered.subject)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []

"""Awkward data in templates: prices as text, blank names, reserved names in the other spelling, times in any unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.dispatch.templates.render import Template
from engine.dispatch.templates.template_set import TemplateSet

EVENT: dict[str, Any] = {
    "total": "9.90", "quantity": "3", "bad": "600,00", "blank": "", "space": " ", "orderId": 7, "product_id": "p1",
    "at": 1_774_602_000,
    "yes": True, "object": {"amount": "9.90"}, "list": [1], "huge": 1e308, "huge_text": "9" * 40,
    "items": [{"name": "Mug", "price": "9.90", "productId": "a"}, {"name": "Cup", "price": "1.234,50"},
              {"name": "Jar", "price": 5}],
}  # fmt: skip


def template(folder: Path, source: str) -> Template:
    """One SMS."""
    (folder / "sms").mkdir(exist_ok=True)
    (folder / "sms" / "a.txt").write_text(source, encoding="utf-8")
    templates = TemplateSet.load(folder, locale="de", zone="Europe/Berlin")
    assert templates.check() == []
    return templates.find("sms", "a")


@pytest.mark.parametrize(
    ("source", "expected", "warned"),
    [
        ("{{ event.total | money('EUR') }}", "9,90\u00a0€", False),
        ("{{ event.total * event.quantity }}", "29.700000000000003", False),
        ("{{ event.total + event.quantity }}", "12.9", False),
        ("{{ -event.quantity }}", "-3", False),
        ("{{ 'many' if event.quantity > 2 else 'few' }}", "many", False),
        ("{{ 'same' if event.quantity == 3 else 'other' }}", "same", False),
        ("{{ event.items | sum(attribute='price') }}", "14.9", True),
        ("{% for i in event.items %}{{ i.name }} {{ i.price | money('EUR') }};{% endfor %}",
         "Mug 9,90\u00a0€;Cup ;Jar 5,00\u00a0€;", True),
        ("Total: {{ event.bad | money('EUR') }}.", "Total: .", True),
        ("{{ event.bad | money('EUR') | default('see the shop') }}", "see the shop", True),
        ("{{ event.bad * 2 }}|{{ event.bad | round(2) }}|{{ event.bad | number }}", "||", True),
        ("{{ 'much' if event.bad > 50 else 'little' }}", "little", True),
        ("{{ event.yes | money('EUR') }}|{{ event.object | money('EUR') }}|{{ event.list | number }}", "||", True),
        ("{{ event.object * event.quantity }}|{{ 2 * event.list }}|{{ event.total - event.object }}.", "||.", True),
        ("{{ event.huge | money('EUR') }}|{{ event.huge * 2 }}|{{ event.huge_text | round }}.", "||.", True),
        ("{{ 'much' if event.object > 50 else 'little' }}", "little", True),
        ("{{ 'much' if event.list >= event.total else 'little' }}", "little", True),
        ("Hi {{ event.blank | default('you') }}", "Hi you", False),
        ("Hi {{ event.space | default('you') }}", "Hi you", False),
        ("[{{ event.blank }}]", "[]", False),
        ("{% if event.space is defined %}a{% else %}b{% endif %}", "b", False),
        ("{% if event.space %}a{% elif event.blank %}b{% else %}c{% endif %}", "c", False),
        ("{{ event.space or 'none' }}{{ 'x' if not event.space }}", "nonex", False),
        ("{{ event.order_id }}/{{ event.productId }}/{{ event.items[0].product_id }}", "7/p1/a", False),
        ("{{ event.at | date('short') }}", "27.03.26", False),
    ],
)  # fmt: skip
def test_awkward_values(tmp_path: Path, source: str, expected: str, warned: bool) -> None:
    """Both ways of rendering give the same, with the same warnings; a price that cannot be read never costs the message."""
    found = template(tmp_path, source)
    for rendered in (found.render({"event": EVENT}), found.render_fully({"event": EVENT})):
        assert rendered.text == expected
        assert bool(rendered.warnings) is warned

"""What `check` doubts, and what it leaves alone: each kind with its neighbours, and comments that silence it in place."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.definition.problem import Problem
from engine.project.opening import check

ROOT = Path(__file__).resolve().parents[2]
POLICY = """policy: default
zone: Europe/Berlin
purposes:
  transactional: {consent: none}
  marketing: {consent: opt_in}
"""
MAIL = '---\nsubject: "Hello"\n---\n<p>Hello</p>\n'
SEND = "  - send: {channel: email, template: t}\n    id: s\n"


def _workflow(head: str = "", steps: str = SEND, trigger: str = "{event: Order Completed}") -> str:
    return f"workflow: w\npurpose: transactional\ntrigger: {trigger}\n{head}steps:\n{steps}"


def _found(folder: Path, **files: str) -> list[Problem]:
    """`__` in a name stands for `/`, and `_DOT_` for a dot."""
    files = {"workflows__policy_DOT_yaml": POLICY, "templates__email__t_DOT_html": MAIL} | files
    files.setdefault("workflows__w_DOT_yaml", _workflow())
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return check(folder)


def _codes(folder: Path, **files: str) -> list[str]:
    found = _found(folder, **files)
    assert [each for each in found if each.severity == "error"] == []
    return [each.code for each in found]


def test_the_plain_project_has_nothing_to_doubt(tmp_path: Path) -> None:
    """The project that the other tests change is silent by itself."""
    assert _found(tmp_path) == []


def test_the_shipped_project_has_nothing_to_doubt() -> None:
    """No false warning on what is shipped."""
    assert [str(each) for each in check(ROOT)] == []


# ----------------------------------------------------------------------------------------------------- expressions

NEGATIONS = (
    "customer.country != 'DE'",
    "'DE' != customer.country",
    "customer.country not in ['DE', 'AT']",
    "not (customer.country == 'DE')",
    "not customer.country in ['DE']",
    "not (customer.age > 18)",
    "customer.address.city != 'Wien'",
    "customer.email is defined and customer.country != 'DE'",
    "event.total > 3 or customer.country != 'DE'",
    "customer.country | lower != 'de'",
    "customer['country'] != 'DE'",
    "1 if customer.country != 'DE' else 0",
    "not (customer.country == 'DE' and customer.email)",
)
GUARDED = (
    "customer.country is not defined or customer.country != 'DE'",
    "customer.country != 'DE' or customer.country is undefined",
    "customer.country is defined and customer.country != 'DE'",
    "customer.country | default('') != 'DE'",
    "customer.country | default('') | lower != 'de'",
    "not customer.country or customer.country not in ['DE']",
    "customer.country and customer.country != 'DE'",
    "customer.country is none or customer.country != 'DE'",
    "customer.country == none or customer.country != 'DE'",
    "customer.country != none",
    "customer.country != ''",
    "customer.country is defined and (event.total > 3 or customer.country != 'DE')",
    "customer.country is defined and not (customer.country == 'DE')",
    "not (customer.country is not defined)",
    "not customer.newsletter",
    "not in_segment('big')",
    "customer.country == 'DE'",
    "count('Order Completed') != 3",
    "event.order_id != enrollment.event.order_id",
    "'big' not in customer.segments",
    "(customer.country != 'DE') if customer.country is defined else false",
)
SEGMENTS = "segments:\n  big: {where: event_free}\n".replace("event_free", "count('Order Completed') > 2")


@pytest.mark.parametrize("expression", NEGATIONS)
def test_a_negation_over_what_may_be_missing_is_doubted(expression: str, tmp_path: Path) -> None:
    """A negation over a trait is doubted where it stands, with both ways to write it."""
    found = _found(tmp_path, workflows__w_DOT_yaml=_workflow(steps=f'{SEND}    when: "{expression}"\n'))
    found = [each for each in found if not each.code.endswith("named-once")]
    assert [(each.code, each.line) for each in found] == [("negation-of-missing", 7)]
    assert "is defined" in found[0].message or "is not defined" in found[0].message
    assert "| default(" in found[0].message


@pytest.mark.parametrize("expression", GUARDED)
def test_a_negation_that_says_what_it_means_is_not(expression: str, tmp_path: Path) -> None:
    """Nothing is said where the expression says what a missing trait means, or asks about something else."""
    found = _codes(
        tmp_path,
        workflows__segments_DOT_yaml=SEGMENTS,
        workflows__w_DOT_yaml=_workflow(steps=f'{SEND}    when: "{expression}"\n'),
    )
    assert found == []


def test_segments_are_doubted_too(tmp_path: Path) -> None:
    """Segments leave people out as silently as workflows do."""
    segments = "segments:\n  abroad:\n    where: customer.country != 'DE'\n"
    found = _found(tmp_path, workflows__segments_DOT_yaml=segments)
    assert [(each.code, each.file, each.line) for each in found] == [
        ("negation-of-missing", "workflows/segments.yaml", 3)
    ]


@pytest.mark.parametrize(
    ("expression", "doubted"),
    [
        ("event.total > '50'", True),
        ("'50' <= event.total", True),
        ("event.total == '50'", True),
        ("count('Order Completed') >= '3'", True),
        ("count('Order Completed') == '3'", True),
        ("event.quantity in ['1', '2']", True),
        ("'3' in [event.quantity]", True),
        ("sum('Order Completed', 'total') > '1000'", True),
        ("days_since(last('Order Completed')) > '3'", True),
        ("customer.zip == '04103'", False),
        ("event.order_id == '1001'", False),
        ("event.total > 50", False),
        ("customer.birthday > '2000-01-01'", False),
        ("customer.points > 3 and customer.points == '5'", True),
    ],
)
def test_numbers_in_quotes(expression: str, doubted: bool, tmp_path: Path) -> None:
    """A number in quotes is doubted beside a number, and not where it is a code."""
    codes = _codes(tmp_path, workflows__w_DOT_yaml=_workflow(steps=f'{SEND}    when: "{expression}"\n'))
    assert ("quoted-number" in codes) == doubted


# ----------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("workflow", "code", "nearest"),
    [
        (_workflow(trigger="{event: Order Complet}"), "event-named-once", "Order Completed"),
        (_workflow(trigger="{event: order completed}"), "event-named-once", "Order Completed"),
        (_workflow(head="exit: [{event: Ordr Cancelled, as: gone}]\n"), "event-named-once", "Order Cancelled"),
        (_workflow(steps=f"{SEND}    when: count('Product Viewd') > 2\n"), "event-named-once", "Product Viewed"),
        (_workflow(trigger="{event: Order Completed, where: event.totl > 3}"), "property-named-once", "total"),
        (_workflow(steps=f"{SEND}    when: sum('Order Completed', 'totall') > 2\n"), "property-named-once", "total"),
        (_workflow(head="key: event.ordre_id\n"), "property-named-once", "order_id"),
        (_workflow(steps=f"{SEND}    when: customer.first_nam == 'x'\n"), "trait-named-once", "first_name"),
        (_workflow(trigger="{date: {trait: brithday, at: '09:00'}}"), "trait-named-once", "birthday"),
        (_workflow(steps=f"{SEND}  - update: {{localle: \"'de'\"}}\n"), "trait-named-once", "locale"),
        (_workflow(steps=f"{SEND}  - emit: {{event: Something Happend}}\n"), "event-named-once", ""),
        (_workflow(steps=f"{SEND}    when: customer.shoe_size == 44\n"), "trait-named-once", ""),
    ],
)
def test_names_that_nothing_else_names(workflow: str, code: str, nearest: str, tmp_path: Path) -> None:
    """A name that stands alone is doubted, with the nearest known one."""
    found = _found(tmp_path, workflows__w_DOT_yaml=workflow)
    assert [each.code for each in found] == [code]
    assert f"did you mean `{nearest}`?" in found[0].message if nearest else "did you mean" not in found[0].message


def test_a_name_is_known_by_an_example_a_test_or_another_workflow(tmp_path: Path) -> None:
    """Examples make names known; lines of them that cannot be read do not matter."""
    mine = _workflow(
        trigger="{event: Boat Rented, where: event.boat == 'x'}", steps=f"{SEND}    when: customer.shoe == 4\n"
    )
    example = '{"type": "track", "userId": "a", "event": "Boat Rented", "properties": {"boat": "x"}}\n'
    traits = '{"type": "identify", "userId": "a", "traits": {"shoe": 4}}\n'
    assert len(_codes(tmp_path, workflows__w_DOT_yaml=mine)) == 3
    assert (
        _codes(tmp_path, workflows__w_DOT_yaml=mine, examples__events_DOT_jsonl=example + traits + "junk\n[]\n") == []
    )


def test_a_slip_in_a_workflow_and_its_own_test_is_still_a_slip(tmp_path: Path) -> None:
    """Who misspells a name copies it into the test; one warning, in the workflow."""
    test = (
        "tests: w\ncases:\n  - name: a\n    timeline: [{at: 0s, event: Order Complete}]\n    expect: [{entered: w}]\n"
    )
    found = _found(
        tmp_path,
        workflows__w_DOT_yaml=_workflow(trigger="{event: Order Complete}"),
        workflows__w_DOT_test_DOT_yaml=test,
    )
    assert [(each.code, each.file) for each in found] == [("event-named-once", "workflows/w.yaml")]


def test_the_other_spelling_is_no_other_name(tmp_path: Path) -> None:
    """`orderId` is `order_id`."""
    workflow = _workflow(trigger="{event: Order Completed, where: event.orderId == 'x'}")
    assert _codes(tmp_path, workflows__w_DOT_yaml=workflow) == []


# ----------------------------------------------------------------------------------------------------------- plans

WAIT = "  - wait_for: {outcome: clicked, of: s, timeout: 1d, then: [], otherwise: []}\n"
TRACKING = f"{POLICY}  tracking: {{consent: opt_in}}\n"
UNHEARD = ["outcome-never-heard", "template-unused"]
NIGHT = 'quiet_hours:\n  - {channels: [email], between: "20:00-08:00", then: hold}\n'


@pytest.mark.parametrize(
    ("workflow", "policy", "codes"),
    [
        (_workflow(trigger='{schedule: {at: "2020-01-01T09:00"}}'), POLICY, ["past"]),
        (_workflow(trigger='{schedule: {at: "2020-01-01T09:00+01:00"}}'), POLICY, ["past"]),
        (_workflow(trigger='{schedule: {at: "2199-01-01T09:00"}}'), POLICY, []),
        (_workflow(trigger='{schedule: {every: "monday 09:00"}}'), POLICY, []),
        (_workflow(steps=f'  - wait: {{until: "2020-01-01T09:00"}}\n{SEND}'), POLICY, ["past"]),
        (_workflow(steps=f'  - wait: {{until: "10:00"}}\n{SEND}'), POLICY, []),
        (_workflow("holdout: 100%\n"), POLICY, ["never-sends"]),
        (_workflow("holdout: 99%\n"), POLICY, []),
        (_workflow(), f"{POLICY}frequency: [{{at_most: 0, per: 1d}}]\n", ["never-sends"]),
        (_workflow(), f"{POLICY}frequency: [{{at_most: 1, per: 1d}}]\n", []),
        (_workflow("max_age: 11h\n"), POLICY + NIGHT, ["max-age-night"]),
        (_workflow("max_age: 12h\n"), POLICY + NIGHT, []),
        (_workflow("max_age: 11h\n"), POLICY + NIGHT.replace("email", "sms"), []),
        (_workflow("max_age: 11h\n"), POLICY + NIGHT.replace("hold", "drop"), []),
        (_workflow(steps=SEND.replace("t}", "t, max_age: 1h}")), POLICY + NIGHT, ["max-age-night"]),
        (_workflow(steps=SEND.replace("t}", "t, max_age: 1h, quiet_hours: ignore}")), POLICY + NIGHT, []),
        (_workflow(steps=SEND + WAIT), POLICY, ["tracking-off"]),
        (_workflow(steps=SEND + WAIT), TRACKING, []),
        (_workflow("exit: [{outcome: opened, as: seen}]\n", SEND + "  - wait: 1d\n"), POLICY, ["tracking-off"]),
        (_workflow("goal: {outcome: opened, within: 3d}\n"), POLICY, ["tracking-off"]),
        (_workflow("goal: {event: Order Refunded}\n"), POLICY, ["goal-never-measured"]),
        (_workflow("goal: {event: Order Refunded, within: 0d}\n"), POLICY, ["goal-never-measured"]),
        (_workflow("goal: {event: Order Refunded, within: 7d}\n"), POLICY, []),
        (_workflow("goal: {event: Order Refunded}\n", f"{SEND}  - wait: 7d\n"), POLICY, []),
        (_workflow("goal: {outcome: clicked, within: 1d, value: event.total}\n"), TRACKING, ["goal-never-measured"]),
        (_workflow("goal: {outcome: bounced, within: 1d}\n", "  - wait: 1d\n"), POLICY, UNHEARD),
    ],
)  # fmt: skip
def test_plans_that_come_to_nothing(workflow: str, policy: str, codes: list[str], tmp_path: Path) -> None:
    """Times that have passed, nobody to send to, nights that outlive a message, outcomes and goals nobody hears of."""
    found = _codes(tmp_path, workflows__w_DOT_yaml=workflow, workflows__policy_DOT_yaml=policy)
    assert sorted(found) == codes


# ------------------------------------------------------------------------------------------------------- templates


def _mail(body: str) -> str:
    return f'---\nsubject: "Hello"\n---\n{body}\n'


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ('<a href="/shop">x</a>', ["relative-link"]),
        ('<a href="shop.html">x</a>', ["relative-link"]),
        ('<a href="www.shop.example/a">x</a>', ["relative-link"]),
        ("<a href='//shop.example/a'>x</a>", ["relative-link"]),
        ('<img src="img/a.png" alt="">', ["relative-link"]),
        ('<td background="a.png"></td>', ["relative-link"]),
        ('<p style="background: url(/a.png)">x</p>', ["relative-link"]),
        ('<a href="/order/{{ event.order_id }}">x</a>', ["relative-link"]),
        ('<a href="https://shop.example/a">x</a><a href="#top">y</a><a href="mailto:a@shop.example">z</a>', []),
        ("<a href=\"{{ event.order_url | default('https://shop.example') }}\">x</a>", []),
        ("{{ event.time | date('%d.%m.%Y') }}", ["never-works"]),
        ("{{ event.time | date('dd.MM.yyyy') }} {{ event.time | date('long') }} {{ event.total | money('EUR') }}", []),
        ("{{ data.percent }}", ["data-missing"]),
        ("{{ data['percent'] }}", ["data-missing"]),
        ("{{ data.percent | default(3) }}{% if data.gift %}{{ data.gift }}{% endif %}", []),
        ("{{ data.a if data.a is defined else 'x' }}", []),
    ],
)
def test_templates(body: str, codes: list[str], tmp_path: Path) -> None:
    """Links that lead nowhere, constants that fail and data that nobody gives; and what is right."""
    assert _codes(tmp_path, templates__email__t_DOT_html=_mail(body)) == codes


def test_data_that_one_of_two_steps_gives(tmp_path: Path) -> None:
    """Each step that sends the template has to give what it needs."""
    two = _workflow(steps="  - send: {channel: email, template: t, data: {percent: 3}}\n    id: a\n" + SEND)
    found = _found(tmp_path, workflows__w_DOT_yaml=two, templates__email__t_DOT_html=_mail("{{ data.percent }}"))
    assert [(each.code, each.line) for each in found] == [("data-missing", 4)]
    assert "the step `s` of w" in found[0].message


def test_files_that_nobody_gets(tmp_path: Path) -> None:
    """A template that is not sent, and one whose language stands behind the wrong sign."""
    found = _found(tmp_path, templates__email__t_de_DOT_html=MAIL, templates__email__old_DOT_html=MAIL)
    assert [(each.code, each.file) for each in found] == [
        ("template-unused", "templates/email/old.html"), ("locale-in-name", "templates/email/t_de.html"),
    ]  # fmt: skip
    assert "t.de.html" in found[1].message


def test_a_template_that_is_sent_by_its_name_is_well_named(tmp_path: Path) -> None:
    """A name may end like a language, if it is meant."""
    two = _workflow(steps=f"{SEND}  - send: {{channel: email, template: t_de}}\n    id: a\n")
    assert _codes(tmp_path, workflows__w_DOT_yaml=two, templates__email__t_de_DOT_html=MAIL) == []


def test_a_language_that_a_neighbour_has(tmp_path: Path) -> None:
    """What one mail of a workflow says in German, the others should."""
    two = _workflow(steps=f"{SEND}  - send: {{channel: email, template: u}}\n    id: a\n")
    files = {
        "workflows__w_DOT_yaml": two,
        "templates__email__u_DOT_html": MAIL,
        "templates__email__u_DOT_de_DOT_html": MAIL,
    }
    found = _found(tmp_path, **files)
    assert [(each.code, each.file) for each in found] == [("language-missing", "templates/email/t.html")]
    assert _codes(tmp_path, **files, templates__email__t_DOT_de_DOT_html=MAIL) == []


def test_a_language_covers_its_regions(tmp_path: Path) -> None:
    """`de` is enough for Austria."""
    two = _workflow(steps=f"{SEND}  - send: {{channel: email, template: u}}\n    id: a\n")
    found = _codes(
        tmp_path, workflows__w_DOT_yaml=two, templates__email__u_DOT_html=MAIL, templates__email__u_DOT_de_DOT_html=MAIL,
        **{"templates__email__u_DOT_de-AT_DOT_html": MAIL}, templates__email__t_DOT_de_DOT_html=MAIL,
    )  # fmt: skip
    assert found == []


# --------------------------------------------------------------------------------------------------------- silence

PAST = '{schedule: {at: "2020-01-01T09:00"}}'


@pytest.mark.parametrize(
    "workflow",
    [
        _workflow(trigger=f"{PAST} # anlass: ignore[past] it was"),
        _workflow(trigger=f"{PAST} # over. anlass: ignore[past]").replace("over. anlass", "anlass"),
        _workflow(trigger=PAST).replace("trigger", "# anlass: ignore[past] it was\ntrigger"),
        _workflow(trigger=PAST).replace("trigger", "# anlass: ignore[ past ]\n# and more\n\ntrigger"),
    ],
)
def test_a_comment_silences_a_warning_in_place(workflow: str, tmp_path: Path) -> None:
    """On the line, or above it."""
    assert _codes(tmp_path, workflows__w_DOT_yaml=workflow) == []


@pytest.mark.parametrize(
    ("comment", "codes"),
    [
        ("# anlass: ignore[never-sends]", ["unused-ignore", "past"]),
        ("# anlass: ignore", ["unused-ignore", "past"]),
        ("# anlass: ignore[past, never-sends]", ["unused-ignore"]),
        ("# anlass: ignore[past]\nholdout: 10%", ["unused-ignore", "past"]),
    ],
)
def test_a_comment_that_silences_nothing_is_a_warning(comment: str, codes: list[str], tmp_path: Path) -> None:
    """Another code, no code, and another line silence nothing."""
    workflow = _workflow(trigger=PAST).replace("trigger", f"{comment}\ntrigger")
    assert _codes(tmp_path, workflows__w_DOT_yaml=workflow) == codes


def test_comments_in_templates(tmp_path: Path) -> None:
    """Template comments silence what follows, and what is about the whole file."""
    link = '{# anlass: ignore[relative-link] #}\n<a href="/shop">x</a>'
    unused = _mail("{# anlass: ignore[template-unused] later #}<p>Hello</p>")
    found = _codes(tmp_path, templates__email__t_DOT_html=_mail(link), templates__email__old_DOT_html=unused)
    assert found == []
    fenced = '---\n# anlass: ignore[template-unused] later\nsubject: "Hello"\n---\n<p>Hello</p>\n'
    assert _codes(tmp_path, templates__email__old_DOT_html=fenced, templates__email__t_DOT_html=MAIL) == []
    wrong = _mail("{# anlass: ignore[relative-link] #}<p>Hello</p>")
    assert _codes(tmp_path, templates__email__t_DOT_html=wrong, templates__email__old_DOT_html=fenced) == [
        "unused-ignore"
    ]


def test_errors_are_never_silenced(tmp_path: Path) -> None:
    """An error stays an error, whatever stands beside it."""
    workflow = _workflow(steps="  - send: {channel: email, template: nowhere} # anlass: ignore[unknown-template]\n")
    found = _found(tmp_path, workflows__w_DOT_yaml=workflow)
    assert [each.code for each in found if each.severity == "error"] == ["unknown-template"]

"""Every mistake is named at file, line and column, all at once, with the nearest known word."""

from pathlib import Path

import pytest

from engine.definition.load import Loaded, load_files, load_project

WORKFLOW = """\
workflow: cart-recovery
purpose: marketing
trigger:
  event: Product Added
  where: event.cart_total >= 30
key: event.cart_id
reentry: after 7d
holdout: 10%
exit:
  - {event: Order Completed, where: event.cart_id == enrollment.event.cart_id, as: bought}
goal: {event: Order Completed, within: 3d, value: event.total}
max_age: 24h
steps:
  - wait: {for: 1h, restart_on: {event: Product Added}}
  - send: {channel: email, template: cart-reminder}
    id: reminder
  - wait_for:
      any:
        - {outcome: clicked, of: reminder, then: [{exit: engaged}]}
        - {segment: vip, then: []}
      timeout: 23h
      otherwise:
        - send: {channel: [whatsapp, sms, email], template: cart-nudge, data: {days: 3, name: customer.first_name}}
  - split:
      name: incentive
      variants:
        voucher: {weight: 45, steps: [{send: {channel: email, template: cart-voucher}}]}
        control: {weight: 10, steps: []}
  - branch:
      - {if: in_segment('vip'), steps: [{task: {title: "Call {{ customer.first_name }}", due: 2d}}]}
      - {else: [{enroll: other}]}
"""
OTHER = "workflow: other\ntrigger: {manual: true}\nsteps: []\n"
SEGMENTS = """\
segments:
  vip: {where: sum('Order Completed', 'total', within='365d') >= 1000}
  lapsed: {where: not in_segment('vip') and days_since(last('Order Completed')) > 120}
"""
POLICY = """\
policy: default
zone: Europe/Berlin
purposes:
  marketing: {consent: opt_in, double: [email]}
frequency:
  - {purpose: marketing, channel: sms, at_most: 1, per: 1d, hold_up_to: 2d}
quiet_hours:
  - {channels: [sms], purposes: [marketing], between: "20:00-08:00", days: [sunday, holidays], spread: 30m}
unknown: {marketing: keep, transactional: resend}
"""
TESTS = """\
tests: cart-recovery
cases:
  - name: buys
    customer: {id: c1, traits: {email: ana@example.com}, consent: {marketing: [email]}}
    start: 2026-03-27T10:00+01:00
    timeline:
      - {at: 0s, event: Product Added, properties: {cart_total: 80}}
      - {at: 2h, outcome: clicked, of: reminder}
    expect:
      - {at: 0s, entered: cart-recovery}
      - {at: 1h..1h5m, send: reminder, channel: email}
      - {at: 2h, exited: engaged}
"""
FILES = {
    "workflows/cart-recovery.yaml": WORKFLOW,
    "workflows/other.yaml": OTHER,
    "workflows/segments.yaml": SEGMENTS,
    "workflows/policy.yaml": POLICY,
    "workflows/cart-recovery.test.yaml": TESTS,
}


def load(files: dict[str, str]) -> Loaded:
    return load_files([(name, text.encode()) for name, text in files.items()])


def found(files: dict[str, str]) -> list[str]:
    loaded = load(files)
    return [f"{problem.line}:{problem.column} {problem.code} {problem.message}" for problem in loaded.problems]


def broken(old: str, new: str) -> list[str]:
    """What is found when one file of the sound project has `new` instead of the first `old`."""
    names = [name for name, text in FILES.items() if old in text]
    assert names, old
    return found({**FILES, names[0]: FILES[names[0]].replace(old, new, 1)})


def test_the_sound_project_has_no_problem() -> None:
    """What the tables below break is sound."""
    loaded = load(FILES)
    assert loaded.problems == ()
    assert loaded.catalog is not None
    assert list(loaded.catalog.segments) == ["vip", "lapsed"]


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("purpose:", "porpose:", "2:1 unknown-key", "did you mean `purpose`?"),
        ("trigger:", "triger:", "3:1 unknown-key", "did you mean `trigger`?"),
        ("where: event.cart_total", "wher: event.cart_total", "5:3 unknown-key", "did you mean `where`?"),
        ("reentry:", "re_entry:", "7:1 unknown-key", "did you mean `reentry`?"),
        ("as: bought", "az: bought", "10:80 unknown-key", "known here: as, event, of"),
        ("within: 3d", "withn: 3d", "11:32 unknown-key", "did you mean `within`?"),
        ("- wait:", "- wiat:", "14:5 unknown-key", "did you mean `wait`?"),
        ("restart_on", "restarton", "14:21 unknown-key", "did you mean `restart_on`?"),
        (
            "{channel: email, template: cart-r",
            "{chanel: email, template: cart-r",
            "15:12 unknown-key",
            "did you mean `channel`?",
        ),
        ("of: reminder", "off: reminder", "19:30 unknown-key", "did you mean `of`?"),
        ("timeout:", "time_out:", "21:7 unknown-key", "did you mean `timeout`?"),
        ("otherwise:", "otherwize:", "22:7 unknown-key", "did you mean `otherwise`?"),
        ("weight: 45", "wieght: 45", "27:19 unknown-key", "did you mean `weight`?"),
        ("due: 2d", "duo: 2d", "30:90 unknown-key", "did you mean `due`?"),
        ("at_most", "atmost", "6:40 unknown-key", "did you mean `at_most`?"),
        ("spread", "spred", "8:96 unknown-key", "did you mean `spread`?"),
        ("vip: {where", "vip: {when", "2:9 unknown-key", "did you mean `where`?"),
        ("timeline:", "timelin:", "6:5 unknown-key", "did you mean `timeline`?"),
        ("properties:", "propertys:", "7:40 unknown-key", "did you mean `properties`?"),
        (
            "outcome: clicked, of: reminder, then",
            "outcome: clickd, of: reminder, then",
            "19:21 unknown-value",
            "`clicked`",
        ),
        ("consent: opt_in", "consent: optin", "4:24 unknown-value", "did you mean `opt_in`?"),
        ("marketing: keep", "marketing: kept", "9:22 unknown-value", "did you mean `keep`?"),
    ],
)
def test_unknown_words_are_named_with_the_nearest_one(old: str, new: str, place: str, words: str) -> None:
    """A typo is pointed at, and the word that was meant is offered."""
    problems = broken(old, new)
    assert any(problem.startswith(place + " ") and words in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("      timeout: 23h\n", "", "18:7 missing-key", "`timeout` is missing"),
        ("channel: email, template: cart-reminder", "template: cart-reminder", "15:11 missing-key", "`channel`"),
        ("timeout: 23h", "timeout: 23", "21:16 wrong-type", "has to be text"),
        ("timeout: 23h", "timeout: 23x", "21:16 duration", "'23x' is not a duration"),
        ("timeout: 23h", "timeout: -23h", "21:16 duration", "is negative"),
        ("after 7d", "after 7x", "7:10 duration", "'7x' is not a duration"),
        ("after 7d", "sometimes", "7:10 wrong-value", "write never, always or"),
        ("where: event.cart_total >= 30", "where:", "5:3 empty-key", "`where` is empty"),
        ("event: Product Added\n", "event:\n", "4:3 empty-key", "`event` is empty"),
        ("then: [{exit: engaged}]", "then: ~", "19:44 empty-key", "`then` is empty"),
        ("reminder, then: [{exit: engaged}]", "reminder, on: enter", "19:44 only-with", "`on` belongs to `segment`"),
        ("10%", "ten", "8:10 wrong-value", "write a percentage"),
        ("10%", "110%", "8:10 wrong-value", "from 0% to 100%"),
        ("max_age: 24h", "max_age: long", "12:10 duration", "'long' is not a duration"),
        ("weight: 45", "weight: -1", "27:27 wrong-value", "greater than or equal to 0"),
        ("weight: 45", "weight: 4.5", "27:27 wrong-type", "whole number"),
        ("{weight: 45, steps", "{weight: 0, steps", "", ""),
        ("{exit: engaged}", "{exit: engaged, wait: 2h}", "19:51 exactly-one", "here: wait and exit"),
        ("{exit: engaged}", "{id: x}", "19:51 exactly-one", "here: none"),
        (
            "event: Product Added\n",
            "event: Product Added\n  manual: true\n",
            "4:3 exactly-one",
            "here: event and manual",
        ),
        ("- {else: [{enroll: other}]}", "- {else: [], steps: []}", "31:9 only-with", "`steps` belongs to `if`"),
        ("id: reminder", "id: two words", "16:9 wrong-value", "use letters"),
        ("    id: reminder", "    id: steps.0", "16:9 duplicate-id", "already on line 14"),
        ("of: reminder, then", "of: remainder, then", "19:34 unknown-step", "did you mean `reminder`?"),
        ("of: reminder, then", "of: steps.0, then", "19:34 unknown-step", "is not a send"),
        ("segment: vip", "segment: vips", "20:21 unknown-segment", "did you mean `vip`?"),
        ("in_segment('vip'), steps", "in_segment('vyp'), steps", "30:14 unknown-segment", "did you mean `vip`?"),
        ("not in_segment('vip')", "not in_segment('vap')", "3:19 unknown-segment", "did you mean `vip`?"),
        ("enroll: other", "enroll: othr", "31:26 unknown-workflow", "did you mean `other`?"),
        ("purpose: marketing\n", "purpose: marketting\n", "2:10 unknown-purpose", "did you mean `marketing`?"),
        ("[whatsapp, sms, email]", "[whatsap, sms, email]", "23:28 unknown-channel", "did you mean `whatsapp`?"),
        ("workflow: cart-recovery", "workflow: cart-recover", "1:11 file-name", "has to equal the file's name"),
        ("per: 1d", "per: 36h", "6:57 duration", "whole days"),
        ("zone: Europe/Berlin", "zone: Europe/Berlim", "2:7 zone", "is not a time zone"),
        ('"20:00-08:00"', '"20:00-25:00"', "8:5 time", "is not a time of day"),
        ("days: [sunday, holidays]", "days: [sundae]", "8:5 time", "is not a day"),
        ("channel: sms", "channel: smss", "6:35 unknown-channel", "did you mean `sms`?"),
        ("purposes: [marketing]", "purposes: [markting]", "8:34 unknown-purpose", "did you mean `marketing`?"),
        ("tests: cart-recovery", "tests: cart-recovry", "1:8 unknown-workflow", "did you mean `cart-recovery`?"),
        ("send: reminder", "send: remind", "11:30 unknown-step", "did you mean `reminder`?"),
        ("at: 2h, outcome", "at: later, outcome", "8:14 time", "is not a time"),
        (
            "consent: {marketing: [email]}",
            "consent: {marketing: [mail]}",
            "4:80 unknown-channel",
            "did you mean `email`?",
        ),
        ("event.cart_total >= 30", "evnt.cart_total >= 30", "5:10 unknown-name", "did you mean `event`?"),
        ("event.cart_total >= 30", "enrollment.key == 'x'", "5:10 unknown-name", "is not known here"),
        ("key: event.cart_id", "key: cart_id", "6:6 unknown-name", "`event.cart_id`"),
        ("key: event.cart_id", "key: event.cart_id =", "6:6 expression-syntax", "is not expected here"),
        ("sum('Order", "summ('Order", "2:16 unknown-function", "did you mean `sum`?"),
        ("within='365d'", "within='1y'", "2:16 duration", "is not a duration"),
        ("{{ customer.first_name }}", "{{ customr.first_name }}", "30:56 unknown-name", "did you mean `customer`?"),
        ("{{ customer.first_name }}", "{{ customer.first_name", "30:56 expression-syntax", "has to be closed"),
        ("name: customer.first_name", "name: customer", "23:95 expression", "`customer` alone"),
        ("lapsed: {where: not in", "lapsed: {where: event.x and not in", "3:19 unknown-name", "is not known here"),
        ("vip: {where: sum", "vip: {where: in_segment('lapsed') and sum", "2:16 segment-cycle", "break the circle"),
    ],
)
def test_mistakes_are_named_where_they_stand(old: str, new: str, place: str, words: str) -> None:
    """Wrong values and names that nothing defines have their place and their mend."""
    problems = broken(old, new)
    if not place:
        assert problems == []
        return
    assert any(problem.startswith(place + " ") and words in problem for problem in problems), problems


def test_all_mistakes_come_at_once() -> None:
    """One run names the mistakes of all files, sorted by place."""
    files = {
        name: text.replace("marketing", "markting").replace("Europe/Berlin", "Mars") for name, text in FILES.items()
    }
    files["workflows/cart-recovery.yaml"] = FILES["workflows/cart-recovery.yaml"].replace("1h", "1x")
    loaded = load(files)
    assert loaded.catalog is None
    assert {problem.code for problem in loaded.problems} == {"duration", "zone", "unknown-purpose"}
    assert list(loaded.problems) == sorted(loaded.problems)
    assert {problem.file.rpartition("/")[2] for problem in loaded.problems} == {
        "cart-recovery.yaml",
        "other.yaml",
        "policy.yaml",
    }


@pytest.mark.parametrize("on", ["on", '"on"'])
def test_tracking_cannot_be_switched_on_for_everybody(on: str) -> None:
    """There is no way to track people who did not agree: an error at the value, with the mend; `off` is fine."""
    loaded = load({"workflows/policy.yaml": f"policy: default\ntracking: {{default: {on}}}\n"})
    assert loaded.catalog is None
    (problem,) = map(str, loaded.problems)
    assert problem == (
        "workflows/policy.yaml:2:21: wrong-value nobody may be tracked without a consent of their own, so there is no `on`;"
        " write `default: off` and offer the purpose `tracking`"
    )
    assert load({"workflows/policy.yaml": "policy: default\ntracking: {default: off}\n"}).problems == ()


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("purposes: {tracking: {consent: none}}", "write `consent: opt_in`"),
        ("purposes: {tracking: {consent: existing_customer, similar_goods: tea}}", "write `consent: opt_in`"),
        ('tracking: {utm: {source: "{customer}"}}', "none of which names a person"),
        ('tracking: {utm: {content: "{email}-{workflow}"}}', "`{email}` is not known here"),
        ("tracking: {utm: {hosts: ['https://shop.example']}}", "without https://"),
        ("tracking: {utm: {id: x}}", "`id` is not known here"),
        ("tracking: {machine: ignore}", "known here: count, label"),
    ],
)
def test_tracking_is_refused_where_it_could_name_or_miss_somebody(policy: str, said: str) -> None:
    """Consent of another kind, parameters of the recipient's, and misspelt ones: one sentence each."""
    loaded = load({"workflows/policy.yaml": f"policy: default\n{policy}\n"})
    assert loaded.catalog is None
    (problem,) = map(str, loaded.problems)
    assert said in problem


def test_a_problem_reads_as_one_line() -> None:
    """`file:line:col: code message`, as editors and CI know it."""
    (problem,) = load({"workflows/x.yaml": "workflow: x\ntrigger: {event: A}\nstep: []\nsteps: []"}).problems
    assert str(problem) == "workflows/x.yaml:3:1: unknown-key `step` is not known here; did you mean `steps`?"


def test_steps_behind_an_exit_are_warned_of() -> None:
    """A step that no run can come to is worth a word, but no error: the catalog is there."""
    text = "workflow: x\ntrigger: {event: A}\nsteps:\n  - exit: done\n  - wait: 2h\n  - wait: 3h\n"
    loaded = load({"workflows/x.yaml": text})
    assert loaded.catalog is not None
    assert [str(problem)[:40] for problem in loaded.problems] == ["workflows/x.yaml:5:5: unreachable warnin"]


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("workflows/x.yaml", "hello: x", "unknown-file"),
        ("workflows/x.yaml", "[1]", "unknown-file"),
        ("workflows/x.yaml", "workflow: x\npolicy: y", "unknown-file"),
        ("workflows/p2.yaml", "policy: two", "duplicate-id"),
        ("workflows/s2.yaml", "segments: {vip: {where: customer.vip}}", "duplicate-id"),
        ("workflows/sub/other.yaml", OTHER, "duplicate-id"),
    ],
)
def test_files_that_cannot_be_placed(name: str, text: str, code: str) -> None:
    """A file is of one kind, and what it defines is defined once."""
    loaded = load({**FILES, name: text})
    assert [problem.code for problem in loaded.problems] == [code]


def test_templates_are_looked_for_by_channel(tmp_path: Path) -> None:
    """A send whose template is missing for one of its channels is an error at the template's name."""

    class Folder:
        def has(self, channel: str, name: str) -> bool:
            return channel == "email" or name != "cart-nudge"

    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    loaded = load_project(tmp_path, templates=Folder())
    assert [f"{problem.line}:{problem.column} {problem.code}" for problem in loaded.problems] == [
        "23:61 unknown-template"
    ] * 2
    assert load_project(tmp_path).catalog is not None


def test_a_folder_without_workflows_says_so(tmp_path: Path) -> None:
    """The wrong folder is a problem, not a crash."""
    (problem,) = load_project(tmp_path).problems
    assert problem.code == "no-workflows"
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "x.yaml").mkdir()
    loaded = load_project(tmp_path)
    assert loaded.catalog is not None
    assert loaded.catalog.policy.purposes["marketing"].consent == "opt_in"


def test_the_shipped_project_has_no_problem() -> None:
    """What we ship is an example to others."""
    loaded = load_project(Path(__file__).resolve().parents[2])
    assert [str(problem) for problem in loaded.problems] == []
    assert loaded.catalog is not None
    assert loaded.tests

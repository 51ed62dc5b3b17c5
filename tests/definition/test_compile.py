"""Documents to the compiled catalog: every construct of the language arrives, and whatever it says counts."""

from typing import Any

import pytest

from engine.core.catalog import Catalog, Interest
from engine.core.expression.scope import Scope
from engine.core.journey import workflow as core
from engine.core.policy import Tracking
from engine.core.time.schedule import Duration, Window, parse_when
from engine.core.time.zone import zone_named
from engine.definition.assemble import assemble
from engine.definition.load import load_files

HOUR_MS = 3_600_000
SEGMENTS = "segments:\n  vip: {where: customer.vip}\n  old: {where: days_since(customer.born) > 3}\n"


def catalog(text: str, **files: str) -> Catalog:
    loaded = load_files(
        [("workflows/x.yaml", text.encode()), ("workflows/s.yaml", SEGMENTS.encode())]
        + [(f"workflows/{name}.yaml", other.encode()) for name, other in files.items()]
    )
    assert loaded.catalog is not None, [str(problem) for problem in loaded.problems]
    return loaded.catalog


def workflow(steps: str = "[]", trigger: str = "{event: A}", more: str = "") -> core.Workflow:
    return catalog(f"workflow: x\ntrigger: {trigger}\n{more}\nsteps: {steps}\n").workflows["x"]


def only(steps: str) -> Any:
    """The only step's operation."""
    (op,) = workflow(steps).ops.values()
    return op


def test_triggers() -> None:
    """Each form of a trigger has its own compiled form."""
    event = workflow(trigger="{event: A, where: event.x == 1}").trigger.matches[0]
    assert isinstance(event, core.EventMatch)
    assert (event.name, event.where and event.where.text) == ("A", "event.x == 1")
    several = workflow(trigger="{any: [{event: A}, {event: B, where: event.x}, {segment: vip}]}").trigger.matches
    assert [match.name for match in several] == ["A", "B", "vip"]
    assert workflow(trigger="{segment: vip}").trigger.matches == (core.SegmentMatch("vip"),)
    assert workflow(trigger="{segment: vip, on: leave}").trigger.matches == (core.SegmentMatch("vip", leave=True),)
    date = workflow(trigger="{date: {trait: birthday, at: '09:30', offset: -3d, yearly: true}}").trigger.date
    assert date == core.DateTrigger("birthday", 570, Duration(days=-3), yearly=True)
    once = workflow(trigger="{schedule: {at: 2026-12-01T09:00, segment: vip, zone: customer}}").trigger.schedule
    assert once == core.ScheduleTrigger(parse_when("2026-12-01T09:00"), None, "vip", customer_zone=True)
    weekly = workflow(trigger="{schedule: {every: monday 09:00}}").trigger.schedule
    assert weekly == core.ScheduleTrigger(None, parse_when("monday 09:00"), "", customer_zone=False)
    assert workflow(trigger="{manual: true}").trigger == core.Trigger()


def test_waits() -> None:
    """Each form of a wait sets exactly its own field."""
    assert only("[wait: 2h]").duration == Duration(ms=2 * HOUR_MS)
    wait = only("[wait: {for: 1d, restart_on: {event: A, where: event.x}}]")
    assert (wait.duration, [match.name for match in wait.restart_on]) == (Duration(days=1), ["A"])
    assert len(only("[wait: {for: 1d, restart_on: [{event: A}, {event: B}]}]").restart_on) == 2
    assert only("[wait: {until: 'tuesday 10:00'}]").local == parse_when("tuesday 10:00")
    assert only("[wait: {until: '22:30'}]").local == parse_when("22:30")
    assert only("[wait: {until: 2026-12-24T09:00+01:00}]").local == parse_when("2026-12-24T09:00+01:00")
    until = only("[wait: {until: customer.trial_ends_at, offset: -3d}]")
    assert (until.until.text, until.offset) == ("customer.trial_ends_at", Duration(days=-3))
    assert only("[wait: {between: '09:00-18:00', days: weekdays}]").window == Window(540, 1080, days=0b11111)
    assert only("[wait: {between: '09:00-18:00', days: [monday, sunday]}]").window.days == 0b1000001


def test_wait_for_goes_on_where_it_says() -> None:
    """Arms, the common `then`, `otherwise` and what follows the step."""
    found = workflow(
        "\n- wait_for:\n    any:\n      - {event: B, then: [{exit: b}]}\n      - {segment: vip, on: leave}\n"
        "      - {outcome: clicked, of: hello, then: []}\n    timeout: 3d\n    then: [{exit: then}]\n"
        "    otherwise: [{exit: late}]\n- send: {channel: email, template: t}\n  id: hello"
    )
    wait = found.ops["steps.0"]
    assert isinstance(wait, core.WaitFor)
    assert [arm.then for arm in wait.arms] == ["steps.0.any.0.then.0", "steps.0.then.0", "hello"]
    assert wait.arms[2].match == core.OutcomeMatch("clicked", "hello")
    assert (wait.otherwise, wait.next, wait.timeout) == ("steps.0.otherwise.0", "hello", Duration(days=3))
    assert found.ops["steps.0.otherwise.0"].next == "hello"
    short = only("[{wait_for: {event: B, where: event.x == enrollment.event.x, timeout: 1h}}]")
    assert [arm.then for arm in short.arms] == [""]
    assert short.otherwise == ""


def test_send_takes_everything() -> None:
    """All fields of a send arrive; purpose and max_age come from the workflow when it has none."""
    send = only(
        "[send: {channel: [sms, email], template: t, to: customer.work, from: Shop, purpose: transactional, priority: 5,"
        " max_age: 2h, quiet_hours: ignore, fallback_on: [bounced, failed], data: {n: 3, b: true, t: event.x, z: null}}]"
    )
    assert (send.channels, send.template, send.to.text, send.sender) == (("sms", "email"), "t", "customer.work", "Shop")
    assert (send.purpose, send.priority, send.max_age) == ("transactional", 5, Duration(ms=2 * HOUR_MS))
    assert (send.quiet_hours, send.fallback_on) == ("ignore", ("bounced", "failed"))
    scope = Scope(customer_id="c", now_ms=0, project_zone=zone_named("UTC"))
    scope.properties = {"x": "text"}
    assert {name: value.value(scope) for name, value in send.data} == {"n": 3, "b": True, "t": "text", "z": None}
    (plain,) = workflow("[send: {channel: email, template: t}]", more="max_age: 24h\npurpose: service").ops.values()
    assert isinstance(plain, core.Send)
    assert (plain.purpose, plain.max_age, plain.quiet_hours) == ("service", Duration(ms=24 * HOUR_MS), "")


def test_branch_split_and_repeat_join_again() -> None:
    """What is below a branch or split goes on behind it; what is below a repeat goes back to it."""
    found = workflow(
        "\n- branch:\n    - {if: event.a, steps: [{wait: 1h}, {wait: 2h}]}\n    - {else: [{wait: 3h}]}\n"
        "- split: {name: s, variants: {one: {weight: 1, steps: [{exit: one}]}, two: {weight: 3}}}\n"
        "- repeat: {times: 3, every: 2d, until: event.done, steps: [{wait: 4h}, {wait: 5h}]}\n- exit: end"
    )
    branch, split, repeat = found.ops["steps.0"], found.ops["steps.1"], found.ops["steps.2"]
    assert isinstance(branch, core.Branch)
    assert isinstance(split, core.Split)
    assert isinstance(repeat, core.Repeat)
    assert [arm.first for arm in branch.arms] == ["steps.0.0.steps.0", "steps.0.1.else.0"]
    assert branch.arms[1].condition is None
    assert found.ops["steps.0.0.steps.0"].next == "steps.0.0.steps.1"
    assert found.ops["steps.0.0.steps.1"].next == found.ops["steps.0.1.else.0"].next == branch.next == "steps.1"
    assert split.variants == (
        core.Variant("one", 1, "steps.1.variants.one.steps.0"),
        core.Variant("two", 3, "steps.2"),
    )
    assert (repeat.times, repeat.every, repeat.until and repeat.until.text) == (3, Duration(days=2), "event.done")
    assert (repeat.body, repeat.next) == ("steps.2.steps.0", "steps.3")
    assert found.ops["steps.2.steps.1"].next == "steps.2"


def test_the_small_steps() -> None:
    """update, emit, task, enroll, exit, and `when` of any step."""
    update = only("[update: {status: \"'gold'\", n: 3}]")
    assert [(name, value.text) for name, value in update.traits] == [("status", "'gold'"), ("n", "3")]
    emit = only("[emit: {event: Done, properties: {x: event.x}}]")
    assert (emit.event, [name for name, _ in emit.properties]) == ("Done", ["x"])
    task = only("[task: {title: 'Call {{ customer.name }}', assignee: eva, due: 2d, queue: care}]")
    assert (task.title.text, task.assignee, task.due, task.queue) == (
        "Call {{ customer.name }}", "eva", Duration(days=2), "care",
    )  # fmt: skip
    assert only("[enroll: x]").workflow == "x"
    assert only("[exit: done]").reason == "done"
    assert only("[{wait: 1h, when: event.x, note: why}]").when.text == "event.x"


def test_the_frame_of_a_workflow() -> None:
    """key, reentry, holdout, exits, goal and description."""
    found = workflow(
        more="description: hi\nkey: event.id\nreentry: after 7d\nholdout: 10%\n"
        "exit: [{event: B, as: bought}, {outcome: unsubscribed}, {segment: vip, where: customer.x}]\n"
        "goal: {event: B, within: 3d, value: event.total}"
    )
    assert found.key is not None
    assert (found.key.text, found.reentry, found.holdout_percent) == (
        "event.id",
        core.Reentry("after", Duration(days=7)),
        10,
    )
    assert [(rule.reason, type(rule.match)) for rule in found.exits] == [
        ("bought", core.EventMatch), ("unsubscribed", core.OutcomeMatch), ("vip", core.SegmentMatch),
    ]  # fmt: skip
    assert found.goal is not None
    assert (found.goal.within, found.goal.value and found.goal.value.text) == (Duration(days=3), "event.total")
    assert (found.description, found.purpose) == ("hi", "marketing")
    assert workflow(more="reentry: never").reentry == core.Reentry("never")


BASE = "workflow: x\ntrigger: {event: A}\nsteps:\n  - send: {channel: email, template: t}\n    id: s\n"
WIDE = (
    "workflow: x\ntrigger: {event: A, where: event.a}\nkey: event.k\nreentry: never\nholdout: 5%\nmax_age: 1h\n"
    "purpose: service\nexit: [{event: B, where: event.b, as: r}]\ngoal: {event: G, within: 1d, value: event.v}\nsteps:\n"
    "  - send: {channel: email, template: t, to: customer.t, from: F, priority: 1, quiet_hours: drop, data: {d: 1}}\n"
    "    id: s\n    when: customer.w\n"
    "  - wait: {for: 1h, restart_on: {event: R, where: event.r}}\n"
    "  - wait: {until: customer.u, offset: 2d}\n"
    "  - wait: {between: '09:00-10:00', days: monday}\n"
    "  - wait_for: {outcome: clicked, of: s, timeout: 2h, then: [{exit: th}], otherwise: [{exit: ot}]}\n"
    "  - split: {name: sp, variants: {v: {weight: 7, steps: []}, w: {weight: 8, steps: []}}}\n"
    "  - branch: [{if: customer.i, steps: [{update: {up: 1}}]}]\n"
    "  - emit: {event: E, properties: {p: 1}}\n"
    "  - task: {title: ti, assignee: as, due: 4d, queue: qu}\n"
    "  - repeat: {times: 9, every: 5d, until: customer.n, steps: [{wait: 6h}]}\n"
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("event: A", "event: A2"), ("event.a}", "event.a2}"), ("event.k", "event.k2"), ("reentry: never", "reentry: always"),
        ("5%", "6%"), ("max_age: 1h", "max_age: 2h"), ("purpose: service", "purpose: marketing"), ("event: B", "event: B2"),
        ("event.b", "event.b2"), ("as: r}", "as: r2}"), ("event: G", "event: G2"), ("within: 1d", "within: 2d"),
        ("event.v", "event.v2"), ("channel: email", "channel: sms"), ("template: t", "template: t2"),
        ("customer.t", "customer.t2"), ("from: F", "from: F2"), ("priority: 1", "priority: 2"), ("drop", "hold"),
        ("{d: 1}", "{d: 2}"), ("{d: 1}", "{d2: 1}"), ("customer.w", "customer.w2"), ("for: 1h", "for: 1d"),
        ("event: R", "event: R2"), ("event.r", "event.r2"), ("customer.u", "customer.u2"), ("offset: 2d", "offset: -2d"),
        ("09:00-", "08:00-"), ("monday", "tuesday"), ("clicked", "opened"), (", of: s", ""), ("timeout: 2h", "timeout: 3h"),
        ("exit: th", "exit: th2"), ("exit: ot", "exit: ot2"), ("name: sp", "name: sp2"), ("{v: {", "{v2: {"),
        ("weight: 7", "weight: 6"), ("customer.i,", "customer.i2,"), ("up: 1", "up: 2"), ("event: E", "event: E2"),
        ("{p: 1}", "{p: 2}"), ("title: ti", "title: ti2"), ("assignee: as", "assignee: as2"), ("due: 4d", "due: 5d"),
        ("queue: qu", "queue: qu2"), ("times: 9", "times: 8"), ("every: 5d", "every: 6d"), ("customer.n", "customer.n2"),
        ("wait: 6h", "wait: 7h"), ("    id: s\n", "    id: s2\n"),
    ],
)  # fmt: skip
def test_whatever_is_written_counts(old: str, new: str) -> None:
    """Each value that a document may have is in the compiled form: another value is another version."""
    assert old in WIDE
    changed = WIDE.replace(old, new, 1)
    if "id: s2" in changed:
        changed = changed.replace("of: s,", "of: s2,")
    before, after = catalog(WIDE), catalog(changed)
    assert before.workflows["x"].version != after.workflows["x"].version
    assert before.id != after.id


def test_words_for_people_do_not_make_a_version() -> None:
    """A description, a note, the order of keys and comments change nothing for those in flight."""
    same = (
        "# hi\ndescription: words\nsteps:\n  - id: s\n    note: words\n    send: {template: t, channel: email}\n"
        "trigger: {event: A}\nworkflow: x"
    )
    assert catalog(BASE).workflows["x"].version == catalog(same).workflows["x"].version
    assert len(catalog(BASE).workflows["x"].version) == 12


def test_older_versions_stay_in_the_catalog() -> None:
    """Enrollments go on with the version that they began with."""
    old = catalog(BASE.replace("event: A", "event: Old")).workflows["x"]
    loaded = load_files([("workflows/x.yaml", BASE.encode())], extra_versions=[old])
    assert loaded.catalog is not None
    assert set(loaded.catalog.versions) == {("x", old.version), ("x", loaded.catalog.workflows["x"].version)}
    assert loaded.catalog.interests["Old"] == Interest()
    assert loaded.catalog.interests["A"].triggers == ("x",)


def test_interests_tell_what_an_event_means() -> None:
    """Triggers, waits, aggregates with their largest window, and the segments that ask."""
    found = catalog(
        "workflow: x\ntrigger: {any: [{event: A}, {segment: vip}]}\nexit: [{event: X}]\ngoal: {event: G}\nsteps:\n"
        "  - wait: {for: 1h, restart_on: {event: R}}\n    when: sum('S', 'p', within='30d') > count('S', within='36h')\n"
        "  - wait_for: {event: W, timeout: 1h}\n",
        more="segments:\n  buyers: {where: sum('S', 'q') > 1 and in_segment('vip')}\n"
        "  any: {where: \"'vip' in customer.segments\"}\n",
        w="workflow: w\ntrigger: {date: {trait: d}}\nsteps: []",
    )
    assert set(found.interests) == {"A", "X", "G", "R", "S", "W", "Order Completed"}  # the last for the policy
    assert found.interests["S"] == Interest(counted=("p", "q"), window_days_max=30, segments=("buyers",))
    assert found.interests["A"] == Interest(triggers=("x",))
    assert found.segment_triggers == {"vip": ("x",)}
    assert found.segment_traits["vip"] == ("vip",)
    assert found.segment_traits["born"] == ("old",)
    assert found.timed == ("w",)
    assert list(found.segments)[-1] == "any"
    assert found.segments["any"].where.segments == ("buyers", "old", "vip")


def test_the_policy_of_the_specification() -> None:
    """Each value of the policy arrives; `transactional` is built in."""
    policy = catalog(
        BASE,
        p="policy: strict\nzone: Europe/Vienna\nlateness: 3d\npurposes: {marketing: {consent: opt_in, double: [email]}}\n"
        "frequency: [{purpose: marketing, channel: sms, at_most: 1, per: 2d, hold_up_to: 4h}]\n"
        "quiet_hours: [{channels: [sms], purposes: [marketing], between: '20:00-08:00', days: sunday, then: drop, spread: 5m}]\n"
        "bounces: {hard: keep, soft: {suppress_after: 2, within: 9d}, complaint: keep}\n"
        "unknown: {marketing: resend}\n"
        "tracking: {default: off, machine: count, utm: {source: shop, campaign: '{workflow}', hosts: [Shop.example]}}\n",
    ).policy
    assert (policy.name, policy.zone, policy.lateness, policy.tracking) == (
        "strict",
        "Europe/Vienna",
        Duration(days=3),
        Tracking("count", (("utm_source", "shop"), ("utm_campaign", "{workflow}")), ("shop.example",)),
    )
    assert policy.purposes["marketing"].double == ("email",)
    assert policy.purposes["transactional"].consent == "none"
    (cap,) = policy.frequency
    assert (cap.at_most, cap.days, cap.purpose, cap.channel, cap.hold_up_to) == (
        1,
        2,
        "marketing",
        "sms",
        Duration(ms=4 * HOUR_MS),
    )
    (quiet,) = policy.quiet
    assert (quiet.channels, quiet.purposes, quiet.then, quiet.spread) == (
        ("sms",),
        ("marketing",),
        "drop",
        Duration(ms=300_000),
    )
    assert (policy.bounces.hard, policy.bounces.soft_after, policy.bounces.soft_within) == ("keep", 2, Duration(days=9))
    assert (policy.bounces.complaint, policy.unknown) == ("keep", {"marketing": "resend"})


def test_cases_are_compiled() -> None:
    """Times of tests are durations, instants, local times and ranges."""
    text = (
        "tests: x\ncases:\n  - name: one\n    customer: {id: c9, traits: {a: 1}, consent: {marketing: [email]}}\n"
        "    start: 2026-03-27T10:00\n    until: 5d\n    partial: true\n    timeline:\n"
        "      - {at: 0s, event: A, properties: {p: 1}, id: e1, time: -8d}\n      - {at: 1h, identify: {b: 2}}\n"
        "      - {at: 2h, withdraw: {marketing: [email]}}\n      - {at: 3h, outcome: bounced, of: s}\n"
        "      - {at: 2026-03-28T09:00+01:00, enroll: {}}\n      - {at: 4h, request: {marketing: [email]}}\n"
        "    expect:\n      - {at: 8h..8h30m, send: s, channel: email, template: t, answer: held, reason: q, until: 9h}\n"
        "      - {updated: {b: 2}}\n      - {at: 1h, not_entered: x, reason: active}\n"
    )
    loaded = load_files([("workflows/x.yaml", BASE.encode()), ("workflows/x.test.yaml", text.encode())])
    assert loaded.problems == ()
    (file,) = loaded.tests
    (case,) = file.cases
    berlin = zone_named("Europe/Berlin")
    start_ms = case.start.at_ms(0, berlin)
    assert (file.workflow, case.customer, case.traits, case.partial, case.line) == ("x", "c9", {"a": 1}, True, 3)
    assert [line.kind for line in case.timeline] == ["event", "identify", "withdraw", "outcome", "enroll", "request"]
    assert case.timeline[0].time is not None
    assert case.timeline[0].time.at_ms(start_ms, berlin) == start_ms - 8 * 24 * HOUR_MS
    assert case.timeline[4].at.at_ms(start_ms, berlin) == start_ms + 23 * HOUR_MS
    held, updated, refused = case.expect
    assert held.at is not None
    assert held.at.last.at_ms(start_ms, berlin) - held.at.first.at_ms(start_ms, berlin) == HOUR_MS // 2
    assert (held.kind, held.name, held.answer, held.reason) == ("send", "s", "held", "q")
    assert (updated.kind, updated.values, updated.at) == ("updated", {"b": 2}, None)
    assert (refused.kind, refused.name, refused.reason) == ("not_entered", "x", "active")


def test_which_version_is_in_force_is_part_of_the_catalogs_id() -> None:
    """Two catalogs that know the same two versions of a workflow, with another one in force, are two catalogs: going back to an
    earlier version does not take the place of the one it undoes.
    """
    text = "workflow: w\ntrigger: {event: E}\nsteps: [{wait: %s}]\n"
    first, second = (load_files([("workflows/w.yaml", (text % wait).encode())]).catalog for wait in ("1h", "2h"))
    assert first is not None
    assert second is not None
    both = [*first.versions.values(), *second.versions.values()]
    ids = {
        assemble(catalog.workflows.values(), {}, policy=catalog.policy, extra_versions=both).id
        for catalog in (first, second)
    }
    assert len(ids) == 2

"""A sound project, damaged at random: only problems come out, whatever was damaged."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.definition.load import load_files
from tests.properties import examples

SOUND = """\
workflow: x
trigger: {event: A, where: event.a >= 30}
reentry: after 7d
holdout: 10%
exit: [{event: B, where: event.b == enrollment.event.b, as: r}]
goal: {event: B, within: 3d, value: event.total}
steps:
  - wait: {for: 1h, restart_on: {event: A}}
  - send: {channel: [sms, email], template: t, data: {n: 3}}
    id: s
  - wait_for: {any: [{outcome: clicked, of: s, then: [{exit: e}]}], timeout: 23h, otherwise: [{wait: {until: "10:00"}}]}
  - split: {name: i, variants: {v: {weight: 45, steps: [{enroll: x}]}, w: {weight: 1}}}
  - branch: [{if: customer.vip, steps: [{update: {a: 1}}]}, {else: [{task: {title: "{{ now }}", due: 2d}}]}]
  - repeat: {times: 3, every: 2d, until: customer.x, steps: [{emit: {event: E, properties: {p: event.p}}}]}
"""
PARTS = st.one_of(
    st.sampled_from(
        ["null", "[]", "{}", "[1]", "{a: 1}", "true", "-1", "1e9", "''", "x", "9999999999d", "{{", "any:", "event:", "steps:",
         "- ", "  ", "\n", ":", ",", "}", "]", "'", '"', "&a", "*a", "!t", "(", "|", ">", "100000%", "2026-99-99", "99:99"]
    ),
    st.text(max_size=4),
)  # fmt: skip


@settings(max_examples=examples(120), deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SOUND)), st.integers(0, 12), PARTS), min_size=1, max_size=3))
@example([(72, 0, "(")])  # a key that begins as pydantic's own words do
def test_a_damaged_workflow_gives_problems_or_a_catalog(damages: list[tuple[int, int, str]]) -> None:
    """No exception, and a catalog exactly when nothing is wrong."""
    text = SOUND
    for start, length, part in damages:
        text = text[:start] + part + text[start + length :]
    loaded = load_files([("workflows/x.yaml", text.encode("utf-8", "replace"))])
    assert (loaded.catalog is None) == any(problem.severity == "error" for problem in loaded.problems)
    assert all(problem.message and problem.line >= 1 for problem in loaded.problems)

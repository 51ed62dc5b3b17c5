"""The JSON Schemas that editors use."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from engine.definition.documents.schema import schemas
from engine.definition.problem import Problems
from engine.definition.yaml.source import parse

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "workflows").glob("*.yaml"))


@pytest.mark.parametrize("name", sorted(schemas()))
def test_checked_in_schema_is_the_generated_one(name: str) -> None:
    """What is checked in is what the models say; `python -m engine.definition.documents.schema docs/schema` mends it."""
    assert (ROOT / "docs" / "schema" / name).read_text(encoding="utf-8") == schemas()[name]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_documents_fit_their_schema(path: Path) -> None:
    """An editor that uses the schema finds nothing to complain about in what we ship."""
    source = parse(path.name, path.read_bytes(), problems=Problems())
    assert source is not None
    kind = next(kind for kind in ("workflow", "segments", "policy", "tests") if kind in source.data)
    validator = Draft202012Validator(json.loads(schemas()[f"{kind}.schema.json"]))
    assert [error.message for error in validator.iter_errors(source.data)] == []


def test_schema_refuses_a_step_with_two_verbs() -> None:
    """The rule of one verb for each step reaches the editor."""
    validator = Draft202012Validator(json.loads(schemas()["workflow.schema.json"]))
    step = {"wait": "2h", "exit": "done"}
    document = {"workflow": "x", "trigger": {"event": "A"}, "steps": [step]}
    assert not validator.is_valid(document)
    del step["exit"]
    assert validator.is_valid(document)

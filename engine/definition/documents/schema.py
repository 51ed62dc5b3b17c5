"""JSON Schemas of the documents, for editors: `python -m engine.definition.documents.schema docs/schema` writes them.

Invariant: they are generated from the models that the loader uses, and a test compares them with what is checked in.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from engine.definition.documents.case import TestsDocument
from engine.definition.documents.project import PolicyDocument, SegmentsDocument
from engine.definition.documents.workflow import Document, WorkflowDocument

DOCUMENTS: dict[str, type[Document]] = {
    "workflow": WorkflowDocument,
    "segments": SegmentsDocument,
    "policy": PolicyDocument,
    "tests": TestsDocument,
}


def schemas() -> dict[str, str]:
    """File name → the schema as indented JSON."""
    found = {}
    for kind, model in DOCUMENTS.items():
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **_without_empty(model.model_json_schema()),
        }
        found[f"{kind}.schema.json"] = json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    return found


def _without_empty(node: Any) -> Any:
    """An optional key may be left out, but not be empty: its type has no null and it has no default."""
    if isinstance(node, list):
        return [_without_empty(element) for element in node]
    if not isinstance(node, dict):
        return node
    plain = {key: _without_empty(value) for key, value in node.items()}
    if "anyOf" in plain and plain.get("default", ...) is None:
        options = [option for option in plain.pop("anyOf") if option != {"type": "null"}]
        del plain["default"]
        return {**options[0], **plain} if len(options) == 1 else {**plain, "anyOf": options}
    return plain


def write(folder: Path) -> None:
    """Writes the schemas into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))

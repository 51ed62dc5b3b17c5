"""The sections of the settings beside what their adapters take: two readers of one thing may not disagree."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from channels import registry
from engine.errors import SettingsError
from engine.project.channels import configured_channels
from engine.settings import load_settings
from engine.settings.section import SECRETS, ChannelSection
from engine.settings.sections import MODELS

ADAPTERS = {
    "email": "channels.mail.email:EmailSettings",
    "sms": "channels.phone.twilio_account:TwilioSettings",
    "print": "channels.letters:PrintSettings",
    "push": "channels.web_push:PushSettings",
    "task": "channels.task:TaskSettings",
    "webhook": "channels.webhook:WebhookSettings",
}
BOUNDS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum", "default",
)  # fmt: skip
ENGINES = frozenset({"rate_per_second", "mark_secret", "public_url"})
"""Not the adapter's: the dispatcher keeps the rate. Not the file's: the engine tells these two itself."""


def adapter_of(section: str) -> dict[str, Any]:
    module, _, name = ADAPTERS[section].partition(":")
    kind = getattr(importlib.import_module(module), name)
    return dict(msgspec.json.schema(kind)["$defs"][name]["properties"])


def bounds(schema: dict[str, Any]) -> dict[str, Any]:
    options = [schema, *schema.get("anyOf", ())]
    found = {name: each[name] for each in options for name in BOUNDS if name in each}
    if found.get("default", "") in ("", None, [], (), {}):  # "not set", as each of the two writes it
        found.pop("default", None)
    return {bound: sorted(value) if bound == "enum" else value for bound, value in found.items()}


@pytest.mark.parametrize("section", ADAPTERS)
def test_a_section_bounds_what_its_adapter_bounds(section: str) -> None:
    """The same default, and each bound of the adapter, so that what a file may say is what the adapter takes."""
    theirs = {name: bounds(schema) for name, schema in adapter_of(section).items()}
    ours = {name: bounds(schema) for name, schema in MODELS[section].model_json_schema()["properties"].items()}
    shared = sorted(ours.keys() & theirs.keys())
    assert {name: {bound: ours[name].get(bound) for bound in theirs[name]} for name in shared} == {
        name: theirs[name] for name in shared
    }


@pytest.mark.parametrize("section", ADAPTERS)
def test_an_adapter_knows_what_its_section_hands_on(section: str) -> None:
    """No setting is written down that the adapter then refuses."""
    model = MODELS[section]
    assert issubclass(model, ChannelSection)
    ours = {field.alias or name for name, field in model.model_fields.items()}
    files = {name for name in ours if name.endswith("_file") and name.removesuffix("_file") in SECRETS}
    assert ours - files - ENGINES - model.NOT_THE_ADAPTERS <= adapter_of(section).keys()


def test_no_two_classes_of_settings_have_one_name() -> None:
    """The engine reads sections, adapters take settings; nobody has to ask which of two is meant."""
    root = Path(__file__).parents[1]
    found: dict[str, list[str]] = {}
    for package in ("engine", "channels"):
        for path in sorted((root / package).rglob("*.py")):
            for name in re.findall(r"^class (\w+(?:Settings|Section))\b", path.read_text("utf-8"), re.MULTILINE):
                found.setdefault(name, []).append(path.name)
    assert {name: where for name, where in found.items() if len(where) > 1} == {}


@pytest.mark.parametrize("name", ["voice", "whatsapp"])
def test_a_channel_of_anothers_section_has_none_of_its_own(tmp_path: Path, name: str) -> None:
    """Calls and WhatsApp are set up in [sms]: a section of their name is a mistake, not another package's adapter."""
    assert name in registry.BUILT_IN
    (tmp_path / "anlass.toml").write_text(f'[{name}]\nfrom = "+4915735985555"\n')
    with pytest.raises(SettingsError, match=rf"there is no section \[{name}\]"):
        configured_channels(load_settings(tmp_path), [name])

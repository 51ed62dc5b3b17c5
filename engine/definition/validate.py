"""A parsed file against a model of the documents: every misfit as a problem at its line and column.

Invariant: a document that comes back has caused no problem; whatever the data is, nothing but problems comes out.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError

from engine.definition.document import Misfit
from engine.definition.problem import Problems, nearest
from engine.definition.source import Source

_DocumentT = TypeVar("_DocumentT", bound=BaseModel)
_SHOWN_MAX = 60

_KINDS = {
    "string_type": "has to be text; put it into quotes if it is meant as text",
    "int_type": "has to be a whole number",
    "int_from_float": "has to be a whole number",
    "float_type": "has to be a number",
    "bool_type": "has to be true or false",
    "list_type": "has to be a list",
    "tuple_type": "has to be a list",
    "dict_type": "has to be a mapping",
    "model_type": "has to be a mapping",
    "model_attributes_type": "has to be a mapping",
}


def validate(model: type[_DocumentT], source: Source, *, problems: Problems) -> _DocumentT | None:
    """The document, or None when the problems found leave none."""
    try:
        return model.model_validate(source.data)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            _report(model, source, details, problems)
        return None


def _report(model: type[BaseModel], source: Source, details: Mapping[str, Any], problems: Problems) -> None:
    loc, kind = details["loc"], details["type"]
    path = [step for step in loc if not (isinstance(step, str) and step.startswith("("))]
    misfit = details.get("ctx", {}).get("error")
    if isinstance(misfit, Misfit):
        spot = source.spot([*path, misfit.key], key=True) if misfit.key else source.spot(path)
        problems.error(spot, misfit.code, message=misfit.message)
        return
    name = str(path[-1]) if path else "the document"
    if kind == "extra_forbidden":
        problems.error(
            source.spot(path, key=True), "unknown-key", message=f"`{name}` is not known here{_suggestion(model, loc)}"
        )
        return
    if kind == "missing":
        problems.error(source.spot(path[:-1]), "missing-key", message=f"`{name}` is missing")
        return
    key_itself = bool(path) and path[-1] == "[key]"
    if key_itself:
        path, name = path[:-1], str(path[-2])
    where = f"`{name}`" if not isinstance(path[-1] if path else "", int) else "this"
    code, message = _message(details, where)
    problems.error(source.spot(path, key=key_itself), code, message=message)


def _message(details: Mapping[str, Any], where: str) -> tuple[str, str]:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind in _KINDS:
        return "wrong-type", f"{where} {_KINDS[kind]}, not {_shown(value)}"
    if kind in ("literal_error", "enum"):
        words = [word.strip("' ") for word in str(context.get("expected", "")).replace(" or ", ", ").split(",")]
        mend = nearest(str(value), words) or f"; known here: {', '.join(words)}"
        return "unknown-value", f"{where} cannot be {_shown(value)}{mend}"
    if kind == "string_pattern_mismatch":
        return (
            "wrong-value",
            f"{where} cannot be {_shown(value)}; {_PATTERNS.get(str(context.get('pattern')), 'see the schema')}",
        )
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return "wrong-type", f"{where} cannot be {_shown(value)}"
    text = details["msg"]
    return "wrong-value", f"{where}: {text[:1].lower()}{text[1:]}"


_PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9_.-]*$": "use letters, digits, `-`, `_` and `.`",
    r"^(never|always|after .+)$": "write never, always or `after 7d`",
    r"^\d{1,3}%$": "write a percentage, such as 10%",
}


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + '…'}`"


def _suggestion(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """The nearest key of the model that holds the unknown one."""
    here: Any = model
    for step in loc[:-1]:
        here = _below(here, step)
    models = [option for option, _ in _options(here) if isinstance(option, type) and issubclass(option, BaseModel)]
    return nearest(
        str(loc[-1]), [field.alias or name for option in models for name, field in option.model_fields.items()]
    )


def _below(annotation: Any, step: int | str) -> Any:
    """What is at that step of a value of this type. Steps in parentheses choose the form of a value with several."""
    options = list(_options(annotation))
    for option, tags in options:
        if isinstance(step, str) and step.startswith("("):
            if step in tags:
                return option
        elif isinstance(option, type) and issubclass(option, BaseModel):
            for name, field in option.model_fields.items():
                if step == (field.alias or name):
                    return field.annotation if not field.metadata else Annotated[field.annotation, *field.metadata]
        elif get_origin(option) is list and isinstance(step, int):
            return get_args(option)[0]
        elif get_origin(option) is dict:
            return get_args(option)[1]
    return options[0][0] if len(options) == 1 else None


def _options(annotation: Any, tags: tuple[str, ...] = ()) -> list[tuple[Any, tuple[str, ...]]]:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        own = tuple(entry.tag for entry in metadata if isinstance(entry, Tag))
        return _options(inner, own or tags)
    if origin in (Union, types.UnionType):
        return [option for part in get_args(annotation) if part is not type(None) for option in _options(part, tags)]
    return [(annotation, tags)]

"""A parsed file against a model of the documents: every misfit as a problem at its line and column.

Invariant: a document that comes back was written like this or is marked as mended, after at least one problem; whatever
the data is, nothing but problems comes out.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError

from engine.definition.documents.workflow import Misfit
from engine.definition.problem import Problems, nearest
from engine.definition.yaml.mend import Mender
from engine.definition.yaml.source import Source

_DocumentT = TypeVar("_DocumentT", bound=BaseModel)
_SHOWN_MAX = 60
_ROUNDS_MAX = 20
_TAGS = frozenset({"(text)", "(list)", "(mapping)"})
"""Steps of a place that pydantic adds: which form of a value was written. A key may begin with a bracket as well."""
_SCALARS = ("str", "int", "float", "bool")

_Details = Mapping[str, Any]

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


def validate(
    model: type[_DocumentT], source: Source, *, problems: Problems
) -> tuple[_DocumentT, Source] | tuple[None, None]:
    """The document and the file as it was taken; both None when the problems found leave nothing to check further.

    Where something is wrong, the problems name it and `Source.mended` says that this is the rest of the file.
    """
    mender: Mender | None = None
    for _ in range(_ROUNDS_MAX):
        try:
            return model.model_validate(source.data), source
        except ValidationError as error:
            mender = mender or Mender(source)
            _round(model, source, error, mender=mender, problems=problems)
            source = mender.mended()
    return None, None


def _round(
    model: type[BaseModel], source: Source, error: ValidationError, *, mender: Mender, problems: Problems
) -> None:
    """Reports the errors that are not mere consequences of those before, and mends all of them."""
    # A value that is neither text nor a number nor true or false fails four times; once is enough.
    listed = [details for details in error.errors(include_url=False) if _scalar(details) in ("", _SCALARS[0])]
    found = [(_path(details), details) for details in listed]
    for path, details in found:
        if details["type"] == "extra_forbidden":
            if not mender.follows(path, details):
                _report(model, source, details, problems)
            mender.unknown(path, _known_keys(model, details["loc"]))
    others = [(path, details) for path, details in found if details["type"] != "extra_forbidden"]
    for path, details in others:
        if not mender.follows(path, details):
            _report(model, source, details, problems)
    for path, details in others:
        misfit = details.get("ctx", {}).get("error")
        if isinstance(misfit, Misfit):
            mender.misfit(path, misfit)
        elif details["type"] == "missing":
            mender.missing(path)
        else:
            key_itself = bool(path) and path[-1] == "[key]"
            mender.wrong(path[:-1] if key_itself else path, key_itself=key_itself)


def _path(details: _Details) -> list[str | int]:
    """Where it is in the data: without the names of the forms that a value can have."""
    path = [step for step in details["loc"] if step not in _TAGS]
    return path[:-1] if _scalar(details) else path


def _scalar(details: _Details) -> str:
    """Which of the four errors this is of a value that is neither text nor a number nor true or false; "" for all others."""
    kind, loc = details["type"], details["loc"]
    scalar = bool(loc) and loc[-1] in _SCALARS and kind in ("string_type", "int_type", "float_type", "bool_type")
    return str(loc[-1]) if scalar else ""


def _report(model: type[BaseModel], source: Source, details: _Details, problems: Problems) -> None:
    loc, kind, path = details["loc"], details["type"], _path(details)
    misfit = details.get("ctx", {}).get("error")
    if isinstance(misfit, Misfit):
        spot = source.spot([*path, misfit.key], key=True) if misfit.key else source.spot(path)
        problems.error(spot, misfit.code, message=misfit.message)
        return
    name = str(path[-1]) if path else "the document"
    if kind == "extra_forbidden":
        problems.error(
            source.spot(path, key=True),
            "unknown-key",
            message=f"`{name}` is not known here{nearest(name, _known_keys(model, loc))}",
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
    if _scalar(details):
        message = f"{where} has to be text, a number or true or false, not {_shown(details['input'])}"
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


def _known_keys(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """The keys of the model that holds the unknown one."""
    here: Any = model
    for step in loc[:-1]:
        here = _below(here, step)
    models = [option for option, _ in _options(here) if isinstance(option, type) and issubclass(option, BaseModel)]
    return [field.alias or name for option in models for name, field in option.model_fields.items()]


def _below(annotation: Any, step: int | str) -> Any:
    """What is at that step of a value of this type. Steps in parentheses choose the form of a value with several."""
    options = list(_options(annotation))
    for option, tags in options:
        if step in _TAGS:
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

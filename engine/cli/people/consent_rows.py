"""Reads a table of consents (CSV) row by row, for `anlass consent import`.

Invariant: every row of the file is handed on, refused with its number and the reason, or empty; nothing in a file makes it fail,
and one bad row takes no other with it. The same row is always the same record.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from engine.cli.people.consent_columns import LeftOut, ListReading, as_ours, check_header, has_confirmations, is_foreign
from engine.core.channel import ADDRESS_TRAITS
from engine.core.consent.may_send import BASES, normal_address
from engine.core.consent.proof import PROOF_CHARS_MAX
from engine.core.record import Consent
from engine.errors import BadRecord, UsageError

NEEDED = ("customer", "purpose", "channel", "address", "given_at")
PROOFS = (
    "wording", "wording_version", "language", "form", "page", "ip", "user_agent", "requested_at", "confirmed_at", "zone",
    "message",
)  # fmt: skip
COLUMNS = (*NEEDED, "row", "action", "basis", *PROOFS)
ACTIONS = ("grant", "withdraw")
LINES_PER_ROW_MAX = 50
ID_CHARS_MAX = 200
_SEPARATOR = re.compile(r"\"?sep=([,;\t|])\"?", re.IGNORECASE)
_NOT_WINDOWS = (0x81, 0x8D, 0x8F, 0x90, 0x9D)
_LETTERS = "ÄÖÜäöüßàâçèéêîôñ".encode("cp1252")
_NOT_EMAIL = frozenset(' \t"(),:;<>[]\\')


class Row(msgspec.Struct, frozen=True):
    """A row that can be imported: where it stands, and what it becomes."""

    number: int
    record: Consent


class Refused(msgspec.Struct, frozen=True):
    """A row that cannot: the line that it begins in, why, and as it was written."""

    number: int
    reason: str
    text: str


class RowRules(msgspec.Struct, frozen=True, kw_only=True):
    """What rows are measured against. `purposes` are the policy's; `basis` of rows that name none ("": each has to)."""

    origin: str
    purposes: frozenset[str]
    now_ms: int
    basis: str = ""
    foreign: ListReading = ListReading()
    """What a list of another system leaves open."""


class Skipped(msgspec.Struct, frozen=True):
    """A row of another system's list that says no consent: the line that it begins in."""

    number: int


def decoded(data: bytes, encoding: str = "") -> str:
    """The file as text: of the encoding that is named, else UTF-8, else as Excel writes it. What is no such text stays
    recognisable for `read`. Raises UsageError.
    """
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        encoding = encoding or "utf-16"
    if not encoding and _is_excels(data):
        encoding = "cp1252"
    try:
        text = data.decode(encoding or "utf-8-sig", "surrogateescape")
    except (LookupError, UnicodeError):
        raise UsageError(
            f"The file is not {encoding} text.", mend="Save it as CSV in UTF-8, or name its --encoding."
        ) from None
    return text.removeprefix("\ufeff")


def _is_excels(data: bytes) -> bool:
    """Whether it is western Windows' text: letters such as ü, no byte that it does not have, no letter of UTF-8 beside them."""
    text = data.decode("utf-8", "surrogateescape")
    strange = [char for char in text if not char.isascii()]
    if not strange or any(not "\ud800" <= char <= "\udfff" for char in strange):
        return False
    return not any(byte in data for byte in _NOT_WINDOWS) and any(byte in data for byte in _LETTERS)


def read(text: str, rules: RowRules) -> Iterator[Row | Refused | Skipped]:
    """All rows below the header. Raises UsageError for a header that lacks a column or has one that nobody knows."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise UsageError("The file is empty.", mend=f"Its first line names the columns: {', '.join(NEEDED)}.")
    separator = _SEPARATOR.fullmatch(lines[first].strip())
    if separator is not None and first + 1 < len(lines):  # Excel's own first line
        first += 1
    delimiter, names = _header(lines[first], rules, separator[1] if separator is not None else "")
    foreign = is_foreign(names, COLUMNS)
    seen: dict[str, int] = {}
    contents: dict[str, int] = {}
    for number, raw, fields in records(lines, first + 1, delimiter):
        if fields is not None and not any(field.strip() for field in fields):
            continue
        try:
            values = _values(names, fields, raw)
            if foreign:
                values = as_ours(values, rules.foreign, rules.now_ms, confirms=has_confirmations(names))
            record = _record(values, raw, rules)
            earlier = seen.get(record.id) or contents.get(_content(values))
            if earlier:
                raise BadRecord("duplicate", f"it says the same as line {earlier}, or has its row id")  # noqa: TRY301 - one way out
        except LeftOut:
            yield Skipped(number)
            continue
        except BadRecord as error:
            yield Refused(number, error.message, _shown(raw))
            continue
        seen[record.id] = contents[_content(values)] = number
        yield Row(number, record)


def _header(line: str, rules: RowRules, separator: str) -> tuple[str, list[str]]:
    def known(delimiter: str) -> list[str]:
        return [name.strip().lower() for name in next(csv.reader([line], delimiter=delimiter), [])]

    delimiter = separator or max(
        ",;\t|",
        key=lambda each: (
            sum(name in COLUMNS for name in known(each)),
            is_foreign(known(each), COLUMNS),
            line.count(each),
        ),
    )
    names = known(delimiter)
    if is_foreign(names, COLUMNS):
        check_header(names, rules.foreign)
        return delimiter, names
    needed = (*NEEDED, "basis") if not rules.basis else NEEDED
    missing = [name for name in needed if name not in names]
    if missing:
        raise UsageError(
            f"The file has no column {', '.join(missing)}.",
            mend="Name the columns in the first line"
            + (", or say --basis for all rows." if missing == ["basis"] else f": {', '.join(needed)}."),
        )
    strange = [name for name in names if name not in COLUMNS]
    if strange or len(set(names)) < len(names):
        raise UsageError(
            f"The file has an unknown column, or one twice: {', '.join(strange or names)[:200]}.",
            mend=f"Available: {', '.join(COLUMNS)}; remove the others.",
        )
    return delimiter, names


def records(lines: list[str], start: int, delimiter: str) -> Iterator[tuple[int, str, list[str] | None]]:
    """(number of the first line, text, fields) of each record; None: a quote is never closed, and the next line is tried."""
    at = start
    while at < len(lines):
        raw, end = lines[at], at + 1
        while raw.count('"') % 2 and end < len(lines) and end - at < LINES_PER_ROW_MAX:
            raw, end = f"{raw}\n{lines[end]}", end + 1
        if raw.count('"') % 2:
            yield at + 1, lines[at], None
            at += 1
            continue
        try:
            fields = next(csv.reader(raw.splitlines(keepends=True), delimiter=delimiter, strict=True), [])
        except csv.Error:
            fields = None
        yield at + 1, raw, fields
        at = end


def _values(names: list[str], fields: list[str] | None, raw: str) -> dict[str, str]:
    if any("\ud800" <= char <= "\udfff" for char in raw):
        raise BadRecord("encoding", "it is not UTF-8 text; save the file as UTF-8, or name its --encoding")
    if fields is None:
        raise BadRecord("quotes", "a quote is opened and not closed, or text follows a closed one")
    if len(fields) != len(names):
        raise BadRecord("fields", f"it has {len(fields)} fields, and the header {len(names)}")
    values = {name: field.strip() for name, field in zip(names, fields, strict=True) if field.strip()}
    for name, value in values.items():
        if any(char < " " and char != "\n" for char in value) or "\x7f" in value:
            raise BadRecord("control", f"{name} has control characters")
        if len(value) > (PROOF_CHARS_MAX if name in PROOFS else ID_CHARS_MAX * 2):
            raise BadRecord("long", f"{name} is too long")
    return values


def _record(values: Mapping[str, str], raw: str, rules: RowRules) -> Consent:
    for name in NEEDED:
        if name not in values:
            raise BadRecord("missing", f"{name} is empty")
    if len(values["customer"]) > ID_CHARS_MAX:
        raise BadRecord("long", "customer is too long")
    if values["purpose"] not in rules.purposes:
        known = ", ".join(sorted(rules.purposes))
        raise BadRecord("purpose", f"the policy has no purpose {values['purpose']!r}; it has {known}")
    channel = values["channel"]
    if channel not in ADDRESS_TRAITS:
        raise BadRecord("channel", f"there is no channel {channel!r}; there are {', '.join(ADDRESS_TRAITS)}")
    action = _one_of(values.get("action", "grant").lower(), ACTIONS, "action")
    basis = _one_of(values.get("basis", rules.basis).lower(), BASES, "basis")
    address = sound_address(values["address"], channel)
    given_ms = moment(values["given_at"], "given_at")
    if given_ms > rules.now_ms:
        raise BadRecord("time", "given_at lies in the future")
    for name in ("requested_at", "confirmed_at"):
        if name in values and moment(values[name], name) > rules.now_ms:
            raise BadRecord("time", f"{name} lies in the future")
    key = values.get("row") or hashlib.sha256(raw.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    told = {name: values[name] for name in PROOFS if name in values}
    proof: dict[str, Any] = {**told, "address": address, "basis": basis, "origin": rules.origin, "row": key}
    source = hashlib.sha256(rules.origin.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Consent(
        customer=values["customer"], at_ms=rules.now_ms, id=f"import:{source}:{key}", time_ms=given_ms, action=action,
        purposes={values["purpose"]: [channel]}, source="import", proof=proof,
    )  # fmt: skip


def _one_of(value: str, known: tuple[str, ...], name: str) -> str:
    if value not in known:
        raise BadRecord(name, f"{name} is {value!r}; it may be {', '.join(known)}" if value else f"{name} is empty")
    return value


def sound_address(value: str, channel: str) -> str:
    """The address, normalised. Raises BadRecord for what can be none."""
    if ADDRESS_TRAITS[channel] == "phone":
        return _number(value)
    local, _, domain = value.rpartition("@")
    labels = domain.split(".")
    sound = 0 < len(local) <= 64 and "@" not in local and len(value) <= 254 and not _NOT_EMAIL & set(value)  # noqa: PLR2004 - RFC 5321
    sound = sound and not (local.startswith(".") or local.endswith(".") or ".." in value)
    sound = sound and len(labels) > 1 and all(0 < len(label) <= 63 and label.strip("-") == label for label in labels)  # noqa: PLR2004
    if not sound or not normal_address(value, channel):
        raise BadRecord("address", f"{value[:60]!r} is not an e-mail address")
    return normal_address(value, channel)


def _number(value: str) -> str:
    import phonenumbers

    try:
        number = phonenumbers.parse(value, None)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_valid_number(number):
        raise BadRecord(
            "address", f"{value[:60]!r} is not a telephone number with its country, such as +49 1511 2345678"
        )
    found: str = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return found


def moment(value: str, name: str) -> int:
    """The time in milliseconds. Raises BadRecord for one without a zone."""
    from engine.collector.intake.values import instant

    try:
        zoned = dt.datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        zoned = False
    if not zoned:
        raise BadRecord("time", f"{name} is not a time with its zone, such as 2026-03-27T09:00:00+01:00")
    at_ms = instant(value, name)
    assert at_ms is not None, "it is not empty"
    return at_ms


def _content(values: Mapping[str, str]) -> str:
    parts = [values.get(name, "") for name in (*NEEDED, "action")]
    return "\x1f".join(parts)


def _shown(raw: str) -> str:
    return raw.encode("utf-8", "backslashreplace").decode()

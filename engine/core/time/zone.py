"""Time zones and time texts: from what customers and shops send us to UTC milliseconds and local days, and back.

Invariant: a local time that does not exist (spring gap) is the first instant after the gap, one that exists twice (autumn)
is the first; nothing a customer sends raises here, it is at worst not a time or not a zone.
The zone data is the machine's (or the `tzdata` package's); `COUNTRY_ZONES` comes from its zone.tab.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Mapping
from zoneinfo import ZoneInfo

from engine.core.reading.countries import read_country
from engine.core.reading.instants import epoch_ms, epoch_of_text, written
from engine.core.reading.zones import read_zone, zone_or_none

UTC = ZoneInfo("UTC")

TIME_MS_MIN = -62_135_424_000_000
"""0001-01-03: two days short of the calendar's first day, so that every zone can show it."""
TIME_MS_MAX = 253_402_041_600_000
"""9999-12-29, for the same reason. Later times are taken as this one."""
HAPPENED_MS_MIN = 946_684_800_000
"""2000-01-01. What happened earlier was a number of another unit, or a clock that was never set."""
AHEAD_MS_MAX = 86_400_000
"""How far ahead of us a clock may be."""

ZONE_TRAITS = frozenset({"country", "timezone"})
"""The traits that decide a customer's clock (and holidays)."""

_DAY_MS = 86_400_000
_MINUTES = tuple(f"{minute // 60:02d}:{minute % 60:02d}" for minute in range(24 * 60))
_EPOCH_ORDINAL = dt.date(1970, 1, 1).toordinal()
_DAY_SECONDS = 86_400
_YEARLESS = re.compile(r"--(\d{2})-(\d{2})", re.ASCII)
_LEAP_YEAR = 4

_TABLE = """
AD Europe/Andorra AE Asia/Dubai AF Asia/Kabul AG America/Antigua AI America/Anguilla AL Europe/Tirane
AM Asia/Yerevan AO Africa/Luanda AR America/Argentina/Buenos_Aires AS Pacific/Pago_Pago AT Europe/Vienna
AW America/Aruba AX Europe/Mariehamn AZ Asia/Baku BA Europe/Sarajevo BB America/Barbados BD Asia/Dhaka
BE Europe/Brussels BF Africa/Ouagadougou BG Europe/Sofia BH Asia/Bahrain BI Africa/Bujumbura BJ Africa/Porto-Novo
BL America/St_Barthelemy BM Atlantic/Bermuda BN Asia/Brunei BO America/La_Paz BQ America/Kralendijk
BS America/Nassau BT Asia/Thimphu BW Africa/Gaborone BY Europe/Minsk BZ America/Belize CC Indian/Cocos
CF Africa/Bangui CG Africa/Brazzaville CH Europe/Zurich CI Africa/Abidjan CK Pacific/Rarotonga CM Africa/Douala
CO America/Bogota CR America/Costa_Rica CU America/Havana CV Atlantic/Cape_Verde CW America/Curacao
CX Indian/Christmas CY Asia/Nicosia CZ Europe/Prague DE Europe/Berlin DJ Africa/Djibouti DK Europe/Copenhagen
DM America/Dominica DO America/Santo_Domingo DZ Africa/Algiers EE Europe/Tallinn EG Africa/Cairo EH Africa/El_Aaiun
ER Africa/Asmara ET Africa/Addis_Ababa FI Europe/Helsinki FJ Pacific/Fiji FK Atlantic/Stanley FO Atlantic/Faroe
FR Europe/Paris GA Africa/Libreville GB Europe/London GD America/Grenada GE Asia/Tbilisi GF America/Cayenne
GG Europe/Guernsey GH Africa/Accra GI Europe/Gibraltar GM Africa/Banjul GN Africa/Conakry GP America/Guadeloupe
GQ Africa/Malabo GR Europe/Athens GS Atlantic/South_Georgia GT America/Guatemala GU Pacific/Guam GW Africa/Bissau
GY America/Guyana HK Asia/Hong_Kong HN America/Tegucigalpa HR Europe/Zagreb HT America/Port-au-Prince
HU Europe/Budapest IE Europe/Dublin IL Asia/Jerusalem IM Europe/Isle_of_Man IN Asia/Kolkata IO Indian/Chagos
IQ Asia/Baghdad IR Asia/Tehran IS Atlantic/Reykjavik IT Europe/Rome JE Europe/Jersey JM America/Jamaica
JO Asia/Amman JP Asia/Tokyo KE Africa/Nairobi KG Asia/Bishkek KH Asia/Phnom_Penh KM Indian/Comoro
KN America/St_Kitts KP Asia/Pyongyang KR Asia/Seoul KW Asia/Kuwait KY America/Cayman LA Asia/Vientiane
LB Asia/Beirut LC America/St_Lucia LI Europe/Vaduz LK Asia/Colombo LR Africa/Monrovia LS Africa/Maseru
LT Europe/Vilnius LU Europe/Luxembourg LV Europe/Riga LY Africa/Tripoli MA Africa/Casablanca MC Europe/Monaco
MD Europe/Chisinau ME Europe/Podgorica MF America/Marigot MG Indian/Antananarivo MH Pacific/Majuro MK Europe/Skopje
ML Africa/Bamako MM Asia/Yangon MO Asia/Macau MP Pacific/Saipan MQ America/Martinique MR Africa/Nouakchott
MS America/Montserrat MT Europe/Malta MU Indian/Mauritius MV Indian/Maldives MW Africa/Blantyre MY Asia/Kuala_Lumpur
MZ Africa/Maputo NA Africa/Windhoek NC Pacific/Noumea NE Africa/Niamey NF Pacific/Norfolk NG Africa/Lagos
NI America/Managua NL Europe/Amsterdam NO Europe/Oslo NP Asia/Kathmandu NR Pacific/Nauru NU Pacific/Niue
OM Asia/Muscat PA America/Panama PE America/Lima PH Asia/Manila PK Asia/Karachi PL Europe/Warsaw PM America/Miquelon
PN Pacific/Pitcairn PR America/Puerto_Rico PS Asia/Gaza PW Pacific/Palau PY America/Asuncion QA Asia/Qatar
RE Indian/Reunion RO Europe/Bucharest RS Europe/Belgrade RW Africa/Kigali SA Asia/Riyadh SB Pacific/Guadalcanal
SC Indian/Mahe SD Africa/Khartoum SE Europe/Stockholm SG Asia/Singapore SH Atlantic/St_Helena SI Europe/Ljubljana
SJ Arctic/Longyearbyen SK Europe/Bratislava SL Africa/Freetown SM Europe/San_Marino SN Africa/Dakar
SO Africa/Mogadishu SR America/Paramaribo SS Africa/Juba ST Africa/Sao_Tome SV America/El_Salvador
SX America/Lower_Princes SY Asia/Damascus SZ Africa/Mbabane TC America/Grand_Turk TD Africa/Ndjamena
TF Indian/Kerguelen TG Africa/Lome TH Asia/Bangkok TJ Asia/Dushanbe TK Pacific/Fakaofo TL Asia/Dili TM Asia/Ashgabat
TN Africa/Tunis TO Pacific/Tongatapu TR Europe/Istanbul TT America/Port_of_Spain TV Pacific/Funafuti TW Asia/Taipei
TZ Africa/Dar_es_Salaam UG Africa/Kampala UY America/Montevideo UZ Asia/Samarkand VA Europe/Vatican
VC America/St_Vincent VE America/Caracas VG America/Tortola VI America/St_Thomas VN Asia/Ho_Chi_Minh
VU Pacific/Efate WF Pacific/Wallis WS Pacific/Apia YE Asia/Aden YT Indian/Mayotte ZA Africa/Johannesburg
ZM Africa/Lusaka ZW Africa/Harare
"""

COUNTRY_ZONES: dict[str, str] = dict(zip(_TABLE.split()[::2], _TABLE.split()[1::2], strict=True))
"""ISO 3166 code → zone, for countries that have one time: one zone in zone.tab, or several that have shown the same time
from 2020 on (Germany's Berlin and Büsingen, the twelve of Argentina). The others, such as the US or Spain, are not here.
"""


_zone_or_none = functools.lru_cache(maxsize=4096)(zone_or_none)


def zone_named(name: str) -> ZoneInfo:
    """The zone of that tz database name. Raises ValueError with the mend."""
    zone = _zone_or_none(name)
    if zone is None:
        message = f"{name!r} is not a time zone; use a name of the tz database, such as Europe/Berlin or UTC"
        raise ValueError(message)
    return zone


def zone_of(traits: Mapping[str, object], project_zone: ZoneInfo) -> ZoneInfo:
    """A customer's zone: the trait `timezone`, else that of the trait `country`, else the project's.

    A trait that names no zone or a country with several counts as missing. Both are canonical since they are read at
    intake; what was stored before is read here.
    """
    name = traits.get("timezone")
    if isinstance(name, str):
        zone = _zone_or_none(name) or _zone_or_none(read_zone(name)[0])
        if zone is not None:
            return zone
    country = traits.get("country")
    if isinstance(country, str):
        zone = _zone_or_none(COUNTRY_ZONES.get(country) or COUNTRY_ZONES.get(read_country(country)[0], ""))
        if zone is not None:
            return zone
    return project_zone


@functools.lru_cache(maxsize=65_536)
def steady_offset_ms(zone: ZoneInfo, day: int) -> int | None:
    """The zone's offset where it is the same from three days before that UTC day (days since 1970) to three days after it.

    None around a clock change and at the ends of time. It turns almost all calendar arithmetic into plain additions.
    """
    first, last = (day - 3) * _DAY_SECONDS, (day + 4) * _DAY_SECONDS
    if first * 1000 < TIME_MS_MIN or last * 1000 > TIME_MS_MAX:
        return None
    offsets = {
        _seconds(dt.datetime.fromtimestamp(second, zone).utcoffset()) for second in range(first, last + 1, _DAY_SECONDS)
    }
    return offsets.pop() * 1000 if len(offsets) == 1 else None


def resolve_local(local: dt.datetime, zone: ZoneInfo) -> int:
    """The instant of a local time in `zone` (its own tzinfo and fold are ignored), to the millisecond.

    In a gap: the first instant after it. Existing twice: the first.
    """
    wall = ((local.toordinal() - _EPOCH_ORDINAL) * 24 + local.hour) * 3600 + local.minute * 60 + local.second
    offset_ms = steady_offset_ms(zone, wall // _DAY_SECONDS)
    if offset_ms is not None:
        return wall * 1000 + local.microsecond // 1000 - offset_ms
    first = zone.utcoffset(local.replace(fold=0))
    second = zone.utcoffset(local.replace(fold=1))
    assert first is not None
    assert second is not None
    if first < second:
        return _gap_end(wall, wall - _seconds(second), wall - _seconds(first), zone) * 1000
    return (wall - _seconds(first)) * 1000 + local.microsecond // 1000


def _gap_end(wall: int, before: int, after: int, zone: ZoneInfo) -> int:
    """The first instant (UTC seconds) in (before, after] whose local time lies behind `wall` (local seconds)."""
    while after - before > 1:
        middle = (before + after) // 2
        if middle + _seconds(dt.datetime.fromtimestamp(middle, zone).utcoffset()) > wall:
            after = middle
        else:
            before = middle
    return after


def _seconds(offset: dt.timedelta | None) -> int:
    assert offset is not None
    return offset.days * _DAY_SECONDS + offset.seconds


def local_datetime(at_ms: int, zone: ZoneInfo) -> dt.datetime:
    """The local time, aware, to the millisecond."""
    if not TIME_MS_MIN <= at_ms <= TIME_MS_MAX:
        at_ms = TIME_MS_MIN if at_ms < TIME_MS_MIN else TIME_MS_MAX
    second, rest_ms = divmod(at_ms, 1000)
    local = dt.datetime.fromtimestamp(second, zone)
    return local.replace(microsecond=rest_ms * 1000) if rest_ms else local


def day_number(at_ms: int, zone: ZoneInfo) -> int:
    """The local calendar day as a proleptic ordinal (`date.toordinal`)."""
    return local_datetime(at_ms, zone).toordinal()


def rfc3339(at_ms: int) -> str:
    """`2026-03-27T09:00:00Z`, with milliseconds only when they are not zero."""
    if not TIME_MS_MIN <= at_ms <= TIME_MS_MAX:
        return local_datetime(at_ms, UTC).isoformat()[:19] + "Z"
    day, rest_ms = divmod(at_ms, _DAY_MS)
    minute, rest_ms = divmod(rest_ms, 60_000)
    second, rest_ms = divmod(rest_ms, 1_000)
    return (
        f"{_date_text(day)}T{_MINUTES[minute]}:{second:02d}.{rest_ms:03d}Z"
        if rest_ms
        else (f"{_date_text(day)}T{_MINUTES[minute]}:{second:02d}Z")
    )


@functools.lru_cache(maxsize=4096)
def _date_text(day: int) -> str:
    """The date of a day since the epoch."""
    return dt.date.fromordinal(_EPOCH_ORDINAL + day).isoformat()


def parse_time(value: object, zone: ZoneInfo = UTC) -> int | None:
    """UTC milliseconds of a time as `engine.core.reading.instants` reads it, a date or datetime; None when it is none.

    Without an offset it is a local time in `zone`; a date is its midnight. Numbers (and texts of them) are seconds,
    milli-, micro- or nanoseconds, by their size. Times outside the years 1 to 9999 are None.
    """
    if isinstance(value, str):
        return _parse_text(value, zone)
    if isinstance(value, dt.datetime):
        return _instant(value, zone)
    if isinstance(value, dt.date):
        return _instant(dt.datetime(value.year, value.month, value.day), zone)  # noqa: DTZ001 - local by meaning
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _within(epoch_ms(value))
    return None


def _parse_text(text: str, zone: ZoneInfo) -> int | None:
    at_ms = epoch_of_text(text)
    if at_ms is not None:
        return _within(at_ms)
    said = written(text)
    return None if said is None else _instant(said.at, zone)


def _within(at_ms: int | None) -> int | None:
    return at_ms if at_ms is not None and TIME_MS_MIN <= at_ms <= TIME_MS_MAX else None


def _instant(moment: dt.datetime, zone: ZoneInfo) -> int | None:
    if moment.tzinfo is None:
        at_ms = resolve_local(moment, zone)
    else:
        wall = (
            (moment.toordinal() - _EPOCH_ORDINAL) * _DAY_SECONDS
            + moment.hour * 3600
            + moment.minute * 60
            + moment.second
        )
        at_ms = (wall - _seconds(moment.utcoffset())) * 1000 + moment.microsecond // 1000
    return min(max(at_ms, TIME_MS_MIN), TIME_MS_MAX)


def parse_date(value: object, zone: ZoneInfo) -> dt.date | None:
    """The calendar day of a date trait, or None.

    A text's day is taken as written, whatever its offset (shops send birthdays as midnight UTC); a number's day is that in
    `zone`. `--03-27`, a birthday without a year, is in the year 4: good for a yearly date, long past for others.
    """
    if isinstance(value, str):
        yearless = _YEARLESS.fullmatch(value)
        if yearless is not None:
            try:
                return dt.date(_LEAP_YEAR, int(yearless[1]), int(yearless[2]))
            except ValueError:
                return None
        said = written(value) if epoch_of_text(value) is None else None
        if said is not None:
            return said.at.date()
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, dt.date):
        return value
    at_ms = parse_time(value, zone)
    return None if at_ms is None else local_datetime(at_ms, zone).date()

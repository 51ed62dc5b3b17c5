"""`anlass emit`: sends a file of events to a collector (`emit_kafka`: to Kafka) with progress, and can go on where it stopped.

Invariant: a line is either acknowledged as durable, reported with its number and the reason, or at or after the line named for
`--from-line`. A line without `messageId` gets one that depends on the line only, so that sending it twice is harmless.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from engine.cli.operate.emit_kafka import KafkaTarget, kafka_target, send_to_kafka
from engine.cli.operate.lines import Line, Tally, complain, good_lines, move, stream_size
from engine.cli.options import project_option
from engine.cli.output import progress
from engine.errors import AnlassError, ServiceUnreachable, SettingsError, UsageError

if TYPE_CHECKING:
    import aiohttp

BATCH_EVENTS = 100
BATCH_BYTES_MAX = 400_000
ATTEMPTS_MAX = 8
ATTEMPTS_FIRST = 5
"""While nothing was ever taken: the collector is probably not running at all."""
RETRY_SECONDS_FIRST = 0.25
RETRY_SECONDS_MAX = 15.0
ANSWER_SECONDS_MAX = 30.0
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


@click.command()
@click.argument("file", metavar="F.jsonl", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--to",
    "target",
    metavar="URL",
    default="",
    help="The collector, or kafka://HOST:PORT; by default the project's collector.",
)
@click.option("--write-key", metavar="KEY", default="", help="By default the first one of the project's settings.")
@click.option(
    "--from-line", type=click.IntRange(min=1), default=1, help="Begin with this line, to go on after a failure."
)
@project_option
def emit(file: Path, *, target: str, write_key: str, from_line: int, folder: Path) -> int:
    """Send events from a file, one JSON object per line as Segment's clients write them; `-` reads standard input.

    Lines that cannot be taken are reported with their number, and the others are sent all the same; the status is then 1. When
    the collector or Kafka cannot be reached the status is 3, and the line to go on with is printed. `--to kafka://` writes to the
    Kafka of the project's settings; with a host, /PREFIX after it names the topics' prefix when it is not `anlass.`.

    Examples:
      anlass emit examples/events.jsonl
      anlass emit events.jsonl --to http://127.0.0.1:8080 --write-key KEY
      anlass emit events.jsonl --to kafka://127.0.0.1:9092
      anlass emit events.jsonl --from-line 20001
    """
    kafka = _kafka(target, write_key, folder)
    url, key = ("", "") if kafka else _target(target, write_key, folder)
    tally = Tally(done_line=from_line - 1)
    try:
        with click.open_file(str(file), "rb") as stream:
            if kafka:
                send_to_kafka(stream, _name(file), from_line=from_line, target=kafka, tally=tally)
            else:
                asyncio.run(_send_all(stream, _name(file), from_line=from_line, url=url, key=key, tally=tally))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.", mend="Name a file of events.") from error
    except (AnlassError, KeyboardInterrupt):
        click.echo(f"anlass: {_said(tally)}. Go on with --from-line {tally.done_line + 1}.", err=True)
        raise
    click.echo(f"{_said(tally)}.")
    return 1 if tally.refused else 0


def _name(file: Path) -> str:
    return "standard input" if str(file) == "-" else str(file)


def _said(tally: Tally) -> str:
    refused = f", {tally.refused} refused" if tally.refused else ""
    retries = f", {tally.retries} retries" if tally.retries else ""
    return f"{tally.sent} event{'' if tally.sent == 1 else 's'} sent{refused}{retries}"


def _kafka(target: str, write_key: str, folder: Path) -> KafkaTarget | None:
    """Where in Kafka; None when it is not meant. Raises UsageError or SettingsError."""
    if not target.lower().startswith("kafka:"):
        return None
    if write_key:
        raise UsageError("Kafka takes no write key.", mend="Leave --write-key out, or name the collector with --to.")
    if target.lower() not in {"kafka:", "kafka://"}:
        return kafka_target(target)
    from engine.cli.options import project_folder
    from engine.settings import load_settings

    settings = load_settings(project_folder(folder)).kafka
    if not settings.configured:
        raise SettingsError(
            "The project names no Kafka.",
            mend="Write --to kafka://HOST:PORT, or set [kafka] bootstrap or ANLASS_KAFKA.",
        )
    return KafkaTarget(settings.bootstrap, f"{settings.prefix}touchpoints")


def _target(target: str, write_key: str, folder: Path) -> tuple[str, str]:
    """The collector's address and a key. Raises UsageError or SettingsError."""
    if target:
        try:
            parts = urlsplit(target)
        except ValueError:
            raise UsageError(f"{target} is not a web address.", mend="Write --to http://HOST:PORT.") from None
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise UsageError(f"{target} is not a web address.", mend="Write --to http://HOST:PORT.")
    if target and write_key:
        return target.rstrip("/"), write_key
    from engine.bootstrap import running_url
    from engine.cli.options import project_folder
    from engine.settings import load_settings

    try:
        settings = load_settings(project_folder(folder))
    except (UsageError, SettingsError) as error:
        if target:  # another machine's collector needs no project here; without keys it takes any
            return target.rstrip("/"), write_key or "anlass"
        raise UsageError(
            error.message, mend="Name the collector with --to URL, or the project with --project."
        ) from error
    host = settings.collector.bind
    local = f"http://{'127.0.0.1' if host in {'0.0.0.0', '::'} else host}:{settings.collector.port}"  # noqa: S104
    url = target or running_url(settings.database_path.parent) or local
    return url.rstrip("/"), write_key or settings.collector.server_key or "anlass"


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    size = 0
    for line in lines:
        if batch and (len(batch) == BATCH_EVENTS or size + len(line.event) > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.event) + 1
    if batch:
        yield batch


# ------------------------------------------------------------------------------------------------------- sending


async def _send_all(stream: IO[bytes], name: str, *, from_line: int, url: str, key: str, tally: Tally) -> None:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
    async with aiohttp.ClientSession(auth=aiohttp.BasicAuth(key), timeout=timeout) as session:
        with progress(unit="bytes") as bar:
            task = bar.add_task("Sending", total=stream_size(stream))
            for batch in _batches(good_lines(stream, tally, name=name, from_line=from_line)):
                await _send(session, f"{url}/v1/batch", batch, name=name, tally=tally)
                tally.done_line = batch[-1].number
                move(bar, task, stream)


async def _send(session: aiohttp.ClientSession, url: str, batch: list[Line], *, name: str, tally: Tally) -> None:
    """Sends one batch until it is answered for good. Raises ServiceUnreachable, SettingsError."""
    body = b'{"batch":[' + b",".join(line.event for line in batch) + b"]}"
    why = ""
    attempts = ATTEMPTS_MAX if tally.sent else ATTEMPTS_FIRST
    for attempt in range(attempts):
        if attempt:
            if not tally.retries:
                click.echo(
                    f"anlass: The collector at {_origin(url)} does not answer yet ({why}); trying again.", err=True
                )
            tally.retries += 1
            await asyncio.sleep(wait_seconds(attempt, why))
        status, answer, why = await _post(session, url, body)
        if status == 200:  # noqa: PLR2004 - HTTP
            tally.sent += len(batch)
            return None
        if status and status not in TRY_AGAIN:
            return await _refused_for_good(session, url, batch, name=name, tally=tally, answered=(status, answer))
    raise ServiceUnreachable(
        f"The collector at {_origin(url)} did not accept the events: {why}.",
        mend="Check that `anlass run` is running there.",
    )


async def _refused_for_good(
    session: aiohttp.ClientSession, url: str, batch: list[Line], *, name: str, tally: Tally, answered: tuple[int, Any]
) -> None:
    """Half by half finds the lines that a collector of another version refuses. Raises SettingsError for our key or address."""
    status, answer = answered
    said = str(answer.get("message", "")) if isinstance(answer, dict) else ""
    code = str(answer.get("code", status)) if isinstance(answer, dict) else str(status)
    if status in {401, 403}:
        raise SettingsError(
            f"The collector at {_origin(url)} does not know the write key.", mend="Give one with --write-key."
        )
    if status in {404, 405} or not isinstance(answer, dict):
        raise UsageError(f"{_origin(url)} is not a collector (it answered {status}).", mend="Name one with --to URL.")
    if len(batch) == 1:
        complain(tally, name, batch[0].number, code=code, message=said)
        return
    middle = len(batch) // 2
    for half in (batch[:middle], batch[middle:]):
        await _send(session, url, half, name=name, tally=tally)
        tally.done_line = half[-1].number


async def _post(session: aiohttp.ClientSession, url: str, body: bytes) -> tuple[int, Any, str]:
    """(status, decoded answer, why it should be tried again). Status 0: nothing was answered."""
    import aiohttp

    try:
        headers = {"Content-Type": "application/json"}
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            text = await response.read()
            try:
                answer = json.loads(text)
            except ValueError:
                answer = None
            after = response.headers.get("Retry-After", "")
            return response.status, answer, f"it answered {response.status}{f', retry after {after}' if after else ''}"
    except TimeoutError:
        return 0, None, f"no answer within {ANSWER_SECONDS_MAX:.0f} s"
    except aiohttp.ClientError as error:
        return 0, None, _reason(error)


def _reason(error: Exception) -> str:
    cause: object = getattr(error, "os_error", None) or error.__cause__ or error
    number = cause.errno if isinstance(cause, OSError) else None
    return (os.strerror(number) if number else str(cause) or type(error).__name__).rstrip(".")


def wait_seconds(attempt: int, why: str) -> float:
    """How long to wait before this attempt (from 1): doubling, at least what the collector asked for, bounded."""
    asked = why.rpartition("retry after ")[2] if "retry after " in why else ""
    named = float(asked) if asked.isdigit() else 0.0
    doubled: float = RETRY_SECONDS_FIRST * 2 ** (attempt - 1)
    return min(RETRY_SECONDS_MAX, max(named, doubled))


def _origin(url: str) -> str:
    return url.removesuffix("/v1/batch")

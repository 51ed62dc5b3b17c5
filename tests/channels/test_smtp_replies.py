"""The reply parser against hostile and odd servers: whatever bytes come, in whatever pieces, an exchange ends cleanly."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any, cast

from hypothesis import example, given
from hypothesis import strategies as st

from channels.mail.smtp import ConnectionBroken, Reply, SmtpConnection


class Wire:
    """The end of a transport that keeps what was written and can be aborted."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing


def hear(pieces: list[bytes], expected: int) -> tuple[list[Reply], str | None, bool]:
    """Return the replies, why it ended early if it did, and whether the connection may be used again."""

    async def run() -> tuple[list[Reply], str | None, bool]:
        connection = SmtpConnection(
            cast("asyncio.Transport", cast("Any", Wire())), {"pipelining": ""}, timeout_seconds=5.0
        )
        exchange = asyncio.ensure_future(connection._exchange(b"X\r\n", expected))
        await asyncio.sleep(0)
        waiter = connection._waiter
        assert waiter is not None
        for piece in pieces:
            connection.data_received(piece)
        if not waiter.done():
            connection.eof_received()
        usable = connection.usable
        try:
            return await exchange, None, usable
        except ConnectionBroken as lost:
            return lost.replies, lost.why, usable
        finally:
            connection.abort()

    return asyncio.run(run())


replies = st.lists(
    st.sampled_from(
        [b"250 ok\r\n", b"250-a\r\n250 b\r\n", b"354 go\n", b"550 5.1.1 no\r\n", b"250\r\n", b"421 bye\r\n"]
    )
    | st.binary(max_size=40),
    max_size=6,
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


@given(replies, st.lists(st.integers(0, 500), max_size=8), st.integers(1, 3))
@example([b"250 ok\r\n250 ok\r\n354 go\r\n"], [3, 7, 8, 9], 3)
@example([b"250-" + b"x" * 40_000], [], 1)
def test_pieces_do_not_matter(stream: list[bytes], places: list[int], expected: int) -> None:
    """The same bytes in other pieces give the same replies, and never another error than `ConnectionBroken`."""
    data = b"".join(stream)
    whole, why, _ = hear([data], expected)
    pieces, why_pieces, _ = hear(cut(data, places), expected)
    assert whole == pieces
    assert (why is None) == (why_pieces is None)
    assert len(whole) <= expected


def test_replies_are_matched_in_order() -> None:
    """Three commands, three replies, multi-line ones joined."""
    got, why, usable = hear([b"250-2.1.0 a\r\n250 b\r\n250 2.1.5 c\r\n354 d\r\n"], 3)
    assert got == [Reply(250, "2.1.0 a b"), Reply(250, "2.1.5 c"), Reply(354, "d")]
    assert (why, usable) == (None, True)


def test_a_surplus_reply_ends_the_connection() -> None:
    """What nobody asked for would be taken for the next command's answer."""
    got, why, usable = hear([b"250 a\r\n", b"250 b\r\n"], 1)
    assert (got, why, usable) == ([Reply(250, "a")], None, False)


def test_closing_in_the_middle_keeps_what_came() -> None:
    """421 for the first of three commands: nothing more will come."""
    got, why, usable = hear([b"421 4.7.0 bye\r\n"], 3)
    assert got == [Reply(421, "4.7.0 bye")]
    assert why is not None
    assert not usable


def test_an_endless_answer_is_cut_off() -> None:
    """Memory is bounded."""
    _, why, usable = hear([b"250-" + b"x" * 1_000 + b"\r\n"] * 100, 1)
    assert why is not None
    assert not usable

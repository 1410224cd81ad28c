"""How a good file becomes a bad one: bytes turned, cut and doubled, words replaced by what programs stumble over."""

from __future__ import annotations

import re

from hypothesis import strategies as st

#: Words that readers of numbers, names and lists stumble over.
WORDS = [
    *(
        "0",
        "-1",
        "-3",
        "1000",
        "65535",
        "2147483648",
        "99999999999999999999",
        "1e308",
        "1e999",
        "-0.0",
        "0x10",
        "1_000",
    ),
    *(
        "nan",
        "inf",
        "-inf",
        "1A",
        "2.5mm",
        "1,5",
        "½",
        "１２",
        "٣",
        "true",
        "null",
        "none",
        "",
        " ",
        "\0",
        "\r",
        "\n\n",
    ),
    *(
        "(",
        ")",
        "(0,0,0)",
        "(1,0,0) (1,0,0) (1,0,0)",
        "1 2",
        "1 1 1 1",
        "0 0 0 0 0 0 0 0 0",
        "%d",
        "%s%n",
        "%03d.raw 0 9 1",
    ),
    *(
        "LIST",
        "LOCAL",
        "/dev/zero",
        "/dev/null",
        "../..",
        "true false",
        '"',
        '""',
        "'",
        ";",
        ",",
        ",,",
        "\t",
        "\ufeff",
        "\ud800",
    ),
    *("[" * 5000, "9" * 5000, "9" * 400, "a" * 200_000, "é", "\u2028", "\x1b[31m", "=1+1"),
]
_WORD = re.compile(rb"[\w.+-]+")


@st.composite
def changed(draw: st.DrawFn, good: bytes, most: int = 4) -> bytes:
    """A good file with one to ``most`` changes."""
    data = good
    for _ in range(draw(st.integers(1, most))):
        data = draw(st.sampled_from([_turned, _cut, _doubled, _reworded, _reworded, _inserted]))(draw, data)
    return data


def _span(draw: st.DrawFn, data: bytes) -> tuple[int, int]:
    # Most of what can go wrong stands near the beginning.
    start = draw(st.one_of(st.integers(0, min(len(data), 600)), st.integers(0, len(data))))
    return start, min(len(data), start + draw(st.one_of(st.integers(0, 8), st.integers(0, 2000))))


def _turned(draw: st.DrawFn, data: bytes) -> bytes:
    at, _ = _span(draw, data)
    return data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]


def _cut(draw: st.DrawFn, data: bytes) -> bytes:
    start, end = _span(draw, data)
    return data[:start] + data[end:] if draw(st.booleans()) else data[: draw(st.integers(0, len(data)))]


def _doubled(draw: st.DrawFn, data: bytes) -> bytes:
    start, end = _span(draw, data)
    return data[:end] + data[start:end] * draw(st.integers(1, 3)) + data[end:]


def _inserted(draw: st.DrawFn, data: bytes) -> bytes:
    at, _ = _span(draw, data)
    return data[:at] + draw(st.one_of(st.binary(max_size=16), _words())) + data[at:]


def _reworded(draw: st.DrawFn, data: bytes) -> bytes:
    words = list(_WORD.finditer(data[:2000]))
    if not words:
        return data
    word = draw(st.sampled_from(words))
    return data[: word.start()] + draw(_words()) + data[word.end() :]


def _words() -> st.SearchStrategy[bytes]:
    return st.sampled_from(WORDS).map(lambda word: word.encode("utf-8", "surrogatepass"))

"""The picture shows what the numbers say."""

from __future__ import annotations

from goodput_proxy.demo.plot import ASCII, BLOCKS, Kind, Point, draw, draw_levels

COLLAPSE = [
    Point(at_s=1, users=2, throughput_rps=2, goodput_rps=2),
    Point(at_s=2, users=4, throughput_rps=4, goodput_rps=4),
    Point(at_s=3, users=8, throughput_rps=4, goodput_rps=1),
    Point(at_s=4, users=9, throughput_rps=4, goodput_rps=0),
]


def plain(text: str, _: Kind) -> str:
    return text


def test_goodput_fills_the_area_of_throughput() -> None:
    """Full cells up to goodput, light ones up to throughput, one scale from zero."""
    assert draw(COLLAPSE, width=40, height=4, glyphs=BLOCKS, paint=plain) == [
        "  4.0 │          ██████████░░░░░░░░░░░░░░░░░░░░",
        "      │          ██████████░░░░░░░░░░░░░░░░░░░░",
        "      │████████████████████░░░░░░░░░░░░░░░░░░░░",
        "      │██████████████████████████████░░░░░░░░░░",
        "    0 ┴┴──────┴───────┴───────┴───────┴───────┴",
        "    0.0s   0.8s    1.6s    2.4s    3.2s    4.0s",
        "       2      2       4       8       9       9 users",
    ]


def test_plain_characters_without_unicode() -> None:
    """A terminal that cannot show blocks gets the same picture."""
    lines = draw(COLLAPSE, width=8, height=2, glyphs=ASCII, paint=plain)
    assert lines[:2] == ["      |  ##....", "      |######.."]
    assert all(line.isascii() for line in lines)


def test_each_area_is_painted_by_its_kind() -> None:
    """Neighbouring cells of one kind are painted together, and empty ones as such."""
    painted: list[tuple[str, Kind]] = []

    def paint(text: str, kind: Kind) -> str:
        painted.append((text, kind))
        return text

    draw(COLLAPSE, width=4, height=2, glyphs=ASCII, paint=paint)
    assert painted == [
        (" ", "empty"),
        ("#", "good"),
        ("..", "late"),
        ("###", "good"),
        (".", "late"),
    ]


def test_levels_are_bars_with_the_place_where_the_promise_breaks() -> None:
    """One bar for each level, its users below it, and a mark before the first broken one."""
    assert draw_levels(COLLAPSE, height=4, knee=4, glyphs=BLOCKS, paint=plain) == [
        "  4.0 │          ██████  ░░░░░░  ░░░░░░",
        "      │          ██████  ░░░░░░  ░░░░░░",
        "      │  ██████  ██████  ░░░░░░  ░░░░░░",
        "      │  ██████  ██████  ██████  ░░░░░░",
        "    0 ┴────────────────────────────────",
        "           2       4       8       9  at once",
        "                        ▲ from here on the promise is broken",
    ]


def test_levels_that_all_keep_the_promise_have_no_mark() -> None:
    """Where nothing breaks nothing is marked."""
    lines = draw_levels(COLLAPSE, height=4, knee=9, glyphs=ASCII, paint=plain)
    assert len(lines) == 6
    assert "".join(lines).isascii()


def test_standstill_is_an_empty_picture() -> None:
    """A run in which nothing was answered has axes and no areas."""
    still = [Point(at_s=60, users=4, throughput_rps=0, goodput_rps=0)]
    lines = draw(still, width=10, height=2, glyphs=ASCII, paint=plain)
    assert [line.strip() for line in lines[:2]] == ["|", "|"]

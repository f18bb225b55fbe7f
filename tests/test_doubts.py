"""Policies that can hardly be meant: each is told once, and what may be meant is not."""

from __future__ import annotations

from typing import Any

import pytest

from goodput_proxy.doubts import find_doubts
from goodput_proxy.policy import build_policy
from goodput_proxy.settings import Settings


def doubts(**settings: Any) -> list[str]:
    """Return what is doubtful about settings."""
    return find_doubts(build_policy(Settings.model_validate(settings)))


def doubts_of(*matches: dict[str, Any], **settings: Any) -> list[str]:
    """Return what is doubtful about classes a, b and so on that match so."""
    classes = [{"name": "abc"[i], "match": match} for i, match in enumerate(matches)]
    return doubts(slo_classes=classes, **settings)


@pytest.mark.parametrize(
    ("earlier", "later", "why"),
    [
        ({}, {}, "a has the same match"),
        ({"model": "m*"}, {"model": "m*"}, "a has the same match"),
        ({"headers": {"X-A": "1"}}, {"headers": {"x-a": "1"}}, "a has the same match"),
        ({}, {"model": "m"}, "a takes all of it before"),
        ({"model": "*"}, {"path": "/v1/*"}, "a takes all of it before"),
        ({"model": "*", "path": "*"}, {}, "a takes all of it before"),
        ({"model": "m*"}, {"model": "m7"}, "a takes all of it before"),
        ({"model": "m*"}, {"model": "m*", "path": "/x"}, "a takes all of it before"),
        ({"headers": {"a": "?"}}, {"headers": {"A": "x", "b": "y"}}, "a takes all of it before"),
    ],
)
def test_a_class_that_takes_nothing(
    earlier: dict[str, Any], later: dict[str, Any], why: str
) -> None:
    """A class is told of when one before it takes all that it would."""
    assert doubts_of(earlier, later) == [f"slo_classes.1: b takes nothing: {why}"]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"model": "m"}, {}),
        ({"model": "m"}, {"model": "n"}),
        ({"model": "m7"}, {"model": "m*"}),
        ({"model": "m*"}, {"path": "/m"}),
        ({"model": "m", "path": "/x"}, {"model": "m"}),
        ({"headers": {"a": "x"}}, {"headers": {"b": "x"}}),
        ({"headers": {"model": "x"}}, {"model": "x"}),
    ],
)
def test_a_class_that_takes_something(earlier: dict[str, Any], later: dict[str, Any]) -> None:
    """A class with requests of its own is in order."""
    assert doubts_of(earlier, later) == []


def test_a_class_is_told_of_once() -> None:
    """However many classes stand in its way, there is one line."""
    assert doubts_of({"model": "m"}, {"model": "m*"}, {"model": "m"}) == [
        "slo_classes.2: c takes nothing: a has the same match"
    ]


def test_a_class_that_can_be_named_need_not_match() -> None:
    """With `x-slo-class` a class behind one that takes everything is there to be named."""
    assert doubts_of({}, {}, slo_headers={"classes": True}) == []
    assert len(doubts_of({}, {}, slo_headers={"limits": True})) == 1


def test_paths_without_a_slash() -> None:
    """A path begins with a slash, so what begins with another character takes nothing."""
    assert doubts_of({"path": "v1/*"}, {"path": "/v1/*"}, {"path": "*/chat"}) == [
        "slo_classes.0.match.path: 'v1/*' takes nothing: paths begin with a slash"
    ]


def test_limits_that_decide_nothing() -> None:
    """A limit above one that it is a part of is never the only one that is missed."""
    assert doubts(
        slo={"ttft": "2s", "itl": "1s", "stall": "500ms", "e2e": "1s"},
        slo_classes=[{"name": "a", "match": {"model": "m"}, "stall": "2s", "e2e": "1s"}],
    ) == [
        "slo_classes.0.stall: 2s is never missed alone: e2e is 1s",
        "slo.itl: 1s is never missed alone: stall is 500ms",
        "slo.ttft: 2s is never missed alone: e2e is 1s",
    ]


def test_the_defaults_are_in_order() -> None:
    """Nobody is told of what is no choice of theirs, nor of limits that are equal."""
    assert doubts() == []
    assert doubts(slo={"itl": "1s", "stall": "1s"}) == []

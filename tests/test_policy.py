"""Which class takes a request, and with which limits."""

from __future__ import annotations

import pytest

from goodput_proxy.faults import SloHeaderFault
from goodput_proxy.policy import Policy, build_policy
from goodput_proxy.settings import Settings
from goodput_proxy.slo import Dimension, Limits

MS = 10**6


@pytest.fixture
def policy() -> Policy:
    """A policy with a class for each kind of match."""
    settings = Settings.model_validate(
        {
            "slo": {"ttft": "1s", "objective": 0.9},
            "slo_classes": [
                {"name": "gold", "match": {"headers": {"X-Tier": "gold*"}}, "ttft": "100ms"},
                {"name": "exact", "match": {"model": "org/m-7b"}},
                {"name": "llama", "match": {"model": "*llama*", "path": "/v1/*"}, "e2e": "9s"},
            ],
        }
    )
    return build_policy(settings)


@pytest.mark.parametrize(
    ("name", "model", "path", "headers"),
    [
        ("gold", "x", "/", [(b"x-TIER", b"golden")]),
        ("gold", "org/m-7b", "/", [(b"X-Tier", b"gold")]),
        ("exact", "org/m-7b", "/", [(b"X-Tier", b"silver")]),
        ("llama", "meta/llama-3", "/v1/completions", []),
        ("default", "meta/llama-3", "/v2/completions", []),
        ("default", "org/m-7b-chat", "/v1/completions", []),
        ("default", "unknown", "/", []),
    ],
)
def test_the_first_class_that_matches_takes_a_request(
    policy: Policy, name: str, model: str, path: str, headers: list[tuple[bytes, bytes]]
) -> None:
    """Classes are tried in order, `default` last; all parts of a match must fit."""
    assert name == policy.find(model, path, headers).name


def test_the_policy_carries_limits_and_objectives(policy: Policy) -> None:
    """Each class has its own limits; a class inherits none of the default's."""
    gold, exact, llama, default = policy.classes

    assert Limits(ttft_ns=100_000_000) == gold.limits
    assert Limits() == exact.limits
    assert llama.limits.items() == [(Dimension.E2E, 9 * 10**9)]
    assert Limits(ttft_ns=10**9, itl_ns=10**8) == default.limits
    assert (gold.objective, default.objective) == (0.95, 0.9)
    assert policy.pinned_models == ("org/m-7b",)


@pytest.mark.parametrize(
    ("glob", "value", "fits"),
    [
        ("*", None, True),  # an absent header is an empty one
        ("", None, True),
        ("?*", None, False),
        ("?*", b"x", True),
        ("gold", b"Gold", False),
        ("a[bc]", b"ac", True),
        ("Müller", "Müller".encode(), True),
        ("*", b"\xff", True),
    ],
)
def test_globs_on_headers(glob: str, value: bytes | None, *, fits: bool) -> None:
    """Values are matched as they are, as UTF-8; names in any case."""
    settings = Settings.model_validate(
        {"slo_classes": [{"name": "a", "match": {"headers": {"X-Tenant": glob}}}]}
    )
    headers = [] if value is None else [(b"x-tenant", value)]
    found = build_policy(settings).find("m", "/", headers)

    assert found.name == ("a" if fits else "default")


def test_a_header_may_have_any_name() -> None:
    """A header called `model` or `path` is neither the request's model nor its path."""
    match = {"headers": {"model": "a", "path": "b"}}
    policy = build_policy(Settings.model_validate({"slo_classes": [{"name": "c", "match": match}]}))

    assert policy.find("a", "b", []).name == "default"
    assert policy.find("x", "/", [(b"Model", b"a"), (b"Path", b"b")]).name == "c"
    assert not policy.names("b")
    assert policy.pinned_models == ()


def test_a_class_can_be_meant_for_a_path(policy: Policy) -> None:
    """Only a class that names a path is meant for what is not text."""
    assert policy.names("/v1/embeddings")
    assert not policy.names("/v2/embeddings")


# -- what requests choose for themselves

HEADERS = [(b"X-SLO-Class", b"llama"), (b"x-slo-ttft-ms", b"7"), (b"x-slo-tpot-ms", b"8.5")]


def build(*, limits: bool = False, classes: bool = False) -> Policy:
    """Return a policy whose requests may choose."""
    return build_policy(
        Settings.model_validate(
            {
                "slo_headers": {"limits": limits, "classes": classes, "largest": "1s"},
                "slo_classes": [
                    {"name": "any", "stall": "1s"},
                    {"name": "llama", "match": {"model": "*llama*"}, "itl": "9s", "e2e": "1m"},
                ],
            }
        )
    )


ANY, LLAMA = Limits(stall_ns=10**9), Limits(itl_ns=9 * 10**9, e2e_ns=60 * 10**9)


@pytest.mark.parametrize(
    ("limits", "classes", "name", "expected"),
    [
        (False, False, "any", ANY),
        (True, False, "any", Limits(7 * MS, 8_500_000, stall_ns=10**9)),
        (False, True, "llama", LLAMA),
        (True, True, "llama", Limits(7 * MS, 8_500_000, e2e_ns=60 * 10**9)),
    ],
)
def test_requests_choose_what_they_may(
    name: str, expected: Limits, *, limits: bool, classes: bool
) -> None:
    """Limits stand in for the class's, a name for its match; each has to be allowed."""
    policy = build(limits=limits, classes=classes)
    slo = policy.find("m", "/", HEADERS, policy.read_overrides(HEADERS))

    assert (slo.name, slo.limits, slo.objective) == (name, expected, 0.95)
    assert policy.find("m", "/", HEADERS).limits == ANY


def test_a_request_that_chooses_nothing_gets_the_class_itself() -> None:
    """Nothing is copied for the many."""
    policy = build(limits=True, classes=True)

    assert policy.find("m", "/", [], policy.read_overrides([])) is policy.classes[0]


@pytest.mark.parametrize(
    ("named", "name"), [(b"default", "default"), (b"any", "any"), (b"Llama", "any")]
)
def test_a_class_is_named_exactly(named: bytes, name: str) -> None:
    """Each class can be named, `default` too; what is none of them is as if it were absent."""
    policy = build(classes=True)
    headers = [(b"x-slo-class", named)]
    overrides = policy.read_overrides(headers)

    assert policy.find("m", "/", headers, overrides).name == name
    assert overrides.faults == ((SloHeaderFault.UNKNOWN_CLASS,) if named == b"Llama" else ())

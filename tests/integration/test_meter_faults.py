"""The meter cannot hurt: whatever function of it raises, the bytes are intact and it is counted.

Every function of every module that the meter is made of is broken, one after the other, while real
traffic that reaches it goes through a real proxy. Which traffic does is found by watching all of it
first; a function that none reaches fails here until a session is added that does. So does a
function that is called outside the guard.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from types import CodeType  # noqa: TC003 -- a named tuple looks its types up
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import uvloop

from goodput_proxy import classify
from goodput_proxy.buckets import spell
from goodput_proxy.policy import build_policy
from goodput_proxy.settings import Settings
from goodput_proxy.stream.endpoints import find_endpoint
from tests.integration.fake_upstream import FakeUpstream
from tests.integration.functions import broken, find_functions, watched
from tests.integration.harness import RunningProxy
from tests.integration.sessions import SESSIONS
from tests.test_imports import own_imports
from tests.waiting import eventually

if TYPE_CHECKING:
    from types import FunctionType

    from tests.integration.conftest import StartProxy

SETTINGS: dict[str, Any] = {
    "slo": {"ttft": "60s", "itl": "60s"},
    "slo_classes": [
        {"name": "gold", "match": {"model": "m*", "headers": {"x-tier": "gold"}}, "ttft": "60s"},
        {"name": "strict", "match": {"headers": {"x-tier": "strict"}}, "ttft": "1ns", "itl": "1ns"},
        {"name": "vectors", "match": {"path": "/v1/embeddings"}, "e2e": "60s"},
    ],
    "slo_headers": {"limits": True, "classes": True},
    "log": {"requests": 1.0},
}
# What the meter is made of: these, and what they import.
ROOTS = ("meters", "requestlog")
# What the data path has in common with the meter: it cannot be broken and still work.
SHARED = frozenset(("faults", "heads", "upgrades", "duration", "address"))
# What counts, where nothing is left behind it that could count instead; bytes are still intact.
LAST_RESORT = frozenset(
    tuple(f"metrics.Metrics.{name}" for name in ("begin", "end", "passthrough", "tap_error"))
)


# What is counted for each call, and not once for a request or for its meter.
OFTEN = ("tapqueue.", "metrics.Metrics.overhead", "buckets.Child.observe")
# What no request reaches.
ASIDE = {
    "metrics.Metrics.loop_lag": "a timer does; it is guarded, too",
    "metrics.Metrics.client_fault": "clients that keep the proxy waiting do; it is guarded, too",
    "metrics.Metrics.tls_certificate_ends": "certificates do",
    "metrics.Metrics.tls_reload": "certificates do",
    "stream.endpoints._row": "the import does",
}


class Reach(NamedTuple):
    """What code runs when."""

    by_session: dict[str, set[CodeType]]
    aside: set[CodeType]


def modules() -> list[str]:
    """Return the modules that the meter is made of."""
    found: set[str] = set()
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name not in found | SHARED and not name.startswith("settings"):
            found.add(name)
            waiting += [target for target, _ in own_imports(name)]
    return sorted(f"goodput_proxy.{name}" for name in found)


FUNCTIONS = {
    name: function
    for name, function in find_functions(modules()).items()
    if not name.startswith("guard.")
}
# The live page is told of verdicts; what goes wrong behind that depends on the clock, and comes
# out here in any case.
OBSERVER = "live.history.History.observe"
FUNCTIONS[OBSERVER] = find_functions(["goodput_proxy.live.history"])[OBSERVER]


def forget() -> None:
    """Forget what functions have answered before."""
    classify.classify.cache_clear()
    spell.cache_clear()
    find_endpoint.cache_clear()


def define(function: FunctionType) -> tuple[ast.FunctionDef, list[ast.stmt]]:
    """Return the definition of a function, and its body without the docstring."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(definition, ast.FunctionDef)
    return definition, definition.body[1:] if ast.get_docstring(definition) else definition.body


def is_only_said(function: FunctionType) -> bool:
    """Return whether a function has no body: that of a protocol, or of an abstract class."""
    return not define(function)[1]


def only_guards(function: FunctionType) -> bool:
    """Return whether a function does nothing but let guarded steps be taken.

    That is what the data path may call: assignments of what there is, `self._guard(...)`, and
    questions about attributes.
    """
    _, body = define(function)
    nodes = [node for statement in body for node in ast.walk(statement)]
    calls = [node.func for node in nodes if isinstance(node, ast.Call)]
    return (
        any(ast.unparse(call) == "self._guard" for call in calls)
        and all(ast.unparse(call) in MAY_BE_CALLED for call in calls)
        and all(isinstance(node, HARMLESS) for node in nodes)
    )


# The queue's two are made of guarded steps themselves.
MAY_BE_CALLED = frozenset(("self._guard", "self._queue.add", "self._queue.put", "Choice"))
HARMLESS = (
    *(ast.Expr, ast.Call, ast.Attribute, ast.Name, ast.Load, ast.Store, ast.Constant, ast.Return),
    *(ast.Assign, ast.If, ast.IfExp, ast.Compare, ast.Is, ast.IsNot, ast.BoolOp, ast.Or, ast.And),
    *(ast.UnaryOp, ast.Not, ast.AnnAssign, ast.List, ast.Subscript, ast.BinOp, ast.BitOr),
)


async def start(upstream: FakeUpstream) -> RunningProxy:
    """Start a proxy that measures all it can."""
    await upstream.start()
    return await RunningProxy.start(upstream, **SETTINGS)


@pytest.fixture(scope="module")
def reach() -> Reach:
    """Return what code each session runs, and what runs at the start, for a scrape or a reload."""

    async def watch() -> Reach:
        upstream = FakeUpstream()
        await upstream.start()
        with watched() as started:
            build_policy(Settings(**SETTINGS))
            proxy = await RunningProxy.start(upstream, **SETTINGS)
        try:
            by_session = {}
            for name, session in SESSIONS.items():
                forget()
                with watched() as by_session[name]:
                    await session.play(proxy)
                    await proxy.idle()
                    await eventually(lambda: not proxy.app.metrics.in_flight, f"the end of {name}")
            forget()
            with watched() as scraped:
                proxy.app.metrics.render("")
                proxy.app.metrics.render("application/openmetrics-text")
                proxy.app.apply(Settings(**SETTINGS | {"slo": {"ttft": "33s"}}))
        finally:
            await proxy.stop()
            await upstream.stop()
        return Reach(by_session, started | scraped)

    return uvloop.run(watch())


def test_every_function_is_known() -> None:
    """The functions below are those of the meter; a new module of it is among them by itself."""
    for name in ("tap.Tap._take", "timeline.Timeline.record", "stream.sse.SseFramer.feed"):
        assert name in FUNCTIONS
    for name in (
        "slo.judge",
        "classify.read_ask",
        "body.RequestBody.add",
        "realtime.RealtimeMeter",
    ):
        assert any(known.startswith(name) for known in FUNCTIONS)
    assert len(FUNCTIONS) > 250


@pytest.mark.parametrize("name", FUNCTIONS)
async def test_a_fault(start_proxy: StartProxy, reach: Reach, name: str) -> None:
    """Bytes pass, connections live on, the defect is counted, and each request is, once."""
    if name in ASIDE:
        return
    function = FUNCTIONS[name]
    reaching = [s for s, codes in reach.by_session.items() if function.__code__ in codes]
    if not reaching:
        aside = function.__code__ in reach.aside or is_only_said(function)
        assert aside or only_guards(function) or name.endswith("._give_up"), "nothing reaches it"
    if not reaching or only_guards(function):
        return
    proxy = await start_proxy(**SETTINGS)
    session = SESSIONS[reaching[0]]
    forget()
    with broken(function) as hits:
        await session.play(proxy)
        await proxy.idle()
        await eventually(lambda: name in LAST_RESORT or not proxy.app.metrics.in_flight)
    forget()
    assert hits
    if name in LAST_RESORT:
        return
    assert counted(proxy, "goodput_requests_total", "goodput_passthrough_requests_total") == (
        session.requests
    )
    # Requests have meters of their own, which fail once; and what chooses them may fail for each.
    faults = counted(proxy, "goodput_tap_errors_total", reason="internal")
    assert faults >= 1
    assert faults <= session.requests or name.startswith(OFTEN)


def counted(proxy: RunningProxy, *names: str, **labels: str) -> int:
    """Return the sum of counters."""
    return sum(
        int(sample.value)
        for family in proxy.app.metrics.registry.collect()
        for sample in family.samples
        if sample.name in names and labels.items() <= sample.labels.items()
    )


@pytest.mark.parametrize("owner", ["tap.Tap", "realtime.RealtimeMeter", "tapqueue.TapQueue"])
async def test_a_meter_that_cannot_even_stop(start_proxy: StartProxy, owner: str) -> None:
    """A second fault, in what follows the first, harms no byte either."""
    steps = {"tap.Tap": "_take", "realtime.RealtimeMeter": "_look", "tapqueue.TapQueue": "_drain"}
    session = SESSIONS["realtime" if owner.startswith("realtime") else "chat"]
    proxy = await start_proxy(**SETTINGS)
    with broken(FUNCTIONS[f"{owner}.{steps[owner]}"]), broken(FUNCTIONS[f"{owner}._give_up"]):
        await session.play(proxy)
        await proxy.idle()

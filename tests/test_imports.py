"""The shape of the code: imports go one way, the core is pure, files are small."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "goodput_proxy"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}

# What the live page remembers and says, before anything is served.
LIVE_CORE = [
    *("live.tally", "live.window", "live.seconds", "live.kept", "live.history"),
    *("live.documents", "live.distribution", "live.summary", "live.requestlist"),
]
# A module imports only what stands left of it.
ORDER = [
    *("faults", "duration", "address", "forwarded", "heads", "upgrades"),
    *("stream.events", "stream.decoding", "stream.output", "stream.usage", "stream.answer"),
    *("stream.framing", "stream.strings", "stream.sse", "stream.lines", "stream.array"),
    *(
        "stream.dialect",
        "stream.template",
        "stream.reader",
        "stream.choices",
        "stream.typed",
        "stream.candidates",
    ),
    *("stream.generate", "stream.llamacpp", "stream.ollama", "stream.tgi", "stream.tensors"),
    *(
        "stream.plain",
        "stream.detect",
        "stream.endpoints",
        "stream",
        "stream.inflate",
        "stream.websocket",
        "stream.session",
    ),
    *("record", "timeline", "slo", "presets", "overrides", "policy", "outline", "body", "classify"),
    *("trace", "judged", "edges"),
    *LIVE_CORE,
    *(f"settings.{name}" for name in ("group", "promises", "operation", "sources", "tls")),
    "settings",
    *(
        "buckets",
        "frontier",
        "series",
        "thresholds",
        "workforce",
        "metrics",
        "ledger",
        "watch",
        "certificates",
        "tls",
        "guard",
        "tap",
        "tapqueue",
        "realtime",
        "meters",
        "tunnel",
        "relay",
        "upstream",
        "pool",
        "proxy",
        "departures",
        "patience",
        "reading",
        "surplus",
        "listener",
        *("live", "live.feed", "live.assets", "live.routes"),
        "admin",
    ),
    *("sites", "descriptors", "traffic", "log"),
    *(
        "headcount",
        "channel",
        "messages",
        "remote",
        "books",
        "worker",
        "nursery",
        "nurse",
        "supervisor",
    ),
    *("scrape", "reload", "requestlog", "app"),
    *("explain", "doubts", "check", "cli", "__main__"),
]
# These use the proxy from outside, as its users do; only `cli` starts them.
OUTSIDE = {
    "demo": {"address", "app", "duration", "scrape", "settings", "sites"},
    "gate": {"duration", "scrape", "settings"},
}
# Manifests are written without a proxy at hand: nothing of the data path is known there.
KUBERNETES_USES = {
    *("address", "certificates", "duration", "presets", "tls", "watch"),
    *("settings", "settings.sources", "settings.tls"),
}
KUBERNETES_ORDER = [
    *("names", "tree", "documents", "splice", "container", "options", "pods", "server", "record"),
    *("addition", "removal", "plan", "routes", "policies", "selection", "injection", "settings"),
    *("command", "review", "credentials", "webhook"),
]
ASIDE = (*OUTSIDE, "kubernetes")
PURE = (
    ["faults"]
    + [name for name in ORDER if name.startswith("stream")]
    + LIVE_CORE
    + [
        "record",
        "timeline",
        "slo",
        "presets",
        "overrides",
        "policy",
        "outline",
        "body",
        "classify",
        "trace",
        "judged",
        "edges",
        "forwarded",
        "heads",
        "upgrades",
    ]
)
IMPURE = {"aiohttp", "asyncio", "os", "prometheus_client", "socket", "time"}
# The settings' types may be named anywhere; their values are handed in.
FOR_TYPES_ONLY = {"settings"}
MAY_READ_SETTINGS = {"app", "check", "cli", "reload", "supervisor", "worker"}


def typing_blocks(tree: ast.Module) -> set[ast.AST]:
    """Return every node below `if TYPE_CHECKING:`."""
    return {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }


def imports(name: str) -> list[tuple[str, bool]]:
    """Return what a module imports, by full name, and whether only for its types."""
    path = MODULES[name]
    tree = ast.parse(path.read_text())
    typing = typing_blocks(tree)
    package = ["goodput_proxy", *name.split(".")]
    if path.name != "__init__.py":
        package.pop()
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node in typing) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            names = [f"{source}.{alias.name}" for alias in node.names]
            found += [(n if is_module(n) else source, node in typing) for n in names]
    return found


def is_module(name: str) -> bool:
    """Return whether a dotted name is a module of the package."""
    return name.removeprefix("goodput_proxy.") in MODULES


def own_imports(name: str) -> list[tuple[str, bool]]:
    """Return the package's own modules among what a module imports."""
    return [
        (target.removeprefix("goodput_proxy").removeprefix("."), typing)
        for target, typing in imports(name)
        if target.split(".")[0] == "goodput_proxy" and target != "goodput_proxy"
    ]


@pytest.mark.parametrize("name", [n for n in MODULES if not n.startswith(ASIDE)])
def test_imports_go_one_way(name: str) -> None:
    """A module imports what stands left of it in the order, and nothing else."""
    assert name in ORDER, f"{name} has no place in the order of imports"
    for target, typing in own_imports(name):
        if target.startswith(ASIDE):
            assert name == "cli", f"{name} imports {target}"
        elif target in FOR_TYPES_ONLY and typing:
            continue
        else:
            assert ORDER.index(target) < ORDER.index(name), f"{name} imports {target}"


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith(tuple(OUTSIDE))])
def test_who_looks_at_the_proxy_stands_outside(name: str) -> None:
    """The demonstration and the gate know the proxy by its public surface."""
    package = name.partition(".")[0]
    for target, _ in own_imports(name):
        inside = target.partition(".")[0] == package
        assert inside or target in OUTSIDE[package], f"{name} imports {target}"


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("kubernetes.")])
def test_kubernetes_stands_outside(name: str) -> None:
    """What writes manifests knows settings, not the data path, and its imports go one way, too."""
    place = KUBERNETES_ORDER.index(name.removeprefix("kubernetes."))
    for target, typing in own_imports(name):
        module = target.removeprefix("kubernetes.")
        if module in {target, "kubernetes"}:
            assert target in KUBERNETES_USES | {"kubernetes", ""}, f"{name} imports {target}"
        elif not typing:
            assert KUBERNETES_ORDER.index(module) < place, f"{name} imports {target}"


@pytest.mark.parametrize("name", PURE)
def test_the_core_is_pure(name: str) -> None:
    """Framing, dialects, timeline and verdict know no loop, clock, socket or Prometheus."""
    for target, _ in imports(name):
        assert target.split(".")[0] not in IMPURE, f"{name} imports {target}"


@pytest.mark.parametrize("name", MODULES)
def test_settings_are_handed_in(name: str) -> None:
    """Only the composition root and the commands read settings at run time."""
    if name in MAY_READ_SETTINGS or name.startswith(ASIDE):
        return
    assert ("settings", False) not in own_imports(name), f"{name} imports settings"


def test_prometheus_has_one_door() -> None:
    """In the data path only the metrics know prometheus_client; those outside parse with it."""
    users = {
        name
        for name in MODULES
        for target, typing in imports(name)
        if target.split(".")[0] == "prometheus_client" and not typing
    }

    assert users == {
        "buckets",
        "frontier",
        "series",
        "thresholds",
        "workforce",
        "metrics",
        "scrape",
    }


def test_one_place_catches_everything() -> None:
    """The border of the meter is the only place that swallows what it does not know."""
    places = {
        name
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
    }

    assert places == {"guard"}


@pytest.mark.parametrize("name", MODULES)
def test_files_are_small_and_say_what_they_own(name: str) -> None:
    """No file is longer than 400 lines; each public thing has a docstring."""
    text = MODULES[name].read_text()
    tree = ast.parse(text)
    owners: list[ast.Module | ast.ClassDef] = [
        tree,
        *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)),
    ]
    silent = [
        node.name
        for owner in owners
        for node in owner.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]

    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(tree)
    assert not silent

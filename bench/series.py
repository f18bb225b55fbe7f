"""`python -m bench.series`: what a pod's /metrics weighs, by models and SLO classes.

Each model is asked for a stream and a small answer in each class. Nothing is timed but the CPU of
a scrape; the rest are counts, which do not mind what else the machine does.
"""

from __future__ import annotations

import json
import sys
import tempfile
import urllib.request
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench import process
from bench.load import CHAT_PATH
from bench.measure import Harness, choose_cores
from bench.parts.part import table
from bench.parts.scrapes import count_series, scrape
from bench.peers.ours import PURE
from bench.running import running

if TYPE_CHECKING:
    from bench.peers import Peer, Site
    from bench.running import Running

_MODELS = (1, 8, 32)
_CLASSES = (1, 3)
_SCRAPES = 20


@dataclass(frozen=True, slots=True)
class Weight:
    """One scrape of a pod."""

    models: int
    classes: int
    series: int
    plain_bytes: int
    packed_bytes: int
    """As Prometheus asks for it, with gzip."""
    cpu_ms: float
    families: Counter[str]


def main() -> int:
    """Count, and print the tables."""
    harness = Harness(choose_cores())
    try:
        weights = [_weigh(harness, models, classes) for classes in _CLASSES for models in _MODELS]
    finally:
        harness.close()
    rows = [
        [
            str(weight.classes),
            str(weight.models),
            f"{weight.series:,}",
            f"{weight.plain_bytes / 1000:,.0f}",
            f"{weight.packed_bytes / 1000:,.0f}",
            f"{weight.cpu_ms:.1f}",
        ]
        for weight in weights
    ]
    head = ["SLO classes", "models", "series", "kB", "kB with gzip", "CPU ms a scrape"]
    print(table(head, rows))
    print()
    one, many = weights[0], weights[len(_MODELS) - 1]
    rows = [
        [family, str(one.families[family]), str(count)]
        for family, count in many.families.most_common(12)
    ]
    print(table(["metric", f"series, {one.models} model", f"{many.models} models"], rows))
    return 0


def _weigh(harness: Harness, models: int, classes: int) -> Weight:
    with tempfile.TemporaryDirectory(prefix="goodput-bench-") as name:
        config = Path(name) / "slo.yaml"
        others = [
            {"name": f"class-{n}", "match": {"headers": {"x-class": str(n)}}, "ttft": "1s"}
            for n in range(1, classes)
        ]
        config.write_text(json.dumps({"slo_classes": others}), "utf-8")  # JSON is YAML
        peer = _with_config(PURE, config)
        with running(peer, harness.cores, harness.upstream_port) as proxy:
            for model in range(models):
                for number in range(classes):
                    for stream in (True, False):
                        _ask(
                            proxy, f"meta-llama/Llama-3.1-{model}B-Instruct", number, stream=stream
                        )
            plain, packed = scrape(proxy), _packed(proxy)
            cpu_ns = sum(map(process.cpu_ns, proxy.workers()))
            for _ in range(_SCRAPES):
                _packed(proxy)
            cpu_ns = sum(map(process.cpu_ns, proxy.workers())) - cpu_ns
    return Weight(
        models,
        classes,
        count_series(plain),
        len(plain),
        len(packed),
        cpu_ns / 1e6 / _SCRAPES,
        _families(plain),
    )


def _with_config(peer: Peer, config: Path) -> Peer:
    def command(site: Site) -> list[str]:
        assert peer.command is not None  # noqa: S101 -- ours has one
        return [*peer.command(site), f"--config={config}"]

    return replace(peer, command=command)


def _ask(proxy: Running, model: str, number: int, *, stream: bool) -> None:
    body = {"model": model, "messages": [], "stream": stream, "max_tokens": 3}
    headers = {"Content-Type": "application/json", "x-class": str(number)}
    request = urllib.request.Request(
        f"http://127.0.0.1:{proxy.port}{CHAT_PATH}",
        json.dumps({**body, "pace_interval_us": 1000}).encode(),
        headers,
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        answer.read()


def _packed(proxy: Running) -> bytes:
    request = urllib.request.Request(
        f"http://127.0.0.1:{proxy.admin_port}/metrics",
        headers={
            "Accept-Encoding": "gzip",
            "Accept": "application/openmetrics-text;version=1.0.0",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        body: bytes = answer.read()
    return body


def _families(text: str) -> Counter[str]:
    """Return how many series each metric has, those of a histogram together."""
    found: Counter[str] = Counter()
    family = ""
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            family = line.split()[2]
        elif line and not line.startswith("#"):
            found[family] += 1
    return found


if __name__ == "__main__":
    sys.exit(main())

"""The other observers: AIPerf, and vLLM's benchmark client, each run as its users run it.

Owns: their environment, their command lines, and the reading of what they write. What they say is
kept as they said it; nothing here computes a time.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.agreement.scenarios import ERROR, FAILED, GOOD, NOT_GOOD, OK
from tests.real.processes import INSTALL_LIMIT_S, SetupError, ensure_environment, output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HERE = Path(__file__).resolve().parent
# Not "mock" or "test": AIPerf takes such models for its own.
MODEL = "scripted"
VLLM_FILE = "vllm/benchmarks/lib/endpoint_request_func.py"
RUN_LIMIT_S = 300.0  # a wrong goodput option makes AIPerf wait for ever


@dataclass(frozen=True, slots=True)
class Seen:
    """What one observer says of one request."""

    outcome: str
    ttft_ms: float | None = None
    e2e_ms: float | None = None
    itl_ms: float | None = None
    tokens: int | None = None
    connecting_ms: float = 0.0  # what AIPerf itself spent until it had a connection


@dataclass(frozen=True, slots=True)
class AiperfRun:
    """One run of AIPerf: its totals, and its records by `x-request-id`."""

    command: str
    requests: int
    good: int
    means_ms: Mapping[str, float]
    records: Mapping[str, Seen]


def prepare(directory: Path) -> Path:
    """Make the environment with AIPerf and the one file of vLLM, and give its Python."""
    python = ensure_environment(directory, HERE / "requirements.txt")
    target = vllm_file(python)
    if not target.exists():
        with tempfile.TemporaryDirectory(prefix="vllm-") as name:
            command = [str(python), "-m", "pip", "download", "--quiet", "--no-deps"]
            # The file is the same on every platform.
            options = ["--only-binary=:all:", "--platform=manylinux_2_28_x86_64", "--dest", name]
            pinned = ["--require-hashes", "-r", str(HERE / "vllm.txt")]
            output([*command, *options, *pinned], INSTALL_LIMIT_S)
            (wheel,) = Path(name).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                content = archive.read(VLLM_FILE)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
    return python


def vllm_file(python: Path) -> Path:
    """Return where vLLM's client is kept."""
    return python.parents[1] / "vllm" / Path(VLLM_FILE).name


def versions(python: Path) -> str:
    """Say which versions are compared."""
    code = "import importlib.metadata as m; print(m.version('aiperf'))"
    aiperf = output([str(python), "-c", code], 60)
    pin = (HERE / "vllm.txt").read_text().split("vllm==")[1].split()[0]
    return f"AIPerf {aiperf}, vLLM {pin} (its benchmark's client)"


def write_tokenizer(directory: Path) -> None:
    """Write a Hugging Face tokenizer with one token for each character, whatever it is.

    As far from a server's own as any: what depends on it shows.
    """
    directory.mkdir()
    pre = {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": False}
    model = {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}
    absent = ("truncation", "padding", "normalizer", "post_processor", "decoder")
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": pre,
        "model": model,
        **dict.fromkeys(absent),
    }
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    special = dict.fromkeys(("unk_token", "eos_token", "pad_token"), "[UNK]")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
    (directory / "tokenizer_config.json").write_text(json.dumps(config))


def run_aiperf(
    python: Path,
    url: str,
    prompts: Sequence[str],
    directory: Path,
    goodput: Mapping[str, float],
    *,
    concurrency: int,
    server_count: bool,
) -> AiperfRun:
    """Let AIPerf send each prompt once.

    Args:
        python: of the environment with AIPerf.
        url: of the proxy.
        prompts: what to send, in this order.
        directory: a new one, for all that it reads and writes.
        goodput: its limits in milliseconds, by its own names.
        concurrency: requests at a time.
        server_count: count tokens by the server's usage, not by the tokenizer.
    """
    directory.mkdir()
    write_tokenizer(directory / "tokenizer")
    lines = "".join(json.dumps({"text": prompt}) + "\n" for prompt in prompts)
    (directory / "prompts.jsonl").write_text(lines)
    limits = " ".join(f"{name}:{limit:g}" for name, limit in goodput.items())
    flags = [
        *("--model", MODEL, "--endpoint-type", "chat", "--streaming"),
        *("--input-file", "prompts.jsonl", "--custom-dataset-type", "single_turn"),
        *("--dataset-sampling-strategy", "sequential", "--request-count", str(len(prompts))),
        *("--concurrency", str(concurrency), "--goodput", limits),
        *(("--use-server-token-count",) if server_count else ()),
        *("--export-level", "records", "--workers-max", "1", "--ui", "none"),
        *("--no-server-metrics", "--no-gpu-telemetry"),
    ]
    # An absolute path: a relative one is taken for a repository of the hub.
    places = ["--url", url, "--tokenizer", str(directory / "tokenizer"), "--artifact-dir", "out"]
    _run([str(python.with_name("aiperf")), "profile", *flags, *places], directory)
    said = json.loads((directory / "out" / "profile_export_aiperf.json").read_text())
    lines = (directory / "out" / "profile_export.jsonl").read_text()
    records = [json.loads(line) for line in lines.splitlines()]
    return AiperfRun(
        command=shlex.join(["aiperf", "profile", *flags]),
        requests=int(_average(said, "request_count") + _average(said, "error_request_count")),
        good=int(_average(said, "good_request_count")),
        means_ms={
            ours: _average(said, theirs)
            for ours, theirs in (
                ("ttft", "time_to_first_token"),
                ("itl", "inter_token_latency"),
                ("e2e", "request_latency"),
            )
        },
        records={record["metadata"]["x_request_id"]: _read_record(record) for record in records},
    )


def run_vllm(python: Path, url: str, prompts: Sequence[str]) -> dict[str, Seen]:
    """Let vLLM's client send each prompt once; return its answers by `x-request-id`."""
    script = str(HERE / "vllm_client.py")
    command = [str(python), script, str(vllm_file(python)), url, MODEL, *prompts]
    found = json.loads(output(command, RUN_LIMIT_S))
    return {each["request_id"]: _read_vllm(each) for each in found}


def _read_record(record: Mapping[str, Any]) -> Seen:
    metrics = record["metrics"]

    def value(name: str) -> Any:
        return metrics.get(name, {}).get("value")

    if record.get("error"):
        return Seen(ERROR)
    return Seen(
        GOOD if value("good_request_count") else NOT_GOOD,
        value("time_to_first_token"),
        value("request_latency"),
        value("inter_token_latency"),
        value("output_sequence_length"),
        value("http_req_connection_overhead") or 0.0,
    )


def _read_vllm(told: Mapping[str, Any]) -> Seen:
    if not told["success"]:
        return Seen(FAILED)
    tokens, ttft_ms, latency_ms = told["output_tokens"], told["ttft_ms"], told["latency_ms"]
    # As `vllm bench serve` computes its TPOT: none for one token, and without usage, n is 1.
    itl_ms = (latency_ms - ttft_ms) / (tokens - 1) if tokens > 1 else None
    return Seen(OK, ttft_ms, latency_ms, itl_ms, tokens or None)


def _average(said: Mapping[str, Any], name: str) -> float:
    return float(said.get(name, {}).get("avg", 0.0))


def _run(command: list[str], directory: Path) -> None:
    """Run a program with children of its own, and end all of them when it takes too long."""
    # With it a path to a tokenizer is read as the name of a repository.
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    environment["HF_HUB_DISABLE_TELEMETRY"] = "1"
    log = directory / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(RUN_LIMIT_S)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise SetupError(f"{command[0]} ended with {code}:\n{tail}")

"""The commands: what is read, what is written where, and the exit code."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from goodput_proxy.cli import main
from tests.certificates import Mount, issue
from tests.kubernetes.samples import SERVER, service, workload

if TYPE_CHECKING:
    from pathlib import Path


def as_text(*objects: object) -> str:
    """Return a manifest."""
    return yaml.safe_dump_all(objects, sort_keys=False)


@pytest.mark.parametrize("arguments", [["inject"], ["inject", "-"]])
def test_standard_input_to_standard_output(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a file, or with `-`, it is a filter; notes are no part of what it writes."""
    text = as_text(workload(), service()).replace("\n", "\r\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert main(arguments) == 0
    out, err = capsys.readouterr()

    assert err.splitlines() == [
        "Service/llm: leads to port 9000 instead of 8000",
        "Deployment/llm: sidecar on port 9000 in front of server:8000",
    ]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(out.encode())))
    assert main([*arguments, "--remove"]) == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize("second", ["kind: Service\n", "---\nkind: Service\n", ""])
def test_files_become_one_manifest(
    tmp_path: Path, second: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several files are written one after the other, as documents of their own."""
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "c.yaml"]
    for file, text in zip(files, ["a: 1", second, "c: 3\n"], strict=True):
        file.write_text(text)
    assert main(["inject", *map(str, files)]) == 0

    documents = [d for d in yaml.safe_load_all(capsys.readouterr().out) if d is not None]
    expected = [{"a": 1}, *([{"kind": "Service"}] if second else []), {"c": 3}]
    assert documents == expected


def test_flags_are_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What can be an annotation can be a flag."""
    file = tmp_path / "a.yaml"
    file.write_text(as_text(workload(annotations={}), service()))
    arguments = ["--selector", "app=llm,app=llm", "--slo.ttft", "300ms", "--image", "x:1"]
    assert main(["inject", str(file), *arguments, "--no-services", "--mode=classic"]) == 0
    data, led = yaml.safe_load_all(capsys.readouterr().out)

    container = data["spec"]["template"]["spec"]["containers"][-1]
    assert container["image"] == "x:1"
    assert "--slo.ttft=300ms" in container["args"]
    assert led == service()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["no such file"], "cannot read no such file: No such file or directory"),
        (["--selector", "app"], "selector: 'app' is no selector: expected KEY=VALUE"),
        (["--selector", "app!=x"], "selector: 'app!=x' is no selector"),
        (["--slo.ttft", "5"], "slo.ttft: '5' has no unit"),
        (["--config", "Not_a_name"], "config: string should match pattern"),
        (["--listen-port", "0"], "listen_port: input should be greater"),
    ],
)
def test_unusable_arguments(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A flag that cannot be meant is one line, and exit code 2."""
    assert main(["inject", *arguments]) == 2
    out, err = capsys.readouterr()

    assert out == ""
    assert err.startswith(f"goodput-proxy: {reason}")


def test_nothing_is_written_when_anything_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of an input would be worse than none."""
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(as_text(workload()))
    bad.write_text(as_text({"kind": "ConfigMap"}, workload(containers=[SERVER, SERVER])))
    assert main(["inject", str(good), str(bad)]) == 2
    out, err = capsys.readouterr()

    assert out == ""
    assert err.startswith(f"goodput-proxy: {bad}, document 2 (line 2): Deployment/llm declares")
    assert err.count("\n") == 1


def test_what_is_not_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes that are no UTF-8 are no manifest."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))

    assert main(["inject"]) == 2
    assert capsys.readouterr().err == "goodput-proxy: standard input is not UTF-8\n"


def test_the_webhook_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """As a process: it says where it listens, and SIGTERM ends it with 0."""
    mounted = Mount(tmp_path / "tls", issue()).settings
    files = [f"--tls.cert={mounted['cert']}", f"--tls.key={mounted['key']}"]
    with subprocess.Popen(
        [sys.executable, "-m", "goodput_proxy", "webhook", "--listen=127.0.0.1:0", *files],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert '"listening"' in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert '"stopped"' in process.stderr.read()

    assert process.returncode == 0


def test_the_webhook_needs_a_certificate(capsys: pytest.CaptureFixture[str]) -> None:
    """The API server speaks TLS only."""
    assert main(["webhook"]) == 2
    assert "tls.cert: is required" in capsys.readouterr().err

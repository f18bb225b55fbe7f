"""The second environment, the real server in it, and the proxy in front: made, started, ended.

Owns: virtual environments beside the project's own, the model directory, child processes and
their log files. Knows nothing of requests or of what is checked.

Rules it keeps: every wait has a limit; a process is ended by the handle that started it, politely
first; addresses are chosen by the operating system and read from what the process says about
itself, so two runs never meet on a port.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
MODEL_NAME = "tiny-llama"

INSTALL_LIMIT_S = 3600.0  # torch may have to come over a slow line
MODEL_LIMIT_S = 120.0
START_LIMIT_S = 120.0  # importing torch from a cold disk
STOP_LIMIT_S = 10.0
POLL_S = 0.02


class SetupError(RuntimeError):
    """Something that must stand before the first check does not."""


@dataclass(frozen=True, slots=True)
class Running:
    """A child process with its log file and the address at which it answers."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""
    admin_url: str = ""

    @property
    def port(self) -> int:
        """Give the port of `url`."""
        return int(self.url.rsplit(":", 1)[1])

    def log_tail(self, lines: int = 30) -> str:
        """Give the last lines of the log, for a report of a failure."""
        return "\n".join(_read(self.log).splitlines()[-lines:])

    def stop(self) -> int:
        """End the process, forcibly if asking does not help, and give its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait(STOP_LIMIT_S)


def ensure_environment(directory: Path, requirements: Path = REQUIREMENTS) -> Path:
    """Create or complete a virtual environment, and give the path of its Python.

    The fingerprint of the requirements is kept inside, so that nothing is asked of a package index
    when it is already complete, and a changed pin is noticed.
    """
    python = directory / "bin" / "python"
    stamp = directory / "requirements.sha256"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if python.exists() and stamp.exists() and _read(stamp) == wanted:
        return python
    if not python.exists():
        venv.create(directory, with_pip=True, symlinks=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([*command, "-r", str(requirements)], check=True, timeout=INSTALL_LIMIT_S)
    except (subprocess.SubprocessError, OSError) as error:
        raise SetupError(
            f"could not install {requirements.name} into {directory}: {error}"
        ) from error
    stamp.write_text(wanted)
    return python


def versions(python: Path) -> str:
    """Say which server and which torch build are about to be used."""
    code = (
        "import sys, torch, transformers, uvicorn, starlette;"
        "print(f'transformers {transformers.__version__}, torch {torch.__version__}, '"
        "f'uvicorn {uvicorn.__version__}, starlette {starlette.__version__}, '"
        "f'Python {sys.version.split()[0]}')"
    )
    return output([str(python), "-c", code], MODEL_LIMIT_S)


def make_model(python: Path, directory: Path) -> None:
    """Write the model to `directory`/`MODEL_NAME`."""
    script, target = HERE / "make_tiny_model.py", directory / MODEL_NAME
    output([str(python), str(script), str(target)], MODEL_LIMIT_S)


def start_server(python: Path, directory: Path, *flags: str) -> Running:
    """Start `transformers serve` with the tiny model and no way out of the machine."""
    (directory / "hub-cache" / "hub").mkdir(parents=True, exist_ok=True)
    command = [str(python.with_name("transformers")), "serve", MODEL_NAME, "--device", "cpu"]
    address = ["--host", "127.0.0.1", "--port", "0"]
    running = start("server", [*command, *address, *flags], directory, _offline(directory))
    found = wait_for(running, re.compile(r"running on (http://127\.0\.0\.1:\d+)"))
    return Running(running.name, running.process, running.log, url=found.group(1))


def start_proxy(upstream: str, directory: Path, *flags: str) -> Running:
    """Start the proxy of this checkout in front of `upstream`."""
    command = [sys.executable, "-m", "goodput_proxy", "serve", "--upstream", upstream]
    address = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GOODPUT_")}
    environment["PYTHONPATH"] = str(HERE.parents[1])
    running = start("proxy", [*command, *address, *flags], directory, environment)
    found = wait_for(running, re.compile(r'^\{.*"event": ?"listening".*\}$', re.MULTILINE))
    said = json.loads(found.group(0))
    return Running(
        running.name,
        running.process,
        running.log,
        url=said["proxy_url"].rstrip("/"),
        admin_url=said["admin_url"].rstrip("/"),
    )


def _offline(directory: Path) -> dict[str, str]:
    """Give an environment in which the server finds no cache, no hub and no way out.

    One thread for the arithmetic: the model is so small that a second one only takes the processor
    away from the proxy. The proxy variables point at the discard port, so that a library which does
    try to fetch something is refused at once instead of waiting for a name to resolve.
    """
    nowhere = "http://127.0.0.1:9"
    return {
        **os.environ,
        "HF_HOME": str(directory / "hub-cache"),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def start(name: str, command: list[str], directory: Path, environment: dict[str, str]) -> Running:
    """Start a program with a log file for all that it says."""
    log = directory / f"{name}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    return Running(name, process, log)


def wait_for(running: Running, pattern: re.Pattern[str]) -> re.Match[str]:
    """Wait until a program has said what shows that it is ready, and give that."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        ended = running.process.poll() is not None
        if found := pattern.search(_read(running.log)):
            return found
        if ended:
            break
        time.sleep(POLL_S)
    running.stop()
    raise SetupError(f"{running.name} did not start:\n{running.log_tail()}")


def output(command: list[str], limit_s: float) -> str:
    """Run a short command and give what it printed; show what it complained of if it fails."""
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=limit_s)
    except subprocess.CalledProcessError as error:
        raise SetupError(f"{command[0]} failed:\n{error.stderr}") from error
    except (subprocess.TimeoutExpired, OSError) as error:
        raise SetupError(str(error)) from error
    return done.stdout.strip()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")

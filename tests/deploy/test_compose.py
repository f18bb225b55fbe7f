"""compose.yaml, as far as it goes without a container engine: what it mounts, names and says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

import goodput_proxy
from goodput_proxy.demo.settings import DemoSettings
from goodput_proxy.settings import Settings
from tests.deploy.promtool import RULES, promtool

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROVISIONING = "/etc/grafana/provisioning"


def mounts(service: str) -> dict[PurePosixPath, Path]:
    """Return what a service finds where."""
    found = {}
    for text in SERVICES[service].get("volumes", []):
        source, target, mode = text.split(":")
        assert mode == "ro"
        found[PurePosixPath(target)] = ROOT / source
    return found


def load(service: str, target: str) -> Any:
    """Return the content of a mounted file."""
    return yaml.safe_load(mounts(service)[PurePosixPath(target)].read_text())


def published(service: str) -> dict[int, int]:
    """Return the ports of a service by those of the host, where they are for this machine alone."""
    texts = [text.split(":") for text in SERVICES[service]["ports"]]
    assert all(host == "127.0.0.1" for host, _, _ in texts)
    return {int(outside): int(inside) for _, outside, inside in texts}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_one_that_compose_knows(service: str) -> None:
    """It has no other keys than these, an image that is pinned, and waits for what is there."""
    known = {"build", "image", "command", "environment", "volumes", "ports", "depends_on"}
    content = SERVICES[service]
    image, colon, tag = content["image"].partition(":")

    assert content.keys() <= known | {"restart", "read_only"}
    assert COMPOSE.keys() == {"name", "services"}
    assert re.fullmatch(r"v?[0-9]+\.[0-9]+\.[0-9]+", tag), tag
    assert "." not in image.partition("/")[0]  # else it would be a registry
    assert colon
    assert set(content.get("depends_on", ())) <= SERVICES.keys()


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_mounted_exists(service: str) -> None:
    """Docker makes a folder of a path that does not exist, and the service starts without it."""
    for source in mounts(service).values():
        assert source.exists(), source


def test_the_demonstration_understands_its_command() -> None:
    """It is the command's, and listens where the proxy does by default, for other containers."""
    command, *arguments = SERVICES["demo"]["command"]
    settings = DemoSettings.load(arguments)
    default = Settings()

    assert command == "demo"
    assert (settings.listen, settings.admin_listen) == (default.listen, default.admin_listen)
    assert set(published("demo").values()) == {default.listen.port, default.admin_listen.port}
    assert SERVICES["demo"]["image"] == f"goodput-proxy:{goodput_proxy.__version__}"
    assert (ROOT / SERVICES["demo"]["build"] / "Dockerfile").is_file()


def test_prometheus_loads_its_configuration(tmp_path: Path) -> None:
    """Promtool accepts it with the files where they are mounted, the project's rules among them."""
    for target, source in mounts("prometheus").items():
        place = tmp_path / target.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)
    (flag,) = [f for f in SERVICES["prometheus"]["command"] if f.startswith("--config.file=")]
    said = promtool("check", "config", tmp_path / flag.partition("=/")[2])

    assert "1 rule files found" in said
    assert RULES in mounts("prometheus").values()


def test_prometheus_scrapes_the_proxy() -> None:
    """Its only target is the admin port of the demonstration, by the name of the service."""
    (job,) = load("prometheus", "/etc/prometheus/prometheus.yaml")["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    host, _, port = target.partition(":")

    assert int(port) == Settings().admin_listen.port
    assert int(port) in published(host).values()


def test_grafana_asks_that_prometheus() -> None:
    """The data source is the other service, and knows how often that scrapes."""
    (source,) = load("grafana", f"{PROVISIONING}/datasources/goodput.yaml")["datasources"]
    host, _, port = source["url"].removeprefix("http://").partition(":")
    config = load("prometheus", "/etc/prometheus/prometheus.yaml")

    assert int(port) in published(host).values()
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


def test_grafana_finds_the_dashboards() -> None:
    """They are mounted where the provider looks, and the first page is one of them."""
    (provider,) = load("grafana", f"{PROVISIONING}/dashboards/goodput.yaml")["providers"]
    folder = PurePosixPath(provider["options"]["path"])
    home = PurePosixPath(
        SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    )

    assert mounts("grafana")[folder] == ROOT / "grafana"
    assert (ROOT / "grafana" / home.relative_to(folder)).is_file()


def test_addresses_of_the_comment_are_published() -> None:
    """Where the file sends its reader, something answers."""
    told = set(
        map(int, re.findall(r"http://127\.0\.0\.1:(\d+)", (ROOT / "compose.yaml").read_text()))
    )

    assert told
    assert told <= {outside for service in SERVICES for outside in published(service)}


def test_yaml_is_tidy() -> None:
    """Yamllint has no complaint."""
    files = [ROOT / "compose.yaml", *(ROOT / "deploy" / "compose").iterdir()]
    rules = "{extends: relaxed, rules: {line-length: {max: 120}}}"
    command = [sys.executable, "-m", "yamllint", "--strict", "--config-data", rules]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr

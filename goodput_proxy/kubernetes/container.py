"""The sidecar's container: the one place that says what it looks like.

`inject`, the webhook, the Kustomize component and any chart give this container, and tests hold
them to it. As a native sidecar (an init container that stays, Kubernetes 1.29 and later) it starts
before the server and is stopped after it. Its probes keep one rule: those that hold up or restart
something ask `/healthz`, which is about the proxy alone, since a start-up probe that waited for
the server would wait for ever (the server starts when the probe has passed); readiness asks
`/readyz`, which is about the server, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from goodput_proxy import __version__

from . import names

# Not in any registry that this project could name: see docs/kubernetes.md.
DEFAULT_IMAGE = f"goodput-proxy:{__version__}"
DEFAULT_PORT = 9000
DEFAULT_ADMIN_PORT = 9001

# One event loop uses one core; the process holds 60 MB before its first request. Workers share what
# was loaded, and connections, so that several need more cores but hardly more memory.
_REQUEST_MILLICORES = 200
_MEMORY_REQUEST, _MEMORY_LIMIT = "128Mi", "512Mi"


def default_requests(workers: int = 1) -> dict[str, str]:
    """Return what is set aside for so many workers where nothing is said."""
    return {"cpu": f"{_REQUEST_MILLICORES * workers}m", "memory": _MEMORY_REQUEST}


def default_limits(workers: int = 1) -> dict[str, str]:
    """Return what so many workers may use where nothing is said."""
    return {"cpu": str(workers), "memory": _MEMORY_LIMIT}


@dataclass(frozen=True, slots=True)
class Sidecar:
    """All that is decided about one sidecar.

    Args:
        native: an init container that stays, or a container beside the server's.
        upstream: the server's URL as the sidecar sees it.
        workers: processes that take requests.
        flags: further settings of the proxy, each `name=value` as after `--`.
        config_map: the ConfigMap that holds the file of settings.
        run_as_user: set where the pod's own default is root, which the image refuses to be.
    """

    image: str = DEFAULT_IMAGE
    name: str = names.CONTAINER
    native: bool = True
    upstream: str = "http://127.0.0.1:8000"
    port: int = DEFAULT_PORT
    admin_port: int = DEFAULT_ADMIN_PORT
    workers: int = 1
    flags: tuple[str, ...] = ()
    config_map: str | None = None
    requests: dict[str, str] = field(default_factory=default_requests)
    limits: dict[str, str] = field(default_factory=default_limits)
    run_as_user: int | None = None


def build_container(sidecar: Sidecar) -> dict[str, Any]:
    """Return the container as it stands in a pod's spec."""
    container: dict[str, Any] = {"name": sidecar.name, "image": sidecar.image}
    container["imagePullPolicy"] = "IfNotPresent"
    if sidecar.native:
        container["restartPolicy"] = "Always"
    container["args"] = _arguments(sidecar)
    container["ports"] = [
        {"name": names.PORT_NAME, "containerPort": sidecar.port, "protocol": "TCP"},
        {"name": names.ADMIN_PORT_NAME, "containerPort": sidecar.admin_port, "protocol": "TCP"},
    ]
    container |= _probes(sidecar)
    container["resources"] = {"requests": dict(sidecar.requests), "limits": dict(sidecar.limits)}
    container["securityContext"] = _security(sidecar)
    container["terminationMessagePolicy"] = "FallbackToLogsOnError"
    if sidecar.config_map is not None:
        # The whole folder: a single file that is mounted is never updated.
        mount = {"name": names.VOLUME, "mountPath": names.CONFIG_FOLDER, "readOnly": True}
        container["volumeMounts"] = [mount]
    return container


def build_volume(config_map: str) -> dict[str, Any]:
    """Return the volume that brings the file of settings into the pod."""
    return {"name": names.VOLUME, "configMap": {"name": config_map}}


def _arguments(sidecar: Sidecar) -> list[str]:
    flags = [
        f"upstream={sidecar.upstream}",
        f"listen=0.0.0.0:{sidecar.port}",
        f"admin-listen=0.0.0.0:{sidecar.admin_port}",
    ]
    if sidecar.workers > 1:
        flags.append(f"workers={sidecar.workers}")
    if sidecar.config_map is not None:
        flags.append(f"config={names.CONFIG_FOLDER}/{names.CONFIG_KEY}")
    return ["serve", *(f"--{flag}" for flag in (*flags, *sidecar.flags))]


def _probes(sidecar: Sidecar) -> dict[str, Any]:
    """Return the probes; ports by number, since names of an init container's ports came late."""

    def probe(path: str, **timing: int) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": sidecar.admin_port}, **timing}

    probes = {
        "livenessProbe": probe("/healthz", initialDelaySeconds=10, periodSeconds=10),
        "readinessProbe": probe("/readyz", periodSeconds=5),
    }
    if sidecar.native:
        probes["startupProbe"] = probe("/healthz", periodSeconds=1, failureThreshold=120)
    return probes


def _security(sidecar: Sidecar) -> dict[str, Any]:
    context: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if sidecar.run_as_user is not None:
        context["runAsUser"] = sidecar.run_as_user
    return context

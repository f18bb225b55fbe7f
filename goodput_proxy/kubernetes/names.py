"""The words that stand in users' objects: they are public, and changing one breaks manifests."""

from __future__ import annotations

PREFIX = "goodput-proxy.dev/"

INJECT = f"{PREFIX}inject"  # "true" asks for the sidecar, "false" forbids it
# What was added, so that it can be taken away again: JSON, on the pod template.
RECORD = f"{PREFIX}injected"
# What a Service's ports led to before: JSON, on the Service.
ROUTES_RECORD = f"{PREFIX}original-target-ports"
# A label of every pod with the sidecar, for a PodMonitor's selector.
LABEL = f"{PREFIX}sidecar"

CONTAINER = "goodput-proxy"
# At most 15 characters, and unique in the pod: a PodMonitor finds ports by name.
PORT_NAME = "goodput"
ADMIN_PORT_NAME = "goodput-admin"
VOLUME = "goodput-proxy-config"
CONFIG_FOLDER = "/etc/goodput-proxy"
CONFIG_KEY = "goodput.yaml"

"""Schemas of the resources that operators bring, as far as the chart uses them.

Written down from the operators' own definitions, closed, so that a field that none of them knows,
or one of another type, is found without a cluster.
"""

from __future__ import annotations

from typing import Any

import jsonschema

from tests.kubernetes import schemas

_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": _TEXT}
_FLAG = {"type": "boolean"}
_MAP = {"type": "object", "additionalProperties": {"type": "string"}}
_OBJECTS = {"type": "array", "items": {"type": "object"}}
_TIME = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}


def _closed(*required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


_SELECTOR = _closed(matchLabels=_MAP, matchExpressions=_OBJECTS)
_NAMESPACES = _closed(any=_FLAG, matchNames=_TEXTS)
_ENDPOINT = _closed(
    "port",
    port=_TEXT,
    path=_TEXT,
    interval=_TIME,
    scrapeTimeout=_TIME,
    relabelings=_OBJECTS,
    metricRelabelings=_OBJECTS,
)
_ENDPOINTS = {"type": "array", "items": _ENDPOINT, "minItems": 1}
_MONITOR = {"jobLabel": _TEXT, "namespaceSelector": _NAMESPACES, "selector": _SELECTOR}
_ISSUER = _closed("name", name=_TEXT, kind=_TEXT, group=_TEXT)
# Whoever defines a map of strings refuses numbers in it: `threshold: 8` must be quoted.
_TRIGGER = _closed(
    "type",
    "metadata",
    type=_TEXT,
    name=_TEXT,
    metricType={"enum": ["AverageValue", "Value", "Utilization"]},
    metadata=_MAP,
)
_SCALING = _closed(
    stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600},
    selectPolicy={"enum": ["Max", "Min", "Disabled"]},
    policies=_OBJECTS,
)
_BEHAVIOR = _closed(scaleDown=_SCALING, scaleUp=_SCALING)
_COUNT = {"type": "integer", "minimum": 0}
_SELECTOR_OF_SERIES = _closed("metric", metric=_TEXT)
_SOURCE = _closed(
    "metricSource", metricSource=_closed("spec", type=_TEXT, metricSourceRef=_TEXT, spec=_MAP)
)
_NAMED = _closed("name", name=_TEXT, displayName=_TEXT)
_WINDOW = _closed("duration", duration={"pattern": "^[1-9][0-9]*[dwMQY]$"}, isRolling=_FLAG)
_SHARE = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}

SPECS = {
    ("keda.sh/v1alpha1", "ScaledObject"): _closed(
        "scaleTargetRef",
        "triggers",
        scaleTargetRef=_closed("name", apiVersion=_TEXT, kind=_TEXT, name=_TEXT),
        pollingInterval=_COUNT,
        cooldownPeriod=_COUNT,
        minReplicaCount=_COUNT,
        maxReplicaCount=_COUNT,
        advanced=_closed(horizontalPodAutoscalerConfig=_closed(behavior=_BEHAVIOR)),
        triggers={"type": "array", "items": _TRIGGER, "minItems": 1},
    ),
    ("pyrra.dev/v1alpha1", "ServiceLevelObjective"): _closed(
        "indicator",
        "target",
        "window",
        description=_TEXT,
        target={"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"},
        window={"type": "string", "pattern": "^[1-9][0-9]*[dwh]$"},
        indicator=_closed(
            ratio=_closed("errors", "total", errors=_SELECTOR_OF_SERIES, total=_SELECTOR_OF_SERIES)
        ),
    ),
    ("openslo/v1", "SLO"): _closed(
        "service",
        "indicator",
        "timeWindow",
        "budgetingMethod",
        "objectives",
        description=_TEXT,
        service=_TEXT,
        indicator=_closed(
            "metadata",
            "spec",
            metadata=_NAMED,
            spec=_closed(
                ratioMetric=_closed(
                    "counter", "total", counter=_FLAG, good=_SOURCE, bad=_SOURCE, total=_SOURCE
                )
            ),
        ),
        timeWindow={"type": "array", "items": _WINDOW, "minItems": 1, "maxItems": 1},
        budgetingMethod={"enum": ["Occurrences", "Timeslices", "RatioTimeslices"]},
        objectives={
            "type": "array",
            "minItems": 1,
            "items": _closed("target", displayName=_TEXT, target=_SHARE),
        },
    ),
    ("monitoring.coreos.com/v1", "PodMonitor"): _closed(
        "selector",
        "podMetricsEndpoints",
        podMetricsEndpoints=_ENDPOINTS,
        podTargetLabels=_TEXTS,
        **_MONITOR,
    ),
    ("monitoring.coreos.com/v1", "ServiceMonitor"): _closed(
        "selector", "endpoints", endpoints=_ENDPOINTS, targetLabels=_TEXTS, **_MONITOR
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): _closed("groups", groups=_OBJECTS),
    ("grafana.integreatly.org/v1beta1", "GrafanaDashboard"): _closed(
        "instanceSelector",
        "configMapRef",
        allowCrossNamespaceImport=_FLAG,
        configMapRef=_closed("name", "key", name=_TEXT, key=_TEXT),
        folder=_TEXT,
        instanceSelector=_SELECTOR,
        resyncPeriod=_TEXT,
    ),
    ("cert-manager.io/v1", "Issuer"): _closed("selfSigned", selfSigned=_closed()),
    ("cert-manager.io/v1", "Certificate"): _closed(
        "secretName", "issuerRef", secretName=_TEXT, dnsNames=_TEXTS, issuerRef=_ISSUER
    ),
}


def validate(data: dict[str, Any], version: str) -> None:
    """Validate an object strictly, by Kubernetes' schema or by one of these."""
    if schemas.validate(data, version):
        return
    spec = SPECS[(data["apiVersion"], data["kind"])]
    jsonschema.validate(data["spec"], spec)
    assert data.keys() == {"apiVersion", "kind", "metadata", "spec"}

"""Settings: where a value comes from, and one clear line for each that is unusable."""

from __future__ import annotations

import os
from functools import reduce
from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel, ValidationError

from goodput_proxy.settings import ConfigError, MatchSettings, Settings
from goodput_proxy.slo import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Hide the settings of whoever runs the tests."""
    for name in os.environ:
        if name.upper().startswith("GOODPUT_"):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a writer of YAML files."""

    def write_text(text: str) -> Path:
        path = tmp_path / "goodput.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


def problems(*arguments: str) -> tuple[str, ...]:
    """Return what is wrong with the settings."""
    with pytest.raises(ConfigError) as caught:
        Settings.load(arguments)
    return caught.value.problems


# -- where a value comes from

# Field, default, and its value in the file, in the environment and as a flag.
FIELDS = [
    ("upstream", "http://127.0.0.1:8000", "http://a:1", "https://b:2", "unix:/c"),
    ("listen", "0.0.0.0:9000", "127.0.0.1:1", "127.0.0.2:2", "[::1]:3"),
    ("forwarded_headers", "False", "True", "False", "True"),
    ("workers", "1", "2", "3", "4"),
    ("admin_listen", "0.0.0.0:9001", "127.0.0.1:1", "127.0.0.2:2", "[::1]:3"),
    ("slo.preset", "None", "guidellm/chat", "guidellm/rag", "mlperf/gptj/server"),
    ("slo.ttft", "500ms", "1s", "2s", "3s"),
    ("slo.itl", "100ms", "1ms", "2ms", "3ms"),
    ("slo.stall", "None", "1s", "2s", "3s"),
    ("slo.e2e", "None", "1m", "2m", "3m"),
    ("slo.objective", "0.95", "0.7", "0.8", "0.9"),
    ("slo_headers.limits", "False", "True", "False", "True"),
    ("slo_headers.smallest", "1ms", "2ms", "3ms", "4ms"),
    ("slo_headers.largest", "10m", "1s", "2s", "3s"),
    ("slo_headers.classes", "False", "True", "False", "True"),
    ("limits.models", "32", "1", "2", "3"),
    ("limits.record_bytes", "24576", "20001", "20002", "20003"),
    ("limits.body_copy_bytes", "524288", "1024", "1025", "1026"),
    ("limits.body_scan_bytes", "33554432", "1024", "1025", "1026"),
    ("limits.head_bytes", "65536", "1024", "1025", "1026"),
    ("limits.body_bytes", "None", "1", "2", "3"),
    ("limits.connections", "8192", "1", "2", "3"),
    ("timeouts.connect", "5s", "1s", "2s", "3s"),
    ("timeouts.idle", "10m", "1s", "2s", "3s"),
    ("timeouts.tunnel", "1h", "1s", "2s", "3s"),
    ("timeouts.keepalive", "75s", "1s", "2s", "3s"),
    ("timeouts.head", "30s", "1s", "2s", "3s"),
    ("timeouts.upload", "1m", "1s", "2s", "3s"),
    ("timeouts.download", "10m", "1s", "2s", "3s"),
    ("timeouts.upstream_keepalive", "4s", "1s", "2s", "3s"),
    ("timeouts.upstream_age", "1m", "1s", "2s", "3s"),
    ("timeouts.tls_handshake", "10s", "1s", "2s", "3s"),
    *(
        (f"{group}.{name}", "None", "/a", "/b", "/c")
        for group, names in {
            "listen_tls": ("cert", "key", "client_ca"),
            "admin_listen_tls": ("cert", "key", "client_ca"),
            "upstream_tls": ("ca", "cert", "key", "server_name"),
        }.items()
        for name in names
    ),
    ("upstream_tls.verify", "True", "False", "True", "False"),
    ("drain.delay", "0s", "1s", "2s", "3s"),
    ("drain.timeout", "30s", "0s", "2s", "3s"),
    ("log.level", "info", "debug", "warning", "error"),
    ("log.json_lines", "True", "False", "True", "False"),
    ("log.requests", "0.0", "0.1", "0.2", "1.0"),
    ("log.bad_requests", "0.0", "0.1", "0.2", "1.0"),
]


def read(settings: Settings, field: str) -> str:
    """Return the value of a field as text."""
    return str(reduce(getattr, field.split("."), settings))


def flag(field: str) -> str:
    """Return the flag of a field."""
    return f"--{field.replace('_', '-')}"


def variable(field: str) -> str:
    """Return the environment variable of a field."""
    return f"GOODPUT_{field.upper().replace('.', '__')}"


def as_yaml(field: str, value: str) -> str:
    """Return a file that sets one field."""
    return f"{field.replace('.', ': {', 1)}: {value}{'}' * field.count('.')}\n"


@pytest.mark.parametrize("row", FIELDS, ids=[row[0] for row in FIELDS])
def test_flag_before_environment_before_file_before_default(
    row: tuple[str, str, str, str, str], write: Write, environment: pytest.MonkeyPatch
) -> None:
    """A field takes its flag, else its variable, else the file, else the default."""
    field, default, in_file, in_env, as_flag = row
    file = ["--config", str(write(as_yaml(field, in_file)))]
    assert read(Settings.load([]), field) == default
    assert read(Settings.load(file), field) == in_file
    environment.setenv(variable(field), in_env)
    assert read(Settings.load(file), field) == in_env
    assert read(Settings.load([*file, flag(field), as_flag]), field) == as_flag


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_the_table_above_is_complete() -> None:
    """Each setting has its row, apart from the file's own name and the list of classes."""
    assert {row[0] for row in FIELDS} == {*_leaves(Settings)} - {"config", "slo_classes"}


def test_every_setting_is_described() -> None:
    """The descriptions are the help text and the reference: none is missing."""

    def undescribed(model: type[BaseModel]) -> Iterator[str]:
        for name, field in model.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel) and not field.description:
                assert kind.__doc__, name
                yield from undescribed(kind)
            elif not field.description:
                yield name

    assert list(undescribed(Settings)) == []


def test_sources_are_merged_field_by_field(write: Write, environment: pytest.MonkeyPatch) -> None:
    """A stronger source hides the fields that it names and no others of their group."""
    path = write("slo: {ttft: 1s, itl: 2s, stall: 3s}\n")
    environment.setenv("GOODPUT_SLO__ITL", "20s")
    slo = Settings.load([f"--config={path}", "--slo.stall", "30s"]).slo
    assert (str(slo.ttft), str(slo.itl), str(slo.stall), slo.e2e) == ("1s", "20s", "30s", None)


def test_the_file_is_named_by_flag_or_environment(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    """`--config` names the file, else `GOODPUT_CONFIG` does."""
    for name in ("by_flag", "by_env"):
        (tmp_path / name).write_text(f"upstream: http://{name.replace('_', '-')}:1")
    environment.setenv("GOODPUT_CONFIG", str(tmp_path / "by_env"))
    assert Settings.load([]).upstream.host == "by-env"
    assert Settings.load(["--config", str(tmp_path / "by_flag")]).upstream.host == "by-flag"


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "---\n", "null\n"])
def test_an_empty_file_sets_nothing(content: str, write: Write) -> None:
    """A file in which everything is commented out leaves the defaults."""
    path = write(content)
    assert Settings.load(["--config", str(path)]) == Settings.load([]).model_copy(
        update={"config": path}
    )


def test_a_limit_can_be_switched_off_from_every_source(
    write: Write, environment: pytest.MonkeyPatch
) -> None:
    """`none` takes a limit away that has a default; YAML may also say null."""
    assert Settings.load(["--slo.ttft", "none"]).slo.ttft is None
    assert Settings.load(["--config", str(write("slo: {ttft: none, itl: null}"))]).slo.limits() == (
        Limits()
    )
    environment.setenv("GOODPUT_SLO__ITL", "none")
    assert Settings.load([]).slo.itl is None
    environment.setenv("GOODPUT_LIMITS__BODY_BYTES", "none")
    file = ["--config", str(write("limits: {body_bytes: 1000}"))]
    assert Settings.load(file).limits.body_bytes is None


def test_variables_of_others_are_ignored(environment: pytest.MonkeyPatch) -> None:
    """Kubernetes sets `GOODPUT_PORT` and the like for a Service named goodput."""
    environment.setenv("GOODPUT_PORT", "tcp://10.0.0.1:9000")
    environment.setenv("GOODPUT_SERVICE_HOST", "10.0.0.1")
    assert Settings.load([]).listen.port == 9000


def test_settings_are_frozen() -> None:
    """What was validated is not changed afterwards."""
    settings = Settings.load([])
    with pytest.raises(ValidationError, match="frozen"):
        settings.upstream = settings.upstream  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        settings.slo.ttft = None  # type: ignore[misc]


# -- classes

CLASSES = """\
slo_classes:
  - name: interactive
    match:
      model: llama-*
      path: /v1/chat/*
      headers: {X-Tier: gold, x-team: "a?"}
    ttft: 200ms
    itl: 30ms
    stall: 1s
    e2e: 1m
    objective: 0.99
  - name: batch.2
    e2e: 10m
"""


def test_classes_from_a_file(write: Write) -> None:
    """A class has a name, globs, limits and an objective; what is left out is not limited."""
    first, second = Settings.load(["--config", str(write(CLASSES))]).slo_classes
    assert first.name == "interactive"
    assert first.match == MatchSettings(
        model="llama-*", path="/v1/chat/*", headers={"X-Tier": "gold", "x-team": "a?"}
    )
    assert first.limits() == Limits(200 * 10**6, 30 * 10**6, 10**9, 60 * 10**9)
    assert first.objective == 0.99
    assert (second.name, second.match) == ("batch.2", MatchSettings())
    assert second.limits() == Limits(e2e_ns=600 * 10**9)
    assert second.objective == 0.95


def test_classes_from_the_environment(write: Write, environment: pytest.MonkeyPatch) -> None:
    """As JSON in a variable they replace those of the file: a list is one value."""
    environment.setenv("GOODPUT_SLO_CLASSES", '[{"name": "a", "match": {"model": "m"}}]')
    (only,) = Settings.load(["--config", str(write(CLASSES))]).slo_classes
    assert (only.name, only.match.model) == ("a", "m")


# -- presets

MS = 10**6


@pytest.mark.parametrize(
    ("content", "limits", "objective"),
    [
        ("{}", Limits(500 * MS, 100 * MS), 0.95),
        ("{preset: mlperf/llama2-70b/interactive}", Limits(450 * MS, 40 * MS), 0.99),
        ("{preset: distserve/chat-opt-13b}", Limits(250 * MS, 100 * MS), 0.9),
        ("{preset: guidellm/agent}", Limits(e2e_ns=5000 * MS), 0.99),  # no default is left
        (
            "{ttft: 1s, preset: guidellm/rag, stall: 2s, objective: 0.5}",
            Limits(1000 * MS, 100 * MS, 2000 * MS, 3000 * MS),
            0.5,
        ),
        ("{preset: guidellm/rag, e2e: none, itl: null}", Limits(300 * MS), 0.99),
        ("{preset: none}", Limits(500 * MS, 100 * MS), 0.95),
    ],
)
def test_a_preset_stands_below_what_is_set_and_above_the_defaults(
    content: str, limits: Limits, objective: float, write: Write
) -> None:
    """It replaces the built-in limits of `default`, all of them; `none` switches one of its off."""
    slo = Settings.load(["--config", str(write(f"slo: {content}"))]).slo
    assert (slo.limits(), slo.objective) == (limits, objective)


def test_classes_have_presets_of_their_own(write: Write) -> None:
    """A class takes its preset and nothing of `default`'s, as it inherits nothing else."""
    file = write(
        "slo: {preset: guidellm/rag}\n"
        "slo_classes: [{name: a}, {name: b, preset: guidellm/chat, itl: 60ms}]"
    )
    a, b = Settings.load(["--config", str(file)]).slo_classes
    assert (a.limits(), a.objective) == (Limits(), 0.95)
    assert (b.limits(), b.objective) == (Limits(200 * MS, 60 * MS), 0.99)


def test_a_preset_is_merged_with_stronger_sources(
    write: Write, environment: pytest.MonkeyPatch
) -> None:
    """A limit from any source is stronger than a preset from any source."""
    file = ["--config", str(write("slo: {ttft: 7ms}"))]
    environment.setenv("GOODPUT_SLO__PRESET", "guidellm/chat")
    assert Settings.load(file).slo.limits() == Limits(7 * MS, 50 * MS)
    slo = Settings.load([*file, "--slo.preset=mlperf/gptj/server", "--slo.itl=9ms"]).slo
    assert slo.limits() == Limits(7 * MS, 9 * MS, None, 20_000 * MS)


# -- what is unusable: each expectation is (field, words of the reason)

Expected = list[tuple[str, str]]


def check_problems(found: tuple[str, ...], expected: Expected) -> None:
    """Each problem is one line that begins with its field and gives the reason."""
    assert len(found) == len(expected), found
    for line, (field, words) in zip(found, expected, strict=True):
        assert line.startswith(f"{field}: "), line
        assert words in line
        assert "\n" not in line


NO_UNIT = "has no unit: a duration is a number with a unit, such as 500ms, 1.5s, 2m or 1h"
NO_DURATION = "is not a duration: a duration is a number with a unit"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--slo.ttft 500", [("slo.ttft", f"'500' {NO_UNIT}")]),
        ("--slo.ttft=-1s", [("slo.ttft", f"'-1s' {NO_DURATION}")]),
        ("--slo.itl 1h3", [("slo.itl", f"'1h3' {NO_DURATION}")]),
        ("--slo.itl 0s", [("slo.itl", "must be above zero (got '0s')")]),
        (f"--slo.e2e {'9' * 400}h", [("slo.e2e", NO_DURATION)]),
        ("--timeouts.idle 0ms", [("timeouts.idle", "must be above zero (got '0ms')")]),
        ("--upstream ftp://a", [("upstream", "'ftp://a' is not an upstream: expected http://")]),
        ("--upstream http://a:b", [("upstream", "'http://a:b' is not a URL (Port could not")]),
        ("--upstream http://a/v1", [("upstream", "there is more than scheme, host and port")]),
        ("--upstream http://localhost:9000", [("listen", "0.0.0.0:9000 is the upstream")]),
        ("--upstream http://[::1]:1 --listen [::1]:1", [("listen", "the proxy would ask itself")]),
        ("--listen 9000", [("listen", "'9000' is not an address: expected HOST:PORT")]),
        ("--admin-listen :x", [("admin_listen", "':x' is not an address: expected HOST:PORT")]),
        ("--slo.objective 0", [("slo.objective", "should be greater than 0 (got '0')")]),
        ("--slo.objective 1", [("slo.objective", "should be less than 1 (got '1')")]),
        ("--slo.objective nan", [("slo.objective", "(got 'nan')")]),
        ("--slo.objective 95%", [("slo.objective", "should be a valid number")]),
        (
            "--slo.preset mlperf/llama2-70b/interactve",
            [("slo.preset", "is not a preset: the nearest are mlperf/llama2-70b/interactive, ")],
        ),
        ("--slo-headers.limits perhaps", [("slo_headers.limits", "should be a valid boolean")]),
        ("--slo-headers.smallest 0s", [("slo_headers.smallest", "must be above zero")]),
        (
            "--slo-headers.smallest 2s --slo-headers.largest 1s",
            [("slo_headers.largest", "must not be below smallest, which is 2s (got '1s')")],
        ),
        ("--limits.models 0", [("limits.models", "greater than or equal to 1 (got '0')")]),
        ("--limits.models many", [("limits.models", "should be a valid integer")]),
        ("--log.level loud", [("log.level", "'debug', 'info', 'warning' or 'error'")]),
        ("--log.requests 2", [("log.requests", "less than or equal to 1")]),
        ("--log.json-lines maybe", [("log.json_lines", "should be a valid boolean")]),
        ("--slo x", [("slo", "must be JSON")]),
        ("--slo-classes x", [("slo_classes.0", "must be a mapping")]),
        ("--nope 1", [("unrecognized arguments", "--nope 1")]),
        ("--slo.tt 1s", [("unrecognized arguments", "--slo.tt 1s")]),  # no abbreviations
        ("extra", [("unrecognized arguments", "extra")]),
        ("--slo.ttft", [("argument --slo.ttft", "expected one argument")]),
        ("--config /no/such/file", [("config", "cannot read /no/such/file: No such file or")]),
        ("--config /", [("config", "cannot read /: Is a directory")]),
        (
            "--slo.ttft 500 --upstream a --slo.objective 1",
            [
                ("upstream", "is not an upstream"),
                ("slo.ttft", "has no unit"),
                ("slo.objective", "should be less than 1"),
            ],
        ),
    ],
)
def test_unusable_flags(arguments: str, expected: Expected) -> None:
    """Each unusable flag has one line with its field and the reason, all of them at once."""
    check_problems(problems(*arguments.split(" ")), expected)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("GOODPUT_SLO__TTFT", "500", [("slo.ttft", NO_UNIT)]),
        ("goodput_slo__ttft", "500", [("slo.ttft", NO_UNIT)]),
        ("GOODPUT_SLO__TFTT", "1s", [("slo.tftt", "unknown setting")]),
        ("GOODPUT_SLO", "x", [("slo", "must be JSON")]),
        ("GOODPUT_SLO_CLASSES", "x", [("slo_classes", "must be JSON")]),
        ("GOODPUT_SLO_CLASSES", '{"name": "a"}', [("slo_classes", "must be a list")]),
        ("GOODPUT_SLO_CLASSES", '[{"ttft": "1"}]', [
            ("slo_classes.0.ttft", NO_UNIT),
            ("slo_classes.0.name", "is required"),
        ]),
        ("GOODPUT_CONFIG", "/no/such/file", [("config", "cannot read /no/such/file")]),
    ],
)  # fmt: skip
def test_unusable_variables(
    name: str, value: str, expected: Expected, environment: pytest.MonkeyPatch
) -> None:
    """An unusable variable is told by the field that it sets."""
    environment.setenv(name, value)
    check_problems(problems(), expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("foo: 1", [("foo", "unknown setting")]),
        ("admin-listen: :1", [("admin-listen", "unknown setting")]),  # a flag is no key
        ("1: a\n2: b", [("1", "unknown setting"), ("2", "unknown setting")]),
        ("slo: {ttft: 500}", [("slo.ttft", f"500 {NO_UNIT}")]),
        ("slo: {ttft: 0.5}", [("slo.ttft", f"0.5 {NO_UNIT}")]),
        ("slo: {foo: 1, itl: 1h3}", [("slo.itl", NO_DURATION), ("slo.foo", "unknown setting")]),
        ("slo: {objective: 1}", [("slo.objective", "should be less than 1")]),
        ("slo: 5", [("slo", "must be a mapping")]),
        ("slo:\n", [("slo", "must be a mapping")]),
        ("slo_classes:\n", [("slo_classes", "must be a list")]),
        ("slo_classes: {a: {ttft: 1s}}", [("slo_classes", "must be a list")]),
        ("slo_classes: [a]", [("slo_classes.0", "must be a mapping")]),
        ("slo_classes: [{ttft: 1s}]", [("slo_classes.0.name", "is required")]),
        ("slo_classes: [{name: a}, {name: b}, {name: a}]", [
            ("slo_classes", "two classes have the name 'a'"),
        ]),
        ("slo_classes: [{name: default}]", [
            ("slo_classes.0.name", "is taken: the class `default` is configured under `slo`"),
        ]),
        ("slo: {preset: chat}", [
            ("slo.preset", "'chat' is not a preset: the nearest are guidellm/chat, distserve/"),
        ]),
        ("slo: {preset: 1}", [("slo.preset", "should be a valid string")]),
        ("slo: {preset: [guidellm/chat]}", [("slo.preset", "should be a valid string")]),
        ("slo_classes: [{name: a}, {name: b, preset: xyz, ttft: 1}]", [
            ("slo_classes.1.preset", "'xyz' is not a preset: there are mlperf/"),
            ("slo_classes.1.ttft", NO_UNIT),
        ]),
        ("slo_classes: [{name: a b}]", [("slo_classes.0.name", "should match pattern")]),
        ("slo_classes: [{name: a, objective: 0}]", [
            ("slo_classes.0.objective", "should be greater than 0"),
        ]),
        ("slo_classes: [{name: a, match: {modle: b}}]", [
            ("slo_classes.0.match.modle", "unknown setting"),
        ]),
        ("slo_classes: [{name: a, match: {headers: {'Bärlauch': b}}}]", [
            ("slo_classes.0.match.headers.Bärlauch.[key]", "should match pattern"),
        ]),
        ("- a\n- b", [("config", "must hold a mapping of settings")]),
        ("just text", [("config", "must hold a mapping of settings")]),
        ("config: other.yaml", [("config", "must not name another file")]),
        ("slo: [1", [("config", "is not YAML: while parsing a flow sequence")]),
        ("a: b: c", [("config", "is not YAML: mapping values are not allowed here")]),
        ("a: !!python/object:os.system {}", [("config", "could not determine a constructor")]),
        ("[" * 500, [("config", "is not YAML: maximum recursion depth exceeded")]),
        ("\0", [("config", "is not YAML: unacceptable character #x0000")]),
    ],
)  # fmt: skip
def test_unusable_files(content: str, expected: Expected, write: Write) -> None:
    """Each unusable key of a file has one line with its path and the reason."""
    check_problems(problems("--config", str(write(content))), expected)


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    """A file that is not UTF-8 is told so."""
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"upstream: \xff\xfe")
    check_problems(
        problems("--config", str(path)), [("config", "is not YAML: 'utf-8' codec can't decode")]
    )


def test_an_error_is_the_sum_of_its_lines() -> None:
    """What is shown for an unhandled error is the same lines."""
    assert str(ConfigError(["a: b", "c: d"])) == "a: b\nc: d"

"""What pyproject.toml, the locks, the Makefile and the wheel say must agree with the code."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import goodput_proxy
from goodput_proxy.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
DEPENDENCIES: list[str] = PYPROJECT["project"]["dependencies"]
EXTRAS: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]
OPTIONAL = [text for texts in EXTRAS.values() for text in texts]
LOCKS = ("runtime", "build", "dev", "plots", "lock")
FLOOR = "3.11"

# Run in environments of their own: that of `make verify-real`, beside torch, and that of the plots.
ELSEWHERE = {ROOT / "tests/real/make_tiny_model.py", ROOT / "bench/plots.py"}


def names_of(requirements: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


@cache
def group(name: str) -> tuple[str, ...]:
    """Return the requirements of a dependency group, included groups with it."""
    found: list[str] = []
    for entry in PYPROJECT["dependency-groups"][name]:
        if isinstance(entry, str):
            found.append(entry)
        else:
            found += group(entry["include-group"])
    return tuple(found)


@cache
def lock(name: str) -> dict[str, tuple[str, int]]:
    """Return the pinned version and the number of hashes of every package of a lock."""
    text = (ROOT / f"requirements/{name}.txt").read_text("utf-8")
    pins = re.findall(
        r"^([\w.-]+)==(\S+).*\n((?: {4}--hash=sha256:[0-9a-f]{64}.*\n)*)", text, re.MULTILINE
    )
    return {package: (version, hashes.count("--hash")) for package, version, hashes in pins}


@cache
def owners() -> dict[str, str]:
    """Return the installed distribution that each importable top-level name belongs to."""
    found = metadata.packages_distributions().items()
    return {module: canonicalize_name(names[0]) for module, names in found}


def imported_packages(path: Path) -> Iterator[str]:
    """Yield the distributions that a module imports, its own and Python's left out."""
    ours = {"goodput_proxy", "tests", "bench", "tools"}
    later = {"compression"}  # of the standard library, from 3.14 on
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            modules = [node.module]
        else:
            continue
        for top in {module.partition(".")[0] for module in modules}:
            if top not in sys.stdlib_module_names | ours | later:
                assert top in owners(), f"{path} imports {top}, which nothing here installs"
                yield owners()[top]


def all_imports(*folders: str) -> set[str]:
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return {name for path in paths if path not in ELSEWHERE for name in imported_packages(path)}


def comes_with(dependencies: set[str]) -> set[str]:
    """Return what the dependencies themselves require, and so show in their interfaces."""
    return names_of(
        text
        for name in dependencies
        for text in metadata.requires(name) or ()
        if "extra ==" not in text
    )


def test_metadata_has_the_version_of_the_package() -> None:
    """Installed metadata and `__version__` are one number."""
    assert metadata.version("goodput-proxy") == goodput_proxy.__version__


def test_package_is_typed() -> None:
    """Type checkers look for `py.typed` before they believe annotations."""
    assert (resources.files(goodput_proxy) / "py.typed").is_file()


def test_console_script_resolves() -> None:
    """`goodput-proxy` is the function that `python -m goodput_proxy` runs."""
    (script,) = metadata.entry_points(group="console_scripts", name="goodput-proxy")

    assert script.load() is main


def test_every_dependency_is_imported() -> None:
    """A dependency that nothing imports is installed, scanned and updated for nothing."""
    assert names_of([*DEPENDENCIES, *OPTIONAL]) - all_imports("goodput_proxy") == set()


def test_every_import_is_a_dependency() -> None:
    """The package imports what it declares, or what a declared package requires by itself."""
    declared = names_of([*DEPENDENCIES, *OPTIONAL])

    assert all_imports("goodput_proxy") - declared - comes_with(declared) == set()


def test_tests_import_what_their_group_declares() -> None:
    """Tests and bench run with the runtime dependencies and the group `test`, no more."""
    declared = names_of(DEPENDENCIES) | names_of(group("test"))

    assert all_imports("tests", "bench") - declared - comes_with(declared) == set()


@pytest.mark.parametrize(
    ("name", "requirements"),
    [
        ("runtime", DEPENDENCIES),
        ("dev", [*DEPENDENCIES, *group("dev")]),
        ("build", [*PYPROJECT["build-system"]["requires"], *group("build")]),
        ("plots", group("plots")),
        ("lock", group("lock")),
    ],
)
def test_lock_satisfies_pyproject(name: str, requirements: list[str]) -> None:
    """Every range of pyproject.toml has a pin inside it: else `make lock` has been forgotten."""
    pins = lock(name)
    for text in requirements:
        requirement = Requirement(text)
        package = canonicalize_name(requirement.name)
        assert package in pins, f"{text}: not in requirements/{name}.txt; run `make lock`"
        version, _ = pins[package]
        assert requirement.specifier.contains(version, prereleases=True), f"{text}: {version}"


@pytest.mark.parametrize("name", LOCKS)
def test_lock_has_hashes_and_no_host(name: str) -> None:
    """Every package is pinned by version and hash, from whatever index its user trusts."""
    text = (ROOT / f"requirements/{name}.txt").read_text("utf-8")
    requirements = [line for line in text.splitlines() if line and line[0] not in " #"]
    names = {line.partition("==")[0] for line in requirements}

    assert all("==" in line and line.endswith(" \\") for line in requirements)
    assert names == lock(name).keys() != set()
    assert all(hashes > 0 for _, hashes in lock(name).values())
    assert not re.search(r"://|--(?:extra-)?index|--find-links|@ ", text)


@pytest.mark.parametrize("name", ["runtime", "build"])
def test_users_run_what_was_tested(name: str) -> None:
    """The smaller locks have the pins of dev.txt, with which the tests run."""
    assert lock(name).items() <= lock("dev").items()


def test_one_python_floor() -> None:
    """The floor is the same wherever it is written, and it is what runs here or older."""
    tool = PYPROJECT["tool"]
    floor = re.escape(FLOOR)

    assert PYPROJECT["project"]["requires-python"] == f">={FLOOR}"
    assert tool["mypy"]["python_version"] == FLOOR
    assert tool["ruff"]["target-version"] == f"py{FLOOR.replace('.', '')}"
    assert re.search(rf"--python-version {floor}\b", (ROOT / "Makefile").read_text("utf-8"))
    find_python = (ROOT / "tools/find_python.sh").read_text("utf-8")
    assert f"floor, ceiling = ({FLOOR.replace('.', ', ')})," in find_python
    versions = [
        classifier.rpartition(" :: ")[2]
        for classifier in PYPROJECT["project"]["classifiers"]
        if classifier.startswith("Programming Language :: Python :: 3.")
    ]
    assert min(versions, key=Version) == FLOOR
    assert SpecifierSet(f">={FLOOR}").contains(".".join(map(str, sys.version_info[:3])))


def test_pure_core_of_the_makefile_exists() -> None:
    """A module that is renamed must not slip out of the 100 % coverage unnoticed."""
    makefile = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    (patterns,) = re.findall(r"^CORE := (.+)$", makefile, re.MULTILINE)

    assert len(patterns.split()) >= 9
    for pattern in patterns.split():
        assert list(ROOT.glob(pattern)), f"{pattern} of the Makefile's CORE matches no file"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of the working tree with the pinned backend."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Every file of the package is in the wheel; tests, bench and tools are not."""
    package = ROOT / "goodput_proxy"
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    assert {name for name in names if ".dist-info/" not in name} == expected
    assert "goodput_proxy/py.typed" in expected
    assert wheel.name == f"goodput_proxy-{goodput_proxy.__version__}-py3-none-any.whl"


def test_wheel_metadata(wheel: Path) -> None:
    """The wheel carries the licence, the console script, the floor, dependencies and extras."""
    info = f"goodput_proxy-{goodput_proxy.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        scripts = archive.read(f"{info}/entry_points.txt").decode()
        about = archive.read(f"{info}/METADATA").decode()
        licence = archive.read(f"{info}/licenses/LICENSE")

    assert "goodput-proxy = goodput_proxy.__main__:main" in scripts
    assert "License-Expression: Apache-2.0" in about
    assert f"Requires-Python: >={FLOOR}" in about
    required = re.findall(r"^Requires-Dist: (.+)$", about, re.MULTILINE)
    extra = [text for text in required if "extra ==" in text]
    assert names_of(set(required) - set(extra)) == names_of(DEPENDENCIES)
    assert names_of(extra) == names_of(OPTIONAL)
    assert licence == (ROOT / "LICENSE").read_bytes()


def find_python(folder: Path, *arguments: str, **pythons: str) -> subprocess.CompletedProcess[str]:
    """Run tools/find_python.sh where only `pythons` are on the PATH: name -> what it answers."""
    for name, answer in pythons.items():
        fake = folder / name.replace("_", ".")
        fake.write_text(f"#!/bin/sh\necho '{answer}'\n", "utf-8")
        fake.chmod(0o755)
    return subprocess.run(
        ["/bin/sh", ROOT / "tools/find_python.sh", *arguments],
        env={**os.environ, "PATH": str(folder)},
        check=False,
        capture_output=True,
        text=True,
    )


def test_python_search_takes_the_first_that_will_do(tmp_path: Path) -> None:
    """Too old, too new and without venv are passed over while a better one is to be found."""
    done = find_python(
        tmp_path,
        python3="old 3.9.2 /usr/bin/python3",
        python3_14="bare 3.14.0 /usr/bin/python3.14",
        python3_12="ok 3.12.1 /opt/my python/bin/python3.12",
        python="new 3.99.0 /usr/bin/python",
    )

    assert (done.returncode, done.stdout) == (0, "/opt/my python/bin/python3.12\n")


@pytest.mark.parametrize(
    ("pythons", "arguments", "words"),
    [
        ({}, [], ["3.11 or newer", "none is on the PATH", "make PYTHON="]),
        ({"python3": "old 3.9.2 /p"}, [], ["3.11 or newer", "python3 is 3.9.2", "make PYTHON="]),
        ({"python3": "bare 3.11.2 /p"}, [], ["python3 (3.11.2)", "venv", "python3-venv"]),
        ({"mine": "old 2.7.18 /p"}, ["mine"], ["3.11 or newer", "mine is 2.7.18"]),
        ({"mine": "bare 3.13.0 /p"}, ["mine"], ["mine (3.13.0)", "python3-venv"]),
        ({"python3": "ok 3.12.1 /p"}, ["mine"], ["3.11 or newer", "mine cannot be run"]),
    ],
)
def test_python_search_says_in_one_line_what_is_missing(
    tmp_path: Path, pythons: dict[str, str], arguments: list[str], words: list[str]
) -> None:
    """A user without a fit Python learns why and what to do, and nothing is printed to use."""
    done = find_python(tmp_path, *arguments, **pythons)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    for word in words:
        assert word in done.stderr


def test_python_search_examines_the_real_one() -> None:
    """The Python that runs this test is fit: the floor holds, and venv and pip are there."""
    probe = subprocess.run(
        ["/bin/sh", ROOT / "tools/find_python.sh", sys.executable],
        check=True,
        capture_output=True,
        text=True,
    )

    assert Path(probe.stdout.strip()).samefile(sys.executable)

"""A whole input: which workloads are meant, what happens to them, and to what leads to them.

It happens in three steps, and nothing is handed back when an object was refused in any of them:
  1. Sidecars that are to go, or to be made anew, are taken out, and the routes to them restored.
     After that no difference is left between what was injected before and what never was.
  2. Each workload that is meant is planned, knowing the routes in the same input.
  3. Plans and routes become text.
So adding twice changes nothing, and adding with another version or other options updates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from . import pods, policies, routes
from .documents import kinds_pattern, objects, split
from .plan import Plan, plan
from .pods import KSERVE, misplaced_wish, sidecar_port, workload_of
from .policies import policy_of
from .removal import remove
from .routes import move, restore, route_of
from .splice import source_of, splice
from .tree import Refusal, look_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .documents import Document
    from .options import SidecarOptions
    from .pods import Workload
    from .routes import Route
    from .selection import Selection
    from .tree import Change, Path

_KINDS = kinds_pattern(sorted(pods.KINDS | routes.KINDS | policies.KINDS))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an input.

    Args:
        texts: the manifests, in the order of the sources.
        notes: what was done and what a reader should know, a line each.
    """

    texts: list[str]
    notes: list[str]


class Rejected(Exception):  # noqa: N818 -- nothing went wrong: the answer is no
    """The input is refused; `problems` has a line for each object that is the reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def inject(
    sources: Sequence[tuple[str, str]],
    selection: Selection,
    options: SidecarOptions,
    *,
    services: bool = True,
) -> Outcome:
    """Return the manifests with the sidecar in every workload that is meant.

    Args:
        sources: the manifests, each with the name that problems call it by.
        selection: which workloads are meant beside those that ask.
        options: choices for all; the annotations of a pod template refine them.
        services: lead Services to the sidecars, too; False leads them past these.

    Raises:
        Rejected: when an object would not work; then nothing is to be written.
    """
    run = _Run(sources)
    meant = run.choose(selection.means)
    run.take_out(meant)
    run.put_in(meant, options, services=services)
    return run.outcome("nothing injected: no pod template asks for it, and no flag selects one")


def uninject(sources: Sequence[tuple[str, str]], selection: Selection) -> Outcome:
    """Return the manifests without the sidecars that were added to them.

    Args:
        sources: the manifests, each with the name that problems call it by.
        selection: which workloads are meant; all of them if it is empty.

    Raises:
        Rejected: when a sidecar cannot be taken out.
    """
    run = _Run(sources)
    meant = run.choose(lambda w: w.injected and (selection.empty or selection.takes(w)))
    for name in run.take_out(meant, all_routes=selection.empty):
        run.notes.append(f"{name}: restored")
    return run.outcome("nothing removed: no workload here has the sidecar")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an object stands; what it says changes on the way."""

    document: Document
    path: Path

    @property
    def data(self) -> dict[str, Any]:
        """What it says now."""
        found: dict[str, Any] = look_up(self.document.load(), self.path)
        return found

    def spelling(self, path: Path) -> str:
        """Return how a scalar of it is written."""
        return source_of(self.document, (*self.path, *path))

    def edit(self, changes: Iterable[Change]) -> None:
        """Change its text."""
        splice(self.document, [replace(c, path=(*self.path, *c.path)) for c in changes])


class _Run:
    """One input on its way."""

    def __init__(self, sources: Sequence[tuple[str, str]]) -> None:
        self.notes: list[str] = []
        self._problems: list[str] = []
        self._sources = [split(name, text) for name, text in sources]
        self._places: list[_Place] = []
        for document in (document for source in self._sources for document in source):
            if document.may_hold(_KINDS):
                with self._refusing(document):
                    found = objects(document.load())
                    self._places += [_Place(document, path) for path, _ in found]
        self._check()

    def outcome(self, idle: str) -> Outcome:
        """Return the manifests as they are now."""
        texts = ["".join(document.text for document in source) for source in self._sources]
        return Outcome(texts, self.notes or [idle])

    def choose(self, is_meant: Callable[[Workload], bool]) -> list[_Place]:
        """Return the places of the workloads that are meant."""
        chosen = []
        for place, workload in self._workloads():
            with self._refusing(place.document, workload):
                if is_meant(workload):
                    chosen.append(place)
            if wish := misplaced_wish(workload):
                self.notes.append(
                    f"{workload}: the wish in {wish} is not looked at; it belongs"
                    " on the pod template that serves"
                )
        self._check()
        return chosen

    def take_out(self, meant: Sequence[_Place], *, all_routes: bool = False) -> list[str]:
        """Take sidecars out of workloads that have one; return what was changed, by name."""
        changed: list[str] = []
        taken = [
            (place, workload)
            for place, workload in self._workloads()
            if place in meant and workload.injected
        ]
        for place, route in self._routes():
            if all_routes or any(route.selects(workload) for _, workload in taken):
                with self._refusing(place.document, route):
                    changes = restore(route)
                    place.edit(changes)
                    changed += [str(route)] if changes else []
        for place, workload in taken:
            with self._refusing(place.document, workload):
                place.edit(remove(workload))
                changed.append(str(workload))
        self._check()
        return changed

    def put_in(self, meant: Sequence[_Place], options: SidecarOptions, *, services: bool) -> None:
        """Give each workload its sidecar, and lead to it what leads to the server."""
        all_routes = list(self._routes())
        planned: list[tuple[_Place, Plan]] = []
        others: list[Workload] = []
        for place, workload in self._workloads():
            if place not in meant:
                others.append(workload)
                continue
            ours = [route for _, route in all_routes if route.selects(workload)]
            targets = [target.value for route in ours for target in route.targets]
            with self._refusing(place.document, workload):
                made = plan(workload, options, targets, place.spelling)
                self._check_policies(made)
                planned.append((place, made))
        moves: list[tuple[_Place, Sequence[Change]]] = []
        reached: set[str] = set()
        for place, route in all_routes:
            with self._refusing(place.document, route):
                led = [made for _, made in planned if route.selects(made.workload)]
                if changes := move(route, led, place.spelling):
                    _check_others(route, led[0], others)
                    reached |= {str(made.workload) for made in led}
                    if services:
                        moves.append((place, changes))
                        self._note_move(route, led[0])
                    else:
                        self.notes.append(f"{route}: left alone; it leads past the sidecar")
        self._check()
        for place, made in planned:
            with self._refusing(place.document, made.workload):
                place.edit(made.changes)
        for place, moved in moves:
            with self._refusing(place.document):
                place.edit(moved)
        for _, made in planned:
            self._note_plan(made, reached=str(made.workload) in reached)
        self._check()

    def _workloads(self) -> Iterator[tuple[_Place, Workload]]:
        for place in self._places:
            if workload := workload_of(place.data):
                yield place, workload

    def _routes(self) -> Iterator[tuple[_Place, Route]]:
        for place in self._places:
            if route := route_of(place.data):
                yield place, route

    def _check_policies(self, made: Plan) -> None:
        found = [policy for place in self._places if (policy := policy_of(place.data))]
        found = [policy for policy in found if policy.concerns(made.workload)]
        if found and not any(policy.admits(made.sidecar.port) for policy in found):
            raise Refusal(
                f"could not be reached at port {made.sidecar.port}: {found[0]} does not admit it;"
                " add it there"
            )

    def _note_plan(self, made: Plan, *, reached: bool) -> None:
        workload, sidecar = made.workload, made.sidecar
        self.notes.append(f"{workload}: sidecar on port {sidecar.port} in front of {made.server}")
        if not reached and (workload.group, workload.kind) != KSERVE:
            self.notes.append(
                f"{workload}: no Service in this input leads to {made.server.port}; let what"
                f" sends requests there send them to {sidecar.port}"
            )

    def _note_move(self, route: Route, made: Plan) -> None:
        ports = f"{made.sidecar.port} instead of {made.server.port}"
        self.notes.append(f"{route}: leads to port {ports}")
        if route.headless:
            self.notes.append(
                f"{route}: is headless; clients that resolve its name choose the port themselves,"
                f" and must choose {made.sidecar.port}"
            )

    def _refusing(self, document: Document, subject: object = None) -> _Refusing:
        where = str(document) if subject is None else f"{document}: {subject}"
        return _Refusing(where, self._problems)

    def _check(self) -> None:
        if self._problems:
            raise Rejected(self._problems)


class _Refusing:
    """A block in which a refusal becomes a problem, so that the next object is looked at, too."""

    def __init__(self, where: str, problems: list[str]) -> None:
        self._where = where
        self._problems = problems

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Refusal):
            return False
        separator = ": " if str(error).startswith("annotation ") else " "
        self._problems.append(f"{self._where}{separator}{error}")
        return True


def _check_others(route: Route, made: Plan, others: Sequence[Workload]) -> None:
    for other in others:
        if route.selects(other) and sidecar_port(other) != made.sidecar.port:
            raise Refusal(
                f"leads to {made.workload} and to {other}, which has no sidecar on port"
                f" {made.sidecar.port}; select both, or give them a Service each"
            )

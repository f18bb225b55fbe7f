"""Whether a tool, `/metrics` and `/api/v1/` speak of the same requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.loadtools.watch import Counts, counts_of_requests, counts_of_summary

if TYPE_CHECKING:
    from tests.loadtools.watch import Watch
    from tests.samples import Samples

GOOD = ("good", "good_partial")
JUDGED = (*GOOD, "slow", "error")


class Check(NamedTuple):
    """One comparison: what it is of, what should be, and what is."""

    name: str
    expected: object
    found: object

    @property
    def holds(self) -> bool:
        """Whether both are the same."""
        return self.expected == self.found


def check(sent: int, samples: Samples, seen: Watch) -> list[Check]:
    """Compare everything with everything, when nothing is under way any more.

    Args:
        sent: requests, by the tool.
        samples: a scrape afterwards.
        seen: what was seen meanwhile, and at the end.
    """
    counts = Counts(samples.verdicts())

    def of(*verdicts: str) -> int:
        return sum(count for (verdict, _), count in counts.items() if verdict in verdicts)

    # Whoever leaves behind the last token has been answered; some tools do now and then.
    left = samples.total("goodput_client_cancels_total")
    left -= samples.total("goodput_client_cancels_total", phase="after_last_token")
    series = seen.summary["series"]
    return [
        Check("requests of the proxy", sent, counts.total()),
        Check("answered or failed", sent, of(*JUDGED)),
        Check("in time", of(*GOOD), samples.total("goodput_slo_compliant_requests_total")),
        Check("by load", of(*JUDGED), samples.total("goodput_load_requests_total")),
        Check("left before the last token", 0, left),
        Check("verdicts of the summary", counts, counts_of_summary(seen.summary)),
        Check("requests of the summary", sent, seen.summary["requests"]),
        Check("good in the series", of(*GOOD), sum(series["good"])),
        Check("slow in the series", of("slow"), sum(series["slow"])),
        Check("listed requests", counts, counts_of_requests(seen.requests["latest"])),
        Check("the stream's last update", counts, counts_of_summary(seen.messages[-1])),
        Check("problems meanwhile", [], seen.problems),
    ]

"""`check` shows the policy as a table for people."""

from __future__ import annotations

from goodput_proxy.check import render_policy
from goodput_proxy.settings import MatchSettings, Settings, SloClassSettings


def test_the_default_policy() -> None:
    """Without classes, `default` takes everything; a limit that is not set is a dash."""
    assert render_policy(Settings.load([])).splitlines() == [
        "class    match       preset  ttft   itl    stall  e2e  objective",
        "default  everything  -       500ms  100ms  -      -    0.95",
    ]


def test_classes_stand_in_the_order_in_which_they_are_tried() -> None:
    """Each class has its globs and limits; `default` comes last and takes the rest."""
    classes = (
        SloClassSettings(
            name="gold",
            match=MatchSettings(model="llama-*", path="/v1/*", headers={"X-T": "gold"}),
            ttft="1500ms",
            e2e="1m",
            objective=0.999,
        ),
        SloClassSettings(name="any", stall="2s"),
    )
    settings = Settings.load([]).model_copy(update={"slo_classes": classes})
    assert render_policy(settings).splitlines() == [
        "class    match                              preset  ttft    itl    stall  e2e  objective",
        "gold     model=llama-* path=/v1/* x-t=gold  -       1500ms  -      -      1m   0.999",
        "any      everything                         -       -       -      2s     -    0.95",
        "default  everything else                    -       500ms   100ms  -      -    0.95",
    ]


def test_presets_are_resolved() -> None:
    """A class shows the name of its preset beside the limits that apply in the end."""
    settings = Settings.model_validate(
        {
            "slo": {"preset": "distserve/chat-opt-13b", "ttft": "1s"},
            "slo_classes": [{"name": "a", "preset": "guidellm/rag", "itl": "none"}],
        }
    )
    assert render_policy(settings).splitlines() == [
        "class    match            preset                  ttft   itl    stall  e2e  objective",
        "a        everything       guidellm/rag            300ms  -      -      3s   0.99",
        "default  everything else  distserve/chat-opt-13b  1s     100ms  -      -    0.9",
    ]


def test_what_requests_may_choose() -> None:
    """What a request may choose for itself stands below the table, if it may choose."""
    headers = {"limits": True, "largest": "5s", "classes": True}
    settings = Settings.model_validate({"slo_headers": headers})
    assert render_policy(settings).splitlines()[2:] == [
        "x-slo-ttft-ms and x-slo-tpot-ms stand in for ttft and itl, from 1ms to 5s",
        "x-slo-class names the class, whatever matches",
    ]

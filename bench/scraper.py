"""Scrapes as a Prometheus does, too often.

Run as `python -m bench.scraper PORT SECONDS`: scrapes each so many seconds until standard input
ends, then prints how long each scrape took, in milliseconds.
"""

from __future__ import annotations

import json
import select
import sys
import time
import urllib.request


def main() -> None:
    """Scrape until standard input ends."""
    url, every_s = f"http://127.0.0.1:{sys.argv[1]}/metrics", float(sys.argv[2])
    took_ms = []
    due_s = time.monotonic()
    while True:
        due_s += every_s
        begin_s = time.monotonic()
        with urllib.request.urlopen(url, timeout=10) as answer:
            answer.read()
        took_ms.append(round((time.monotonic() - begin_s) * 1000, 3))
        if select.select([sys.stdin], [], [], max(due_s - time.monotonic(), 0))[0]:
            break
    print(json.dumps(took_ms), flush=True)


if __name__ == "__main__":
    main()

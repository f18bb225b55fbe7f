"""What the tools say: how many requests each has sent, read from what it prints.

Owns no number but theirs: a tool that counts its answers by status counts the good ones only, and
what the proxy counted otherwise shows.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

HERE = Path(__file__).resolve().parent

# By program: what stands before its number.
_SAID = {
    "hey": r"\[200\]\s+(\d+) responses",
    "wrk": r"^\s+(\d+) requests in ",
    "jmeter": r"^summary =\s+(\d+) in ",
    "aiperf": r"^│\s+Request Count \(requests\)\s+│\s+([\d,]+)",
    # Of the row: strategy, start, end, duration, warm-up, cool-down, completed.
    "guidellm": r"^\| concurrent@\d+ +\|(?: +[\d:.]+ +\|){5} +(\d+) ",
}

# Debian's JMeter of 2015 together with its XStream of today; see `debian_jmeter.bsh`.
_DEBIAN_JARS = (
    *("/usr/share/jmeter/bin/ApacheJMeter.jar", "/usr/share/java/bsh.jar"),
    *("/usr/share/jmeter/lib/*", "/usr/share/jmeter/lib/ext/*"),
)


def count_sent(program: str, said: str) -> int:
    """Return how many requests a tool has sent, by what it said."""
    found = re.search(_SAID[program], said, re.MULTILINE)
    if found is None:
        raise LookupError(f"no number of requests in what {program} said:\n{said[-3000:]}")
    return int(found.group(1).replace(",", ""))


def mend_jmeter(command: str) -> str:
    """Return a command of JMeter in a form that Debian's can run, and others as they are."""
    if not Path(_DEBIAN_JARS[0]).exists():
        return command
    start = ["java", "-Djmeter.home=/usr/share/jmeter", "-cp", ":".join(_DEBIAN_JARS)]
    # Port 0: it does not listen for a command to stop, for which it has one port for all.
    flags = ["bsh.Interpreter", str(HERE / "debian_jmeter.bsh"), "-Jjmeterengine.nongui.port=0"]
    return shlex.join([*start, *flags]) + command.removeprefix("jmeter")

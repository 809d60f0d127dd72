#!/usr/bin/env python3
"""Verifies a Tallystick sampling set: verify.py SET --trust FILE [--tree DIR] [--json]

Written from docs/FORMAT.md alone, with Python's standard library and the package `cryptography`.
Exit codes: 0 sound, 1 not sound, 2 the set folder or the trust file cannot be read, or wrong usage.
"""

import argparse
import json
import sys

from tallystick_oracle.run import FAILED, NOT_RUN, PASSED, is_sound, verify_times
from tallystick_oracle.setfolder import SetFolder
from tallystick_oracle.tiles import TreeFolder

TRUST_READ_MAX = 1 << 21  # bytes; check 2 refuses more than half of it
_MARKS = {PASSED: "[ok]", FAILED: "[FAILED]", NOT_RUN: "[not run]"}


def printable(text):
    """Text of the set without control characters, so that it cannot steer a terminal."""
    return "".join(ch if 0x20 <= ord(ch) < 0x7F else ascii(ch)[1:-1] for ch in text)


def print_list(rows):
    """The check list for people."""
    for row in rows:
        detail = ": " + row["detail"] if row["detail"] else ""
        if row["result"] == NOT_RUN:
            detail = " (%s)" % row["detail"]
        print(printable("%s %d %s%s" % (_MARKS[row["result"]], row["number"], row["name"], detail)))
    failed = [row for row in rows if row["result"] == FAILED]
    if is_sound(rows):
        ran = sum(row["result"] == PASSED for row in rows)
        by = next(row for row in rows if row["name"] == "witnesses")
        said = by["detail"] if by["detail"].startswith("witnesses: ") else "witnesses: " + by["detail"]
        print(printable("sound: %d checks passed, %d not run; %s" % (ran, len(rows) - ran, said)))
    elif failed:
        print("NOT SOUND: failed %s" % ", ".join("%(number)d %(name)s" % row for row in failed))
    else:
        print("NOT SOUND: a check that must run did not")


def print_times(times):
    """When the statements that decided were signed, for people."""
    if times:
        print("signing of the statements that decided (UTC; whose clocks), not of what they observed:")
    for row in times:
        print(printable("%s %s: statement %d, %s" % (row["folder"], row["unit"], row["index"], row["text"])))


def main(arguments):
    """Runs the program; its exit code."""
    parser = argparse.ArgumentParser(prog="verify.py", description="Verifies a Tallystick sampling set.")
    parser.add_argument("set", metavar="SET", help="the folder of the set")
    parser.add_argument("--trust", metavar="FILE", required=True, help="a trust file got before the set existed")
    parser.add_argument("--tree", metavar="DIR", help="a copy of the log's public tree, for check 21")
    parser.add_argument("--json", action="store_true", help="print the result for machines")
    options = parser.parse_args(arguments)  # exits 2 on wrong usage
    try:
        with open(options.trust, "rb") as file:
            trust = file.read(TRUST_READ_MAX)
        folder = SetFolder(options.set)
    except (OSError, ValueError) as error:
        print("cannot read: %s" % printable(str(error)), file=sys.stderr)
        return 2
    rows, times = verify_times(folder, trust, TreeFolder(options.tree) if options.tree else None)
    if options.json:
        print(json.dumps({"sound": is_sound(rows), "checks": rows, "times": times}, indent=1))
    else:
        print_list(rows)
        print_times(times)
    return 0 if is_sound(rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""Makes hand-made sampling sets, good and bad: make_set.py OUT

Each set is the folder OUT/<name>/ with its trust file OUT/<name>.trust.json and, for check 21, OUT/<name>.tree/. OUT/expected.json tells for every
name {"exit": 0 or 1, "failed": [the checks that must fail], "also": [checks that may fail besides]}: every
other check passes or is not run.
"""

import json
import os
import sys

from set_maker import times, trees
from set_maker.variants import all_sets
from set_maker.wire import jcs


def write_set(folder, files):
    """Writes {path: bytes}; a value of None makes nothing, a str a symbolic link to it."""
    for path, data in files.items():
        target = os.path.join(folder, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if isinstance(data, str):
            os.symlink(data, target)
        else:
            with open(target, "wb") as file:
                file.write(data)


def main(arguments):
    """Runs the program; its exit code."""
    if len(arguments) != 1:
        print("usage: make_set.py OUT", file=sys.stderr)
        return 2
    out, expected = arguments[0], {}
    for name, files, trust, failed, also in all_sets():
        write_set(os.path.join(out, name), files)
        with open(os.path.join(out, name + ".trust.json"), "wb") as file:
            file.write(trust if isinstance(trust, bytes) else jcs(trust))
        expected[name] = {"exit": 1 if failed else 0, "failed": failed, "also": also}
        if name in trees.TREES:
            write_set(os.path.join(out, name + ".tree"), trees.TREES[name])
        if name in times.EXPECTED:
            expected[name]["times"] = times.EXPECTED[name]
    with open(os.path.join(out, "expected.json"), "w", encoding="utf-8") as file:
        json.dump(expected, file, indent=1, sort_keys=True)
    print("%d sets, %d of them good" % (len(expected), sum(not row["failed"] for row in expected.values())))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

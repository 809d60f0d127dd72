#!/usr/bin/env python3
"""Verifies a set as it is and with every single change: changes.py SET --trust FILE

The changes: one bit flipped in each file (a byte added to an empty one), each file removed, one file added. They are made
in memory. Prints one JSON object: {"sound": bool, "flipped": {path: bool}, "removed": {path: bool}, "added": bool}, where
each bool says whether the second verifier calls the set sound.
"""

import argparse
import json

from tallystick_oracle.canonical import Bad
from tallystick_oracle.run import is_sound, verify
from tallystick_oracle.setfolder import SetFolder


class Changed(SetFolder):
    """A folder with one file of other bytes (or none): {path: bytes or None}."""

    def __init__(self, whole, path, data):
        self.root, self.faults = whole.root, list(whole.faults)
        self.sizes, self.files = dict(whole.sizes), dict(whole.files)
        if data is None:
            del self.sizes[path], self.files[path]
        else:
            self.sizes[path], self.files[path] = len(data), data

    def read(self, path):
        if path not in self.files:
            raise Bad("%s is missing" % path)
        return self.files[path]


def flip(data):
    """The bytes with one bit flipped, in the middle; a byte more when there are none."""
    if not data:
        return b"\n"
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def main():
    """Runs the program."""
    parser = argparse.ArgumentParser(prog="changes.py", description="Verifies a set with every single change.")
    parser.add_argument("set")
    parser.add_argument("--trust", required=True)
    options = parser.parse_args()
    with open(options.trust, "rb") as file:
        trust = file.read()
    whole = SetFolder(options.set)
    whole.files = {path: whole.read(path) for path in whole.sizes}

    def sound(path, data):
        return is_sound(verify(Changed(whole, path, data), trust))

    print(
        json.dumps(
            {
                "sound": is_sound(verify(whole, trust)),
                "flipped": {path: sound(path, flip(data)) for path, data in whole.files.items()},
                "removed": {path: sound(path, None) for path in whole.files},
                "added": sound("units/one-too-many.txt", b"text\n"),
            }
        )
    )


if __name__ == "__main__":
    main()

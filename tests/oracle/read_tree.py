#!/usr/bin/env python3
"""Verifies a folder of C2SP tlog-tiles: read_tree.py DIR --vkey VKEY

Every entry bundle and every tile of every level is read and recomputed, and the root compared with the signed
checkpoint. Exit codes: 0 it holds, 1 it does not, 2 wrong usage.
"""

import argparse
import sys

from tallystick_oracle.canonical import Bad
from tallystick_oracle.merkle import leaf_hash
from tallystick_oracle.notes import open_checkpoint, parse_vkey
from tallystick_oracle.tiles import TreeFolder, check_tiles


def main(arguments):
    """Runs the program; its exit code."""
    parser = argparse.ArgumentParser(prog="read_tree.py", description="Verifies a folder of C2SP tlog-tiles.")
    parser.add_argument("dir", metavar="DIR", help="the folder with the file `checkpoint`")
    parser.add_argument("--vkey", required=True, help="the log's verifier key")
    options = parser.parse_args(arguments)
    folder = TreeFolder(options.dir)
    try:
        checkpoint = open_checkpoint(folder.read("checkpoint"), [parse_vkey(options.vkey)], "checkpoint")
        hashes = [leaf_hash(entry) for entry in folder.entries(checkpoint.size)]
        if check_tiles(folder, checkpoint.size, hashes) != checkpoint.root:
            raise Bad("the entries do not lead to the signed root")
    except Bad as why:
        print("NOT SOUND: %s" % ascii(str(why))[1:-1])
        return 1
    print("sound: %d entries of %s, root %s" % (checkpoint.size, checkpoint.origin, checkpoint.root.hex()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A reader of C2SP tlog-tiles folders, written from the text of that specification."""

import os
import stat

from .canonical import Bad
from .merkle import node_hash
from .signatures import sha256

WIDTH = 256
FILE_BYTES_MAX = WIDTH * (2 + 65535)


def tile_path(row, number, width):
    """`tile/<row>/<N>[.p/<W>]`; row is a level or "entries"."""
    text = "%03d" % (number % 1000)
    while number >= 1000:
        number //= 1000
        text = "x%03d/%s" % (number % 1000, text)
    return "tile/%s/%s%s" % (row, text, "" if width == WIDTH else ".p/%d" % width)


def widths(size, level):
    """The widths of the tiles of a level, as (full tiles, width of the partial one or 0)."""
    nodes = size >> (8 * level)
    return nodes // WIDTH, nodes % WIDTH


class TreeFolder:
    """A copy of a public tree."""

    def __init__(self, root):
        self.root = root

    def read(self, path):
        """The bytes of a regular file."""
        full = os.path.join(self.root, path)
        try:
            if not stat.S_ISREG(os.lstat(full).st_mode):
                raise Bad("%s is not a regular file" % path)
            with open(full, "rb") as file:
                data = file.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            raise Bad("%s cannot be read: %s" % (path, error.strerror)) from error
        if len(data) > FILE_BYTES_MAX:
            raise Bad("%s is too large" % path)
        return data

    def entries(self, size):
        """Every entry of a tree of this size, in order."""
        full, partial = widths(size, 0)
        for number, width in [(n, WIDTH) for n in range(full)] + [(full, partial)] * (partial > 0):
            path = tile_path("entries", number, width)
            data, at = self.read(path), 0
            for _ in range(width):
                end = at + 2 + int.from_bytes(data[at : at + 2], "big")
                if at + 2 > len(data) or end > len(data):
                    raise Bad("%s ends inside an entry" % path)
                yield data[at + 2 : end]
                at = end
            if at != len(data):
                raise Bad("%s holds too much" % path)

    def hashes(self, size, level):
        """Every hash of a level that the tree keeps."""
        full, partial = widths(size, level)
        found = []
        for number, width in [(n, WIDTH) for n in range(full)] + [(full, partial)] * (partial > 0):
            path = tile_path(level, number, width)
            data = self.read(path)
            if len(data) != 32 * width:
                raise Bad("%s does not hold %d hashes" % (path, width))
            found += [data[at : at + 32] for at in range(0, len(data), 32)]
        return found


def subtree(hashes):
    """Merkle tree hash over hashes of equal height but the last: RFC 6962 section 2.1."""
    if not hashes:
        return sha256(b"")
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return node_hash(subtree(hashes[:split]), subtree(hashes[split:]))


def check_tiles(folder, size, leaf_hashes):
    """Raises unless the tiles of every level hold these leaf hashes and what they lead to; the tree's root."""
    level, expected, right = 0, leaf_hashes, None
    while True:
        if folder.hashes(size, level) != expected:
            raise Bad("tiles of level %d are not what the entries lead to" % level)
        full, _ = widths(size, level)
        rest = expected[full * WIDTH :] + ([] if right is None else [right])
        right = subtree(rest) if rest else None
        if not full:
            return subtree([]) if right is None else right
        # "a tile of level l + 1 holds the hashes of full tiles of level l": partial tiles never go up.
        expected = [subtree(expected[at : at + WIDTH]) for at in range(0, full * WIDTH, WIDTH)]
        level += 1

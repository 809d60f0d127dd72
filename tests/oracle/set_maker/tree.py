"""A Merkle tree straight from the definitions of RFC 6962 section 2.1."""

from .wire import sha


class Tree:
    """Leaves in order."""

    def __init__(self):
        self.hashes = []
        self._known = {}

    def append(self, leaf):
        """Adds a leaf; its index."""
        self.hashes.append(sha(b"\x00" + leaf))
        return len(self.hashes) - 1

    @staticmethod
    def _split(n):
        return 1 << (n - 1).bit_length() - 1

    def root(self, start, end):
        """MTH of leaves [start, end)."""
        if start == end:
            return sha(b"")
        if end - start == 1:
            return self.hashes[start]
        if (start, end) not in self._known:
            middle = start + self._split(end - start)
            self._known[start, end] = sha(b"\x01" + self.root(start, middle) + self.root(middle, end))
        return self._known[start, end]

    def inclusion(self, index, start, end):
        """PATH of a leaf in [start, end)."""
        if end - start == 1:
            return []
        middle = start + self._split(end - start)
        if index < middle:
            return self.inclusion(index, start, middle) + [self.root(middle, end)]
        return self.inclusion(index, middle, end) + [self.root(start, middle)]

    def consistency(self, first, second):
        """PROOF from the first `first` leaves to the first `second`."""
        return self._subproof(first, 0, second, True) if 0 < first < second else []

    def _subproof(self, first, start, end, whole):
        if first == end:
            return [] if whole else [self.root(start, end)]
        middle = start + self._split(end - start)
        if first <= middle:
            return self._subproof(first, start, middle, whole) + [self.root(middle, end)]
        return self._subproof(first, middle, end, False) + [self.root(start, middle)]

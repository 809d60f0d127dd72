"""Check 21: heads of streams 1 to 4 over all leaves of a copy of the public tree."""

from .canonical import ZERO_HASH, Bad
from .checks_export import NotRun
from .ledger import parse_leaf
from .merkle import leaf_hash, node_hash
from .signatures import sha256


class _Growing:
    """Roots of a tree that grows: the roots of its complete subtrees, the largest first."""

    def __init__(self):
        self.size, self.parts = 0, []

    def push(self, hash_):
        """Adds a leaf hash."""
        size = self.size
        while size & 1:
            hash_, size = node_hash(self.parts.pop(), hash_), size >> 1
        self.parts.append(hash_)
        self.size += 1

    def root(self):
        """RFC 6962 root."""
        if not self.parts:
            return sha256(b"")
        root = self.parts[-1]
        for part in reversed(self.parts[:-1]):
            root = node_hash(part, root)
        return root


def check_completeness(run):
    """21: no gap and no fork in any stream, and the signed heads are those of all leaves."""
    if run.tree is None:
        raise NotRun("needs the public tree")
    tree, _cosigned = run.log_keys.open(run.tree.read("checkpoint"), run.policy, "checkpoint of the tree")
    if tree.size < run.checkpoint.size:
        raise Bad("the tree ends before the set's checkpoint")
    roots = {pin["size"]: pin["root"] for pin in run.trust["checkpoints"] if pin["origin"] == run.origin}
    if roots.setdefault(run.checkpoint.size, run.checkpoint.root.hex()) != run.checkpoint.root.hex():
        raise Bad("set and trust file have two roots for one size")
    claims = {run.freeze.index: [run.freeze.act["heads"]]}
    claims.setdefault(run.checkpoint.size, []).append(run.export_heads)
    growing, received, logged = _Growing(), 0, {1: [], 2: [], 3: []}
    heads = [{"entries": 0, "last_leaf_hash": ZERO_HASH, "stream": stream} for stream in (1, 2, 3, 4)]

    def compare(index):
        if index in roots and growing.root().hex() != roots[index]:
            raise Bad("the first %d leaves do not lead to the root that set or trust file has" % index)
        for claim in claims.get(index, ()):
            if claim != heads:
                raise Bad("heads signed for the first %d leaves are not theirs" % index)

    for index, raw in enumerate(run.tree.entries(tree.size)):
        compare(index)
        leaf = parse_leaf(raw, "entry %d" % index)
        if leaf.received_ms < received:
            raise Bad("entry %d: received_ms decreases" % index)
        received = leaf.received_ms
        growing.push(leaf_hash(raw))
        if leaf.stream == 0:
            continue
        head = heads[leaf.stream - 1]
        if leaf.stream_sequence != head["entries"] or leaf.previous.hex() != head["last_leaf_hash"]:
            raise Bad("entry %d: stream %d skips or forks" % (index, leaf.stream))
        head["entries"] += 1
        head["last_leaf_hash"] = leaf.hash.hex()
        if leaf.stream < 4 and index < run.checkpoint.size:
            logged[leaf.stream].append((index, raw))
    compare(tree.size)
    if growing.root() != tree.root:
        raise Bad("the leaves do not lead to the tree's signed root")
    for number, entries in run.streams.items():
        if [(entry.index, entry.leaf.raw) for entry in entries] != logged[number]:
            raise Bad("the set shows other entries of stream %d than the log holds" % number)
    return "all %d leaves read" % tree.size

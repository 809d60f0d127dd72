"""The Merkle tree of RFC 6962 and the proofs of RFC 9162 2.1.3 and 2.1.4: docs/FORMAT.md section 6."""

from .canonical import Bad
from .signatures import sha256

PROOF_HASHES_MAX = 128  # two paths of a tree of 2^64 leaves


def leaf_hash(leaf):
    """Hash of a leaf's bytes."""
    return sha256(b"\x00" + leaf)


def node_hash(left, right):
    """Hash of an inner node."""
    return sha256(b"\x01" + left + right)


def check_inclusion(index, size, leaf, path, root):
    """RFC 9162 2.1.3.2; raises unless the leaf hash lies at `index` under `root` of `size` leaves."""
    if index >= size:
        raise Bad("leaf %d lies outside a tree of %d leaves" % (index, size))
    node, last, result = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise Bad("inclusion proof of leaf %d is too long" % index)
        if node & 1 or node == last:
            result = node_hash(sibling, result)
            if not node & 1:
                while node and not node & 1:
                    node >>= 1
                    last >>= 1
        else:
            result = node_hash(result, sibling)
        node >>= 1
        last >>= 1
    if last != 0:
        raise Bad("inclusion proof of leaf %d is too short" % index)
    if result != root:
        raise Bad("inclusion proof of leaf %d leads to another root" % index)


def check_consistency(first, first_root, second, second_root, path):
    """RFC 9162 2.1.4.2; raises unless the tree of `first` leaves is a prefix of the one of `second`."""
    if first > second:
        raise Bad("a tree of %d leaves cannot grow to one of %d" % (first, second))
    if first == 0 or first == second:
        if path:
            raise Bad("consistency proof from %d to %d must be empty" % (first, second))
        if first == second and first_root != second_root:
            raise Bad("two roots for %d leaves" % first)
        return
    if not path:
        raise Bad("consistency proof from %d to %d is empty" % (first, second))
    path = list(path)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    node, last = first - 1, second - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise Bad("consistency proof from %d is too long" % first)
        if node & 1 or node == last:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            if not node & 1:
                while node and not node & 1:
                    node >>= 1
                    last >>= 1
        else:
            new = node_hash(new, sibling)
        node >>= 1
        last >>= 1
    if last != 0:
        raise Bad("consistency proof from %d is too short" % first)
    if old != first_root or new != second_root:
        raise Bad("consistency proof from %d to %d leads to another root" % (first, second))

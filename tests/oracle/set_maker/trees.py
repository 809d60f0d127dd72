"""Sets with a copy of the public tree: good ones, and trees that are forged and correctly signed (check 21)."""

from . import scenes
from .tree import Tree
from .wire import Key, b64, note

TREES = {}  # name of a set -> {path: bytes} of the tree beside it


class Taken:
    """Keeps the log of a scene, so that its tree can be written once the set is made."""

    def __init__(self):
        self.log = None

    def __call__(self, log, _audit, _device):
        self.log = log


def tree_files(log, leaves=None, root_of=None, key="log"):
    """checkpoint and bundle of at most 255 leaves; `root_of`: the leaves whose root is signed instead."""
    leaves = log.leaves if leaves is None else leaves
    tree = Tree()
    for leaf in leaves if root_of is None else root_of:
        tree.append(leaf)
    text = "%s\n%d\n%s\n" % (log.origin, len(leaves), b64(tree.root(0, len(tree.hashes))))
    bundle = b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)
    assert len(leaves) < 256
    return {"checkpoint": note(text, (log.origin, Key(key))), "tile/entries/000.p/%d" % len(leaves): bundle}


def _made(name, change=None, hooks=None, steps=None, **options):
    """(name, files, trust), the tree written to TREES; `change` gives the tree's files from the log."""
    taken = Taken()
    files, trust = scenes.small(hooks, steps={"after draw": taken, **(steps or {})}, **options)
    TREES[name] = (change or tree_files)(taken.log)
    return name, files, trust


def _size(log):
    """Index of the export entry, which is the size of the set's checkpoint."""
    return log.streams[3][-1]


def good_sets():
    """(name, files, trust) of sets that are sound, with their tree."""
    yield _made("good-tree")
    yield _made("good-tree-of-the-sets-size", lambda log: tree_files(log, log.leaves[: _size(log)]))
    yield _made("good-tree-with-operations", steps={
        "before plan": lambda log, _audit, _device: log.act("configuration", {}, "operations")})


def _replaced(log, index, leaf):
    return log.leaves[:index] + [leaf] + log.leaves[index + 1 :]


def _hide_policy(log, _audit, _device):
    """A policy is logged and then written over: the next entry of its stream takes its sequence."""
    log.policy(scenes.controls(1))
    log.policies.pop()
    log.streams[2].pop()


def _hide_operation(log, _audit, _device):
    log.act("configuration", {}, "operations")
    log.streams[4].pop()


def _first_device_leaf(log):
    return next(index for index, leaf in enumerate(log.leaves) if leaf[1] == 0 and leaf[2] == 1)


def bad_sets():
    """(name, files, trust, failed): each set is sound but for its tree."""
    def case(name, *arguments, **options):
        return (*_made("bad-tree-" + name, *arguments, **options), [21])

    def forked(log):
        index = _first_device_leaf(log)
        return tree_files(log, _replaced(log, index, log.leaves[index][:-1] + bytes([log.leaves[index][-1] ^ 1])))
    yield case("fork-below", forked)

    def left_out(log):
        index = _first_device_leaf(log)
        return tree_files(log, log.leaves[:index] + log.leaves[index + 1 :])
    yield case("leaf-left-out", left_out)
    # A stream's entry that the set does not show, because the next one took its place in the chain.
    yield case("entry-hidden", steps={"before plan": _hide_policy})

    def then_another(log, audit, device):
        _hide_policy(log, audit, device)
        log.policy(scenes.controls())
    yield case("sequence-twice", steps={"before plan": then_another})
    yield case("operation-hidden", steps={"before plan": _hide_operation})
    yield case("operation-hidden-after-the-freeze", steps={"after freeze": _hide_operation})

    def op(log, _audit, _device):
        log.act("configuration", {}, "operations")
    yield case("operation-skips", hooks={"chain 4": lambda row: (row[0] + 1, row[1])}, steps={"before plan": op})
    yield case("operation-forks", hooks={"chain 4": lambda row: (row[0], bytes(32) if row[0] else row[1])},
               steps={"before plan": op, "after freeze": op})
    for which in ("freeze", "export"):
        yield case(which + "-head-4", hooks={which + " heads": lambda heads: [
            {**row, "entries": row["entries"] + 1, "last_leaf_hash": "ab" * 32} if row["stream"] == 4 else row
            for row in heads]})

    def later(change):
        """The last leaf, which lies above the set's checkpoint, is another one."""
        return lambda log: tree_files(log, _replaced(log, log.size - 1, change(log.leaves[-1])))
    yield case("later-leaf-malformed", later(lambda leaf: leaf + b"\0"))
    yield case("later-leaf-of-no-kind", later(lambda leaf: leaf[:2] + b"\xff" + leaf[3:]))
    yield case("later-leaf-empty", later(lambda _leaf: b""))
    yield case("later-time-back", later(lambda leaf: leaf[:3] + bytes(8) + leaf[11:]))
    yield case("later-entry-forks", later(lambda leaf: leaf[:-1] + bytes([leaf[-1] ^ 1])))
    yield case("smaller-than-the-set", lambda log: tree_files(log, log.leaves[: _size(log) - 1]))
    yield case("other-root", lambda log: tree_files(log, root_of=log.leaves[:-1]))
    yield case("stranger-signs", lambda log: tree_files(log, key="stranger"))

    def files(change):
        def made(log):
            found = tree_files(log)
            path = max(found)
            return change(found, path, found[path])
        return made
    yield case("bundle-cut", files(lambda found, path, data: {**found, path: data[:-1]}))
    yield case("bundle-longer", files(lambda found, path, data: {**found, path: data + b"\0\0"}))
    yield case("bundle-gone", files(lambda found, path, data: {"checkpoint": found["checkpoint"]}))
    yield case("checkpoint-gone", files(lambda found, path, data: {path: data}))

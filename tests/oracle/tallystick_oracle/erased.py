"""Erased statements and their tombstones: docs/FORMAT.md sections 8, 11 and 12, check 16."""

from dataclasses import dataclass
from datetime import datetime, timezone

from .canonical import Bad
from .ledger import open_act, parse_leaf
from .merkle import check_inclusion
from .notes import parse_tlog_proof
from .roster import instances


@dataclass(frozen=True)
class Erased:
    """A statement of which the leaf alone is left; instance and sequence are what the log kept."""

    received_ms: int
    attests: bool
    instance: str
    sequence: int
    tombstone: int
    leaf: bytes

    @property
    def first_sequence(self):
        """The lowest sequence it speaks for."""
        return self.sequence


def quarter_of(ms):
    """The quarter a moment lies in."""
    day = datetime.fromtimestamp(ms // 1000, timezone.utc)
    return "%04d-q%d" % (day.year, (day.month - 1) // 3 + 1)


def quarter_end_ms(quarter):
    """The first moment after a quarter."""
    year, number = int(quarter[:4]), int(quarter[6])
    if (year, number) == (9999, 4):
        return float("inf")
    year, month = (year + 1, 1) if number == 4 else (year, number * 3 + 1)
    return int(datetime(year, month, 1, tzinfo=timezone.utc).timestamp()) * 1000


class Tombstones:
    """Every erased statement of a set, and every tombstone that the units name."""

    def __init__(self, run):
        self.run = run
        self.by_index = {}  # index -> Erased
        self.acts = {}  # index of a tombstone -> its act
        self.instances = instances(run.streams[1])

    def _proof(self, path, index):
        proof = parse_tlog_proof(self.run.folder.read(path), path)
        if proof.index != index or proof.note != self.run.checkpoint_bytes or not proof.extra:
            raise Bad("%s: proof is of another leaf or checkpoint, or shows none" % path)
        leaf = parse_leaf(proof.extra[1 : 1 + proof.extra[0]], path)
        if proof.extra[0] != len(leaf.raw):
            raise Bad("%s: no leaf" % path)
        checkpoint = self.run.checkpoint
        check_inclusion(index, checkpoint.size, leaf.hash, proof.path, checkpoint.root)
        return leaf, proof.extra[1 + len(leaf.raw) :]

    def verified(self, path, row, device):
        """The erased statement of a row of unit.json."""
        where = "%s%d" % (path, row["index"])
        leaf, rest = self._proof(where + ".tlog-proof", row["index"])
        if rest or (leaf.stream, leaf.kind) not in ((0, 1), (0, 2)):
            raise Bad("%s: is not the leaf of a statement alone" % where)
        instance = self.instances.get(row["instance"])
        if instance is None or instance.device != device.device or instance.enrolled >= row["index"]:
            raise Bad("%s: of another device, or older than its enrolment" % where)
        if instance.ended is not None and instance.ended < row["index"]:
            raise Bad("%s: by a key that had ended" % where)
        erased = Erased(
            leaf.received_ms, leaf.kind == 1, row["instance"], row["sequence"], row["tombstone"], leaf.hash
        )
        if self.by_index.setdefault(row["index"], erased) != erased:
            raise Bad("%s: another unit says otherwise" % where)
        act = self._tombstone(row["tombstone"])
        scope = {"instance": erased.instance, "quarter": quarter_of(erased.received_ms)}
        if scope not in act["scopes"] or row["index"] >= act["up_to"]:
            raise Bad("%s: is not erased by entry %d" % (where, row["tombstone"]))
        return erased

    def _tombstone(self, index):
        if index in self.acts:
            return self.acts[index]
        path = "tombstones/%d.tlog-proof" % index
        leaf, rest = self._proof(path, index)
        payload = rest[36:]
        if (leaf.stream, leaf.kind) != (4, 4) or int.from_bytes(rest[32:36], "big") != len(payload):
            raise Bad("%s: not a tombstone with its payload" % path)
        leaf.check_payload(rest[:32], payload, path)
        signed = open_act(payload, (4, 4), path)
        act = signed.act
        if not signed.signed_by(self.run.operations_key) or act["origin"] != self.run.origin:
            raise Bad("%s: not by the operations key of this log" % path)
        if act["up_to"] > index:
            raise Bad("%s: is about entries after it" % path)
        for scope in act["scopes"]:
            if quarter_end_ms(scope["quarter"]) > leaf.received_ms or scope["instance"] not in self.instances:
                raise Bad("%s: names a quarter that is not over, or a stranger" % path)
        self.acts[index] = act
        return act

    def check_folder(self):
        """Raises if a tombstone is there that no unit names."""
        self.run.folder.need_exactly("tombstones/", ["%d.tlog-proof" % index for index in self.acts])

    def told(self):
        """What was erased, for the check list."""
        text = ""
        for index, act in sorted(self.acts.items()):
            count = sum(erased.tombstone == index for erased in self.by_index.values())
            text += "; %d erased under rule %s, entry %d" % (count, act["rule"], index)
        return text

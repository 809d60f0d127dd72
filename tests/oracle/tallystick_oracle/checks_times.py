"""Check 25: the anchors of statements, and when statements were signed: docs/FORMAT.md section 15."""

from dataclasses import dataclass
from datetime import datetime, timezone

from .canonical import Bad
from .merkle import check_consistency
from .notes import hash_lines
from .signatures import sha256

ANCHORS = "log/anchors/"
SKEW_MAX_MS = 300_000
SECONDS_MAX = 253_402_300_799  # the last second of 9999


@dataclass(frozen=True)
class _Bound:
    ms: int
    clocks: str

    def row(self):
        """Its members in the report."""
        return {"ms": str(self.ms), "clocks": self.clocks}


def _quorum_time(policy, cosigned, first):
    """(seconds, names) by when, or since when, a quorum of {name: seconds} cosigned; None if it never did."""
    if policy.quorum == "none":
        return None
    told = {name: seconds for name, seconds in cosigned.items() if seconds <= SECONDS_MAX}
    for bound in sorted(told.values(), reverse=not first):
        names = {name for name, seconds in told.items() if (seconds <= bound if first else seconds >= bound)}
        if policy.holds(names):
            return bound, [name for name in policy.witnesses if name in names]
    return None


def _witnesses(mark, more):
    seconds, names = mark
    return _Bound((seconds + more) * 1000, "%d witness%s: %s" % (len(names), "" if len(names) == 1 else "es", ", ".join(names)))


def interval(received, anchored, covered, committed, earlier):
    """(not before or None, not after) of a statement; Bad if clocks cannot all be right."""
    since = _witnesses(anchored, 0) if anchored else None
    end = _witnesses(covered, 1) if covered else None
    if since and end and since.ms > end.ms + SKEW_MAX_MS:
        raise Bad("its anchor was cosigned after a tree that holds it")
    if since and since.ms > received + SKEW_MAX_MS:
        raise Bad("received before its anchor was cosigned")
    if end and received > end.ms + SKEW_MAX_MS:
        raise Bad("received after a tree that holds it was cosigned")
    end = end or _Bound(received, "log's clock")
    start = since
    for claim, clocks in ((committed, "auditor's clock"), (earlier, "log's clock")):
        if start is None and claim is not None and claim <= end.ms:
            start = _Bound(claim, clocks)
    if start and start.ms > end.ms:
        start, end = end, start
    return start, end


def _seconds(ms):
    if ms // 1000 > SECONDS_MAX:
        return "the end of 9999"
    return datetime.fromtimestamp(ms // 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _text(start, end):
    last = "%s (%s)" % (_seconds(end.ms + 999), end.clocks)
    if start is None:
        return "not before: unknown, not after " + last
    return "between %s (%s) and %s" % (_seconds(start.ms), start.clocks, last)


def _statements(run):
    """index -> (received_ms, anchor of this log or None) of every statement shown."""
    found = {}
    for unit in run.units.values():
        for index, received, statement in unit.statements:
            anchor = statement.anchor
            found[index] = received, anchor if anchor and anchor["origin"] == run.origin else None
    return found


def _cosigned(run, anchors):
    """note hash -> (size, root, {name: seconds}) of the folder of anchors."""
    named = {anchor["note"].hex() for anchor in anchors if anchor["note"]}
    notes = {}
    for name in run.folder.under(ANCHORS):
        path = ANCHORS + name
        if name not in named:
            raise Bad("%s is named by no anchor" % path)
        data = run.folder.read(path)
        if sha256(data).hex() != name:
            raise Bad("%s is not the note of its name" % path)
        checkpoint, cosigned = run.log_keys.open(data, run.policy, path)
        for anchor in anchors:
            same = (anchor["size"], anchor["root"]) == (checkpoint.size, checkpoint.root)
            if anchor["note"].hex() == name and not same:
                raise Bad("%s is another checkpoint than the anchor says" % path)
        notes[bytes.fromhex(name)] = checkpoint.size, checkpoint.root, cosigned
    return notes


def _proved(run, anchors):
    """{(size, root)} of the anchors that a proof leads to the set's checkpoint."""
    proved = set()
    for size, root in sorted({(anchor["size"], anchor["root"]) for anchor in anchors}):
        path = "log/consistency/%d" % size
        if not run.folder.has(path):
            continue
        try:
            proof = hash_lines(run.folder.read(path).decode("ascii"), path)
        except UnicodeDecodeError as error:
            raise Bad("%s: not base64" % path) from error
        check_consistency(size, root, run.checkpoint.size, run.checkpoint.root, proof)
        proved.add((size, root))
    return proved


def _trees(run, notes, proved):
    """[(size, (seconds, names))] of trees that a quorum cosigned; the size of those that hold everything is None."""
    whole = [(None, cosigned) for cosigned in (run.cosigned, run.cosigned_later)]
    whole += [(size, cosigned) for size, root, cosigned in notes.values() if (size, root) in proved]
    timed = [(size, _quorum_time(run.policy, cosigned, True)) for size, cosigned in whole]
    return [(size, time) for size, time in timed if time]


def check_times(run):
    """25: anchors and their notes hold, no clocks contradict each other; when each deciding statement was signed."""
    statements = _statements(run)
    anchors = [anchor for _received, anchor in statements.values() if anchor]
    notes = _cosigned(run, anchors)
    proved = _proved(run, anchors)
    trees = _trees(run, notes, proved)
    simulated = run.genesis["simulated"] == 1
    committed_ms = int(run.commitment.act["made_at"])
    shown = {index: received for index, (received, _anchor) in statements.items()}
    for entries in run.streams.values():
        shown.update((entry.index, entry.received_ms) for entry in entries)
    intervals = {}
    for index, (received, anchor) in statements.items():
        anchored = committed = earlier = covered = None
        if anchor and anchor["note"] in notes:
            anchored = _quorum_time(run.policy, notes[anchor["note"]][2], False)
        if anchor and (anchor["size"], anchor["root"]) in proved:
            committed = committed_ms if run.commitment.index < anchor["size"] else None
            before = [at for at in shown if at < anchor["size"]]
            earlier = shown[max(before)] if before else None
        covering = [time for size, time in trees if size is None or size > index]
        if covering:
            covered = min(covering, key=lambda time: (time[0], -len(time[1]), time[1]))
        if simulated:
            anchored = covered = None
        try:
            intervals[index] = interval(received, anchored, covered, committed, earlier)
        except Bad as why:
            raise Bad("statement %d: %s" % (index, why)) from why
    folders = {"units/%s/%s" % place: unit for place, unit in run.units.items()}
    for folder, unit in sorted(folders.items()):
        for index in unit.value["decided_by"]:
            if index not in intervals:
                continue  # erased: when it was signed, nobody knows any more
            start, end = intervals[index]
            run.times.append({
                "folder": folder, "unit": unit.value["unit"], "index": index,
                "not_before": [start.row()] if start else [], "not_after": end.row(), "text": _text(start, end),
            })
    missing = sum(bool(anchor and anchor["note"] and anchor["note"] not in notes) for _at, anchor in statements.values())
    return "%d statements, %d with a lower bound, %d name a note that is not in the set" % (
        len(intervals), sum(s is not None for s, _e in intervals.values()), missing)

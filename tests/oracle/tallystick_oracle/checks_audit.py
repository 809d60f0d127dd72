"""Checks 10 to 15: plan, ceremony, freeze, population, draw, consistency."""

from . import canonical, roster, sampling
from .canonical import Bad
from .ledger import head
from .merkle import check_consistency
from .notes import hash_lines
from .signatures import sha256, sha256_hex


def check_plan(run):
    """10: plan.json is one plan of the log, for the auditor of the trust file."""
    data = run.folder.read("plan.json")
    if sha256_hex(data) != run.manifest["plan_hash"]:
        raise Bad("plan.json is not the plan of the manifest")
    entries = [entry for entry in run.streams[3] if entry.kind == (3, 1)]
    matching = [entry for entry in entries if entry.body == data]
    if len(matching) != 1:
        raise Bad("plan.json is the payload of %d plan entries, not of one" % len(matching))
    if matching[0].act["auditor_key"] != run.trust["auditor_key"]:
        raise Bad("the plan names another auditor_key than the trust file")
    run.plan, run.plan_entry = matching[0].act, matching[0]
    run.plan_hash = run.manifest["plan_hash"]
    return "entry %d, one of %d plans in this log" % (matching[0].index, len(entries))


def check_ceremony(run):
    """11: commitment, freeze, reveal and draw, once each and in this order."""
    found = []
    for kind, name in ((2, "commitment"), (3, "freeze"), (4, "reveal"), (5, "draw")):
        entries = [e for e in run.streams[3] if e.kind == (3, kind) and e.act["plan_hash"] == run.plan_hash]
        if len(entries) != 1:
            raise Bad("this plan has %d %s entries, not one" % (len(entries), name))
        found.append(entries[0])
    order = [run.plan_entry.index] + [entry.index for entry in found]
    if order != sorted(order):
        raise Bad("plan, commitment, freeze, reveal and draw are not in this order")
    commitment, freeze, reveal, draw = found
    if any(e.index < draw.index for e in run.streams[3] if e.kind == (3, 7) and e.act["plan_hash"] == run.plan_hash):
        raise Bad("an export of this plan comes before its draw")
    nonce = bytes.fromhex(reveal.act["nonce"])
    if sha256_hex(sampling.NONCE_LABEL + nonce) != commitment.act["commitment"]:
        raise Bad("the nonce revealed is not the one committed to")
    run.commitment, run.freeze, run.draw_entry, run.nonce = commitment, freeze, draw, nonce


def check_freeze(run):
    """12: the freeze names the log as it was."""
    act, index = run.freeze.act, run.freeze.index
    before = {number: [e for e in stream if e.index < index] for number, stream in run.streams.items()}
    now = head(before[1], 1)
    if (act["roster_entries"], act["roster_head"]) != (now["entries"], now["last_leaf_hash"]):
        raise Bad("roster_entries and roster_head are not the roster's at the freeze")
    check_heads(act["heads"], before)
    if run.plan["partial_day"] == 0 and run.freeze.received_ms < int(run.plan["end"]):
        raise Bad("frozen before the last day was over")
    run.days = roster.plan_days(run.plan, run.freeze.received_ms)
    run.frozen_devices = roster.devices(run.streams[1][: act["roster_entries"]])
    partial = run.days[-1].partial
    return "partial day %s" % run.days[-1].label if partial else None


def check_heads(heads, streams):
    """Raises unless the heads of streams 1 to 3 are those after these entries."""
    for number, entries in streams.items():
        if heads[number - 1] != head(entries, number):
            raise Bad("head of stream %d is not the stream's" % number)


def check_population(run):
    """13: every population file is the frame of plan and roster."""
    controls = run.plan["controls"]
    run.folder.need_exactly("population/", [control + ".txt" for control in controls])
    stated = run.freeze.act["populations"]
    if [row["control"] for row in stated] != controls:
        raise Bad("the freeze does not name the populations of the plan's controls")
    populations = {}
    for row in stated:
        control = row["control"]
        path = "population/%s.txt" % control
        data, at, units = run.folder.read(path), 0, []
        for unit in roster.frame(run.plan, run.days, run.frozen_devices, control):
            line = unit.encode("ascii") + b"\n"
            if data[at : at + len(line)] != line:
                raise Bad("%s is not the frame: %s is not where it belongs" % (path, unit))
            at += len(line)
            units.append(unit)
        if at != len(data):
            raise Bad("%s holds more than the frame" % path)
        if len(units) != row["count"] or sha256_hex(data) != row["sha256"]:
            raise Bad("%s is not the population of the freeze" % path)
        populations[control] = (units, sha256(data))
    run.populations = populations
    return ", ".join("%s %d" % (control, len(rows)) for control, (rows, _hash) in populations.items())


def check_draw(run):
    """14: every draw, recomputed, is the one in the set."""
    controls = run.plan["controls"]
    run.folder.need_exactly("draw/", [control + ".json" for control in controls])
    stated = run.draw_entry.act["draws"]
    if [row["control"] for row in stated] != controls:
        raise Bad("the draw entry does not name the draws of the plan's controls")
    draws = {}
    for row in stated:
        control = row["control"]
        units, population_hash = run.populations[control]
        seed = sampling.seed_of(bytes.fromhex(run.plan_hash), population_hash, len(units), run.nonce)
        expected = sampling.draw_file(control, run.plan, units, population_hash, seed)
        data = run.folder.read("draw/%s.json" % control)
        if row["seed"] != seed.hex():
            raise Bad("seed of %s is not the one of plan, population and nonce" % control)
        if data != canonical.dump(expected):
            raise Bad("draw/%s.json is not the draw of that seed" % control)
        if row["draw_sha256"] != sha256_hex(data):
            raise Bad("the draw entry names another draw/%s.json" % control)
        draws[control] = expected
    run.draws = draws
    return ", ".join("%s %d+%d" % (c, len(d["selected"]), len(d["reserves"])) for c, d in draws.items())


def check_consistency_proofs(run):
    """15: the checkpoints seen before lead to the set's."""
    pinned = [run.commitment.act["checkpoint"]] + run.trust["checkpoints"]
    for checkpoint in pinned:
        size = checkpoint["size"]
        if checkpoint["origin"] != run.origin:
            raise Bad("checkpoint of %d leaves is of another log" % size)
        path = "log/consistency/%d" % size
        if run.folder.has(path) or size not in (0, run.checkpoint.size):
            try:
                proof = hash_lines(run.folder.read(path).decode("ascii"), path)
            except UnicodeDecodeError as error:
                raise Bad("%s: not base64" % path) from error
        else:
            proof = []
        check_consistency(
            size, bytes.fromhex(checkpoint["root"]), run.checkpoint.size, run.checkpoint.root, proof
        )
    return "%d checkpoints seen before" % len(pinned)

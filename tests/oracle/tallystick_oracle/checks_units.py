"""Checks 16 to 18: statements, units, results."""

import re

from . import canonical, roster, sampling, shapes
from .canonical import Bad
from .erased import Erased, Tombstones
from .judging import judge, max_age_minutes, may_lie_in
from .ledger import check_order, parse_leaf
from .merkle import check_inclusion
from .notes import parse_tlog_proof
from .signatures import sha256
from .statement import open_envelope

_STATEMENT_FILE = re.compile(r"(0|[1-9][0-9]{0,19})\.(envelope|tlog-proof|json)\Z", re.ASCII)


class UnitFolder:
    """One folder of a unit with its verified statements."""

    def __init__(self, path, data):
        self.path = path
        self.data = data  # bytes of unit.json
        self.value = canonical.load(data, path + "unit.json")
        shapes.unit(self.value, path + "unit.json")
        self.statements = []  # (index, received_ms, Statement), ascending by index
        self.erased = []  # (index, received_ms, Erased), ascending by index

    def rows(self):
        """Both, ascending by index."""
        return sorted(self.statements + self.erased, key=lambda row: row[0])


def _folders(run):
    """(control, nnnn) -> the files of the folder, from the listing of the set."""
    found = {}
    for path in run.folder.under("units/"):
        parts = path.split("/")
        if len(parts) != 3:
            raise Bad("units/%s does not belong there" % path)
        found.setdefault((parts[0], parts[1]), []).append(parts[2])
    return found


def _statement_indexes(path, files, erased):
    """The indexes of the statements in a folder: envelope, proof and view of each; of the erased ones the proof."""
    kinds = {"envelope": set(), "tlog-proof": set(), "json": set()}
    for name in files:
        match = _STATEMENT_FILE.match(name)
        if match:
            kinds[match.group(2)].add(int(match.group(1)))
        elif name != "unit.json":
            raise Bad("%s%s does not belong there" % (path, name))
    whole = kinds["envelope"] == kinds["json"] and not kinds["envelope"] & erased
    if not whole or kinds["tlog-proof"] != kinds["envelope"] | erased:
        raise Bad("%s does not hold envelope, proof and view of each statement" % path)
    return sorted(kinds["envelope"])


class _Statements:
    """Every statement of the set, verified once."""

    def __init__(self, run, devices):
        self.run, self.devices = run, devices
        self.instances = roster.instances(run.streams[1])
        self.tombstones = Tombstones(run)
        self.by_index = {}  # index -> (received_ms, Statement)
        self.seen = set()  # hashes of (envelope, proof) that have verified

    def verified(self, path, index, device_id):
        """(received_ms, Statement) of one statement's files, for a unit of this device."""
        where = "%s%d" % (path, index)
        envelope = self.run.folder.read(where + ".envelope")
        proof_bytes = self.run.folder.read(where + ".tlog-proof")
        digest = sha256(sha256(envelope) + proof_bytes)
        if digest not in self.seen:
            received, statement = self._open(where, index, envelope, proof_bytes)
            if self.by_index.setdefault(index, (received, statement))[1].envelope != envelope:
                raise Bad("%s: two statements at one index" % where)
            self.seen.add(digest)
        received, statement = self.by_index[index]
        instance = self.instances.get(statement.instance)
        if instance is None or instance.device != device_id:
            raise Bad("%s: statement of another device" % where)
        return received, statement

    def _open(self, where, index, envelope, proof_bytes):
        proof = parse_tlog_proof(proof_bytes, where)
        if proof.index != index or proof.note != self.run.checkpoint_bytes:
            raise Bad("%s: proof is of another leaf or checkpoint" % where)
        if proof.extra is None or len(proof.extra) != 1 + 43 + 32 or proof.extra[0] != 43:
            raise Bad("%s: proof has no leaf and salt" % where)
        leaf = parse_leaf(proof.extra[1:44], where)
        leaf.check_payload(proof.extra[44:], envelope, where)
        checkpoint = self.run.checkpoint
        check_inclusion(index, checkpoint.size, leaf.hash, proof.path, checkpoint.root)
        try:
            statement = open_envelope(envelope)
        except Bad as error:
            raise Bad("%s: %s" % (where, error)) from error
        if leaf.kind != (1 if statement.attestation else 2):
            raise Bad("%s: leaf is of another kind" % where)
        device = self.instances.get(statement.instance)
        if device is None:
            raise Bad("%s: instance is not enrolled" % where)
        anchor = statement.anchor
        if anchor and anchor["origin"] == self.run.origin and anchor["size"] > index:
            raise Bad("%s: anchor is younger than the leaf" % where)
        if device.enrolled >= index:
            raise Bad("%s: statement is older than the enrolment" % where)
        if device.ended is not None and device.ended < index:
            raise Bad("%s: statement by a key that had ended" % where)
        if statement.attestation and statement.attestation["device"] != device.device:
            raise Bad("%s: names another device than its instance's" % where)
        if not statement.signed_by(device.attestation_key):
            raise Bad("%s: signature does not hold" % where)
        return leaf.received_ms, statement

    def check_chains(self):
        """Raises unless every instance's statements chain, ascend and keep their anchors."""
        instances = {}
        shown = [(index, statement) for index, (_received, statement) in self.by_index.items()]
        for index, statement in shown + list(self.tombstones.by_index.items()):
            instances.setdefault(statement.instance, []).append((statement.sequence, index, statement))
        for rows in instances.values():
            rows.sort(key=lambda row: row[:2])
            for (_sequence, index, one), (_next, next_index, other) in zip(rows, rows[1:]):
                where = "statements %d and %d" % (index, next_index)
                if other.first_sequence <= one.sequence or next_index <= index:
                    raise Bad("%s: sequence and index do not ascend together" % where)
            rows = [row for row in rows if not isinstance(row[2], Erased)]
            for (_sequence, index, one), (_next, next_index, other) in zip(rows, rows[1:]):
                where = "statements %d and %d" % (index, next_index)
                if other.first_sequence == one.sequence + 1 and other.previous != sha256(one.envelope):
                    raise Bad("%s: do not chain" % where)
            _check_anchors([(index, one.anchor) for _sequence, index, one in rows])


def _check_anchors(rows):
    """Raises unless the anchors of one instance, in its order, stay and never shrink within one origin."""
    largest = {}
    for index, anchor in rows:
        if anchor is None:
            if largest:
                raise Bad("statement %d: anchor is gone" % index)
            continue
        if anchor["size"] < largest.get(anchor["origin"], 0):
            raise Bad("statement %d: anchor shrinks" % index)
        largest[anchor["origin"]] = anchor["size"]


def _lies_in(received, statement, day, minutes):
    if isinstance(statement, Erased):
        return statement.attests and may_lie_in(received, day, minutes)
    observed = statement.observed_ms(received)
    return observed is not None and day.start_ms <= observed < day.end_ms


def _lies_before(received, statement, day):
    if isinstance(statement, Erased):
        return statement.attests and received < day.start_ms
    observed = statement.observed_ms(received)
    return observed is not None and observed < day.start_ms


def _check_contiguous(unit, day, minutes):
    """Raises if a sequence is missing between the statements of a unit, or before the first of its day."""
    chains = {}
    for row in unit.rows():
        chains.setdefault(row[2].instance, []).append(row)
    for rows in chains.values():
        _check_chain(unit, sorted(rows, key=lambda row: row[2].sequence), day, minutes)


def _check_chain(unit, rows, day, minutes):
    for (_index, _received, one), (_next_index, _next_received, other) in zip(rows, rows[1:]):
        if other.first_sequence != one.sequence + 1:
            raise Bad("%s: statements between sequences %d and %d are missing"
                      % (unit.path, one.sequence, other.sequence))
    _index, received, first = rows[0]
    if first.first_sequence != 0 and _lies_in(received, first, day, minutes):
        raise Bad("%s: statement before sequence %d is missing" % (unit.path, first.sequence))


def _due(day, minutes, rows):
    """(lowest, highest) sequence of an instance that a unit of this day shows, of these rows: section 11."""
    rows = [(received, statement) for _index, received, statement in rows]
    inside = [statement.sequence for received, statement in rows if _lies_in(received, statement, day, minutes)]
    if inside:
        return min(inside) - 1, max(inside) + 1
    before = [statement.sequence for received, statement in rows if _lies_before(received, statement, day)]
    return (max(before), max(before) + 1) if before else (0, 0)


def _check_nothing_held_back(units, days, ages):
    """Raises if a unit lacks a statement of its device and day that another unit of the set shows."""
    shown = {}  # device -> instance -> index -> row
    for unit in units.values():
        instances = shown.setdefault(unit.value["unit"].split("/")[0], {})
        for row in unit.rows():
            instances.setdefault(row[2].instance, {})[row[0]] = row
    for unit in units.values():
        device_id, label, control = unit.value["unit"].split("/")
        listed = {index for index, _received, _statement in unit.rows()}
        for rows in shown[device_id].values():
            low, high = _due(days[label], ages(label, control), rows.values())
            for index, _received, statement in rows.values():
                if low <= statement.sequence <= high and index not in listed:
                    raise Bad("%s: leaves out statement %d, which another unit shows" % (unit.path, index))


def check_statements(run):
    """16: every statement of a unit is signed, included, and part of an unbroken chain."""
    devices = roster.devices(run.streams[1])
    days = {day.label: day for day in run.days}
    statements = _Statements(run, devices)
    units = {}

    def ages(label, control):
        return max_age_minutes(run.streams[2], run.freeze.index, days[label], control)

    for (control, number), files in _folders(run).items():
        path = "units/%s/%s/" % (control, number)
        unit = UnitFolder(path, run.folder.read(path + "unit.json"))
        listed, gone = unit.value["statements"], unit.value["erased"]
        indexes = [row["index"] for row in gone]
        if indexes != sorted(set(indexes)):
            raise Bad("%s: erased does not ascend" % path)
        if [row["index"] for row in listed] != _statement_indexes(path, files, set(indexes)):
            raise Bad("%s: unit.json lists other statements than the folder holds" % path)
        parts = unit.value["unit"].split("/")
        if len(parts) != 3 or parts[0] not in devices or parts[1] not in days:
            raise Bad("%s: not a unit of this plan" % path)
        for row in listed:
            received, statement = statements.verified(path, row["index"], parts[0])
            if (row["sequence"], row["instance"]) != (statement.sequence, statement.instance):
                raise Bad("%s: unit.json names another statement than %d" % (path, row["index"]))
            unit.statements.append((row["index"], received, statement))
        for row in gone:
            erased = statements.tombstones.verified(path, row, devices[parts[0]])
            unit.erased.append((row["index"], erased.received_ms, erased))
        _check_contiguous(unit, days[parts[1]], ages(parts[1], parts[2]))
        units[(control, number)] = unit
    statements.tombstones.check_folder()
    statements.check_chains()
    _check_nothing_held_back(units, days, ages)
    rows = [(index, received) for index, (received, _statement) in statements.by_index.items()]
    rows += [(index, erased.received_ms) for index, erased in statements.tombstones.by_index.items()]
    rows += [(entry.index, entry.received_ms) for stream in run.streams.values() for entry in stream]
    check_order(rows, "statements and streams")
    run.units = units
    detail = "%d statements in %d units" % (len(statements.by_index), len(units))
    return detail + statements.tombstones.told()


def check_units(run):
    """17: every drawn unit, judged again, is what its folder says."""
    days = {day.label: day for day in run.days}
    left, verdicts = dict(run.units), {}
    for control, draw in run.draws.items():
        rows = [("selected", row) for row in draw["selected"]] + [("reserve", row) for row in draw["reserves"]]
        verdicts[control] = []
        for number, (role, row) in enumerate(rows, 1):
            unit = left.pop((control, "%04d" % number), None)
            if unit is None:
                raise Bad("units/%s/%04d/ is missing" % (control, number))
            device_id, label, _control = row["unit"].split("/")
            verdict = judge(
                run.streams[2], run.freeze.index, run.frozen_devices[device_id], days[label], control,
                unit.statements, [(index, received) for index, received, row in unit.erased if row.attests],
            )
            expected = {
                "unit": row["unit"], "ticket": row["ticket"], "role": role, "state": verdict.state,
                "because": verdict.because, "decided_by": verdict.decided_by,
                "policy_index": verdict.policy_index,
                "statements": [
                    {"index": index, "sequence": statement.sequence, "instance": statement.instance,
                     "counts": int(index in verdict.counted)}
                    for index, _received, statement in unit.statements
                ],
                "erased": [
                    {"index": index, "sequence": row.sequence, "instance": row.instance,
                     "counts": int(index in verdict.counted), "tombstone": row.tombstone}
                    for index, _received, row in unit.erased
                ],
            }
            if unit.data != canonical.dump(expected):
                wrong = [name for name in sorted(expected) if unit.value[name] != expected[name]]
                raise Bad("%sunit.json: %s not as recomputed (%s, %s)"
                          % (unit.path, ", ".join(wrong), verdict.state, verdict.because))
            verdicts[control].append((row["unit"], verdict))
    if left:
        raise Bad("%s is not a unit of the draw" % sorted(unit.path for unit in left.values())[0])
    run.verdicts = verdicts


def _add(total, more):
    for state, number in more.items():
        total[state] = total.get(state, 0) + number


def _check_results(run, control):
    """The results of one control agree with themselves, the population and the sample."""
    path = "results/%s.json" % control
    value = canonical.load(run.folder.read(path), path)
    shapes.results(value, path)
    if value["control"] != control:
        raise Bad("%s is of another control" % path)
    units, _hash = run.populations[control]
    population = set(units)
    shapes.ascending([row["unit"] for row in value["units"]], path + ": units")
    others = {}  # device -> states that are not PASS
    for row in value["units"]:
        if row["unit"] not in population or row["state"] == "PASS":
            raise Bad("%s: %s is not in the population, or is PASS" % (path, row["unit"]))
        mine = others.setdefault(row["unit"].split("/")[0], {})
        mine[row["state"]] = mine.get(row["state"], 0) + 1
    expected = sampling.tally(unit.split("/")[0] for unit in units)
    if [row["device"] for row in value["devices"]] != sorted(expected):
        raise Bad("%s: devices are not those of the population" % path)
    total = {}
    for row in value["devices"]:
        counts = dict(others.get(row["device"], {}))
        passed = expected[row["device"]] - sum(counts.values())
        if passed:
            counts["PASS"] = passed
        if row["counts"] != counts:
            raise Bad("%s: counts of %s do not agree with its units" % (path, row["device"]))
        _add(total, counts)
    if value["counts"] != total:
        raise Bad("%s: counts do not add up to the devices'" % path)
    stated = {row["unit"]: (row["state"], row["because"]) for row in value["units"]}
    for unit, verdict in run.verdicts[control]:
        have = stated.get(unit, ("PASS", verdict.because if verdict.state == "PASS" else ""))
        if have != (verdict.state, verdict.because):
            raise Bad("%s: %s is %s (%s) there and %s (%s) in the sample"
                      % (path, unit, *have, verdict.state, verdict.because))


def check_results(run):
    """18: results agree with population and sample, evaluation with the sample."""
    names = [control + ".json" for control in run.plan["controls"]]
    run.folder.need_exactly("results/", names)
    run.folder.need_exactly("evaluation/", names)
    for control in run.plan["controls"]:
        _check_results(run, control)
        states = [verdict.state for _unit, verdict in run.verdicts[control]]
        taken = len(run.draws[control]["selected"])
        expected = sampling.evaluation(control, run.plan, states[:taken], states[taken:])
        if run.folder.read("evaluation/%s.json" % control) != canonical.dump(expected):
            raise Bad("evaluation/%s.json is not the evaluation of the sample" % control)

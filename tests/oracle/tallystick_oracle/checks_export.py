"""Checks 19 to 24: the export entry, simulation, and what this verifier does not run."""

from .canonical import ZERO_HASH, Bad
from .checks_audit import check_heads
from .checks_files import NOTE, PROOF, STAMP
from .ledger import open_act, parse_leaf
from .merkle import check_consistency, check_inclusion
from .notes import NoteKey, open_note, parse_tlog_proof
from .signatures import sha256_hex


class NotRun(Exception):
    """A check that this verifier does not run; the text says why."""


def _take(data, size):
    if len(data) < size:
        raise Bad("%s: extra line is cut off" % PROOF)
    return data[:size], data[size:]


def _take_lp(data):
    length, data = _take(data, 4)
    return _take(data, int.from_bytes(length, "big"))


def check_export(run):
    """19: the export entry binds manifest, stamp and checkpoint, and the note binds both."""
    proof_bytes = run.folder.read(PROOF)
    proof = parse_tlog_proof(proof_bytes, PROOF)
    later, run.cosigned_later = run.log_keys.open(proof.note, run.policy, PROOF)
    if proof.extra is None:
        raise Bad("%s: no extra line" % PROOF)
    size, rest = _take(proof.extra, 1)
    leaf_bytes, rest = _take(rest, size[0])
    salt, rest = _take(rest, 32)
    payload, rest = _take_lp(rest)
    hashes, rest = _take_lp(rest)
    if rest or len(hashes) % 32:
        raise Bad("%s: extra line holds too much" % PROOF)
    leaf = parse_leaf(leaf_bytes, PROOF)
    if (leaf.stream, leaf.kind) != (3, 7):
        raise Bad("%s: not an export entry" % PROOF)
    leaf.check_payload(salt, payload, PROOF)
    check_inclusion(proof.index, later.size, leaf.hash, proof.path, later.root)
    check_consistency(
        run.checkpoint.size, run.checkpoint.root, later.size, later.root,
        [hashes[at : at + 32] for at in range(0, len(hashes), 32)],
    )
    if proof.index < run.checkpoint.size:
        raise Bad("%s: the export lies below the set's checkpoint" % PROOF)
    signed = open_act(payload, (3, 7), PROOF)
    act = signed.act
    if not signed.signed_by(run.operations_key):
        raise Bad("%s: export is not signed by the operations key" % PROOF)
    if act["origin"] != run.origin or act["id"] in run.act_ids:
        raise Bad("%s: export is of another log, or its id is repeated" % PROOF)
    if act["plan_hash"] != run.manifest["plan_hash"]:
        raise Bad("%s: export is of another plan" % PROOF)
    if act["manifest_sha256"] != sha256_hex(run.manifest_bytes):
        raise Bad("%s: export is of another MANIFEST.json" % PROOF)
    stamp = sha256_hex(run.folder.read(STAMP)) if run.folder.has(STAMP) else ZERO_HASH
    if act["tsr_sha256"] != stamp:
        raise Bad("%s: export names another stamp" % PROOF)
    if act["checkpoint"] != run.manifest["checkpoint"]:
        raise Bad("%s: export names another checkpoint" % PROOF)
    check_heads(act["heads"], run.streams)
    run.export_heads = act["heads"]
    _check_manifest_note(run, proof_bytes)
    return "entry %d" % proof.index


def _check_manifest_note(run, proof_bytes):
    key = NoteKey.of(run.origin + "/operations", bytes.fromhex(run.operations_key))
    text = open_note(run.folder.read(NOTE), [key], NOTE)
    wanted = ("tallystick-set/v1", run.origin, sha256_hex(run.manifest_bytes), sha256_hex(proof_bytes))
    if text != "".join(line + "\n" for line in wanted):
        raise Bad("%s is not of this set" % NOTE)


def check_simulated(run):
    """20: time is real, or the auditor accepts that it is not."""
    if not run.origin.endswith("/simulated"):
        return "the log is not simulated"
    if run.trust["simulated"] != "accept":
        raise Bad("the log is simulated: its times are made up")
    return "the log is simulated; the trust file accepts it"


def check_witnesses(run):
    """22: the quorum cosigned the set's checkpoint and the one its export is proved under."""
    policy = run.policy
    if policy.quorum == "none":
        said = ", ".join(sorted(run.cosigned)) or "nobody"
        raise NotRun("quorum none; cosigned by %s" % said if policy.witnesses else "witnesses: none")
    for what, cosigned in (("log/checkpoint", run.cosigned), (PROOF, run.cosigned_later)):
        if not policy.holds(cosigned):
            raise Bad("%s: quorum %s is not met: %d of %d witnesses cosigned" % (
                what, policy.quorum, len(cosigned), len(policy.witnesses)))
    return "quorum %s: cosigned by %s" % (policy.quorum, ", ".join(sorted(run.cosigned)))


def not_run(why):
    """A check that never runs here."""
    def check(_run):
        raise NotRun(why)
    return check


def check_stamp(run):
    """23: never run here."""
    raise NotRun("needs an RFC 3161 verifier" if run.folder.has(STAMP) else "no stamp")

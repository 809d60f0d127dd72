"""Checks 4 to 9: streams, their proofs, acts, genesis, authority, enrolments."""

from . import shapes
from .canonical import Bad, unbase64
from .ledger import STREAM_NAMES, check_order, open_act, read_stream
from .merkle import check_inclusion
from .notes import parse_tlog_proof, parse_vkey
from .roster import people
from .signatures import ed25519_holds, p256_holds, sha256_hex

TRANSCRIPT_LABEL = b"tallystick/enrol/v1\0"
_OPERATIONS = {(1, 1), (1, 4), (3, 3), (3, 5), (3, 7)}
_ADMIN = {(1, 2), (1, 3)}
_ADMIN_OR_ANALYST = {(1, 6), (1, 8), (2, 1), (3, 1)}
_AUDITOR = {(3, 2), (3, 4)}
_OF_A_PLAN = {(3, 2), (3, 3), (3, 4), (3, 5), (3, 7)}


def check_streams(run):
    """4: streams 1 to 3 whole, chained and in order."""
    streams = {}
    for number, name in STREAM_NAMES.items():
        streams[number] = read_stream(run.folder.read("streams/%s.jsonl" % name), number)
    entries = [entry for stream in streams.values() for entry in stream]
    check_order([(entry.index, entry.received_ms) for entry in entries], "streams")
    for entry in entries:
        if entry.index >= run.manifest["checkpoint"]["size"]:
            raise Bad("entry %d lies beyond the set's checkpoint" % entry.index)
    run.streams = streams
    return ", ".join("%s %d" % (name, len(streams[number])) for number, name in STREAM_NAMES.items())


def check_stream_proofs(run):
    """5: the newest leaf of each stream lies under the checkpoint."""
    for number, name in STREAM_NAMES.items():
        path = "streams/%s.tlog-proof" % name
        entries = run.streams[number]
        if not entries:
            if run.folder.has(path):
                raise Bad("%s: proof for an empty stream" % path)
            continue
        proof = parse_tlog_proof(run.folder.read(path), path)
        if proof.extra is not None or proof.index != entries[-1].index:
            raise Bad("%s is not of the stream's newest entry" % path)
        if proof.note != run.checkpoint_bytes:
            raise Bad("%s is not under log/checkpoint" % path)
        check_inclusion(
            proof.index, run.checkpoint.size, entries[-1].leaf.hash, proof.path, run.checkpoint.root
        )


def entries_by_index(run):
    """All entries of streams 1 to 3, ascending by index."""
    return sorted((e for stream in run.streams.values() for e in stream), key=lambda entry: entry.index)


def check_acts(run):
    """6: every act is canonical, of its members, of this log, unrepeated and signed by the key it names."""
    opened, keys = [], set()
    for entry in entries_by_index(run):
        where = "entry %d" % entry.index
        signed = open_act(entry.payload, entry.kind, where)
        entry.act, entry.body = signed.act, signed.body
        opened.append((where, signed))
        if entry.kind == (1, 1):
            keys |= {signed.act["operations_key"], signed.act["admin"]["key"]}
        elif entry.kind == (1, 2):
            keys.add(signed.act["key"])
        elif entry.kind == (3, 1):
            keys.add(signed.act["auditor_key"])
    by_id = {sha256_hex(bytes.fromhex(key)): key for key in keys}
    used = set()
    for where, signed in opened:
        if signed.act["origin"] != run.manifest["origin"]:
            raise Bad("%s: act is of another log" % where)
        if signed.act["id"] in used:
            raise Bad("%s: id of the act is repeated" % where)
        used.add(signed.act["id"])
        if signed.keyid in by_id and not signed.signed_by(by_id[signed.keyid]):
            raise Bad("%s: signature does not hold" % where)
    run.act_ids = used
    return "%d acts" % len(opened)


def check_genesis(run):
    """7: the first entry made this log."""
    roster = run.streams[1]
    if not roster or roster[0].kind != (1, 1) or roster[0].index != 0:
        raise Bad("roster does not begin with the genesis at index 0")
    if any(entry.kind == (1, 1) for entry in roster[1:]):
        raise Bad("there is a second genesis")
    genesis = roster[0].act
    if genesis["signer"] != sha256_hex(bytes.fromhex(genesis["operations_key"])):
        raise Bad("genesis is not signed by its own operations_key")
    if genesis["trust_domain"] != run.trust["trust_domain"]:
        raise Bad("genesis is of another trust_domain")
    if genesis["log_vkey"] not in run.trust["log_keys"]:
        raise Bad("genesis names a log key that the trust file does not")
    if genesis["simulated"] != int(run.origin.endswith("/simulated")):
        raise Bad("genesis and origin differ in whether the log is simulated")
    run.genesis = genesis
    run.operations_key = genesis["operations_key"]
    return "accepts rollback blindness" if genesis["accept_rollback_blindness"] else None


class _Once:
    """Values that may be admitted once."""

    def __init__(self):
        self.used = set()

    def admit(self, value, what):
        """Raises the second time."""
        if value in self.used:
            raise Bad("%s was admitted before" % what)
        self.used.add(value)


def check_authority(run):
    """8: every act was made by whom section 8 says, admitted before it."""
    admitted = people(run.streams[1])
    operations = sha256_hex(bytes.fromhex(run.operations_key))
    plans, enrolled = {}, set()
    persons, tls_keys, signing_keys = _Once(), _Once(), _Once()
    for entry in entries_by_index(run):
        where, act, kind = "entry %d (%s)" % (entry.index, entry.act["act"]), entry.act, entry.kind
        signer = act["signer"]
        if kind in _OPERATIONS:
            allowed = signer == operations
        elif kind in _AUDITOR:
            plan = plans.get(act["plan_hash"])
            allowed = plan is not None and signer == sha256_hex(bytes.fromhex(plan["auditor_key"]))
        else:
            person = admitted.get(signer)
            roles = ("admin",) if kind in _ADMIN else ("admin", "analyst")
            allowed = person is not None and person.admitted < entry.index and person.role in roles
        if not allowed:
            raise Bad("%s: signed by a key that may not, or not yet" % where)
        if kind == (1, 1):
            signing_keys.admit(parse_vkey(act["log_vkey"]).key.hex(), where + ": log key")
            signing_keys.admit(act["operations_key"], where + ": operations key")
        row = act["admin"] if kind == (1, 1) else act if kind == (1, 2) else None
        if row is not None:
            persons.admit(row["person"], where + ": person")
            signing_keys.admit(row["key"], where + ": key")
            tls_keys.admit(row["tls_key"], where + ": TLS key")
        elif kind == (1, 4):
            # Check 9 refuses an enrolment with a key that was used before; here it only counts as used.
            signing_keys.used.add(act["attestation_key"])
            tls_keys.used.update(spki_hashes(act["transcript"]))
            enrolled.add(act["device"])
        elif kind in ((1, 6), (1, 8)) and act["device"] not in enrolled:
            raise Bad("%s: names a device that is not enrolled" % where)
        elif kind in _OF_A_PLAN and act["plan_hash"] not in plans:
            raise Bad("%s: names a plan that is not logged" % where)
        elif kind == (3, 1):
            plans[sha256_hex(entry.body)] = act
    return "%d people, %d plans" % (len(persons.used), len(plans))


assert _OPERATIONS | _ADMIN | _ADMIN_OR_ANALYST | _AUDITOR == set(shapes.ACTS)


def parse_transcript(data):
    """The eight parts of an enrolment transcript."""
    if not data.startswith(TRANSCRIPT_LABEL):
        raise Bad("transcript has another label")
    at, parts = len(TRANSCRIPT_LABEL), []
    while at < len(data) and len(parts) < 8:
        length = int.from_bytes(data[at : at + 4], "big")
        part = data[at + 4 : at + 4 + length]
        if len(data) < at + 4 or len(part) != length:
            raise Bad("transcript is cut off")
        parts.append(part)
        at += 4 + length
    if len(parts) != 8 or at != len(data):
        raise Bad("transcript does not have eight parts")
    wanted = (None, 16, 32, 32, 32, 91, 32, 32)
    if any(size is not None and len(part) != size for part, size in zip(parts, wanted)):
        raise Bad("transcript has a part of a wrong length")
    return parts


def spki_hashes(transcript):
    """The hash of the TLS key in a transcript that parses, in a list; else an empty one."""
    try:
        return [sha256_hex(parse_transcript(unbase64(transcript))[5])]
    except Bad:
        return []


def check_enrolments(run):
    """9: every enrolment holds by its own signatures and by a token admitted before."""
    tokens, token_used = {}, _Once()
    ids, signing_keys, tls_keys = _Once(), _Once(), _Once()
    signing_keys.used |= {parse_vkey(run.genesis["log_vkey"]).key.hex(), run.operations_key}
    for entry in run.streams[1]:
        act, where = entry.act, "entry %d" % entry.index
        if entry.kind in ((1, 1), (1, 2)):
            row = act.get("admin", act)
            signing_keys.used.add(row["key"])
            tls_keys.used.add(row["tls_key"])
        elif entry.kind == (1, 3):
            if act["token_hash"] in tokens:
                raise Bad("%s: token was admitted before" % where)
            tokens[act["token_hash"]] = act
        elif entry.kind == (1, 4):
            token = tokens.get(act["token_hash"])
            if token is None:
                raise Bad("%s: token was not admitted" % where)
            token_used.admit(act["token_hash"], where + ": enrolment's token")
            if entry.received_ms >= int(token["expires_at"]):
                raise Bad("%s: token had expired" % where)
            if (act["class"], act["group"]) != (token["class"], token["group"]):
                raise Bad("%s: class and group are not the token's" % where)
            ids.admit(act["device"], where + ": device")
            ids.admit(act["instance"], where + ": instance")
            signing_keys.admit(act["attestation_key"], where + ": attestation key")
            tls_keys.admit(_check_transcript(run, act, where), where + ": TLS key")
    return "%d enrolments" % len(token_used.used)


def _check_transcript(run, act, where):
    """Raises unless the transcript says what the enrolment says and both keys signed it; the TLS key's hash."""
    transcript = unbase64(act["transcript"], where)
    domain, _enrolment, _nonce, _exporter, token, spki, key, _facts = parse_transcript(transcript)
    if domain != run.genesis["trust_domain"].encode("utf-8"):
        raise Bad("%s: transcript is of another trust_domain" % where)
    if token.hex() != act["token_hash"] or key.hex() != act["attestation_key"]:
        raise Bad("%s: transcript is of another token or key" % where)
    if not ed25519_holds(key, unbase64(act["sig_ed25519"], where), transcript):
        raise Bad("%s: attestation key did not sign the transcript" % where)
    if not p256_holds(spki, unbase64(act["sig_p256"], where), transcript):
        raise Bad("%s: TLS key did not sign the transcript" % where)
    return sha256_hex(spki)

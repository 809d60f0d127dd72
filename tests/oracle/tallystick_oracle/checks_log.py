"""Checks 4 to 9: streams, their proofs, acts, genesis, authority, enrolments."""

import base64

from . import shapes
from .canonical import Bad, unbase64
from .ledger import STREAM_NAMES, check_order, open_act, read_stream
from .log_keys import labelled, log_key_text
from .merkle import check_inclusion
from .notes import parse_tlog_proof, parse_vkey
from .roster import people
from .signatures import ed25519_holds, p256_holds, sha256_hex

TRANSCRIPT_LABEL = b"tallystick/enrol/v1\0"
RE_KEY_LABEL = b"tallystick/re-key/v1\0"
REQUEST_LABEL = b"tallystick/request/v1\0"
_OPERATIONS = {(1, 1), (1, 4), (1, 5), (1, 12), (3, 3), (3, 5), (3, 7)}
_ADMIN = {(1, 2), (1, 3), (1, 13)}
_ADMIN_OR_ANALYST = {(1, 6), (1, 7), (1, 8), (1, 9), (1, 10), (1, 11), (2, 1), (3, 1)}
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


class _Changes:
    """The issuing authorities and the log's key, step by step: section 8, changing keys."""

    def __init__(self, genesis):
        cas = genesis["issuing_cas"]
        self.issuing = dict(cas)
        self.prepared = {name: None for name in cas}
        self.retiring = {name: None for name in cas}
        self.seen = set(cas.values())
        self.log_key = parse_vkey(genesis["log_vkey"])

    def take(self, act, where, origin):
        """Raises unless the step is due."""
        of, step = act["of"], act["step"]
        if of == "log":
            self._rotate(act["log"][0], where, origin)
            return
        certificate = act["certificate"][0]
        prepared, retiring = self.prepared[of], self.retiring[of]
        if step == "prepare":
            due = prepared is None and retiring is None and certificate not in self.seen
            self.seen.add(certificate)
            self.prepared[of] = certificate
        elif step == "activate":
            due = prepared == certificate
            self.issuing[of], self.retiring[of], self.prepared[of] = certificate, self.issuing[of], None
        elif step == "retire":
            due = retiring == certificate
            self.retiring[of] = None
        elif prepared == certificate:
            due, self.prepared[of] = True, None
        else:
            due = retiring is not None and self.issuing[of] == certificate
            self.issuing[of], self.retiring[of] = retiring, certificate
        if not due:
            raise Bad("%s: %s of %s is not due" % (where, step, of))

    def _rotate(self, row, where, origin):
        new = parse_vkey(row["vkey"])
        if new.name != origin:
            raise Bad("%s: log key has another name than the log" % where)
        text = log_key_text(row["vkey"])
        for key, member in ((self.log_key, "endorsement"), (new, "possession")):
            if not ed25519_holds(key.key, unbase64(row[member], where), text):
                raise Bad("%s: %s does not hold" % (where, member))
        self.log_key = new


def check_authority(run):
    """8: every act was made by whom section 8 says, admitted before it."""
    admitted, revoked = people(run.streams[1]), {}
    changes = _Changes(run.genesis)
    operations = sha256_hex(bytes.fromhex(run.operations_key))
    plans, enrolled = {}, set()
    persons, tls_keys, signing_keys = _Once(), _Once(), _Once()
    roles_of, revoked_devices = {}, set()
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
            admins_only = kind in _ADMIN or (kind == (1, 7) and act["person"])
            roles = ("admin",) if admins_only else ("admin", "analyst")
            allowed = person is not None and person.admitted < entry.index and person.role in roles
            allowed = allowed and person.person not in revoked
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
            role = row.get("role", "admin")
            roles_of[row["person"]] = role
            if role != "auditor" and any(plan["auditor_key"] == row["key"] for plan in plans.values()):
                raise Bad("%s: runs the log, and audits it by a plan" % where)
        elif kind == (1, 5):
            # The same; whether the old key speaks for the device is check 9's too.
            signing_keys.used.add(act["attestation_key"])
            tls_keys.used.update(spki_hashes(act["transcript"]))
        elif kind == (1, 7) and act["person"]:
            who = act["person"][0]
            admins = [name for name, role in roles_of.items() if role == "admin" and name not in revoked]
            if who not in roles_of or who in revoked or admins == [who]:
                raise Bad("%s: revokes a person who is not there, revoked before, or the only admin" % where)
            revoked[who] = entry.index
        elif kind == (1, 7):
            if act["device"][0] not in enrolled or act["device"][0] in revoked_devices:
                raise Bad("%s: revokes a device that is not enrolled, or revoked before" % where)
            revoked_devices.add(act["device"][0])
        elif kind in ((1, 10), (1, 11)):
            if not {act["device"], act["other"]} <= enrolled:
                raise Bad("%s: names a device that is not enrolled" % where)
        elif kind == (1, 12):
            changes.take(act, where, run.origin)
            if act["of"] == "log":
                signing_keys.admit(parse_vkey(act["log"][0]["vkey"]).key.hex(), where + ": log key")
        elif kind == (1, 4):
            # Check 9 refuses an enrolment with a key that was used before; here it only counts as used.
            signing_keys.used.add(act["attestation_key"])
            tls_keys.used.update(spki_hashes(act["transcript"]))
            enrolled.add(act["device"])
        elif kind in ((1, 6), (1, 8), (1, 9)) and act["device"] not in enrolled:
            raise Bad("%s: names a device that is not enrolled" % where)
        elif kind in _OF_A_PLAN and act["plan_hash"] not in plans:
            raise Bad("%s: names a plan that is not logged" % where)
        elif kind == (3, 1):
            auditor = admitted.get(sha256_hex(bytes.fromhex(act["auditor_key"])))
            known = auditor is not None and auditor.admitted < entry.index and auditor.person not in revoked
            if known and auditor.role != "auditor":
                raise Bad("%s: its auditor runs the log" % where)
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
    """9: every enrolment holds by its own signatures and by a token admitted before, every new key by the old one."""
    state = _Enrolments(run)
    for entry in run.streams[1]:
        state.take(entry)
    return "%d enrolments" % state.enrolments


class _Enrolments:
    """Tokens, approvals and instances, entry by entry."""

    def __init__(self, run):
        self.run, self.enrolments = run, 0
        self.tokens, self.uses, self.serials, self.approvals = {}, {}, set(), {}
        self.speaking = {}  # instance -> (device, attestation key), while it speaks
        self.ids, self.signing_keys, self.tls_keys = _Once(), _Once(), _Once()
        self.signing_keys.used |= {parse_vkey(run.genesis["log_vkey"]).key.hex(), run.operations_key}

    def take(self, entry):
        """Raises unless the entry may stand."""
        act, where, kind = entry.act, "entry %d" % entry.index, entry.kind
        if kind in ((1, 1), (1, 2)):
            row = act.get("admin", act)
            self.signing_keys.used.add(row["key"])
            self.tls_keys.used.add(row["tls_key"])
        elif kind == (1, 3):
            if act["token_hash"] in self.tokens:
                raise Bad("%s: token was admitted before" % where)
            self.tokens[act["token_hash"]] = act
        elif kind == (1, 4):
            self._enrolment(entry, act, where)
        elif kind == (1, 5):
            self._re_key(act, where)
        elif kind == (1, 12) and act["of"] == "log":
            self.signing_keys.used.add(parse_vkey(act["log"][0]["vkey"]).key.hex())
        elif kind == (1, 13):
            self._approval(entry, act, where)
        elif kind in ((1, 7), (1, 10)):
            gone = act["other"] if kind == (1, 10) else act["device"][0] if act["device"] else None
            self.speaking = {name: row for name, row in self.speaking.items() if row[0] != gone}

    def _approval(self, entry, act, where):
        before = self.approvals.get(act["request"])
        if before is not None:
            allows, expires, used = before
            done = used and allows == "recovery"
            if allows != act["allows"] or (not done and (used or entry.received_ms < expires)):
                raise Bad("%s: was approved before" % where)
        self.approvals[act["request"]] = (act["allows"], int(act["expires_at"]), False)

    def _enrolment(self, entry, act, where):
        token = self.tokens.get(act["token_hash"])
        if token is None:
            raise Bad("%s: token was not admitted" % where)
        uses = self.uses.get(act["token_hash"], 0) + 1
        if uses > token["uses"]:
            raise Bad("%s: token was used as often as it may" % where)
        if entry.received_ms >= int(token["expires_at"]):
            raise Bad("%s: token had expired" % where)
        if (act["class"], act["group"]) != (token["class"], token["group"]):
            raise Bad("%s: class and group are not the token's" % where)
        listed, serial = bool(token.get("serials")), act.get("serial")
        if serial is not None and not listed:
            raise Bad("%s: token lists no serial numbers" % where)
        if (act["token_hash"], serial) in self.serials:
            raise Bad("%s: serial number enrolled a device before" % where)
        request = _request(act, where)
        approved = self.approvals.get(request)
        waits = token.get("approve") or (listed and serial is None)
        if waits and (approved is None or approved[0] != "enrolment" or approved[2] or entry.received_ms >= approved[1]):
            raise Bad("%s: was not approved" % where)
        self.ids.admit(act["device"], where + ": device")
        self.ids.admit(act["instance"], where + ": instance")
        self.signing_keys.admit(act["attestation_key"], where + ": attestation key")
        token_hash = bytes.fromhex(act["token_hash"])
        self.tls_keys.admit(_check_transcript(self.run, act, token_hash, where), where + ": TLS key")
        self.uses[act["token_hash"]] = uses
        if serial is not None:
            self.serials.add((act["token_hash"], serial))
        if approved is not None:
            self.approvals[request] = approved[:2] + (True,)
        self.speaking[act["instance"]] = (act["device"], act["attestation_key"])
        self.enrolments += 1

    def _re_key(self, act, where):
        before = self.speaking.pop(act["previous"], None)
        if before is None or before[0] != act["device"]:
            raise Bad("%s: instance before is not one its device speaks with" % where)
        self.ids.admit(act["instance"], where + ": instance")
        self.signing_keys.admit(act["attestation_key"], where + ": attestation key")
        token = sha256_hex(labelled(RE_KEY_LABEL, instance_bytes(act["previous"])))
        self.tls_keys.admit(_check_transcript(self.run, act, bytes.fromhex(token), where), where + ": TLS key")
        if not ed25519_holds(bytes.fromhex(before[1]), unbase64(act["sig_previous"], where), unbase64(act["transcript"], where)):
            raise Bad("%s: old attestation key did not sign the transcript" % where)
        self.speaking[act["instance"]] = (act["device"], act["attestation_key"])


def instance_bytes(text):
    """The 16 bytes of an instance."""
    return base64.b32decode(text[2:].upper() + "======")


def _request(act, where):
    """What an approval of this enrolment names; none if its transcript does not parse."""
    try:
        _domain, _enrolment, _nonce, _exporter, token, spki, key, _facts = parse_transcript(unbase64(act["transcript"], where))
    except Bad:
        return None
    return sha256_hex(labelled(REQUEST_LABEL, token, bytes.fromhex(sha256_hex(spki)), key))


def _check_transcript(run, act, token_hash, where):
    """Raises unless the transcript says what the enrolment says and both keys signed it; the TLS key's hash."""
    transcript = unbase64(act["transcript"], where)
    domain, _enrolment, _nonce, _exporter, token, spki, key, _facts = parse_transcript(transcript)
    if domain != run.genesis["trust_domain"].encode("utf-8"):
        raise Bad("%s: transcript is of another trust_domain" % where)
    if token != token_hash or key.hex() != act["attestation_key"]:
        raise Bad("%s: transcript is of another token or key" % where)
    if not ed25519_holds(key, unbase64(act["sig_ed25519"], where), transcript):
        raise Bad("%s: attestation key did not sign the transcript" % where)
    if not p256_holds(spki, unbase64(act["sig_p256"], where), transcript):
        raise Bad("%s: TLS key did not sign the transcript" % where)
    return sha256_hex(spki)

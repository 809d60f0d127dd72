"""A log with its roster, made act by act; every step can be bent by a hook."""

import base64

from .facts import observation
from .tree import Tree
from .wire import Key, TlsKey, b64, blob, fixed, instance_bytes, jcs, lp, note, num, pae, random_id, sha, sha_hex

ACT_TYPE = b"application/vnd.tallystick.act.v1+json"
STATEMENT_TYPE = b"application/vnd.tallystick.attestation.v1+protobuf"
DOMAIN = "audit.example"
ZERO = "0" * 64
KINDS = {
    "genesis": (1, 1), "person": (1, 2), "token": (1, 3), "enrolment": (1, 4), "re-key": (1, 5), "retire": (1, 6),
    "revoke": (1, 7), "class": (1, 8), "group": (1, 9), "merge": (1, 10), "split": (1, 11), "key-change": (1, 12), "approval": (1, 13),
    "policy": (2, 1), "plan": (3, 1), "commitment": (3, 2), "freeze": (3, 3), "reveal": (3, 4), "draw": (3, 5),
    "export": (3, 7), "tombstone": (4, 4), "configuration": (4, 5),
}

# Claims of a class with all, some and none of the evidence; a claim that is empty says that nothing was seen.
_ASSETS = (
    num(1, 1) + num(2, 10, True) + num(3, 1, True) + num(4, 1, True) + blob(5, "none", True),
    num(1, 1) + num(3, 1, True),
    b"",
    num(2, 0, True) + num(3, 0, True) + num(4, 0, True) + blob(5, "", True),
    num(1, 4) + blob(5, "vm-other", True),
)


class Hooks(dict):
    """name -> function of a value (and nothing else) to the value used instead."""

    def bend(self, name, value):
        """The value, bent if there is a hook."""
        return self[name](value) if name in self else value


class Device:
    """A device as the generator knows it."""

    def __init__(self, name, device_class, group):
        self.name, self.speaker = name, name  # the name that its instance comes from
        self.id, self.instance = random_id("d", name), random_id("i", name)
        self.key, self.tls = Key("device " + name), TlsKey("device " + name)
        self.classes = [(None, device_class)]  # (from ms, class); None: enrolment
        self.groups = [(None, group)]
        self.enrolled_ms = self.retired_ms = None
        self.statements = []  # dicts, in order of sequence
        self.anchor = None
        self.anchor_origin = None  # of another log than this one
        self.anchor_note = None  # bytes of the cosigned note that its statements name by hash

    def states(self):
        """[(start, end or None, class, group)], in service."""
        starts = sorted({self.enrolled_ms} | {at for at, _new in self.classes[1:] + self.groups[1:]})
        ends = starts[1:] + [None]
        rows = []
        for start, end in zip(starts, ends):
            def now(changes, start=start):
                return [new for at, new in changes if at is None or at <= start][-1]
            if self.retired_ms is not None:
                end = self.retired_ms if end is None else min(end, self.retired_ms)
            if end is None or start < end:
                rows.append((start, end, now(self.classes), now(self.groups)))
        return rows

    def states_on(self, start, end):
        """The (class, group) in service during [start, end)."""
        return [(c, g) for s, e, c, g in self.states() if max(s, start) < (end if e is None else min(e, end))]


class Log:
    """The log of one world."""

    def __init__(self, now_ms, hooks=None, label="2026"):
        self.hooks = Hooks(hooks or {})
        self.origin = "%s/log/%s" % (DOMAIN, label)
        self.now = now_ms
        self.tree = Tree()
        self.leaves, self.payloads, self.salts = [], [], []
        self.streams = {1: [], 2: [], 3: [], 4: []}  # indexes
        self.keys = {name: Key(name) for name in ("log", "operations", "admin", "analyst", "auditor", "stranger")}
        self.first_key = self.keys["log"]
        self.counter = 0
        self.anchor_notes = {}  # hash of a note -> its bytes
        self.policies = []  # (index, received_ms, {control: members})
        self._genesis()

    # ---- leaves

    def _append(self, stream, kind, payload):
        salt = fixed("salt %d" % len(self.leaves))
        received = self.hooks.bend("received", (len(self.leaves), self.now))
        received = received[1] if isinstance(received, tuple) else received
        leaf = bytes([1, stream, kind]) + received.to_bytes(8, "big") + sha(salt + payload)
        if stream:
            mine = self.streams[stream]
            previous = self.tree.hashes[mine[-1]] if mine else bytes(32)
            chained = self.hooks.bend("chain %d" % stream, (len(mine), previous))
            leaf += chained[0].to_bytes(8, "big") + chained[1]
            mine.append(len(self.leaves))
        self.leaves.append(leaf)
        self.payloads.append(payload)
        self.salts.append(salt)
        return self.tree.append(leaf)

    def at(self, ms):
        """Moves the clock forward."""
        self.now = max(self.now, ms)

    @property
    def size(self):
        """Leaves so far."""
        return len(self.leaves)

    def checkpoint_note(self, size):
        """The signed checkpoint of the first `size` leaves."""
        text = "%s\n%d\n%s\n" % (self.origin, size, b64(self.tree.root(0, size)))
        signers = self.hooks.bend("checkpoint signers", [(self.origin, self.keys["log"])])
        return note(text, *signers)

    def checkpoint(self, size):
        """{origin, size, root} of acts and trust files."""
        return {"origin": self.origin, "size": size, "root": self.tree.root(0, size).hex()}

    def proof(self, index, size, extra=b"", checkpoint=None):
        """A tlog-proof file."""
        lines = ["c2sp.org/tlog-proof@v1"] + (["extra " + b64(extra)] if extra else []) + ["index %d" % index]
        lines += [b64(h) for h in self.tree.inclusion(index, 0, size)]
        return ("\n".join(lines) + "\n\n").encode() + (checkpoint or self.checkpoint_note(size))

    def heads(self, below=None):
        """The four heads over the leaves below an index."""
        rows = []
        for stream in (1, 2, 3, 4):
            mine = [i for i in self.streams[stream] if below is None or i < below]
            last = self.tree.hashes[mine[-1]].hex() if mine else ZERO
            rows.append({"stream": stream, "entries": len(mine), "last_leaf_hash": last})
        return rows

    # ---- acts

    def sign(self, name, members, key):
        """The envelope of an act, bent by `act NAME`, `signer NAME` and `envelope NAME`."""
        self.counter += 1
        key = self.hooks.bend("signer " + name, key)
        act = {
            "act": name, "version": 1, "origin": self.origin, "id": fixed("act %d" % self.counter, 16).hex(),
            "made_at": str(self.now), "signer": key.id, **members,
        }
        act = self.hooks.bend("act " + name, act)
        body = self.hooks.bend("body " + name, jcs(act))
        signature = self.hooks.bend("signature " + name, key.sign(pae(ACT_TYPE, body)))
        envelope = {
            "payload": b64(body), "payloadType": ACT_TYPE.decode(),
            "signatures": [{"keyid": key.id, "sig": b64(signature)}],
        }
        return self.hooks.bend("envelope " + name, jcs(envelope)), act, body

    def act(self, name, members, key):
        """Appends an act; (index, members as logged, payload bytes)."""
        envelope, act, body = self.sign(name, members, self.keys[key])
        index = self._append(*self.hooks.bend("kind " + name, KINDS[name]), envelope)
        self.now += 1
        return index, act, body

    def _genesis(self):
        key = self.keys
        self.act("genesis", {
            "trust_domain": DOMAIN, "simulated": int(self.origin.endswith("/simulated")),
            "accept_rollback_blindness": 1, "log_vkey": key["log"].vkey(self.origin),
            "operations_key": key["operations"].hex, "root_ca": fixed("root ca").hex(),
            "issuing_cas": {name: fixed(name).hex() for name in ("agents", "people", "servers")},
            "admin": {"person": random_id("p", "admin"), "key": key["admin"].hex, "tls_key": fixed("admin tls").hex()},
            "predecessor": [],
        }, "operations")

    def person(self, name, role, **more):
        """Admits somebody."""
        self.act("person", {
            "person": random_id("p", name), "role": role, "key": self.keys[name].hex,
            "tls_key": fixed(name + " tls").hex(), "detail": fixed(name + " detail").hex(), **more,
        }, "admin")

    def token(self, name, device_class, group="office", expires=10**9, **more):
        """Admits a token; its secret."""
        secret = self.hooks.bend("token secret", fixed("token " + name))
        self.act("token", {
            "token_hash": sha_hex(secret), "class": device_class, "group": group,
            "expires_at": str(self.now + expires), "uses": 1, **more,
        }, "admin")
        return secret

    def enrol(self, name, device_class, group="office", expires=10**9):
        """A token and the enrolment by it."""
        return self.enrolment(name, device_class, group, self.token(name, device_class, group, expires))

    @staticmethod
    def transcript(name, token_hash, tls, key):
        """What a device's new keys sign."""
        parts = [
            DOMAIN.encode(), fixed("enrolment " + name, 16), fixed("nonce " + name), fixed("exporter " + name),
            token_hash, tls.spki, key.public, fixed("facts " + name),
        ]
        return b"tallystick/enrol/v1\0" + b"".join(lp(part) for part in parts)

    def enrolment(self, name, device_class, group, secret, **more):
        """A device's detail and its enrolment by a token."""
        device = Device(name, device_class, group)
        device.key = self.hooks.bend("device key", device.key)
        self._append(0, 4, fixed("random " + name) + b"detail of the device")
        signed = self.transcript(name, sha(secret), device.tls, device.key)
        transcript = self.hooks.bend("transcript", signed)
        device.enrolled_ms = self.now
        self.act("enrolment", {
            "device": device.id, "instance": device.instance, "class": device_class, "group": group,
            "key_level": "k0", "attestation_key": device.key.hex, "token_hash": sha_hex(secret),
            "transcript": b64(transcript), "sig_ed25519": b64(device.key.sign(signed)),
            "sig_p256": b64(device.tls.sign(signed)), "certificate": fixed("certificate " + name).hex(),
            "predecessor": [], **more,
        }, "operations")
        return device

    def retire(self, device, effective_ms):
        """Takes a device out of service, never earlier than now."""
        device.retired_ms = max(effective_ms, self.now)
        self.act("retire", {"device": device.id, "effective_at": str(effective_ms), "detail": []}, "analyst")

    def change_class(self, device, device_class, effective_ms):
        """Changes a device's class, never earlier than now."""
        device.classes.append((max(effective_ms, self.now), device_class))
        self.act("class", {"device": device.id, "class": device_class, "effective_at": str(effective_ms)}, "admin")

    def change_group(self, device, group, effective_ms):
        """Changes a device's group, never earlier than now."""
        device.groups.append((max(effective_ms, self.now), group))
        self.act("group", {"device": device.id, "group": group, "effective_at": str(effective_ms)}, "analyst")

    def re_key(self, device, name):
        """A new instance of a device, by its old key. Sequence and anchors begin anew."""
        before, previous = device.key, device.instance
        device.speaker, device.instance = name, random_id("i", name)
        device.key, device.tls = self.hooks.bend("re-key key", Key("device " + name)), TlsKey("device " + name)
        label = b"tallystick/re-key/v1\0"
        token = sha(label + lp(base64.b32decode(previous[2:].upper() + "======")))
        signed = self.transcript(name, self.hooks.bend("re-key token", token), device.tls, device.key)
        device.anchor = device.anchor_note = None
        self.act("re-key", {
            "device": device.id, "instance": device.instance, "previous": previous, "key_level": "k2",
            "attestation_key": device.key.hex, "transcript": b64(signed), "sig_ed25519": b64(device.key.sign(signed)),
            "sig_p256": b64(device.tls.sign(signed)),
            "sig_previous": b64(self.hooks.bend("re-key before", before).sign(signed)),
            "certificate": fixed("certificate " + name).hex(),
        }, "operations")

    def revoke(self, reason, device=None, person=None, key="admin"):
        """Revokes a device, or a person by name."""
        self.act("revoke", {
            "device": [device.id] if device else [], "person": [random_id("p", person)] if person else [],
            "reason": reason, "detail": [],
        }, key)

    def pair(self, name, device, other, key="analyst"):
        """Merges or splits two devices."""
        if name == "merge":
            other.retired_ms = min(self.now, other.retired_ms or self.now)
        self.act(name, {"device": device.id, "other": other.id, "detail": []}, key)

    def key_change(self, of, step, certificate):
        """A step of a change of an authority."""
        self.act("key-change", {"of": of, "step": step, "certificate": [fixed(certificate).hex()], "log": []}, "operations")

    def rotate(self, name):
        """The log's key changes; (index, the key before)."""
        old, new = self.keys["log"], Key(name)
        vkey = new.vkey(self.origin)
        text = b"tallystick/log-key/v1\0" + lp(self.origin.encode()) + lp(vkey.encode())
        endorser = self.hooks.bend("endorser", old)
        index, _act, _body = self.act("key-change", {"of": "log", "step": "rotate", "certificate": [], "log": [{
            "vkey": vkey, "endorsement": b64(endorser.sign(text)),
            "possession": b64(self.hooks.bend("possession", new).sign(text)),
        }]}, "operations")
        self.keys["log"] = new
        return index, old

    def policy(self, controls):
        """Puts a policy; controls are full members."""
        received = self.now
        index, _act, _body = self.act("policy", {"policy": "fleet", "title": "Fleet — §1", "controls": controls}, "analyst")
        self.policies.append((index, received, {control["id"]: control for control in controls}))

    def erase(self, device, quarter, end_ms):
        """A tombstone for a device's statements received before the end of a quarter."""
        up_to = self.size
        index, _act, _body = self.act("tombstone", {
            "rule": "retention", "days": 400, "requested_by": [],
            "scopes": [{"instance": device.instance, "quarter": quarter}], "up_to": up_to,
        }, "operations")
        for statement in device.statements:
            if statement["received"] < end_ms and statement["index"] < up_to:
                statement["erased"] = index

    # ---- statements

    def _statement(self, device, body, sequence, previous, observed_ms, outcomes, first=None):
        anchor = b""
        if device.anchor is not None:
            size, note_hash = device.anchor, b""
            root = self.hooks.bend("anchor root", self.tree.root(0, min(size, self.size)))
            if device.anchor_note is not None:
                note_hash = sha(device.anchor_note)
                self.anchor_notes[note_hash.hex()] = device.anchor_note
            anchor = blob(4, blob(1, device.anchor_origin or self.origin) + num(2, size) + blob(3, root) + blob(4, note_hash))
        payload = blob(1, instance_bytes(device.speaker)) + num(2, sequence) + blob(3, previous) + anchor + body
        payload = self.hooks.bend("statement %s/%d" % (device.speaker, sequence), payload)
        signature = device.key.sign(pae(STATEMENT_TYPE, payload))
        signature = self.hooks.bend("sig %s/%d" % (device.speaker, sequence), signature)
        envelope = blob(1, payload) + blob(2, sha(device.key.public)) + blob(3, signature)
        envelope = self.hooks.bend("envelope %s/%d" % (device.speaker, sequence), envelope)
        received = self.now
        index = self._append(0, 1 if outcomes is not None else 2, envelope)
        device.statements.append({
            "index": index, "sequence": sequence, "instance": device.instance, "first": sequence if first is None else first,
            "observed": observed_ms, "received": received, "outcomes": outcomes or {}, "envelope": envelope, "anchor": device.anchor,
            "note": sha(device.anchor_note).hex() if device.anchor_note else None, "erased": None,
        })
        self.now += 1

    def _next(self, device):
        mine = [statement for statement in device.statements if statement["instance"] == device.instance]
        if not mine:
            return 0, bytes(32)
        return mine[-1]["sequence"] + 1, sha(mine[-1]["envelope"])

    def attest(self, device, observed_ms, outcomes, received_ms=None):
        """An attestation observed at a whole minute and received then or later."""
        self.at(observed_ms if received_ms is None else received_ms)
        minute = observed_ms // 60000
        sequence, previous = self._next(device)
        digests = [fixed(name) for name in ("agent", "catalogue")]
        body = (
            blob(1, device.id) + blob(2, sha(b"tallystick/boot/v1\0" + instance_bytes(device.speaker) + b"boot"))
            + num(3, minute % 1000) + num(4, minute) + num(5, 1) + blob(6, "0.1.0") + blob(7, digests[0])
            + blob(8, digests[1]) + blob(9, bytes(32)) + blob(10, _ASSETS[sequence % len(_ASSETS)], True)
            + blob(11, fixed("answers %s %d" % (device.name, sequence)))
            + b"".join(blob(12, observation(c, outcomes[c], minute)) for c in sorted(outcomes))
        )
        self._statement(device, blob(5, body), sequence, previous, min(minute * 60000, self.now), outcomes)

    def gap_not_made(self, device, first_ms, last_ms, count):
        """A gap for statements that were never made."""
        sequence, previous = self._next(device)
        body = num(1, 1) + num(2, 1) + num(3, first_ms // 60000) + num(4, last_ms // 60000) + num(5, count)
        self._statement(device, blob(6, body), sequence, previous, None, None)

    def gap_destroyed(self, device, count):
        """A gap for statements that were made and lost."""
        first, previous = self._next(device)
        body = num(1, 2) + num(2, 4) + num(3, first) + num(4, first + count - 1) + num(5, count)
        self._statement(device, blob(6, body), first + count, previous, None, None, first)

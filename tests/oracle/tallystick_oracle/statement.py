"""Device statements: docs/FORMAT.md section 3."""

from dataclasses import dataclass

from .canonical import Bad, instance_text, is_name, is_random_id
from .protobuf import decode
from .schema import CONTROLS
from .signatures import STATEMENT_TYPE, ed25519_holds, pae, sha256

ENVELOPE_BYTES_MAX = 65536
OBSERVATIONS_MAX = 64
SEQUENCE_MAX = 2**53 - 1
MINUTE_MS = 60000
DESTROYED = 2  # GapKind


@dataclass(frozen=True)
class Statement:
    """A well-formed statement with the envelope it came in; its signature has not been looked at."""

    envelope: bytes
    payload: bytes
    keyid: bytes
    sig: bytes
    body: dict

    @property
    def instance(self):
        """The instance as text."""
        return instance_text(self.body["instance"])

    @property
    def sequence(self):
        """From 0, per instance."""
        return self.body["sequence"]

    @property
    def previous(self):
        """SHA-256 of the previous envelope."""
        return self.body["previous"]

    @property
    def anchor(self):
        """The anchor's members, or None."""
        return self.body.get("anchor")

    @property
    def attestation(self):
        """The attestation's members, or None for a gap."""
        return self.body.get("attestation")

    @property
    def gap(self):
        """The gap's members, or None for an attestation."""
        return self.body.get("gap")

    @property
    def first_sequence(self):
        """The lowest sequence this statement speaks for: a `destroyed` gap covers the lost ones."""
        if self.gap and self.gap["kind"] == DESTROYED:
            return self.gap["first"]
        return self.sequence

    def observed_ms(self, received_ms):
        """When it was observed, never later than received; None for a gap."""
        if self.attestation is None:
            return None
        return min(self.attestation["wall_minutes"] * MINUTE_MS, received_ms)

    def signed_by(self, key):
        """Whether the key signed it."""
        return self.keyid == sha256(key) and ed25519_holds(key, self.sig, pae(STATEMENT_TYPE, self.payload))


def _need(holds, what):
    if not holds:
        raise Bad("statement: " + what)


def _check_observation(observation):
    control = observation["control"]
    _need(is_name(control), "control is not an id")
    observed = observation.get("observed")
    if observed is not None:
        _need(control in CONTROLS, "facts of an unknown control")
        _need(set(observed) == {CONTROLS[control][0]}, "facts of another control than " + control)
    elif "not_applicable" in observation:
        _need(observation["not_applicable"], "not applicable without proof")
    else:
        _need("unavailable" in observation, "observation without outcome")
        _need(observation["unavailable"]["reason"] != 0, "unavailable without reason")


def _check_attestation(attestation):
    _need(is_random_id(attestation["device"], "d"), "device is not an id")
    for name in ("boot", "agent_digest", "catalogue_digest", "configuration_digest", "answers_digest"):
        _need(len(attestation[name]) == 32, name + " is not 32 bytes")
    _need(attestation["trigger"] != 0, "no trigger")
    observations = attestation["observations"]
    _need(len(observations) <= OBSERVATIONS_MAX, "too many observations")
    controls = [observation["control"].encode("utf-8") for observation in observations]
    _need(all(a < b for a, b in zip(controls, controls[1:])), "observations are not ascending by control")
    for observation in observations:
        _check_observation(observation)


def _check_gap(gap, sequence):
    _need(gap["kind"] != 0 and gap["reason"] != 0, "gap without kind or reason")
    _need(gap["first"] <= gap["last"] and gap["count"] >= 1, "gap without extent")
    if gap["kind"] == DESTROYED:
        _need(gap["count"] == gap["last"] - gap["first"] + 1, "count of a destroyed gap is wrong")
        _need(sequence == gap["last"] + 1, "sequence of a destroyed gap is wrong")


def open_envelope(data):
    """A well-formed statement from the bytes of its envelope."""
    if len(data) > ENVELOPE_BYTES_MAX:
        raise Bad("envelope is larger than %d bytes" % ENVELOPE_BYTES_MAX)
    envelope = decode("Envelope", data)
    body = decode("Statement", envelope["payload"])
    _need(len(envelope["keyid"]) == 32 and len(envelope["sig"]) == 64, "keyid or sig has a wrong length")
    _need(len(body["instance"]) == 16, "instance is not 16 bytes")
    _need(body["sequence"] <= SEQUENCE_MAX, "sequence is above 2^53 - 1")
    _need(len(body["previous"]) == 32, "previous is not 32 bytes")
    if "anchor" in body:
        _need(body["anchor"]["origin"] and body["anchor"]["size"] >= 1, "anchor without origin or size")
        _need(len(body["anchor"]["root"]) == 32, "anchor's root is not 32 bytes")
        _need(len(body["anchor"]["note"]) in (0, 32), "anchor's note is not 32 bytes")
    if "attestation" in body:
        _check_attestation(body["attestation"])
    else:
        _need("gap" in body, "no body")
        _check_gap(body["gap"], body["sequence"])
    statement = Statement(data, envelope["payload"], envelope["keyid"], envelope["sig"], body)
    at_start = statement.first_sequence == 0
    _need((statement.previous == bytes(32)) == at_start, "previous is zeros at the start and nowhere else")
    return statement

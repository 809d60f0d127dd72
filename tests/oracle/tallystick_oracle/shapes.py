"""The members every JSON file and act must have: docs/FORMAT.md sections 8, 10 and 11."""

import base64 as base64lib
import re

from . import canonical
from .canonical import Bad
from .conditions import check_condition
from .notes import parse_vkey
from .schema import CONTROLS
from .signatures import key_allowed

CLASSES = ("laptop", "desktop", "server", "vm", "container")
_QUARTER = re.compile("[0-9]{4}-q[1-4]\\Z", re.ASCII)
CONTROLS_MAX = 64
DAYS_MAX = 400
SAMPLE_MAX = 10000


def _shape(test, what):
    def check(value, where):
        if not test(value):
            raise Bad("%s is not %s" % (where, what))
    return check


def is_time(value):
    """A decimal string of Unix milliseconds."""
    try:
        return canonical.decimal(value, most=canonical.INTEGER_MAX) >= 0
    except Bad:
        return False


def _is_vkey(value):
    try:
        return bool(parse_vkey(value))
    except Bad:
        return False


def _is_key(value):
    return canonical.is_hex(value, 64) and key_allowed(bytes.fromhex(value))


def _is_signature(value):
    return _is_base64(value) and len(canonical.unbase64(value)) == 64


def _is_base64(value):
    try:
        return canonical.unbase64(value) is not None
    except Bad:
        return False


def integer(least, most=canonical.INTEGER_MAX):
    """An integer in a range."""
    return _shape(lambda v: type(v) is int and least <= v <= most, "an integer from %d to %d" % (least, most))


def one_of(*values):
    """One of these values."""
    return _shape(lambda v: type(v) in (str, int) and v in values, "one of " + ", ".join(map(str, values)))


def listed(item, least=0, most=10**6):
    """An array of items."""
    def check(value, where):
        if type(value) is not list or not least <= len(value) <= most:
            raise Bad("%s is not an array of %d to %d items" % (where, least, most))
        for row in value:
            item(row, where)
    return check


def members(**shapes):
    """An object of exactly these members."""
    def check(value, where):
        if type(value) is not dict or set(value) != set(shapes):
            raise Bad("%s does not have exactly the members %s" % (where, ", ".join(sorted(shapes))))
        for name, shape in shapes.items():
            shape(value[name], where + "." + name)
    return check


def ascending(values, where):
    """Raises unless strictly ascending as bytes."""
    raw = [value.encode("utf-8") for value in values]
    if any(a >= b for a, b in zip(raw, raw[1:])):
        raise Bad("%s is not strictly ascending" % where)


text = _shape(lambda v: type(v) is str, "text")
h32 = _shape(lambda v: canonical.is_hex(v, 64), "64 hex digits")
hex16 = _shape(lambda v: canonical.is_hex(v, 32), "32 hex digits")
time = _shape(is_time, "a time")
name = _shape(canonical.is_name, "an id")
device = _shape(lambda v: canonical.is_random_id(v, "d"), "a device")
instance = _shape(lambda v: canonical.is_random_id(v, "i"), "an instance")
person = _shape(lambda v: canonical.is_random_id(v, "p"), "a person")
engagement = _shape(lambda v: canonical.is_random_id(v, "e"), "an engagement")
day = _shape(canonical.is_day, "a day")
quarter = _shape(lambda v: type(v) is str and _QUARTER.match(v) and v >= "1970", "a quarter")
vkey = _shape(_is_vkey, "a vkey")
base64 = _shape(_is_base64, "base64")
key = _shape(_is_key, "a public key, canonical and strong")
signature = _shape(_is_signature, "base64 of 64 bytes")
flag = one_of(0, 1)
size = integer(0)
device_class = one_of(*CLASSES)
none = listed(text, 0, 0)
checkpoint = members(origin=text, size=size, root=h32)
key_level = one_of("k0", "k1", "k2", "k3")


def _heads(value, where):
    listed(members(stream=integer(1, 4), entries=size, last_leaf_hash=h32), 4, 4)(value, where)
    for number, head in enumerate(value, 1):
        if head["stream"] != number or (head["entries"] == 0) != (head["last_leaf_hash"] == canonical.ZERO_HASH):
            raise Bad("%s is not one head per stream" % where)


def _controls(value, where):
    minutes = integer(0)
    listed(
        members(
            id=one_of(*CONTROLS), title=text, rationale=text, classes=listed(device_class), groups=listed(name),
            condition=lambda *_: None, grace_minutes=minutes, sla_minutes=minutes, max_age_minutes=integer(1),
            severity=one_of("low", "medium", "high", "critical"), remedy=text,
            mapping=listed(
                members(framework=text, ref=text, strength=one_of("direct", "partial", "supporting"))
            ),
        )
    )(value, where)
    ascending([control["id"] for control in value], where)
    for control in value:
        check_condition(control["condition"], control["id"])


def _name_list(value, where):
    listed(name, 1, CONTROLS_MAX)(value, where)
    ascending(value, where)


_optional_h32 = listed(h32, 0, 1)
_cas = members(agents=h32, people=h32, servers=h32)
_predecessor_log = listed(checkpoint, 0, 1)
_PLAN = {
    "engagement": engagement, "auditor_key": key, "unit": one_of("device-day"), "controls": _name_list,
    "days": listed(members(label=day, start=time), 1, DAYS_MAX), "end": time,
    "scope": members(classes=listed(device_class), groups=listed(name)),
    "method": one_of("consistent", "rivest2011"), "sample_size": integer(1, SAMPLE_MAX),
    "reserves": integer(0, SAMPLE_MAX), "acceptance": size, "risk_bp": integer(1, 9999),
    "tolerable_bp": integer(1, 9999), "expected_bp": integer(0, 9999), "partial_day": flag,
    "replace_not_applicable": flag, "beacon": one_of("none"), "strata": none, "supersedes": _optional_h32,
}

# (stream, kind) -> (act, members beside those of section 4)
ACTS = {
    (1, 1): ("genesis", {
        "trust_domain": text, "simulated": flag, "accept_rollback_blindness": flag, "log_vkey": vkey,
        "operations_key": key, "root_ca": h32, "issuing_cas": _cas,
        "admin": members(person=person, key=key, tls_key=h32), "predecessor": _predecessor_log,
    }),
    (1, 2): ("person", {
        "person": person, "role": one_of("admin", "analyst", "auditor"), "key": key, "tls_key": h32, "detail": h32,
    }),
    (1, 3): ("token", {
        "token_hash": h32, "class": device_class, "group": name, "expires_at": time, "uses": integer(1, 1),
    }),
    (1, 4): ("enrolment", {
        "device": device, "instance": instance, "class": device_class, "group": name, "key_level": key_level,
        "attestation_key": key, "token_hash": h32, "transcript": base64, "sig_ed25519": signature,
        "sig_p256": signature, "certificate": h32, "predecessor": none,
    }),
    (1, 5): ("re-key", {
        "device": device, "instance": instance, "previous": instance, "key_level": key_level, "attestation_key": key,
        "transcript": base64, "sig_ed25519": signature, "sig_p256": signature, "sig_previous": signature,
        "certificate": h32,
    }),
    (1, 6): ("retire", {"device": device, "effective_at": time, "detail": _optional_h32}),
    (1, 7): ("revoke", {
        "device": listed(device, 0, 1), "person": listed(person, 0, 1),
        "reason": one_of("lost", "stolen", "compromised", "cloned", "left", "other"), "detail": _optional_h32,
    }),
    (1, 8): ("class", {"device": device, "class": device_class, "effective_at": time}),
    (1, 9): ("group", {"device": device, "group": name, "effective_at": time}),
    (1, 10): ("merge", {"device": device, "other": device, "detail": _optional_h32}),
    (1, 11): ("split", {"device": device, "other": device, "detail": _optional_h32}),
    (1, 12): ("key-change", {
        "of": one_of("agents", "people", "servers", "log"),
        "step": one_of("prepare", "activate", "retire", "rollback", "rotate"), "certificate": _optional_h32,
        "log": listed(members(vkey=vkey, endorsement=signature, possession=signature), 0, 1),
    }),
    (1, 13): ("approval", {"allows": one_of("enrolment", "recovery"), "request": h32, "expires_at": time}),
    (2, 1): ("policy", {"policy": name, "title": text, "controls": _controls}),
    (3, 1): ("plan", _PLAN),
    (3, 2): ("commitment", {"plan_hash": h32, "commitment": h32, "checkpoint": checkpoint, "predecessor": none}),
    (3, 3): ("freeze", {
        "plan_hash": h32, "roster_entries": size, "roster_head": h32,
        "populations": listed(members(control=name, count=size, sha256=h32)), "heads": _heads,
    }),
    (3, 4): ("reveal", {"plan_hash": h32, "nonce": h32}),
    (3, 5): ("draw", {"plan_hash": h32, "draws": listed(members(control=name, seed=h32, draw_sha256=h32))}),
    (3, 7): ("export", {
        "plan_hash": h32, "manifest_sha256": h32, "tsr_sha256": h32, "checkpoint": members(size=size, root=h32),
        "heads": _heads,
    }),
}


def _engagements(value, where):
    listed(engagement, 1, 64)(value, where)
    # Base32 in lower case orders as its bytes do where letters and digits do not meet: compare the bytes.
    raw = [base64lib.b32decode(row[2:].upper() + "======") for row in value]
    if any(one >= other for one, other in zip(raw, raw[1:])):
        raise Bad("%s is not strictly ascending" % where)


# (stream, kind) -> members that version 2 has beside those of version 1, or instead of them
ACTS_2 = {
    (1, 2): {"engagements": _engagements},
    (1, 3): {"uses": integer(1, 100000), "approve": flag, "serials": listed(h32, 0, 16)},
    (1, 4): {"serial": h32},
}


def _scopes(value, where):
    listed(members(instance=instance, quarter=quarter), 1, 400)(value, where)
    rows = [(base64lib.b32decode(row["instance"][2:].upper() + "======"), row["quarter"]) for row in value]
    if any(one >= other for one, other in zip(rows, rows[1:])):
        raise Bad("%s is not strictly ascending" % where)


TOMBSTONE = ("tombstone", {
    "rule": name, "days": size, "requested_by": listed(person, 0, 1), "scopes": _scopes, "up_to": size,
})


def check_act(stream, kind, payload):
    """Raises unless the payload has exactly the members of its kind, with values of their forms."""
    act, shapes = TOMBSTONE if (stream, kind) == (4, 4) else ACTS[(stream, kind)]
    where = act
    version = payload.get("version") if type(payload) is dict else None
    if version == 2 and type(version) is int and (stream, kind) in ACTS_2:
        shapes = {**shapes, **ACTS_2[(stream, kind)]}
    else:
        version = 1
    members(
        act=one_of(act), version=integer(version, version), origin=text, id=hex16, made_at=time, signer=h32, **shapes
    )(payload, where)
    if act == "plan":
        check_plan(payload)
    elif act == "person" and version == 2 and payload["role"] != "auditor":
        raise Bad("person of version 2 is not an auditor")
    elif act == "token" and version == 2 and (payload["uses"], payload["approve"], payload["serials"]) == (1, 0, []):
        raise Bad("token of version 2 says what version 1 says")
    elif act == "revoke" and len(payload["device"]) + len(payload["person"]) != 1:
        raise Bad("revoke is not of one device or one person")
    elif act in ("merge", "split") and payload["device"] == payload["other"]:
        raise Bad("%s is of one device" % act)
    elif act == "key-change":
        of_log = payload["of"] == "log"
        sound = (payload["step"] == "rotate") == of_log and len(payload["log"]) == of_log
        if not sound or len(payload["certificate"]) == of_log:
            raise Bad("key-change has the members of another key")


def check_plan(plan):
    """The rules of section 10 that span several members of a plan."""
    labels = [entry["label"] for entry in plan["days"]]
    starts = [int(entry["start"]) for entry in plan["days"]]
    ascending(labels, "plan.days")
    if any(a >= b for a, b in zip(starts, starts[1:])) or starts[-1] >= int(plan["end"]):
        raise Bad("plan.days does not ascend to plan.end")
    if plan["acceptance"] > plan["sample_size"]:
        raise Bad("plan.acceptance is larger than sample_size")


manifest = members(
    format=one_of("tallystick/set/v1"), origin=text, checkpoint=members(root=h32, size=size), plan_hash=h32,
    files=listed(members(bytes=size, path=text, sha256=h32), 0, 10**7),
)
trust = members(
    format=one_of("tallystick/trust/v1"), trust_domain=text, origin=text, log_keys=listed(vkey, 1),
    witness_policy=text, checkpoints=listed(checkpoint), auditor_key=key, made_by=one_of("auditor", "same-hand"),
    simulated=one_of("refuse", "accept"),
)
entry = members(index=size, leaf=base64, payload=base64, salt=base64)
unit = members(
    unit=text, ticket=text, role=one_of("selected", "reserve"), state=text, because=text,
    decided_by=listed(size, 0, 1), policy_index=listed(size, 0, 1),
    statements=listed(members(index=size, sequence=integer(0, 2**64 - 1), instance=instance, counts=flag)),
    erased=listed(
        members(index=size, sequence=integer(0, 2**64 - 1), instance=instance, counts=flag, tombstone=size)
    ),
)


def counts(value, where):
    """An object of state -> how many, each at least one."""
    if type(value) is not dict:
        raise Bad("%s is not an object" % where)
    for state, number in value.items():
        if state not in STATES:
            raise Bad("%s has a state that cannot occur" % where)
        integer(1)(number, where)


STATES = ("PASS", "DEVIATION", "INDETERMINATE", "MISSING", "NOT_APPLICABLE")
results = members(
    control=name, counts=counts, devices=listed(members(device=device, counts=counts), 0, 10**7),
    units=listed(members(because=text, state=one_of(*STATES), unit=text), 0, 10**8),
)

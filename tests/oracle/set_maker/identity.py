"""Sets of logs whose devices and people came by roll-out tokens, got new keys, were revoked, merged and moved."""

import base64

from . import scenes
from .bad_set import flipped
from .export import DAY_MS
from .scenes import HOUR_MS, START_MS
from .wire import Key, TlsKey, b64, fixed, lp, random_id, sha, sha_hex

MANY = {"sample_size": 4, "reserves": 4}
LATER = 10**9


def _set(steps=None, hooks=None, **options):
    return scenes.small(hooks, steps=steps, **{**MANY, **options})


def nth(number, action):
    """A step that acts the n-th time it is reached, from 1."""
    turn = []

    def step(log, audit, device):
        turn.append(None)
        if len(turn) == number:
            action(log, audit, device)
    return step


def _with(name, **members):
    """A hook on one act."""
    return {"act " + name: lambda act: {**act, **members}}


# ---- roll-out tokens


def _serial(secret, number):
    return sha_hex(b"tallystick/serial/v1\0" + lp(secret) + lp(number.encode()))


def _request(secret, name):
    keys = lp(sha(TlsKey("device " + name).spki)) + lp(Key("device " + name).public)
    return sha_hex(b"tallystick/request/v1\0" + lp(sha(secret)) + keys)


def _approve(log, request, expires=LATER, allows="enrolment"):
    log.act("approval", {"allows": allows, "request": request, "expires_at": str(log.now + expires)}, "admin")


class RollOut:
    """A token of version 2 and the devices that come by it. A row: (name, serial number or None, approved: None, or by
    how many milliseconds before it expires)."""

    def __init__(self, *rows, uses=3, approve=0, serials=1, change=None):
        self.rows, self.change = rows, change or {}
        listed = [fixed("serials %d" % n).hex() for n in range(serials)]
        self.members = {"version": 2, "uses": uses, "approve": approve, "serials": listed, **self.change}

    def __call__(self, log, audit, _device):
        secret = log.token("roll-out", "laptop", **self.members)
        for name, serial, approved in self.rows:
            if approved is not None:
                _approve(log, _request(secret, name), approved)
            more = {"version": 2, "serial": _serial(secret, serial)} if serial else {}
            audit.add(log.enrolment(name, "laptop", "office", secret, **more))


A, B, C = ("laptop-a", "S1", None), ("laptop-b", "S2", None), ("laptop-c", None, LATER)


def _approved_again(log, audit, _device):
    secret = log.token("roll-out", "laptop", version=2, uses=1, approve=1, serials=[])
    _approve(log, _request(secret, "laptop-a"), 2)
    log.at(log.now + 5)
    _approve(log, _request(secret, "laptop-a"))
    audit.add(log.enrolment("laptop-a", "laptop", "office", secret))


def _good_tokens():
    yield ("token-uses", *_set({"after plan": RollOut(("laptop-a", None, None), ("laptop-b", None, None), serials=0)}))
    yield ("token-listed-and-approved", *_set({"after plan": RollOut(A, B, C)}))
    yield ("token-listed-and-approved-all-the-same", *_set({"after plan": RollOut(("laptop-a", "S1", LATER), approve=1)}))
    yield ("token-approve-each", *_set({"after plan": RollOut(C, approve=1, serials=0, uses=1)}))
    yield ("token-approved-again", *_set({"after plan": _approved_again}))
    # A recovery may be approved that nobody makes.
    yield ("approval-unused", *_set({"after plan": lambda log, _audit, _device: _approve(log, "ab" * 32, allows="recovery")}))


def _bad_tokens():
    def case(name, failed, step, hooks=None):
        return (name, *_set({"after plan": step}, hooks), failed)
    yield case("token-version-2-for-nothing", [6], RollOut(serials=0, uses=1))
    for name, change in (
        ("no-use", {"uses": 0}), ("too-many-uses", {"uses": 100001}), ("approve-2", {"approve": 2}),
        ("too-many-serials", {"serials": ["ab" * 32] * 17}), ("version-1-members", {"version": 1}), ("version-3", {"version": 3}),
    ):
        yield case("token-" + name, [6], RollOut(A, change=change))
    yield case("token-spent", [9], RollOut(A, B, uses=1))
    yield case("token-serial-twice", [9], RollOut(A, ("laptop-b", "S1", None)))
    yield case("token-serial-without-a-list", [9], RollOut(A, serials=0))
    yield case("token-not-listed", [9], RollOut(("laptop-c", None, None)))
    yield case("token-approve-and-listed", [9], RollOut(A, approve=1))
    yield case("token-not-approved", [9], RollOut(("laptop-c", None, None), approve=1, serials=0))
    # The detail and the enrolment come at the same millisecond, one after the approval: it is good until then, exclusively.
    yield case("approval-expired", [9], RollOut(("laptop-c", None, 1)))
    yield case("enrolment-version-2-no-serial", [6], RollOut(A), {
        "act enrolment": lambda act: {n: v for n, v in act.items() if n != "serial"}})

    def others_keys(log, audit, _device):
        secret = log.token("roll-out", "laptop", version=2, uses=2, approve=1, serials=[])
        _approve(log, _request(secret, "laptop-b"))
        audit.add(log.enrolment("laptop-a", "laptop", "office", secret))
    yield case("approval-of-other-keys", [9], others_keys)

    def of_recovery(log, audit, _device):
        secret = log.token("roll-out", "laptop", version=2, uses=2, approve=1, serials=[])
        _approve(log, _request(secret, "laptop-a"), allows="recovery")
        audit.add(log.enrolment("laptop-a", "laptop", "office", secret))
    yield case("approval-of-another-thing", [9], of_recovery)

    def used(log, audit, _device):
        RollOut(C)(log, audit, _device)
        _approve(log, _request(fixed("token roll-out"), "laptop-c"))
    yield case("approval-after-use", [9], used)

    def twice(log, _audit, _device):
        _approve(log, "ab" * 32)
        _approve(log, "ab" * 32)
    yield case("approval-twice", [9], twice)
    yield case("approval-by-analyst", [8], lambda log, _audit, _device: _approve(log, "ab" * 32),
               {"signer approval": lambda _key: Key("analyst")})
    yield case("approval-allows", [6], lambda log, _audit, _device: _approve(log, "ab" * 32, allows="all"))


# ---- people

TWO_ENGAGEMENTS = [random_id("e", "one"), random_id("e", "two")]


def _by_bytes(ids):
    return sorted(ids, key=lambda text: base64.b32decode(text[2:].upper() + "======"))


def _auditor(engagements, role="auditor", name="auditor", version=2):
    return {"before plan": lambda log, _audit, _device: log.person(name, role, version=version, engagements=engagements)}


def _good_people():
    yield ("person-engagements", *_set(_auditor(_by_bytes(TWO_ENGAGEMENTS))))

    def leaves(log, _audit, _device):
        log.revoke("left", person="analyst")
    yield ("revoke-person", *_set({"after plan": leaves}))

    def first_admin_leaves(log, _audit, _device):
        log.keys["second"] = Key("second")
        log.person("second", "admin")
        log.revoke("left", person="admin", key="second")
    yield ("revoke-first-admin", *_set({"after plan": first_admin_leaves}))


def _bad_people():
    order = _by_bytes(TWO_ENGAGEMENTS)[::-1]
    for name, steps in (
        ("order", _auditor(order)), ("none", _auditor([])), ("twice", _auditor(TWO_ENGAGEMENTS[:1] * 2)),
        ("of-analyst", _auditor(TWO_ENGAGEMENTS[:1], "analyst", "stranger")), ("version-1", _auditor(TWO_ENGAGEMENTS[:1], version=1)),
        ("too-many", _auditor(_by_bytes([random_id("e", str(n)) for n in range(65)]))),
    ):
        yield ("person-engagements-" + name, *_set(steps), [6])
    yield ("auditor-is-analyst", *_set({"before plan": lambda log, _audit, _device: log.person("auditor", "analyst")}), [8])
    yield ("auditor-becomes-admin", *_set({"after draw": lambda log, _audit, _device: log.person("auditor", "admin")}), [8])

    def acts_after(log, _audit, _device):
        log.revoke("left", person="analyst")
        log.policy(scenes.controls())
    yield ("revoked-person-signs", *_set({"after plan": acts_after}), [8])
    for name, failed, members in (
        ("last-admin", [8], {"person": "admin"}), ("nobody", [8], {"person": "stranger"}),
        ("by-analyst", [8], {"person": "analyst", "key": "analyst"}),
    ):
        def revoke(log, _audit, _device, members=members):
            log.revoke("other", **members)
        yield ("revoke-" + name, *_set({"after plan": revoke}), failed)

    def twice(log, _audit, _device):
        log.revoke("left", person="analyst")
        log.revoke("left", person="analyst")
    yield ("revoke-person-twice", *_set({"after plan": twice}), [8])


# ---- new keys and the end of old ones


def re_keyed(name="laptop-1 again"):
    """A step: the device gets a new key."""
    return lambda log, _audit, device: log.re_key(device, name)


def _speaks(log, device, hour):
    log.attest(device, START_MS + DAY_MS + hour * HOUR_MS, {"edr": "pass", "screen-lock": "pass"})


def _old_key_speaks(hour):
    """Makes a device speak with its first key once more."""
    def speak(log, device):
        device.speaker, device.instance, device.key = device.name, random_id("i", device.name), Key("device " + device.name)
        _speaks(log, device, hour)
    return speak


def _good_keys():
    for turn in (1, 2, 3, 4):
        yield ("re-key-before-statement-%d" % turn, *_set({"before statement": nth(turn, re_keyed())}))
    yield ("re-key-after-freeze", *_set({"after freeze": re_keyed()}))
    yield ("re-key-of-a-quiet-device", *_set({"after draw": re_keyed()}))

    def twice(log, audit, device):
        re_keyed()(log, audit, device)
        _speaks(log, device, 4)
        re_keyed("laptop-1 a third time")(log, audit, device)
    yield ("re-key-twice", *_set({"before statement": nth(3, twice)}))
    yield ("re-key-whole-days", *_set({"before statement": nth(3, re_keyed())}, sample_size=2, reserves=0))

    def lost(log, _audit, device):
        log.revoke("lost", device=device, key="analyst")
    yield ("revoke-device", *_set({"after draw": lost}))
    yield ("revoke-device-in-service", *_set({"after plan": lambda log, audit, device: (
        audit.add(log.enrol("laptop-2", "laptop")), log.revoke("stolen", device=list(audit.devices.values())[1]))}))


def _bad_keys():
    def case(name, failed, steps, hooks=None):
        return (name, *_set(steps, hooks), failed)
    def third():
        return {"before statement": nth(3, re_keyed())}
    yield case("re-key-by-another-key", [9], third(), {"re-key before": lambda _key: Key("stranger")})
    yield case("re-key-of-another-token", [9], third(), {"re-key token": lambda token: flipped(token)})
    yield case("re-key-with-the-old-key", [9], third(), {"re-key key": lambda _key: Key("device laptop-1")})
    yield case("re-key-with-a-used-key", [9], third(), {"re-key key": lambda _key: Key("analyst")})
    yield case("re-key-transcript", [9], third(), _with("re-key", transcript=b64(b"tallystick/enrol/v1\0")))
    yield case("re-key-same-instance", [9, 16], third(), {"act re-key": lambda act: {**act, "instance": act["previous"]}})
    yield case("re-key-previous-unknown", [9], third(), _with("re-key", previous=random_id("i", "nobody")))
    yield case("re-key-by-admin", [8], third(), {"signer re-key": lambda _key: Key("admin")})
    yield case("re-key-level", [6], third(), _with("re-key", key_level="k4"))
    for name in ("sig_ed25519", "sig_p256", "sig_previous"):
        yield case("re-key-" + name.replace("_", "-"), [9], third(), _with("re-key", **{name: b64(bytes(64))}))
        yield case("re-key-%s-short" % name.replace("_", "-"), [6], third(), _with("re-key", **{name: b64(bytes(63))}))

    def again(log, audit, device):
        first = device.instance, device.key
        re_keyed()(log, audit, device)
        device.instance, device.key = first
        re_keyed("laptop-1 a third time")(log, audit, device)
    yield case("re-key-from-an-ended-instance", [9], {"before statement": nth(3, again)})

    def of_another(log, audit, device):
        other = log.enrol("laptop-2", "laptop")
        audit.add(other)
        device.id, mine = other.id, device.id
        re_keyed()(log, audit, device)
        device.id = mine
    yield case("re-key-for-another-device", [9, 16], {"before statement": nth(3, of_another)})

    def old_speaks(log, audit, device):
        re_keyed()(log, audit, device)
        _old_key_speaks(5)(log, device)
    yield case("re-key-old-key-speaks", [16], {"before statement": nth(3, old_speaks)})

    yield case("re-key-sequence-goes-on", [16], third(), {"statement laptop-1 again/0": lambda data: (
        data[:18] + b"\x10\x02\x1a\x20" + b"\1" * 32 + data[18:])})

    def gone(log, _audit, device):
        log.revoke("stolen", device=device)
    yield case("revoke-device-speaks", [16], {"before statement": nth(3, gone)})
    yield case("revoke-device-gets-a-key", [9], {"before statement": nth(3, lambda log, audit, device: (
        gone(log, audit, device), re_keyed()(log, audit, device)))})

    def twice(log, audit, device):
        gone(log, audit, device)
        gone(log, audit, device)
    yield case("revoke-device-twice", [8], {"after draw": twice})
    yield case("revoke-no-device", [8], {"after draw": gone}, _with("revoke", device=[random_id("d", "nobody")]))
    yield case("revoke-by-auditor", [8], {"after draw": gone}, {"signer revoke": lambda _key: Key("auditor")})
    yield case("revoke-both", [6], {"after draw": gone}, _with("revoke", person=[random_id("p", "analyst")]))
    yield case("revoke-nothing", [6], {"after draw": gone}, _with("revoke", device=[]))
    yield case("revoke-reason", [6], {"after draw": gone}, _with("revoke", reason="why not"))


# ---- groups, pairs


def _moves(group, at_ms):
    return lambda log, _audit, device: log.change_group(device, group, at_ms)


def _two(then, *more):
    """A step: a second device, and what is said of both."""
    def step(log, audit, device):
        other = log.enrol("laptop-2", "laptop")
        audit.add(other)
        _speaks(log, other, 0)
        then(log, device, other)
    return step


def _good_moves():
    noon = START_MS + DAY_MS + 2 * HOUR_MS
    yield ("group-of-a-policy", *_set({"before statement": nth(2, _moves("field", noon))}))
    field = {"scope": {"classes": [], "groups": ["field"]}}
    office = {"scope": {"classes": [], "groups": ["office"]}}
    for name, scope in (("field", field), ("office", office)):
        yield ("group-in-scope-" + name, *_set({"before statement": nth(2, _moves("field", START_MS))}, **scope))
        yield ("group-later-" + name, *_set({"before statement": nth(1, _moves("field", START_MS + 40 * HOUR_MS))}, **scope))
        yield ("group-before-midnight-" + name, *_set({"after plan": _moves("field", START_MS + DAY_MS)}, **scope))

    def back(log, audit, device):
        _moves("field", 0)(log, audit, device)
        log.at(log.now + HOUR_MS)
        _moves("office", 0)(log, audit, device)
    yield ("group-there-and-back", *_set({"before statement": nth(2, back)}, **office))
    yield ("group-there-and-back-field", *_set({"before statement": nth(2, back)}, **field))
    yield ("merge", *_set({"before statement": nth(1, _two(lambda log, device, other: log.pair("merge", device, other)))}))
    yield ("split", *_set({"before statement": nth(1, _two(lambda log, device, other: log.pair("split", device, other)))}))
    yield ("split-after-merge", *_set({"before statement": nth(1, _two(lambda log, device, other: (
        log.pair("merge", device, other), log.pair("split", other, device))))}))


def _bad_moves():
    def case(name, failed, steps, hooks=None, **options):
        return (name, *_set(steps, hooks, **options), failed)
    def move():
        return {"before statement": nth(2, _moves("field", START_MS))}
    yield case("group-of-no-device", [8], move(), _with("group", device=random_id("d", "nobody")))
    yield case("group-name", [6], move(), _with("group", group="Field"))
    yield case("group-by-operations", [8], move(), {"signer group": lambda _key: Key("operations")})
    unit = "%s/2026-06-01/edr" % random_id("d", "laptop-1")
    yield case("group-frame", [13], move(), {"population": lambda units: sorted(units + [unit])}, controls=["edr"],
               scope={"classes": [], "groups": ["field"]})

    def merged(log, device, other):
        log.pair("merge", device, other)
    def step():
        return {"before statement": nth(1, _two(merged))}
    yield case("merge-with-itself", [6], step(), {"act merge": lambda act: {**act, "other": act["device"]}})
    yield case("merge-with-nobody", [8], step(), _with("merge", other=random_id("d", "nobody")))
    yield case("split-from-nobody", [8], {"before statement": nth(1, _two(
        lambda log, device, other: log.pair("split", device, other)))}, _with("split", device=random_id("d", "nobody")))
    yield case("merge-by-auditor", [8], step(), {"signer merge": lambda _key: Key("auditor")})

    def speaks_on(log, device, other):
        merged(log, device, other)
        _speaks(log, other, 1)
    yield case("merge-other-speaks", [16], {"before statement": nth(1, _two(speaks_on))})


GROUPS_GOOD = (_good_tokens, _good_people, _good_keys, _good_moves)
GROUPS_BAD = (_bad_tokens, _bad_people, _bad_keys, _bad_moves)


def good_sets():
    """(name, files, trust)."""
    for group in GROUPS_GOOD:
        for name, files, trust in group():
            yield "good-identity-" + name, files, trust


def bad_sets():
    """(name, files, trust, failed)."""
    for group in GROUPS_BAD:
        for name, files, trust, failed in group():
            yield "bad-identity-" + name, files, trust, failed

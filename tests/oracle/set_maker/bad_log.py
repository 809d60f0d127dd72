"""Sets of logs that were wrong from the start: everything is hashed, proved and sealed as if it were right."""

from . import scenes
from .bad_set import flipped
from .forgery import IDENTITY, Signer, SmallOrderKey, SmallOrderR, large_s
from .wire import Key, b64, blob, fixed, instance_bytes, num, random_id

ORIGIN = "audit.example/log/2026"
DEVICE = "laptop-1"


def _case(name, failed, hooks=None, steps=None, **options):
    files, trust = scenes.small(hooks, steps=steps, **options)
    return "bad-" + name, files, trust, failed


def _with(**members):
    return lambda value: {**value, **members}


def _without(member):
    return lambda value: {name: row for name, row in value.items() if name != member}


def _again(line):
    """A hook that repeats one value in all acts that pass it."""
    kept = []

    def hook(value):
        kept.append(value[line])
        return {**value, line: kept[0]}
    return hook


def _streams():
    def lines(change):
        return {"lines audit": change}

    def edit(number, old, new):
        return lambda rows: rows[:number] + [rows[number].replace(old, new, 1)] + rows[number + 1 :]
    yield _case("stream-line-dropped", [4], lines(lambda rows: rows[:2] + rows[3:]))
    yield _case("stream-newest-dropped", [5, 11, 19], lines(lambda rows: rows[:-1]))
    yield _case("stream-lines-swapped", [4], lines(lambda rows: [rows[1], rows[0]] + rows[2:]))
    yield _case("stream-line-twice", [4], lines(lambda rows: rows[:1] + rows))
    yield _case("stream-line-space", [4], lines(edit(1, b":", b": ")))
    yield _case("stream-line-member", [4], lines(edit(1, b'{"index"', b'{"a":0,"index"')))
    yield _case("stream-line-true", [4], lines(edit(1, b'"index":', b'"index":true,"x":')))
    yield _case("stream-index-beyond", [4], lines(edit(4, b'"index":', b'"index":9')))
    yield _case("stream-index-shared", [4], lines(
        lambda rows: [b'{"index":1,' + rows[0].split(b",", 1)[1]] + rows[1:]))
    yield _case("stream-index-of-a-statement", [16], lines(edit(3, b'"index":14', b'"index":13')))
    yield _case("stream-salt", [4], lines(edit(1, b'"salt":"', b'"salt":"AAAA')))
    yield _case("stream-kind", [4], {"kind reveal": lambda _kind: (3, 6)})
    yield _case("stream-kind-of-other-act", [6], {"kind reveal": lambda _kind: (3, 4), "act reveal": _with(act="draw")})
    yield _case("stream-gap", [4], {"chain 3": lambda row: (row[0] + int(row[0] > 1), row[1])})
    yield _case("stream-fork", [4], {"chain 3": lambda row: (row[0], bytes(32))})
    yield _case("stream-time-back", [4], {"received": lambda row: (row[0], row[1] - (10**9 if row[0] == 7 else 0))})


def _canonical():
    for name, change in (
        ("space", lambda data: data.replace(b",", b", ", 1)),
        ("lf", lambda data: data + b"\n"),
        ("twice", lambda data: data[:-1] + b',"version":1}'),
        ("float", lambda data: data.replace(b'"version":1', b'"version":1.0')),
        ("true", lambda data: data.replace(b'"version":1', b'"version":true')),
        ("null", lambda data: data.replace(b'"version":1', b'"version":null')),
        ("minus-zero", lambda data: data.replace(b'"grace_minutes":0', b'"grace_minutes":-0')),
        ("large", lambda data: data.replace(b'"grace_minutes":0', b'"grace_minutes":9007199254740992')),
        ("huge", lambda data: data.replace(b'"grace_minutes":0', b'"grace_minutes":' + b"9" * 9000)),
        ("escape", lambda data: data.replace(b"Fleet", b"\\u0046leet")),
        ("surrogate", lambda data: data.replace(b"Fleet", b"\\ud800leet")),
        ("not-utf8", lambda data: data.replace(b"Fleet", b"\xffleet")),
        ("deep", lambda data: data.replace(b'"rationale":""', b'"rationale":' + b"[" * 5000 + b"]" * 5000)),
        ("bom", lambda data: b"\xef\xbb\xbf" + data),
    ):
        yield _case("act-json-" + name, [6], {"body policy": change})
    for name, change in (
        ("lf", lambda data: data + b"\n"),
        ("type", lambda data: data.replace(b"act.v1", b"act.v2")),
        ("member", lambda data: b'{"a":1,' + data[1:]),
        ("base64", lambda data: data.replace(b'=="}]', b'="}]').replace(b'"sig":"', b'"sig":"A', 1)),
        ("base64-spare-bits", lambda data: data[:-6] + bytes([data[-6] + 1]) + data[-5:]),
        ("base64-url", lambda data: data.replace(b"+", b"-").replace(b"/", b"_")),
        ("two-signatures", lambda data: data[:-2] + b"," + data[data.index(b'{"keyid"') : -2] + b"]}"),
        ("no-signature", lambda data: data[: data.index(b'{"keyid"')] + b"]}"),
    ):
        yield _case("envelope-" + name, [6], {"envelope policy": change})


def _acts():
    for name, members in (
        ("version", {"version": 2}), ("origin", {"origin": "audit.example/log/2025"}), ("id", {"id": "ab"}),
        ("made-at", {"made_at": "01"}), ("made-at-number", {"made_at": 1}), ("signer", {"signer": "ab" * 32}),
        ("unknown-member", {"note": "x"}), ("act", {"act": "mapping"}),
    ):
        yield _case("act-" + name, [6], {"act policy": _with(**members)})
    yield _case("act-member-missing", [6], {"act policy": _without("title")})
    ids = _again("id")
    yield _case("act-id-repeated", [6], {"act policy": ids, "act reveal": ids})
    for name, members in (
        ("sample-zero", {"sample_size": 0}), ("beacon", {"beacon": "drand"}), ("unit", {"unit": "device"}),
        ("controls-order", {"controls": ["screen-lock", "edr"]}), ("risk", {"risk_bp": 10000}),
        ("days-order", {"days": [{"label": "2026-06-02", "start": "1"}, {"label": "2026-06-01", "start": "2"}]}),
        ("day-label", {"days": [{"label": "2026-02-30", "start": "1"}]}),
        ("end", {"end": "5"}), ("end-far", {"end": "9007199254740992"}), ("acceptance", {"acceptance": 20}),
    ):
        yield _case("plan-" + name, [6], {"act plan": _with(**members)})
    nested = {"op": "eq", "fact": "running", "value": "yes"}
    for _ in range(7):
        nested = {"op": "not", "of": [nested]}
    nested = {"op": "some", "list": "products", "is": nested}
    for name, condition in (
        ("op", {"op": "like", "fact": "kind", "value": "x"}),
        ("fact", {"op": "exists", "fact": "colour"}),
        ("list-as-fact", {"op": "exists", "fact": "products"}),
        ("flag-as-fact", {"op": "eq", "fact": "products_truncated", "value": "no"}),
        ("type", {"op": "some", "list": "products", "is": {"op": "eq", "fact": "running", "value": 1}}),
        ("order-on-text", {"op": "some", "list": "products", "is": {"op": "lt", "fact": "version", "value": "7"}}),
        ("enum-name", {"op": "some", "list": "products", "is": {"op": "ne", "fact": "kind", "value": "edrr"}}),
        ("enum-unspecified", {"op": "some", "list": "products", "is": {"op": "ne", "fact": "kind", "value": "unspecified"}}),
        ("version", {"op": "some", "list": "products", "is": {"op": "version_at_least", "fact": "version", "value": "7a"}}),
        ("empty-all", {"op": "all", "of": []}),
        ("deep", nested),
        ("large", {"op": "all", "of": [{"op": "some", "list": "products", "is": {"op": "exists", "fact": "kind"}}] * 128}),
    ):
        control = scenes.controls(edr={"condition": condition})
        yield _case("condition-" + name, [6], {"act policy": _with(controls=control)})
    yield _case("policy-order", [6], {"act policy": _with(controls=scenes.controls()[::-1])})
    yield _case("policy-no-age", [6], {"act policy": _with(controls=scenes.controls(0))})


def _signatures():
    for name, signer in (
        ("flipped", Signer("analyst", flipped)), ("large-s", Signer("analyst", large_s)),
        ("small-order-r", SmallOrderR("analyst")),
        ("r-not-canonical", Signer("analyst", lambda sig: b"\xee" + b"\xff" * 30 + b"\x7f" + sig[32:])),
        ("short", Signer("analyst", lambda sig: sig[:-1])),
        ("of-other-bytes", Signer("analyst", lambda sig: Key("analyst").sign(b"other"))),
    ):
        yield _case("signature-" + name, [6], {"signer policy": lambda _key, signer=signer: signer})
    yield _case("signature-small-order-key", [2, 6], {
        "act plan": _with(auditor_key=IDENTITY.hex()), "signer commitment": lambda _key: SmallOrderKey(),
        "signer reveal": lambda _key: SmallOrderKey(),
        "trust": _with(auditor_key=IDENTITY.hex()),
    })
    yield _case("signature-of-who-may-not", [6], {"signer policy": lambda _key: Signer("auditor", flipped)})
    yield _case("key-off-the-curve", [6], {"act person": _with(key=(b"\x02" + bytes(31)).hex())})
    for act in ("person", "token", "enrolment", "policy", "plan", "commitment", "freeze", "reveal", "draw"):
        yield _case("stranger-signs-" + act, [8], {"signer " + act: lambda _key: Key("stranger")})
    for act, key in (
        ("person", "analyst"), ("token", "analyst"), ("plan", "auditor"), ("policy", "operations"),
        ("commitment", "admin"), ("reveal", "operations"), ("freeze", "admin"), ("draw", "auditor"),
        ("enrolment", "admin"),
    ):
        yield _case("%s-signs-%s" % (key, act), [8], {"signer " + act: lambda _key, key=key: Key(key)})

    def late(log, _audit, _device):
        log.person("stranger", "admin")
    yield _case("signed-before-admitted", [8], {"signer policy": lambda _key: Key("stranger")}, {"before plan": late})


def _genesis():
    yield _case("genesis-signer", [7], {"signer genesis": lambda _key: Key("stranger")})
    yield _case("genesis-signature", [6], {"signature genesis": flipped})
    yield _case("genesis-domain", [7], {"act genesis": _with(trust_domain="other.example")})
    yield _case("genesis-log-key", [7], {"act genesis": _with(log_vkey=scenes.other_log_key())})
    yield _case("genesis-simulated", [7], {"act genesis": _with(simulated=1)})

    def again(log, _audit, _device):
        log._genesis()
    yield _case("genesis-twice", [7], None, {"before plan": again})

    def again_and_stranger(log, _audit, _device):
        log.keys["admin"] = Key("stranger")
        log.person("auditor", "auditor")
        log._genesis()
    yield _case("genesis-twice-after-a-stranger", [7], None, {"before plan": again_and_stranger})
    yield _case("admin-is-operations", [8], {"act genesis": lambda act: {
        **act, "admin": {**act["admin"], "key": Key("operations").hex}}, "signer person": lambda _key: Key("operations"),
        "signer token": lambda _key: Key("operations")})


def _roster():
    admin_key = Key("admin").hex
    yield _case("person-with-used-key", [8], {"act person": _with(key=admin_key), "signer policy": lambda _k: Key("admin"),
                                              "signer plan": lambda _k: Key("admin")})
    yield _case("person-with-used-tls-key", [8], {"act person": _with(tls_key=fixed("admin tls").hex())})

    def retire_unknown(log, _audit, _device):
        log.act("retire", {"device": "d-" + "a" * 26, "effective_at": str(log.now), "detail": []}, "analyst")
    yield _case("retire-of-no-device", [8], None, {"before plan": retire_unknown})

    def commit_nothing(log, audit, _device):
        audit.reveal_of = log.act("reveal", {"plan_hash": "ab" * 32, "nonce": "ab" * 32}, "auditor")
    yield _case("reveal-of-no-plan", [8], None, {"after draw": commit_nothing})

    def freeze_nothing(log, _audit, _device):
        log.act("freeze", {"plan_hash": "ab" * 32, "roster_entries": 1, "roster_head": "ab" * 32,
                           "populations": [], "heads": log.heads()}, "operations")
    yield _case("freeze-of-no-plan", [8], None, {"after plan": freeze_nothing})

    for name, members in (
        ("expired", {"expires_at": "1"}), ("other-class", {"class": "server"}), ("other-group", {"group": "field"}),
        ("other-token", {"token_hash": "ab" * 32}),
    ):
        yield _case("token-" + name, [9], {"act token": _with(**members)})

    def second(log, audit, _device):
        audit.add(log.enrol("laptop-2", "laptop"))
    steps = {"after plan": second}
    same_secret = {"token secret": lambda _secret: fixed("one token")}
    yield _case("token-admitted-twice", [9], same_secret, steps)

    def reuse(log, audit, device):
        audit.add(scenes.enrol_again(log, device))
    yield _case("token-used-twice", [9], None, {"after plan": reuse})
    yield _case("instance-enrolled-twice", [9], {"act enrolment": _again("instance")}, steps)
    yield _case("device-enrolled-twice", [9], {"act enrolment": _again("device")}, {
        "after plan": lambda log, _audit, _device: log.enrol("laptop-2", "laptop")})
    yield _case("enrolment-predecessor", [6], {"act enrolment": _with(
        predecessor=[{"instance": "i-" + "a" * 26, "sequence": 0, "hash": "ab" * 32}])})
    yield _case("enrolment-level", [6], {"act enrolment": _with(key_level="k4")})
    yield _case("enrolment-key", [9, 16], {"act enrolment": _with(attestation_key=Key("stranger").hex)})
    yield _case("enrolment-small-order-key", [6], {"device key": lambda _key: SmallOrderKey()})
    for name, members in (
        ("ed25519", {"sig_ed25519": b64(bytes(64))}), ("p256", {"sig_p256": b64(bytes(64))}),
    ):
        yield _case("enrolment-" + name, [9], {"act enrolment": _with(**members)})
    yield _case("enrolment-p256-short", [6], {"act enrolment": _with(sig_p256=b64(bytes(63)))})
    for name, change in (
        ("exporter", lambda data: data.replace(fixed("exporter " + DEVICE), bytes(32))),
        ("label", lambda data: data.replace(b"v1\0", b"v2\0", 1)),
        ("domain", lambda data: data.replace(b"audit.example", b"other.example", 1)),
        ("longer", lambda data: data + b"\0"), ("cut", lambda data: data[:-1]),
    ):
        yield _case("transcript-" + name, [9], {"transcript": change})


def _ceremony():
    def nothing(*_arguments):
        return None

    def commit(_log, audit, _device):
        audit.commit(5)
    yield _case("commitment-after-freeze", [11], None, {"commit": nothing, "after freeze": commit})
    yield _case("commitment-twice", [11], None, {"after plan": commit})
    yield _case("reveal-twice", [11], None, {"after reveal": lambda _log, audit, _device: audit.reveal()})
    yield _case("reveal-early", [11], None, {
        "before statement": _once(lambda audit: audit.reveal()), "reveal": nothing})
    yield _case("export-before-draw", [11], None, {"after reveal": lambda log, audit, _device: log.act("export", {
        "plan_hash": audit.plan_hash, "manifest_sha256": "ab" * 32, "tsr_sha256": "00" * 32,
        "checkpoint": {"size": 1, "root": "ab" * 32}, "heads": log.heads()}, "operations")})
    yield _case("commitment-predecessor", [6], {"act commitment": lambda act: {
        **act, "predecessor": [act["checkpoint"]]}})
    yield _case("reveal-never", [11], None, {"reveal": nothing})
    yield _case("freeze-twice", [11], None, {"after reveal": lambda _log, audit, _device: audit.freeze()})
    yield _case("draw-twice", [11], None, {"after draw": lambda _log, audit, _device: audit.draw()})
    yield _case("nonce-other", [11], {"revealed nonce": lambda nonce: flipped(nonce)})
    for stream in (1, 2, 3):
        yield _case("freeze-head-%d" % stream, [12], {"freeze heads": lambda heads, stream=stream: [
            {**row, "last_leaf_hash": "ab" * 32} if row["stream"] == stream else row for row in heads]})
    yield _case("freeze-roster-entries", [12], {"act freeze": lambda act: {
        **act, "roster_entries": act["roster_entries"] - 1}})
    yield _case("freeze-roster-head", [12], {"act freeze": _with(roster_head="ab" * 32)})
    yield _case("freeze-before-end", [12], None, None, partial_day=0)
    yield _case("freeze-count", [13], {"act freeze": lambda act: {
        **act, "populations": [{**row, "count": row["count"] + 1} for row in act["populations"]]}})
    yield _case("freeze-control-missing", [13], {"act freeze": lambda act: {
        **act, "populations": act["populations"][1:]}})
    yield _case("population-unit-removed", [13], {"population": lambda units: units[1:]})
    unit = "%s/2026-06-02/edr" % random_id("d", DEVICE)
    yield _case("population-unit-added", [13], {"population": lambda units: units + [unit]}, None,
                controls=["edr"], scope={"classes": [], "groups": ["field"]})
    yield _case("population-order", [13], {"population": lambda units: units[::-1]})
    yield _case("population-no-lf", [13], {"population bytes": lambda files: {
        name: data[:-1] for name, data in files.items()}})
    yield _case("draw-swapped", [14], {"draw": lambda draw: {
        **draw, "selected": draw["reserves"], "reserves": draw["selected"]}})
    yield _case("draw-seed", [14], {"seed": lambda seed: flipped(seed)})
    yield _case("draw-ticket", [14], {"draw": lambda draw: {
        **draw, "selected": [{**row, "ticket": row["ticket"] + "0"} for row in draw["selected"]]}})
    yield _case("draw-entry-hash", [14], {"act draw": lambda act: {
        **act, "draws": [{**row, "draw_sha256": "ab" * 32} for row in act["draws"]]}})
    yield _case("draw-entry-order", [14], {"act draw": lambda act: {**act, "draws": act["draws"][::-1]}})


def _once(action):
    done = []

    def step(_log, audit, _device):
        if not done:
            done.append(action(audit))
    return step


def _statements():
    def second(change, part="statement"):
        return {"%s %s/1" % (part, DEVICE): change}
    instance = blob(1, instance_bytes(DEVICE))
    claim = blob(10, num(1, 1) + num(3, 1, True))
    for name, change in (
        ("unknown-field", lambda data: data + num(15, 1)),
        ("field-order", lambda data: data[len(instance) :] + instance),
        ("field-twice", lambda data: instance + data),
        ("long-varint", lambda data: data.replace(num(2, 1), b"\x10\x81\x00", 1)),
        ("default-written", lambda data: data.replace(num(5, 1) + blob(6, "0.1.0"), b"\x28\0" + blob(6, "0.1.0"))),
        ("two-bodies", lambda data: data + blob(6, num(1, 1) + num(2, 1) + num(3, 1) + num(4, 2) + num(5, 1))),
        ("no-body", lambda data: data[: data.index(b"\x2a")]),
        ("trigger", lambda data: data.replace(num(5, 1) + blob(6, "0.1.0"), num(5, 9) + blob(6, "0.1.0"))),
        ("no-trigger", lambda data: _shorter(data, num(5, 1) + blob(6, "0.1.0"), blob(6, "0.1.0"))),
        ("asset-class", lambda data: data.replace(claim, blob(10, num(1, 6) + num(3, 1, True)), 1)),
        ("asset-battery", lambda data: data.replace(claim, blob(10, num(1, 1) + num(3, 2, True)), 1)),
        ("asset-order", lambda data: data.replace(claim, blob(10, num(3, 1, True) + num(1, 1)), 1)),
        ("asset-default", lambda data: data.replace(claim, blob(10, b"\x08\0" + num(3, 1, True)), 1)),
        ("sequence", lambda data: data.replace(num(2, 1), num(2, 7), 1)),
        ("previous", lambda data: data.replace(blob(3, b"")[:0] + data[20:54], data[20:22] + b"\1" * 32, 1)),
        ("instance", lambda data: data.replace(instance, blob(1, instance_bytes("other")), 1)),
        ("device", lambda data: data.replace(b"d-", b"e-", 1)),
        ("other-control", lambda data: data.replace(blob(1, "edr"), blob(1, "eds"), 1)),
        ("controls-order", lambda data: data.replace(blob(1, "edr"), blob(1, "zdr"), 1)),
        ("cut", lambda data: data[:-1]),
        ("empty", lambda data: b""),
        ("junk", lambda data: b"\xff" * 64),
    ):
        yield _case("statement-" + name, [16], second(change))
    for name, change in (
        ("unknown-field", lambda data: data + num(4, 1)), ("no-signature", lambda data: data[:-66]),
        ("trailing-byte", lambda data: data + b"\0"), ("keyid", lambda data: data[:-98] + bytes(32) + data[-66:]),
    ):
        yield _case("statement-envelope-" + name, [16], second(change, "envelope"))
    for name, change in (("flipped", flipped), ("large-s", large_s), ("other-key", lambda _sig: Key("x").sign(b""))):
        yield _case("statement-signature-" + name, [16], second(change, "sig"))

    def anchors(*sizes):
        waiting = list(sizes)

        def step(_log, _audit, device):
            anchor = waiting.pop(0) if waiting else (device.anchor, device.anchor_origin)
            device.anchor, device.anchor_origin = anchor if isinstance(anchor, tuple) else (anchor, None)
        return {"before statement": step}
    yield _case("anchor-gone", [16], None, anchors(4, None, 4, 4))
    yield _case("anchor-younger-than-its-leaf", [16], None, anchors(4, 99, 99, 99))
    yield _case("anchor-shrinks", [16], None, anchors(5, 4, 5, 5))
    yield _case("anchor-shrinks-beyond-another-log", [16], None, anchors(5, (7, "other.example/log/1"), 4, 5))


def _shorter(data, old, new):
    """Replaces inside the attestation and mends its length (two bytes)."""
    assert old in data
    at = data.index(b"\x2a", 54)
    length = (data[at + 1] & 0x7F) + (data[at + 2] << 7) - len(old) + len(new)
    return data[:at] + bytes([0x2A, length & 0x7F | 0x80, length >> 7]) + data[at + 3 :].replace(old, new, 1)


def cases():
    """(name, files, trust, failed) of every set of a log that was wrong from the start."""
    for group in (_streams, _canonical, _acts, _signatures, _genesis, _roster, _ceremony, _statements):
        yield from group()

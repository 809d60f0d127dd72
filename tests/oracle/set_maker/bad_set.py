"""Sets that are damaged or rewritten after the log was made: files, manifest, trust, proofs, units, results."""

import json

from . import scenes
from .forgery import Signer, large_s
from .wire import Key, b64, jcs

UNIT = "units/edr/0001/"  # the partial day: statements of sequence 0 to 4
ORIGIN = "audit.example/log/2026"


def flipped(data):
    """One bit of the middle byte."""
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def path_like(files, start, end):
    """The first path with this start and end."""
    return next(path for path in sorted(files) if path.startswith(start) and path.endswith(end))


def _edit(path, change):
    """A hook that changes one file: change is new bytes, None to remove it, or a function."""
    def hook(files):
        files = dict(files)
        new = change(files[path]) if callable(change) else change
        if new is None:
            del files[path]
        else:
            files[path] = new
        return files
    return hook


def _case(name, failed, hooks=None, **options):
    files, trust = scenes.small(hooks, **options)
    return "bad-" + name, files, trust, failed


def _after(name, failed, path, change, **options):
    """Changed after sealing: no hash fits any more."""
    return _case(name, failed, {"set": _edit(path, change)}, **options)


def _resealed(name, failed, path, change, **options):
    """Changed before sealing: the operations key signs the changed set."""
    return _case(name, failed, {"files": _edit(path, change)}, **options)


def _with(**members):
    return lambda value: {**value, **members}


def _flips():
    files, _trust = scenes.small()
    index = path_like(files, UNIT, ".envelope")[: -len(".envelope")]
    consistency = path_like(files, "log/consistency/", "")
    for name, path, failed in (
        ("verify-md", "VERIFY.md", [1]), ("plan", "plan.json", [1, 10]), ("checkpoint", "log/checkpoint", [1, 3]),
        ("consistency", consistency, [1, 15]), ("roster", "streams/roster.jsonl", [1, 4]),
        ("rules", "streams/rules.jsonl", [1, 4]), ("audit", "streams/audit.jsonl", [1, 4]),
        ("roster-proof", "streams/roster.tlog-proof", [1, 5]), ("rules-proof", "streams/rules.tlog-proof", [1, 5]),
        ("audit-proof", "streams/audit.tlog-proof", [1, 5]), ("population", "population/edr.txt", [1, 13]),
        ("draw", "draw/edr.json", [1, 14]), ("envelope", index + ".envelope", [1, 16]),
        ("statement-proof", index + ".tlog-proof", [1, 16]), ("view", index + ".json", [1]),
        ("results", "results/edr.json", [1, 18]), ("evaluation", "evaluation/edr.json", [1, 18]),
        ("note", "MANIFEST.note", [19]), ("export", "export.tlog-proof", [19]),
    ):
        yield _after("flip-" + name, failed, path, flipped)
        removed = failed if path not in ("MANIFEST.note", "export.tlog-proof") else [1, 19]
        removed = [1, 16] if path == index + ".json" else removed
        yield _after("remove-" + name, removed, path, None)
    yield _after("remove-unit", [1, 16], UNIT + "unit.json", None)
    yield _after("remove-manifest", [1], "MANIFEST.json", None)
    yield _after("manifest-unreadable-flip", [1], "MANIFEST.json", lambda data: b"[" + data[1:])


def _files():
    def add(path, data):
        return {"set": lambda files: {**files, path: data}}
    yield _case("add-file", [1], add("notes.txt", b"hello"))
    yield _case("add-statement", [1, 16], add(UNIT + "7.envelope", b""))
    yield _case("add-link", [1], add("log/link", "checkpoint"))
    yield _case("add-stamp", [19], add("MANIFEST.tsr", b"stamp"))
    yield _case("stamp-changed", [19], {"set": _edit("MANIFEST.tsr", b"another")}, stamp=b"stamp")
    yield _case("stamp-removed", [19], {"set": _edit("MANIFEST.tsr", None)}, stamp=b"stamp")

    def listed(path, data):
        return {"files": lambda files: {**files, path: data}}
    yield _case("listed-file-of-no-form", [1], listed("notes.txt", b"hello"))
    yield _case("listed-path-upwards", [1], {"manifest": lambda m: {
        **m, "files": [{"bytes": 0, "path": "../x", "sha256": "0" * 64}] + m["files"]}})
    yield _case("population-of-no-control", [13], listed("population/other.txt", b""))
    yield _case("draw-of-no-control", [14], listed("draw/other.json", b"{}"))
    yield _case("results-of-no-control", [18], listed("results/other.json", b"{}"))
    yield _case("proof-of-empty-stream", [5], listed("streams/rules.tlog-proof", b"x"), policy=False)
    yield _case("unit-too-many", [17], {"files": lambda files: {
        **files, **{p.replace("/0002/", "/0003/"): d for p, d in files.items() if p.startswith("units/edr/0002/")}}})
    yield _case("unit-missing", [17], {"files": lambda files: {
        p: d for p, d in files.items() if not p.startswith("units/edr/0002/")}})
    yield _case("units-swapped", [17], {"files": lambda files: {
        p.replace("/0001/", "/x/").replace("/0002/", "/0001/").replace("/x/", "/0002/")
        if p.startswith("units/edr/") else p: d for p, d in files.items()}})
    yield _case("view-missing", [16], {"files": lambda files: {
        p: d for p, d in files.items() if p != path_like(files, UNIT, ".envelope").replace(".envelope", ".json")}})


def _manifest():
    yield _case("manifest-unreadable-space", [1], {"manifest bytes": lambda data: data.replace(b":", b": ", 1)})
    yield _case("manifest-unreadable-lf", [1], {"manifest bytes": lambda data: data + b"\n"})
    yield _case("manifest-unreadable-twice", [1], {"manifest bytes": lambda data: data[:-1] + b',"origin":"x"}'})
    yield _case("manifest-unreadable-member", [1], {"manifest": _with(made="today")})
    yield _case("manifest-order", [1], {"manifest": lambda m: {**m, "files": m["files"][::-1]}})
    yield _case("manifest-size", [1], {"manifest": lambda m: {
        **m, "files": [{**m["files"][0], "bytes": m["files"][0]["bytes"] + 1}] + m["files"][1:]}})
    yield _case("manifest-origin", [2, 6], {"manifest": _with(origin="audit.example/log/other")})
    yield _case("manifest-checkpoint", [3], {"manifest": lambda m: {
        **m, "checkpoint": {**m["checkpoint"], "size": m["checkpoint"]["size"] + 1}}})
    yield _case("manifest-plan-hash", [10, 19], {"manifest": _with(plan_hash="ab" * 32)})
    files, trust = scenes.small({"set": _edit(
        "MANIFEST.json", lambda data: jcs({**json.loads(data), "plan_hash": "ab" * 32}))})
    yield "bad-manifest-edited", files, trust, [10, 19]


def _trust():
    files, trust = scenes.small()
    for name, failed, changed in (
        ("member", [2], {**trust, "note": "x"}),
        ("space", [2], jcs(trust).replace(b":", b": ", 1)),
        ("two-lf", [2], jcs(trust) + b"\n\n"),
        ("junk", [2], b"\xff\x00"),
        ("deep", [2], b"[" * 100000),
        ("empty", [2], b""),
        ("vkey-id", [2], {**trust, "log_keys": [trust["log_keys"][0].replace("+", "+0", 1)]}),
        ("no-log-key", [2], {**trust, "log_keys": [], "witness_policy": "quorum none\n"}),
        ("witness", [2], {**trust, "witness_policy": trust["witness_policy"].replace("none", "all")}),
        ("origin", [2], {**trust, "origin": "audit.example/log/other"}),
        ("domain-form", [2], {**trust, "trust_domain": "Audit.example"}),
        ("domain", [2], {**trust, "trust_domain": "other.example"}),
        ("auditor-key", [10], {**trust, "auditor_key": Key("stranger").hex}),
        ("checkpoint-root", [15], {**trust, "checkpoints": [{**trust["checkpoints"][0], "root": "ab" * 32}]}),
        ("checkpoint-size", [15], {**trust, "checkpoints": [{**trust["checkpoints"][0], "size": 4}]}),
        ("checkpoint-later", [15], {**trust, "checkpoints": [{**trust["checkpoints"][0], "size": 4000}]}),
        ("checkpoint-origin", [15], {
            **trust, "checkpoints": [{**trust["checkpoints"][0], "origin": "audit.example/log/2025"}]}),
    ):
        yield "bad-trust-" + name, files, changed, failed
    other = scenes.other_log_key()
    yield "bad-trust-log-key", files, {
        **trust, "log_keys": [other], "witness_policy": "log %s\nquorum none\n" % other}, [3, 7]
    files, trust = scenes.small(label="2026/simulated")
    yield "bad-simulated", files, {**trust, "simulated": "refuse"}, [20]


def _notes():
    log = (ORIGIN, Key("log"))
    for name, signers in (
        ("another-key", [(ORIGIN, Key("stranger"))]),
        ("another-name", [("audit.example/log/x", Key("log"))]),
        ("extra-line", [log, ("witness.example", Key("witness"))]),
        ("line-twice", [log, log]),
        ("large-s", [(ORIGIN, Signer("log", large_s))]),
        ("wrong-signature", [(ORIGIN, Signer("log", flipped))]),
    ):
        yield _case("checkpoint-" + name, [3], {"checkpoint signers": lambda _value, signers=signers: signers})
    name = ORIGIN + "/operations"
    for what, signers in (
        ("log-key", [(ORIGIN, Key("log"))]),
        ("stranger", [(name, Key("stranger"))]),
        ("two-lines", [(name, Key("operations")), (ORIGIN, Key("log"))]),
        ("large-s", [(name, Signer("operations", large_s))]),
    ):
        yield _case("note-" + what, [19], {"note signers": lambda _value, signers=signers: signers})
    yield _case("note-of-other-manifest", [19], {"set": lambda files: {
        **files, "MANIFEST.note": scenes.small({"manifest": _with(plan_hash="ab" * 32)})[0]["MANIFEST.note"]}})
    yield _case("extra-cut", [19], {"extra": lambda data: data[:-1]})
    yield _case("extra-longer", [19], {"extra": lambda data: data + b"\0"})
    yield _case("extra-salt", [19], {"extra": lambda data: data[:90] + flipped(data[90:92]) + data[92:]})

    def without_consistency(data):
        payload = int.from_bytes(data[116:120], "big")  # after u8, leaf(83) and salt(32)
        return data[: 120 + payload] + bytes(4)
    yield _case("extra-no-consistency", [19], {"extra": without_consistency})


def _proofs():
    consistency = path_like(scenes.small()[0], "log/consistency/", "")
    yield _resealed("consistency-cut", [15], consistency, lambda data: b"".join(data.splitlines(True)[:-1]))
    yield _resealed("consistency-longer", [15], consistency, lambda data: data + data[:45])
    yield _resealed("consistency-other-tree", [15], consistency, lambda data: b64(bytes(32)).encode() + data[44:])
    yield _resealed("consistency-no-lf", [15], consistency, lambda data: data[:-1])
    yield _resealed("consistency-missing", [15], consistency, None)
    yield _case("committed-root", [15], {"committed checkpoint": _with(root="ab" * 32)})
    yield _case("committed-origin", [15], {"committed checkpoint": _with(origin="audit.example/log/2025")})
    roster = "streams/roster.tlog-proof"
    yield _resealed("stream-proof-index", [5], roster, lambda data: data.replace(b"index ", b"index 1"))
    yield _resealed("stream-proof-decimal", [5], roster, lambda data: data.replace(b"index ", b"index 0"))
    yield _resealed("stream-proof-version", [5], roster, lambda data: data.replace(b"@v1", b"@v2"))
    yield _resealed("stream-proof-extra", [5], roster, lambda data: data.replace(b"index", b"extra AAAA\nindex"))
    yield _resealed("stream-proof-note", [5], roster, lambda data: data[:-60] + data[-1:])
    envelope = path_like(scenes.small()[0], UNIT, ".envelope")
    proof = envelope.replace(".envelope", ".tlog-proof")

    def without_hash(data):
        head, note = data.split(b"\n\n", 1)
        return b"\n".join(head.split(b"\n")[:-1]) + b"\n\n" + note
    yield _resealed("statement-proof-cut", [16], proof, without_hash)
    yield _resealed("statement-proof-index", [16], proof, lambda data: data.replace(b"index ", b"index 1"))
    yield _resealed("statement-proof-salt", [16], proof, lambda data: data.replace(data[29:33], b"AAAA", 1))
    yield _resealed("statement-proof-no-extra", [16], proof, lambda data: data[:23] + data[data.index(b"index") :])


def _units():
    unit = "unit " + UNIT
    for name, members in (
        ("state", {"state": "PASS"}), ("because", {"because": "no-policy"}), ("role", {"role": "reserve"}),
        ("ticket", {"ticket": "0.1"}), ("decided-by", {"decided_by": []}), ("policy", {"policy_index": [0]}),
    ):
        yield _case("unit-" + name, [17], {unit: _with(**members)})
    yield _case("unit-counts", [17], {unit: lambda value: {
        **value, "statements": [{**row, "counts": 0} for row in value["statements"]]}})
    yield _case("unit-sequence", [16], {unit: lambda value: {
        **value, "statements": [{**row, "sequence": row["sequence"] + 1} for row in value["statements"]]}})
    yield _case("unit-member", [16], {unit: _with(comment="x")})
    # The last ones are no gap in the unit's own chain, but a unit of the other control shows them.
    for name, keep in (
        ("first", slice(1, None)), ("middle", slice(None, None, 2)), ("last", slice(None, -1)),
        ("of-the-evening", slice(None, 2)), ("all", slice(0, 0)),
    ):
        yield _case("statement-dropped-" + name, [16], {"statements " + UNIT: lambda rows, keep=keep: rows[keep]})


def _results():
    def count(value):
        return {**value, "counts": {**value["counts"], "PASS": 7}}

    def softened(value):
        rows = [r for r in value["units"] if r["state"] != "DEVIATION"]
        counts = {"MISSING": 1, "PASS": 1}
        return {**value, "units": rows, "counts": counts, "devices": [{**value["devices"][0], "counts": counts}]}
    only_edr = {"controls": ["edr"]}
    yield _case("results-counts", [18], {"results": count}, **only_edr)
    yield _case("results-softened", [18], {"results": softened}, **only_edr)
    yield _case("results-device", [18], {"results": lambda value: {**value, "devices": []}}, **only_edr)
    yield _case("results-unit", [18], {"results": lambda value: {**value, "units": value["units"][1:]}}, **only_edr)
    yield _case("results-because", [18], {"results": lambda value: {
        **value, "units": [{**row, "because": "x"} for row in value["units"]]}}, **only_edr)
    yield _case("results-pass-row", [18], {"results": lambda value: {
        **value, "units": [{**row, "state": "PASS"} for row in value["units"]]}}, **only_edr)
    for row in ("optimistic", "classified", "strict"):
        yield _case("evaluation-" + row, [18], {"evaluation": lambda value, row=row: {
            **value, row: {**value[row], "upper_limit": "1.0", "supports": 1}}}, **only_edr)
    yield _case("evaluation-sample", [18], {"evaluation": _with(sample=93)}, **only_edr)


def _export():
    for name, members in (
        ("plan", {"plan_hash": "ab" * 32}), ("manifest", {"manifest_sha256": "ab" * 32}),
        ("stamp", {"tsr_sha256": "ab" * 32}), ("origin", {"origin": "audit.example/log/2025"}),
        ("checkpoint", {"checkpoint": {"size": 3, "root": "ab" * 32}}), ("member", {"reason": "x"}),
        ("version", {"version": 2}),
    ):
        yield _case("export-" + name, [19], {"act export": _with(**members)})
    yield _case("export-stranger", [19], {"signer export": lambda _key: Key("stranger")})
    yield _case("export-signature", [19], {"signature export": flipped})
    yield _case("export-large-s", [19], {"signature export": large_s})
    yield _case("export-is-a-draw", [19], {"kind export": lambda _kind: (3, 5)})
    for stream in (1, 2, 3):
        yield _case("export-head-%d" % stream, [19], {"export heads": lambda heads, stream=stream: [
            {**row, "entries": row["entries"] + int(row["stream"] == stream)} for row in heads]})


def cases():
    """(name, files, trust, failed) of every damaged or rewritten set."""
    for group in (_flips, _files, _manifest, _trust, _notes, _proofs, _units, _results, _export):
        yield from group()

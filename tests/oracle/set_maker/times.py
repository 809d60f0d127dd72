"""Sets whose statements name cosigned checkpoints: when each was signed, by whose clocks."""

import base64

from . import scenes
from .bad_set import flipped
from .wire import Key, b64, note
from .witness import ALL, SECONDS, TWO, Witness, name_of, policy

LAST_STATEMENT = 1_780_398_000  # Unix seconds of the last statement's receipt
LAST = "2026-06-03 00:00:01 (2 witnesses: w1, w2)"
EDR = "units/edr/0001"


class Anchoring:
    """Before each statement its device verifies a new checkpoint, cosigned so many seconds ago.

    `ago`: witness -> seconds before the statement, None: the statements name no note; `text` changes what log and witnesses sign; `bend` changes the note
    of the first statement, which decides the unit of the control edr; the next one comes two hours later.
    """

    def __init__(self, ago, bend=None, size=None, text=None):
        self.ago, self.bend, self.size, self.text, self.turn = ago, bend, size, text, 0

    def __call__(self, log, _audit, device):
        self.turn += 1
        size = self.size or log.size
        device.anchor = log.size
        if self.ago is None:
            return
        signers = [(name_of(name), Witness(name, log.now // 1000 - ago)) for name, ago in self.ago.items()]
        text = "%s\n%d\n%s\n" % (log.origin, size, b64(log.tree.root(0, size)))
        text = self.text(text) if self.text else text
        device.anchor_note = note(text, (log.origin, log.keys["log"]), *signers)
        if self.bend and self.turn == 1:
            device.anchor_note = self.bend(device.anchor_note)


def anchored(quorum, ago, hooks=None, bend=None, size=None, text=None, at=SECONDS, signers=("w1", "w2"), **options):
    """(files, trust) of the small set with anchors; the set's own checkpoint is cosigned at `at`."""
    label = options.pop("label", "2026")
    lines = [("audit.example/log/" + label, Key("log"))] + [(name_of(n), Witness(n, at)) for n in signers]
    hooks = {"checkpoint signers": lambda _value: lines, **(hooks or {})}
    files, trust = scenes.small(hooks, steps={"before statement": Anchoring(ago, bend, size, text)}, label=label, **options)
    return files, policy(trust, quorum)


def _without(*starts):
    return {"files": lambda files: {p: data for p, data in files.items() if not p.startswith(starts)}}


BOTH = {"w1": 90, "w2": 30}
BY_LOG = "between 2026-06-01 22:00:00 (log's clock) and "

# What both verifiers say of the unit of the first statement: received at 01:00:00, the next one's anchor cosigned two hours
# after its own.
EXPECTED = {
    "good-times-all": {EDR: "between 2026-06-02 00:58:30 (2 witnesses: w1, w2) and 2026-06-02 02:59:31 (2 witnesses: w1, w2)"},
    "good-times-two-of-three": {EDR: "between 2026-06-02 00:59:00 (2 witnesses: w2, w3) and 2026-06-02 02:59:01 (2 witnesses: w1, w2)"},
    "good-times-any": {EDR: "between 2026-06-02 00:59:30 (1 witness: w2) and 2026-06-02 02:58:31 (1 witness: w1)"},
    "good-times-same-second": {EDR: "between 2026-06-02 01:00:00 (2 witnesses: w1, w2) and 2026-06-02 03:00:01 (2 witnesses: w1, w2)"},
    "good-times-fast": {EDR: "between 2026-06-02 01:05:00 (2 witnesses: w1, w2) and 2026-06-02 03:05:01 (2 witnesses: w1, w2)"},
    "good-times-set-slow": {EDR: "between 2026-06-01 23:00:00 (auditor's clock) and 2026-06-02 10:55:00 (2 witnesses: w1, w2)"},
    "good-times-only-the-set": {EDR: "between 2026-06-01 23:00:00 (auditor's clock) and " + LAST},
    "good-times-no-proofs": {EDR: "between 2026-06-02 00:58:30 (2 witnesses: w1, w2) and " + LAST},
    "good-times-no-notes": {EDR: "between 2026-06-01 23:00:00 (auditor's clock) and " + LAST},
    "good-times-too-few": {EDR: "between 2026-06-01 23:00:00 (auditor's clock) and " + LAST},
    "good-times-quorum-none": {EDR: "between 2026-06-01 23:00:00 (auditor's clock) and 2026-06-02 01:00:00 (log's clock)"},
    "good-times-simulated": {EDR: "between 2026-06-01 23:00:00 (auditor's clock) and 2026-06-02 01:00:00 (log's clock)"},
    "good-times-last-second": {EDR: "between 2026-06-02 00:58:30 (1 witness: w1) and 2026-06-02 02:58:31 (1 witness: w1)"},
    "good-small": {EDR: BY_LOG + "2026-06-02 01:00:00 (log's clock)"},
}


def good_sets():
    """(name, files, trust) of sets that are sound."""
    yield ("good-times-all", *anchored(ALL, BOTH))
    yield ("good-times-two-of-three", *anchored(TWO, {"w1": 90, "w2": 60, "w3": 30}))
    yield ("good-times-any", *anchored(["group g any w1 w2", "quorum g"], BOTH))
    yield ("good-times-same-second", *anchored(ALL, {"w1": 0, "w2": 0}))
    # Witnesses whose clocks are 300 s fast, or slow: no more than clocks may.
    yield ("good-times-fast", *anchored(ALL, {"w1": -300, "w2": -300}))
    yield ("good-times-set-slow", *anchored(ALL, None, at=LAST_STATEMENT - 301))
    yield ("good-times-only-the-set", *anchored(ALL, {}))
    yield ("good-times-no-proofs", *anchored(ALL, BOTH, _without_more_proofs()))
    yield ("good-times-no-notes", *anchored(ALL, BOTH, _without("log/anchors/")))
    yield ("good-times-too-few", *anchored(ALL, {"w1": 90}))
    yield ("good-times-quorum-none", *anchored(["quorum none"], BOTH))
    yield ("good-times-simulated", *anchored(ALL, BOTH, at=1, label="2026/simulated"))
    yield ("good-times-last-second", *anchored(["group g any w1 w2", "quorum g"], {"w1": 90, "w2": -(2**60)}))


def _without_more_proofs():
    """Only the proof from the commitment's size, which check 15 needs."""
    def hook(files):
        first = min((p for p in files if p.startswith("log/consistency/")), key=lambda p: int(p.rsplit("/", 1)[1]))
        return {p: data for p, data in files.items() if not p.startswith("log/consistency/") or p == first}
    return {"files": hook}


def bad_sets():
    """(name, files, trust, failed) of sets that are not."""
    def case(name, failed, *arguments, **options):
        return ("bad-times-" + name, *anchored(*arguments, **options), failed)

    def of_notes(change):
        def hook(files):
            path = min(p for p in files if p.startswith("log/anchors/"))
            return change(dict(files), path)
        return {"files": hook}

    yield case("note-flipped", [25], ALL, BOTH, of_notes(lambda files, path: {**files, path: flipped(files[path])}))
    yield case("note-unnamed", [25], ALL, BOTH, of_notes(
        lambda files, path: {**files, "log/anchors/" + "ab" * 32: files[path]}))
    yield case("note-no-note", [25], ALL, BOTH, bend=lambda _note: b"hello")
    yield case("note-line-unknown", [25], ALL, {**BOTH, "w4": 30})
    yield case("note-line-twice", [25], ALL, BOTH, bend=lambda data: data + data.splitlines(True)[-1])
    yield case("note-not-the-logs", [25], ALL, BOTH, bend=lambda data: b"".join(
        line for line in data.splitlines(True) if not line.startswith("— audit".encode())))
    yield case("note-forged", [25], ALL, BOTH, bend=_other_time)
    yield case("note-of-other-size", [25], ALL, BOTH, size=3)
    yield case("note-of-other-root", [25], ALL, BOTH, text=lambda text: text.rsplit("\n", 2)[0] + "\n%s\n" % b64(b"\7" * 32))
    yield case("note-of-another-log", [25], ALL, BOTH, text=lambda text: text.replace("/log/", "/log/x", 1))
    yield case("note-with-more-lines", [25], ALL, BOTH, text=lambda text: text + "more\n")
    yield case("notes-swapped", [25], ALL, BOTH, {"files": _swapped})
    yield case("note-odd-name", [1, 25], ALL, BOTH, of_notes(lambda files, path: {**files, "log/anchors/hello": files[path]}))
    yield case("anchor-of-another-tree", [25], ALL, None, {"anchor root": lambda root: flipped(root)})
    yield case("proof-cut", [25], ALL, BOTH, {"files": lambda files: {
        p: data[45:] if p == _newest_proof(files) else data for p, data in files.items()}})
    yield case("anchored-after-receipt", [25], ALL, {"w1": -301, "w2": -301})
    yield case("covered-before-receipt", [25], ALL, None, at=LAST_STATEMENT - 302)
    yield case("witnesses-contradict", [25], ALL, BOTH, at=LAST_STATEMENT - 86400)


def _swapped(files):
    """Two notes under each other's name."""
    one, two = sorted(p for p in files if p.startswith("log/anchors/"))[:2]
    return {**files, one: files[two], two: files[one]}


def _newest_proof(files):
    return max((p for p in files if p.startswith("log/consistency/")), key=lambda p: int(p.rsplit("/", 1)[1]))


def _other_time(data):
    """The last cosignature with another time before it."""
    lines = data.splitlines(True)
    words = lines[-1].split(b" ")
    raw = base64.b64decode(words[2])
    words[2] = base64.b64encode(raw[:11] + bytes([raw[11] ^ 1]) + raw[12:]) + b"\n"
    return b"".join(lines[:-1]) + b" ".join(words)

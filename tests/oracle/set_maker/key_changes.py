"""Sets of logs whose authorities and whose own key changed."""

from . import scenes
from .bad_set import flipped
from .wire import Key

ORIGIN = "audit.example/log/2026"
FIRST, SECOND, THIRD = Key("log"), Key("log 2"), Key("log 3")


def _signers(*keys):
    """Who signs every checkpoint."""
    return {"checkpoint signers": lambda _value: [(ORIGIN, key) for key in keys]}


def _rotate(*names):
    def step(log, _audit, _device):
        for name in names:
            log.rotate(name)
    return step


def pinned(trust, *keys):
    """The trust file with these log keys."""
    vkeys = [key.vkey(ORIGIN) for key in keys]
    policy = "".join("log %s\n" % vkey for vkey in vkeys) + "quorum none\n"
    return {**trust, "log_keys": vkeys, "witness_policy": policy}


def _rotated(at="after draw", names=("log 2",), hooks=None, **more):
    return scenes.small({**(hooks or {}), **more.pop("more_hooks", {})}, steps={at: _rotate(*names)}, **more)


def _steps(*rows):
    def step(log, _audit, _device):
        for of, name, certificate in rows:
            log.key_change(of, name, certificate)
    return {"after plan": step}


WHOLE = [("agents", "prepare", "agents 2"), ("agents", "activate", "agents 2"), ("agents", "retire", "agents")]


def good_sets():
    """(name, files, trust)."""
    for at in ("before plan", "after plan", "after freeze", "after draw"):
        yield ("good-log-key-" + at.replace(" ", "-"), *_rotated(at))
    yield ("good-log-key-both-sign", *_rotated(hooks=_signers(SECOND, FIRST)))
    yield ("good-log-key-both-sign-old-first", *_rotated(hooks=_signers(FIRST, SECOND)))
    yield ("good-log-key-twice", *_rotated(names=("log 2", "log 3")))
    yield ("good-log-key-twice-all-sign", *_rotated(names=("log 2", "log 3"), hooks=_signers(FIRST, SECOND, THIRD)))
    files, trust = _rotated()
    yield "good-log-key-both-pinned", files, pinned(trust, FIRST, SECOND)
    yield "good-log-key-both-pinned-other-order", files, pinned(trust, SECOND, FIRST)
    # The new key, while the entry that names it lies above the set: whoever is pinned may sign.
    files, trust = scenes.small(_signers(SECOND))
    yield "good-log-key-pinned-ahead", files, pinned(trust, FIRST, SECOND)
    for name, rows in (
        ("whole", WHOLE),
        ("twice", WHOLE + [("agents", "prepare", "agents 3"), ("agents", "activate", "agents 3")]),
        ("dropped", [("people", "prepare", "people 2"), ("people", "rollback", "people 2"), ("people", "prepare", "people 3")]),
        ("undone", WHOLE[:2] + [("agents", "rollback", "agents 2"), ("agents", "retire", "agents 2")]),
        ("side-by-side", [("agents", "prepare", "agents 2"), ("servers", "prepare", "servers 2"), ("servers", "activate", "servers 2")]),
    ):
        yield ("good-authority-" + name, *scenes.small(steps=_steps(*rows)))


def _bad_log_keys():
    yield ("no-entry", *scenes.small(_signers(SECOND)), [3])
    yield ("by-the-old-one-alone", *_rotated(hooks=_signers(FIRST)), [3])
    yield ("by-the-one-before-alone", *_rotated(names=("log 2", "log 3"), hooks=_signers(SECOND)), [3])
    yield ("by-a-stranger-too", *_rotated(hooks=_signers(SECOND, Key("stranger"))), [3])
    yield ("twice-by-the-new-one", *_rotated(hooks=_signers(SECOND, SECOND)), [3])
    calls = []

    def export_by_the_old_one(value):
        calls.append(None)
        return value if len(calls) == 1 else [(ORIGIN, FIRST)]
    yield ("export-by-the-old-one-alone", *_rotated(hooks={"checkpoint signers": export_by_the_old_one}), [19])
    stranger = {"endorser": lambda _key: Key("stranger")}
    yield ("endorsed-by-another", *_rotated(hooks=stranger), [3, 8])
    yield ("endorsed-by-itself", *_rotated(hooks={"endorser": lambda _key: SECOND}), [3, 8])
    # The old key goes on signing, and what it is said to have endorsed it did not.
    yield ("endorsed-by-another-old-one-signs", *_rotated(hooks={**stranger, **_signers(FIRST)}), [8])
    yield ("not-held", *_rotated(hooks={"possession": lambda _key: Key("stranger")}), [8])
    first_endorses = iter([FIRST, FIRST])
    yield ("second-endorsed-by-the-first", *_rotated(
        names=("log 2", "log 3"), hooks={"endorser": lambda _key: next(first_endorses)}), [8])
    yield ("rotated-to-a-used-key", *_rotated(names=("operations",)), [8])
    yield ("rotated-back", *_rotated(names=("log 2", "log")), [3, 8])
    yield ("rotated-by-admin", *_rotated(hooks={"signer key-change": lambda _key: Key("admin")}), [8])
    for name, change in (
        ("certificate", lambda act: {**act, "certificate": ["ab" * 32]}), ("no-log", lambda act: {**act, "log": []}),
        ("step", lambda act: {**act, "step": "prepare"}), ("of", lambda act: {**act, "of": "agents"}),
        ("twice", lambda act: {**act, "log": act["log"] * 2}),
        ("member", lambda act: {**act, "log": [{**act["log"][0], "note": "x"}]}),
        ("short", lambda act: {**act, "log": [{**act["log"][0], "endorsement": "AAAA"}]}),
    ):
        # Nothing leads to the new key by an entry that is none.
        yield ("act-" + name, *_rotated(hooks={"act key-change": change}), [3, 6])
    other = SECOND.vkey("audit.example/log/2027")
    yield ("of-another-log", *_rotated(hooks={"act key-change": lambda act: {
        **act, "log": [{**act["log"][0], "vkey": other}]}}), [3, 8])
    files, trust = _rotated()
    yield "genesis-key-not-pinned", files, pinned(trust, SECOND), [7]
    yield "nothing-pinned-leads-there", files, pinned(trust, THIRD), [3, 7]

    def bent(lines):
        return [flipped(line) if b'"index"' in line and number == len(lines) - 1 else line for number, line in enumerate(lines)]
    yield ("line-bent", *_rotated(hooks={"lines roster": bent}), [3, 4])
    yield ("line-gone", *_rotated(hooks={"lines roster": lambda lines: lines[:-1]}), [3, 5, 19])


def _bad_authorities():
    for name, rows in (
        ("activate-first", WHOLE[1:2]), ("retire-first", WHOLE[2:]), ("prepare-twice", WHOLE[:1] * 2),
        ("prepare-while-retiring", WHOLE[:2] + [("agents", "prepare", "agents 3")]), ("rollback-first", [("agents", "rollback", "agents")]),
        ("retire-the-new-one", WHOLE[:2] + [("agents", "retire", "agents 2")]), ("activate-twice", WHOLE[:2] + WHOLE[1:2]),
        ("prepare-an-old-one", WHOLE + [("agents", "prepare", "agents")]), ("prepare-its-own", [("agents", "prepare", "agents")]),
        ("prepare-anothers", [("agents", "prepare", "people")]), ("rollback-after-retire", WHOLE + [("agents", "rollback", "agents 2")]),
        ("activate-anothers", [("agents", "prepare", "agents 2"), ("people", "activate", "agents 2")]),
    ):
        yield (name, *scenes.small(steps=_steps(*rows)), [8])
    one = _steps(WHOLE[0])
    yield ("by-admin", *scenes.small({"signer key-change": lambda _key: Key("admin")}, steps=one), [8])
    for name, change in (
        ("of-log", {"of": "log"}), ("no-certificate", {"certificate": []}), ("two-certificates", {"certificate": ["ab" * 32, "cd" * 32]}),
        ("rotate", {"step": "rotate"}), ("step", {"step": "drop"}), ("of", {"of": "root"}),
    ):
        yield (name, *scenes.small({"act key-change": lambda act, change=change: {**act, **change}}, steps=one), [6])


def bad_sets():
    """(name, files, trust, failed)."""
    for kind, group in (("log-key", _bad_log_keys), ("authority", _bad_authorities)):
        for name, files, trust, failed in group():
            yield "bad-%s-%s" % (kind, name), files, trust, failed

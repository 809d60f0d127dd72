"""Sets with statements that were erased, and sets that only say so."""

import json

from . import scenes
from .bad_set import flipped, path_like
from .export import DAY_MS, Audit
from .log import Log
from .scenes import HOUR_MS, START_MS
from .wire import Key, jcs

CUT_MS = START_MS + 30 * DAY_MS  # 2026-07-01T00:00Z, the end of a quarter
_GOOD = {"edr": "pass", "screen-lock": "pass"}


def world(hooks=None, erase=True, late="pass"):
    """Two days at the end of a quarter. The last statement of the second is received in the next quarter, which stays."""
    log = Log(START_MS + 27 * DAY_MS, hooks)
    log.person("analyst", "analyst")
    device, other = log.enrol("laptop-1", "laptop"), log.enrol("laptop-2", "laptop")
    log.policy(scenes.controls())
    pinned = log.size
    audit = Audit(
        log, [device, other], "erased", controls=["edr", "screen-lock"], **scenes.day_list(28, 2), sample_size=4,
        reserves=0,
    )
    audit.commit(pinned)
    for day, hour in ((28, 10), (28, 20), (29, 10), (29, 12)):
        log.attest(device, START_MS + day * DAY_MS + hour * HOUR_MS, {**_GOOD, "edr": "deviation"})
        log.attest(other, START_MS + day * DAY_MS + (hour + 1) * HOUR_MS, _GOOD)
    log.attest(device, CUT_MS - HOUR_MS, {**_GOOD, "edr": late}, received_ms=CUT_MS + HOUR_MS // 2)
    log.at(CUT_MS + HOUR_MS)
    audit.freeze()
    audit.reveal()
    audit.draw()
    log.at(CUT_MS + 2 * HOUR_MS)
    if erase:
        log.erase(device, "2026-q2", CUT_MS)
    return audit.export()


def good_sets():
    """(name, files, trust)."""
    yield ("good-erased", *world())
    yield ("good-erased-deviation-stays", *world(late="deviation"))
    yield ("good-erased-nothing", *world(erase=False))


def _unit(change):
    """A hook on every unit.json that has something erased."""
    def files(all_files):
        out = dict(all_files)
        for path, data in all_files.items():
            if path.endswith("/unit.json") and json.loads(data)["erased"]:
                out[path] = jcs(change(json.loads(data)))
        return out
    return files


def _drop_last(unit):
    return {**unit, "erased": unit["erased"][:-1]}


def _better(unit):
    return {**unit, "state": "PASS", "because": "condition"} if unit["state"] == "INDETERMINATE" else unit


def _not_counted(unit):
    return {**unit, "erased": [{**row, "counts": 0} for row in unit["erased"]]}


def _other_place(unit):
    return {**unit, "erased": [{**row, "sequence": row["sequence"] + 1} for row in unit["erased"]]}


def _tombstone(change):
    return lambda act: {**act, **change(act)}


def bad_sets():
    """(name, files, trust, failed)."""
    files, _trust = world()
    grave, leaf = path_like(files, "tombstones/", ""), None
    for path in sorted(files):
        if path.startswith("units/") and path.endswith(".tlog-proof") and path[:-10] + "envelope" not in files:
            leaf = path
            break
    def case(name, failed, hooks):
        return ("bad-erased-" + name, *world(hooks), failed)
    for name, path in (("grave", grave), ("leaf", leaf)):
        def bend(all_files, path=path):
            return {**all_files, path: flipped(all_files[path])}
        def remove(all_files, path=path):
            return {other: data for other, data in all_files.items() if other != path}
        yield case("flip-" + name, [16], {"files": bend})
        yield case("remove-" + name, [16], {"files": remove})
    yield case("second-grave", [16], {"files": lambda all_files: {**all_files, "tombstones/1.tlog-proof": all_files[grave]}})
    yield case("left-out", [16], {"files": _unit(_drop_last)})
    yield case("other-sequence", [16], {"files": _unit(_other_place)})
    yield case("pass", [17], {"files": _unit(_better)})
    yield case("does-not-count", [17], {"files": _unit(_not_counted)})
    quarter = lambda text: lambda act: {"scopes": [{**act["scopes"][0], "quarter": text}]}
    for name, change in (
        ("other-quarter", quarter("2026-q1")), ("quarter-not-over", quarter("2026-q3")),
        ("no-quarter", quarter("2026-q5")), ("other-origin", lambda act: {"origin": act["origin"] + "x"}),
        ("above-up-to", lambda act: {"up_to": 9}), ("up-to-beyond", lambda act: {"up_to": act["up_to"] + 9}),
        ("no-scope", lambda act: {"scopes": []}), ("scope-twice", lambda act: {"scopes": act["scopes"] * 2}),
        ("other-device", lambda act: {"scopes": [{**act["scopes"][0], "instance": "i-" + "a" * 26}]}),
        ("more-members", lambda act: {"note": "x"}),
    ):
        yield case(name, [16], {"act tombstone": _tombstone(change)})
    yield case("by-a-stranger", [16], {"signer tombstone": lambda _key: Key("stranger")})
    yield case("another-kind", [16], {"kind tombstone": lambda _kind: (4, 5)})

"""Observations with a known outcome, written field by field.

OUTCOMES[control][name] = (state, because, function of the minute -> bytes of the Observation's outcome field).
"""

from .wire import blob, num

OS_AGE_MINUTES = 4320


def _facts(field, body):
    return lambda minute: blob(3, blob(field, body(minute), True), True)


def _unavailable(reason, question="question"):
    return lambda _minute: blob(5, num(1, reason) + blob(2, question), True)


def _volume(purpose, mount, coverage, layers, leaves=1, encrypted=1):
    packed = bytes(layers)
    return blob(1, num(1, purpose) + blob(2, mount) + blob(3, "ext4") + num(4, coverage) + num(5, leaves)
                + num(6, encrypted) + blob(7, packed) + num(8, 0, True))


def _disk(root_coverage, truncated=0):
    body = _volume(1, "/", root_coverage, [2, 9, 12, 13]) + _volume(5, "/boot", 1, [12, 13], 1, 0) + num(2, truncated)
    return _facts(1, lambda _minute: body)


def _edr(running):
    other = blob(1, blob(1, "clamav") + num(2, 2) + num(3, 0, True))
    mine = blob(1, "examplesensor") + num(2, 1) + num(3, 1, True) + blob(4, "7.11.04", True)
    mine += b"" if running is None else num(5, running, True)
    return _facts(4, lambda _minute: other + blob(1, mine + num(6, 1, True) + num(7, 1, True)))


def _patch(pending, age=60):
    def body(minute):
        known = b"" if pending is None else num(4, pending, True)
        return (blob(1, "ubuntu") + blob(2, "24.04", True) + blob(3, "6.8.0-45-generic") + known + num(5, 7, True)
                + num(6, minute - age, True) + num(8, 0, True))
    return _facts(2, body)


def _lock(enabled, idle=300, rows=1):
    row = blob(1, "gnome") + num(2, 1) + num(3, enabled, True) + num(4, idle, True) + num(5, 0, True) + num(6, 1, True)
    return _facts(3, lambda _minute: blob(1, row) * rows)


_HEADLESS = blob(4, blob(1, blob(1, "multi-user.target"), True), True)

OUTCOMES = {
    "disk-encryption": {
        "pass": ("PASS", "condition", _disk(3)),
        "deviation": ("DEVIATION", "condition", _disk(1)),
        "truncated": ("INDETERMINATE", "unknown-fact", _disk(3, 1)),
        "unknown": ("INDETERMINATE", "unknown-fact", _disk(0)),
        "unavailable": ("INDETERMINATE", "no-privilege", _unavailable(1)),
    },
    "edr": {
        "pass": ("PASS", "condition", _edr(1)),
        "deviation": ("DEVIATION", "condition", _edr(0)),
        "unknown": ("INDETERMINATE", "unknown-fact", _edr(None)),
        "unavailable": ("INDETERMINATE", "tool-missing", _unavailable(2, "")),
    },
    "os-patch": {
        "pass": ("PASS", "condition", _patch(0)),
        "deviation": ("DEVIATION", "condition", _patch(3)),
        "old": ("DEVIATION", "condition", _patch(0, OS_AGE_MINUTES + 1)),
        "edge": ("PASS", "condition", _patch(0, OS_AGE_MINUTES)),
        "future": ("INDETERMINATE", "unknown-fact", _patch(0, -1)),
        "unknown": ("INDETERMINATE", "unknown-fact", _patch(None)),
        "unavailable": ("INDETERMINATE", "unparsed-output", _unavailable(4)),
    },
    "screen-lock": {
        "pass": ("PASS", "condition", _lock(1)),
        "deviation": ("DEVIATION", "condition", _lock(0)),
        "never": ("DEVIATION", "condition", _lock(1, 0, 2)),
        "empty": ("INDETERMINATE", "unknown-fact", _lock(1, 0, 0)),
        "headless": ("NOT_APPLICABLE", "headless", lambda _minute: _HEADLESS),
        "unavailable": ("INDETERMINATE", "no-session", _unavailable(5)),
    },
}


def observation(control, outcome, minute):
    """Bytes of one Observation."""
    return blob(1, control) + num(2, 1) + OUTCOMES[control][outcome][2](minute)


def _is(op, fact, value):
    return {"op": op, "fact": fact, "value": value}


CONDITIONS = {
    "disk-encryption": {"op": "every", "list": "volumes", "is": {"op": "any", "of": [
        {"op": "in", "fact": "encryption", "values": ["full", "memory"]},
        {"op": "in", "fact": "purpose", "values": ["boot", "efi"]},
    ]}},
    "edr": {"op": "some", "list": "products", "is": {"op": "all", "of": [
        _is("eq", "kind", "edr"), _is("eq", "running", "yes"), _is("ne", "trusted_path", "no"),
        {"op": "version_at_least", "fact": "version", "value": "7.9"},
    ]}},
    "os-patch": {"op": "all", "of": [
        {"op": "exists", "fact": "os"}, _is("le", "pending_security", 0),
        {"op": "age_at_most", "fact": "lists_minutes", "minutes": OS_AGE_MINUTES},
    ]},
    "screen-lock": {"op": "every", "list": "users", "is": {"op": "all", "of": [
        _is("eq", "enabled", "yes"), {"op": "not", "of": [_is("lt", "idle_seconds", 1)]},
        _is("le", "idle_seconds", 900),
    ]}},
}

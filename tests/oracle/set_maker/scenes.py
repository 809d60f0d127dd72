"""The worlds that the sets come from."""

from .export import DAY_MS, Audit
from .facts import CONDITIONS
from .log import Log
from .wire import Key, fixed, jcs

START_MS = 1_780_272_000_000  # 2026-06-01T00:00Z, a midnight
HOUR_MS = 3_600_000
CONTROLS = ("disk-encryption", "edr", "os-patch", "screen-lock")


def controls(max_age_minutes=1440, **changes):
    """The four controls of a policy; changes by control id with `_` for `-`."""
    return [
        {
            "id": name, "title": name, "rationale": "", "classes": [], "groups": [], "condition": CONDITIONS[name],
            "grace_minutes": 0, "sla_minutes": 4320, "max_age_minutes": max_age_minutes, "severity": "high",
            "remedy": "Ask the help desk.",
            "mapping": [{"framework": "soc2", "ref": "CC6.1", "strength": "partial"}],
            **changes.get(name.replace("-", "_"), {}),
        }
        for name in CONTROLS
    ]


def day_list(first, count):
    """Members `days` and `end` of a plan, day 0 being 2026-06-01."""
    days = [
        {"label": "2026-06-%02d" % (n + 1), "start": str(START_MS + n * DAY_MS)} for n in range(first, first + count)
    ]
    return {"days": days, "end": str(START_MS + (first + count) * DAY_MS)}


def minimal(hooks=None, steps=None, label="2026", policy=True, stamp=None, **plan):
    """One device, four controls, a day before its first statement and a partial day.

    `steps`: name -> function(log, audit or None, device), called at that point.
    """
    steps = steps or {}

    def step(name, audit=None):
        if name in steps:
            steps[name](log, audit, device)

    device = None
    log = Log(START_MS + 22 * HOUR_MS, hooks, label)
    log.person("analyst", "analyst")
    device = log.enrol("laptop-1", "laptop")
    if policy:
        log.policy(controls())
    step("before plan")
    pinned = log.size
    device.anchor = pinned
    log.at(START_MS + 23 * HOUR_MS)
    members = {
        "controls": list(CONTROLS), **day_list(0, 2), "sample_size": 1, "reserves": 1, "partial_day": 1,
        "replace_not_applicable": 1, **plan,
    }
    audit = Audit(log, [device], "minimal", **members)
    step("after plan", audit)
    if "commit" in steps:
        step("commit", audit)
    else:
        audit.commit(pinned)
    good = {"disk-encryption": "pass", "edr": "deviation", "os-patch": "unknown", "screen-lock": "headless"}
    day = START_MS + DAY_MS
    for hour, outcomes in ((1, good), (3, good), (6, {**good, "edr": "pass"}), (9, good)):
        log.at(day + hour * HOUR_MS)
        step("before statement", audit)
        log.attest(device, day + hour * HOUR_MS, outcomes)
    log.at(day + 10 * HOUR_MS)
    audit.freeze()
    step("after freeze", audit)
    log.attest(device, day + 11 * HOUR_MS, good)
    if "reveal" in steps:
        step("reveal", audit)
    else:
        audit.reveal()
    step("after reveal", audit)
    audit.draw()
    step("after draw", audit)
    return audit.export(stamp=stamp)


def _fleet(log):
    """Twelve devices of three classes in two groups."""
    rows = [("laptop", "office")] * 4 + [("laptop", "field")] * 3 + [("desktop", "office")] * 3 + [("server", "field")] * 2
    return [log.enrol("fleet-%d" % n, device_class, group) for n, (device_class, group) in enumerate(rows)]


def _outcomes(n, day, hour):
    """Outcomes by control, a mix that is the same in every run."""
    roll = (n * 7 + day * 5 + hour) % 23
    return {
        "disk-encryption": {3: "deviation", 9: "truncated", 14: "unknown", 17: "unavailable"}.get(roll, "pass"),
        "edr": {1: "deviation", 6: "unknown", 11: "unavailable"}.get(roll, "pass"),
        "os-patch": {2: "old", 5: "edge", 8: "future", 13: "deviation", 19: "unknown"}.get(roll, "pass"),
        **({} if roll == 20 else {
            "screen-lock": "headless" if n >= 10 or roll in (4, 15) else
            {0: "deviation", 7: "never", 12: "empty", 18: "unavailable"}.get(roll, "pass"),
        }),
    }


def _live(log, devices, day):
    """One day of statements, gaps and late arrivals."""
    start, events = START_MS + day * DAY_MS, []
    for n, device in enumerate(devices):
        if n == 4 and day in (3, 4, 5) or n == 11 and day == 6:
            continue  # nothing is heard of it
        for turn in range(1 + (n + day) % 4):
            events.append((start + (2 + 5 * turn) * HOUR_MS + n * 60000 + 17, n, turn))
    late = []
    for at, n, turn in sorted(events):
        device = devices[n]
        log.at(at)
        if device.retired_ms is not None and at > device.retired_ms:
            continue
        if (n, day, turn) == (2, 4, 1):
            log.gap_not_made(device, at - 3 * HOUR_MS, at - HOUR_MS, 3)
        if (n, day, turn) == (6, 5, 0):
            log.gap_destroyed(device, 4)
        if n == 8 and day == 2:
            late.append((device, at, _outcomes(n, day, turn)))  # spooled, sent two days later
        else:
            log.attest(device, at, _outcomes(n, day, turn), received_ms=at)
        if turn == 0 and day % 3 == 1:
            device.anchor = log.size
    return late


def large(method="consistent", hooks=None):
    """Twelve devices, ten days, two policies, two plans."""
    log = Log(START_MS - 40 * HOUR_MS, hooks)
    log.person("analyst", "analyst")
    first_size = log.size
    devices = _fleet(log)
    log.policy(controls())
    log.at(START_MS - HOUR_MS)
    one = Audit(
        log, devices, "consistent", controls=["disk-encryption", "screen-lock"], **day_list(1, 8), sample_size=20,
        reserves=6, acceptance=1, replace_not_applicable=1, scope={"classes": ["laptop", "server"], "groups": []},
    )
    committed_size = log.size
    one.commit(committed_size)
    two = Audit(
        log, devices, "rivest", controls=list(CONTROLS), **day_list(0, 10), sample_size=15, reserves=3,
        method="rivest2011", scope={"classes": [], "groups": ["field"]}, risk_bp=500, tolerable_bp=1000,
    )
    two.commit(log.size)
    waiting = []
    for day in range(10):
        log.at(START_MS + day * DAY_MS + HOUR_MS // 2)
        if day == 3:
            log.change_class(devices[0], "server", START_MS + 4 * DAY_MS)
            log.change_class(devices[7], "laptop", START_MS)  # back-dated: holds from now on
            log.retire(devices[5], START_MS + 5 * DAY_MS + 7 * HOUR_MS)
        if day == 6:
            log.policy(controls(60, screen_lock={"classes": ["laptop", "desktop"]}, edr={"groups": ["field"]}))
            log.retire(devices[9], 0)
        if day == 4:
            for device, at, outcomes in waiting:
                log.attest(device, at, outcomes, received_ms=log.now)
            waiting = []
        waiting += _live(log, devices, day)
        if day == 8:
            log.at(START_MS + 9 * DAY_MS + HOUR_MS // 4)
            one.freeze()
            one.reveal()
            one.draw()
    log.at(START_MS + 10 * DAY_MS + HOUR_MS)
    two.freeze()
    log.attest(devices[1], log.now, _outcomes(1, 10, 0))
    two.reveal()
    two.draw()
    return (one if method == "consistent" else two).export(pinned=(first_size,))


def small(hooks=None, **options):
    """The minimal world with two controls: what most variants start from."""
    return minimal(hooks, **{"controls": ["edr", "screen-lock"], **options})


def trust_bytes(trust):
    """Canonical bytes of a trust file."""
    return jcs(trust)


def other_log_key():
    """A second log key of the same origin."""
    return Key("second log").vkey("audit.example/log/2026")


def enrol_again(log, device):
    """A second enrolment by a token that is used: the second device's own token is never admitted."""
    secret = fixed("token " + device.name)
    return log.enrolment("laptop-2", device.classes[0][1], device.groups[0][1], secret)

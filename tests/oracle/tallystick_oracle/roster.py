"""Who may sign, which devices there are, and the frame: docs/FORMAT.md sections 8 and 10."""

from dataclasses import dataclass, field

from .signatures import sha256_hex


@dataclass(frozen=True)
class Person:
    """An admitted person."""

    person: str
    role: str
    key: str
    admitted: int  # index of the entry


def people(roster):
    """Key id -> Person, of everybody whom the roster admits; a later entry never replaces an earlier one."""
    found = {}
    for entry in roster:
        if entry.kind == (1, 1):
            row = entry.act["admin"] | {"role": "admin"}
        elif entry.kind == (1, 2):
            row = entry.act
        else:
            continue
        person = Person(row["person"], row["role"], row["key"], entry.index)
        found.setdefault(sha256_hex(bytes.fromhex(person.key)), person)
    return found


@dataclass(frozen=True)
class State:
    """What a device is in [start_ms, end_ms); end None: for ever."""

    start_ms: int
    end_ms: int | None
    device_class: str
    group: str

    def meets(self, start_ms, end_ms):
        """Whether some moment of [start_ms, end_ms) lies in it."""
        start = max(self.start_ms, start_ms)
        return start < (end_ms if self.end_ms is None else min(self.end_ms, end_ms))


@dataclass
class Device:
    """A device of the roster with its states in service, ascending and of non-zero length."""

    device: str
    instance: str
    attestation_key: bytes
    enrolled: int  # index of the enrolment
    states: list = field(default_factory=list)


@dataclass
class Instance:
    """A key a device speaks or spoke with."""

    device: str
    attestation_key: bytes
    enrolled: int  # index of the entry that began it
    ended: int | None = None  # index of the entry that ended it


def instances(roster):
    """Instance -> Instance, from these roster entries."""
    found = {}

    def end(index, of):
        for row in found.values():
            if of(row) and row.ended is None:
                row.ended = index

    for entry in roster:
        act = entry.act
        if entry.kind in ((1, 4), (1, 5)):
            found.setdefault(act["instance"], Instance(act["device"], bytes.fromhex(act["attestation_key"]), entry.index))
            if entry.kind == (1, 5) and act["previous"] in found and found[act["previous"]].ended is None:
                found[act["previous"]].ended = entry.index
        elif entry.kind == (1, 7) and act["device"]:
            end(entry.index, lambda row, gone=act["device"][0]: row.device == gone)
        elif entry.kind == (1, 10):
            end(entry.index, lambda row, gone=act["other"]: row.device == gone)
    return found


def devices(roster):
    """Device id -> Device, from these roster entries alone."""
    enrolments, events = {}, {}
    for entry in roster:
        act = entry.act
        if entry.kind == (1, 4):
            enrolments.setdefault(act["device"], entry)
            events.setdefault(act["device"], [])
        elif entry.kind in ((1, 6), (1, 8), (1, 9)) and act["device"] in events:
            at = max(int(act["effective_at"]), entry.received_ms)
            events[act["device"]].append((at, entry.index, act))
        elif entry.kind == (1, 10) and act["other"] in events:
            events[act["other"]].append((entry.received_ms, entry.index, act))
    found = {}
    for name, entry in enrolments.items():
        act = entry.act
        device = Device(name, act["instance"], bytes.fromhex(act["attestation_key"]), entry.index)
        start, device_class, group = entry.received_ms, act["class"], act["group"]
        for at, _index, event in sorted(events[name], key=lambda row: row[:2]):
            if start < at:
                device.states.append(State(start, at, device_class, group))
            start = at
            if event["act"] in ("retire", "merge"):
                start = None
                break
            device_class, group = event.get("class", device_class), event.get("group", group)
        if start is not None:
            device.states.append(State(start, None, device_class, group))
        found[name] = device
    return found


@dataclass(frozen=True)
class Day:
    """One day of a plan, [start_ms, end_ms); `partial` if the freeze cuts it off."""

    label: str
    start_ms: int
    end_ms: int
    partial: bool


def plan_days(plan, freeze_ms):
    """The days of a plan whose freeze was received at freeze_ms."""
    starts = [int(day["start"]) for day in plan["days"]]
    end = int(plan["end"])
    partial = plan["partial_day"] == 1 and freeze_ms < end
    ends = starts[1:] + [freeze_ms if partial else end]
    last = len(starts) - 1
    return [
        Day(day["label"], start, stop, partial and n == last)
        for n, (day, start, stop) in enumerate(zip(plan["days"], starts, ends))
    ]


def in_scope(state, classes, groups):
    """Whether a state's class and group are among these; an empty list means all."""
    return (not classes or state.device_class in classes) and (not groups or state.group in groups)


def frame(plan, days, roster_devices, control):
    """The unit ids of a control's frame, ascending; a generator, because a frame can be large."""
    scope = plan["scope"]
    for name in sorted(roster_devices):
        device = roster_devices[name]
        states = [s for s in device.states if in_scope(s, scope["classes"], scope["groups"])]
        for day in days:
            if any(state.meets(day.start_ms, day.end_ms) for state in states):
                yield "%s/%s/%s" % (name, day.label, control)

"""Conditions of rules/v1, three-valued: docs/FORMAT.md section 9. True, False and None for unknown."""

import re

from .canonical import Bad
from .schema import CONTROLS, ENUMS, MESSAGES

DEPTH_MAX = 8
NODES_MAX = 256
_ORDERED = {
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}
_COMPARED = {"eq": lambda a, b: a == b, "ne": lambda a, b: a != b, **_ORDERED}
_VERSION = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})*\Z", re.ASCII)
_MEMBERS = {
    "all": {"of"}, "any": {"of"}, "not": {"of"},
    **{op: {"fact", "value"} for op in _COMPARED},
    "in": {"fact", "values"}, "exists": {"fact"},
    "every": {"list", "is"}, "some": {"list", "is"},
    "age_at_most": {"fact", "minutes"}, "version_at_least": {"fact", "value"},
}


class _Scope:
    """The names a condition may use: the members of a message, or `.` for an item that is itself a value."""

    def __init__(self, message=None, item=None):
        self.facts, self.lists = {}, {}
        if item is not None:
            self.facts["."] = item
            return
        for _number, name, kind, label in MESSAGES[message]:
            if label == "repeated":
                self.lists[name] = kind
            elif not name.endswith("_truncated"):  # a flag is no fact: it only makes its list unknown
                self.facts[name] = kind

    def fact_kind(self, name):
        """The type of a fact, as in schema.py."""
        kind = self.facts.get(name) if type(name) is str else None
        if kind is None:
            raise Bad("condition names an unknown fact")
        return kind

    def inside(self, name):
        """The scope of a list's items."""
        kind = self.lists.get(name) if type(name) is str else None
        if kind is None:
            raise Bad("condition names an unknown list")
        return _Scope(kind) if kind in MESSAGES else _Scope(item=kind)


def _comparable(kind, value):
    """Whether a fact of this kind may be compared with the value."""
    if kind in ("u32", "u64"):
        return type(value) is int
    if type(value) is not str:
        return False
    if kind == "bool":
        return value in ("yes", "no")
    return kind == "text" or value in [name for number, name in ENUMS[kind].items() if number]


def _check(node, scope, depth, nodes):
    if type(node) is not dict or node.get("op") not in list(_MEMBERS):
        raise Bad("condition has an unknown op")
    nodes[0] += 1
    if depth > DEPTH_MAX or nodes[0] > NODES_MAX:
        raise Bad("condition is too deep or too large")
    op = node["op"]
    if set(node) != _MEMBERS[op] | {"op"}:
        raise Bad("condition %s has wrong members" % op)
    if op in ("all", "any", "not"):
        parts = node["of"]
        if type(parts) is not list or not parts or (op == "not" and len(parts) != 1):
            raise Bad("condition %s has a wrong number of parts" % op)
        for part in parts:
            _check(part, scope, depth + 1, nodes)
        return
    if op in ("every", "some"):
        _check(node["is"], scope.inside(node["list"]), depth + 1, nodes)
        return
    kind = scope.fact_kind(node["fact"])
    number = kind in ("u32", "u64")
    if op in _ORDERED:
        holds = number and _comparable(kind, node["value"])
    elif op in _COMPARED:
        holds = _comparable(kind, node["value"])
    elif op == "in":
        values = node["values"]
        holds = type(values) is list and bool(values) and all(_comparable(kind, value) for value in values)
    elif op == "age_at_most":
        holds = number and type(node["minutes"]) is int and node["minutes"] >= 0
    elif op == "version_at_least":
        holds = kind == "text" and type(node["value"]) is str and _version(node["value"]) is not None
    else:
        holds = True  # exists
    if not holds:
        raise Bad("condition %s over %s is mistyped" % (op, node["fact"]))


def check_condition(node, control):
    """Raises unless the condition is well formed and typed for the control."""
    _check(node, _Scope(CONTROLS[control][1]), 1, [0])


def _kleene_and(values):
    if any(value is False for value in values):
        return False
    return None if any(value is None for value in values) else True


def _kleene_or(values):
    if any(value is True for value in values):
        return True
    return None if any(value is None for value in values) else False


def _fact(item, kind):
    """A wire value as conditions see it; None when unknown."""
    if item is None:
        return None
    if kind == "bool":
        return "yes" if item else "no"
    if kind in ENUMS:
        return ENUMS[kind][item] if item else None
    if kind == "text":
        return item or None
    return item


def _version(text):
    if not _VERSION.match(text):
        return None
    return [int(part) for part in text.split(".")]


def _at_least(text, wanted):
    have, want = _version(text), _version(wanted)
    if have is None or want is None:
        return None
    length = max(len(have), len(want))
    return have + [0] * (length - len(have)) >= want + [0] * (length - len(want))


def _value(node, item, scope, minute):
    op = node["op"]
    if op in ("all", "any"):
        values = [_value(part, item, scope, minute) for part in node["of"]]
        return _kleene_and(values) if op == "all" else _kleene_or(values)
    if op == "not":
        value = _value(node["of"][0], item, scope, minute)
        return None if value is None else not value
    if op in ("every", "some"):
        rows = item[node["list"]]
        if not rows or item.get(node["list"] + "_truncated"):
            return None
        inside = scope.inside(node["list"])
        values = [_value(node["is"], row, inside, minute) for row in rows]
        return _kleene_and(values) if op == "every" else _kleene_or(values)
    name = node["fact"]
    fact = _fact(item if name == "." else item.get(name), scope.facts[name])
    if fact is None:
        return None
    if op == "exists":
        return True
    if op == "in":
        return fact in node["values"]
    if op == "age_at_most":
        return None if fact > minute else minute - fact <= node["minutes"]
    if op == "version_at_least":
        return _at_least(fact, node["value"])
    return _COMPARED[op](fact, node["value"])


def evaluate(node, control, facts, minute):
    """The condition's value over a control's facts observed in that minute since 1970."""
    return _value(node, facts, _Scope(CONTROLS[control][1]), minute)

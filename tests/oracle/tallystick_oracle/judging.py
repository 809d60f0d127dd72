"""The state of a unit under a policy: docs/FORMAT.md section 9."""

from dataclasses import dataclass

from .conditions import evaluate
from .roster import in_scope
from .schema import CONTROLS, ENUMS
from .statement import MINUTE_MS

_WORST_FIRST = ("DEVIATION", "INDETERMINATE", "PASS", "NOT_APPLICABLE")


@dataclass(frozen=True)
class Verdict:
    """A unit's state with what decided it."""

    state: str
    because: str
    decided_by: list  # [] or [index]
    policy_index: list  # [] or [index]
    counted: frozenset  # indexes of the statements that count


def policy_of(rules, day, freeze_index):
    """The policy entry a day is judged by, or None."""
    found = None
    for entry in rules:
        in_time = entry.index < freeze_index if day.partial else entry.received_ms < day.end_ms
        if entry.kind == (2, 1) and in_time:
            found = entry
    return found


def _judge_one(control, attestation, observed_ms):
    """(state, because) from one attestation."""
    observation = next((o for o in attestation["observations"] if o["control"] == control["id"]), None)
    if observation is None:
        return "INDETERMINATE", "no-observation"
    if "not_applicable" in observation:
        proof = observation["not_applicable"]["headless"]
        seen = proof["display_manager"] or proof["graphical_sessions"] or proof["desktop_installed"]
        if control["id"] != "screen-lock" or seen:
            return "INDETERMINATE", "unproved"
        return "NOT_APPLICABLE", "headless"
    if "unavailable" in observation:
        return "INDETERMINATE", ENUMS["Reason"][observation["unavailable"]["reason"]].replace("_", "-")
    facts = observation["observed"][CONTROLS[control["id"]][0]]
    value = evaluate(control["condition"], control["id"], facts, observed_ms // MINUTE_MS)
    if value is None:
        return "INDETERMINATE", "unknown-fact"
    return ("PASS" if value else "DEVIATION"), "condition"


def max_age_minutes(rules, freeze_index, day, control_id):
    """The age that the policy in force allows for a control; 0 without one."""
    policy = policy_of(rules, day, freeze_index)
    controls = policy.act["controls"] if policy else []
    return next((c["max_age_minutes"] for c in controls if c["id"] == control_id), 0)


def may_lie_in(received_ms, day, minutes):
    """Whether an erased attestation received then may have been observed on the day, and in time."""
    return received_ms >= day.start_ms and received_ms - minutes * MINUTE_MS < day.end_ms


def judge(rules, freeze_index, device, day, control_id, statements, erased=()):
    """The verdict on (device, day, control) from the statements of its folder: rows (index, received_ms, statement),
    and from its erased attestations: rows (index, received_ms)."""
    policy = policy_of(rules, day, freeze_index)
    policy_index = [policy.index] if policy else []
    controls = policy.act["controls"] if policy else []
    control = next((c for c in controls if c["id"] == control_id), None)
    if control is None:
        return Verdict("INDETERMINATE", "no-policy", [], policy_index, frozenset())
    applies = any(
        state.meets(day.start_ms, day.end_ms) and in_scope(state, control["classes"], control["groups"])
        for state in device.states
    )
    if not applies:
        return Verdict("NOT_APPLICABLE", "class", [], policy_index, frozenset())
    outcomes = []
    for index, received, statement in statements:
        observed = statement.observed_ms(received)
        if observed is None or not day.start_ms <= observed < day.end_ms:
            continue
        if received - observed > control["max_age_minutes"] * MINUTE_MS:
            continue
        if day.partial and index >= freeze_index:
            continue
        outcomes.append((index, *_judge_one(control, statement.attestation, observed)))
    gone = [
        (index, "INDETERMINATE", "erased") for index, received in erased
        if may_lie_in(received, day, control["max_age_minutes"]) and not (day.partial and index >= freeze_index)
    ]
    counted = frozenset(index for index, _state, _because in outcomes + gone)
    if not outcomes:
        return Verdict("MISSING", "erased" if gone else "no-evidence", [], policy_index, counted)
    outcomes += gone
    index, state, because = min(outcomes, key=lambda row: (_WORST_FIRST.index(row[1]), row[0]))
    return Verdict(state, because, [index], policy_index, counted)

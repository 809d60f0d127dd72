"""The numbered checks in order, and which need which: docs/FORMAT.md section 12."""

from . import checks_audit, checks_export, checks_files, checks_log, checks_times, checks_tree, checks_units
from .canonical import Bad
from .checks_export import NotRun, not_run

PASSED, FAILED, NOT_RUN = "passed", "failed", "not-run"

# number, name, numbers it needs, check. Every check from 2 to 20 needs a manifest besides.
CHECKS = (
    (1, "files", (), checks_files.check_files),
    (2, "trust", (), checks_files.check_trust),
    (3, "checkpoint", (2,), checks_files.check_checkpoint),
    (4, "streams", (), checks_log.check_streams),
    (5, "stream proofs", (3, 4), checks_log.check_stream_proofs),
    (6, "acts", (4,), checks_log.check_acts),
    (7, "genesis", (2, 6), checks_log.check_genesis),
    (8, "authority", (6, 7), checks_log.check_authority),
    (9, "enrolments", (6, 7), checks_log.check_enrolments),
    (10, "plan", (2, 6), checks_audit.check_plan),
    (11, "ceremony", (7, 10), checks_audit.check_ceremony),
    (12, "freeze", (11,), checks_audit.check_freeze),
    (13, "population", (12,), checks_audit.check_population),
    (14, "draw", (13,), checks_audit.check_draw),
    (15, "consistency", (3, 11), checks_audit.check_consistency_proofs),
    (16, "statements", (3, 14), checks_units.check_statements),
    (17, "units", (16,), checks_units.check_units),
    (18, "results", (17,), checks_units.check_results),
    (19, "export", (3, 7), checks_export.check_export),
    (20, "simulated", (2, 7), checks_export.check_simulated),
    (21, "completeness", (), checks_tree.check_completeness),
    (22, "witnesses", (3, 19), checks_export.check_witnesses),
    (23, "stamp", (), checks_export.check_stamp),
    (24, "beacon", (), not_run("plan has no beacon")),
    (25, "times", (15, 17, 19), checks_times.check_times),
)


class Run:
    """One verification: the set, the trust file's bytes, and what checks found for later ones."""

    def __init__(self, folder, trust_bytes, tree):
        self.folder = folder
        self.tree = tree  # a copy of the public tree, or None
        self.trust_bytes = trust_bytes
        self.manifest = None
        self.times = []  # rows of check 25


def _one(run, number, needs, results, check):
    if (2 <= number <= 20 or number == 25) and run.manifest is None:
        return NOT_RUN, "needs MANIFEST.json"
    if number == 21 and run.tree is not None:
        needs = (2, 3, 4, 12, 19)
    for other in needs:
        if results[other] != PASSED:
            return NOT_RUN, "needs check %d" % other
    try:
        return PASSED, check(run) or ""
    except NotRun as why:
        return NOT_RUN, str(why)
    except Bad as why:
        return FAILED, str(why)
    except Exception as error:  # hostile input must end as a failed check, whatever it made Python do
        return FAILED, "could not be checked: %s" % type(error).__name__


def verify(folder, trust_bytes, tree=None):
    """The result of every check: {number, name, result, detail}."""
    return verify_times(folder, trust_bytes, tree)[0]


def verify_times(folder, trust_bytes, tree=None):
    """The result of every check, and when the statements that decided units were signed."""
    run, results, rows = Run(folder, trust_bytes, tree), {}, []
    for number, name, needs, check in CHECKS:
        result, detail = _one(run, number, needs, results, check)
        results[number] = result
        rows.append({"number": number, "name": name, "result": result, "detail": detail})
    return rows, run.times


def is_sound(rows):
    """None failed, and 1 to 19 all ran."""
    return all(row["result"] != FAILED and (row["result"] == PASSED or row["number"] > 19) for row in rows)

"""All sets by name, with what a verifier has to say about them."""

from . import bad_log, bad_set, erased, identity, key_changes, scenes, times, trees, witness

# Check -> the checks it needs: docs/FORMAT.md section 12. What needs a failed check may fail or not be run.
NEEDS = {
    3: {2}, 5: {3, 4}, 6: {4}, 7: {2, 6}, 8: {6, 7}, 9: {6, 7}, 10: {2, 6}, 11: {7, 10}, 12: {11}, 13: {12},
    14: {13}, 15: {2, 3, 11}, 16: {3, 14}, 17: {16}, 18: {17}, 19: {2, 3, 7}, 20: {2, 7},
    22: {3, 19}, 25: {15, 17, 19},
}


def dependents(failed):
    """The checks that need one of these, directly or not."""
    found = set(failed)
    for number in sorted(NEEDS):
        if NEEDS[number] & found:
            found.add(number)
    return sorted(found - set(failed))


def good_sets():
    """(name, files, trust) of sets that are sound."""
    yield ("good-minimal", *scenes.minimal())
    yield ("good-small", *scenes.small())
    yield ("good-large-consistent", *scenes.large())
    yield ("good-large-rivest", *scenes.large("rivest2011"))
    yield ("good-simulated", *scenes.small(label="2026/simulated"))
    yield ("good-no-policy", *scenes.small(policy=False))
    yield ("good-empty-frame", *scenes.small(scope={"classes": ["container"], "groups": []}))
    yield ("good-stamped", *scenes.small(stamp=b"a stamp that only another verifier can read"))
    yield ("good-rivest", *scenes.small(method="rivest2011", sample_size=2, reserves=0))
    yield ("good-reserves-run-out", *scenes.small(sample_size=2, reserves=5))
    yield ("good-not-replaced", *scenes.small(sample_size=2, reserves=0, replace_not_applicable=0))
    files, trust = scenes.small()
    yield "good-trust-final-lf", files, scenes.trust_bytes(trust) + b"\n"
    other = scenes.other_log_key()
    two = {**trust, "log_keys": trust["log_keys"] + [other]}
    two["witness_policy"] = "".join("log %s\n" % key for key in two["log_keys"]) + "quorum none\n"
    yield "good-two-log-keys", files, two
    yield from witness.good_sets()
    yield from times.good_sets()
    yield from erased.good_sets()
    yield from identity.good_sets()
    yield from key_changes.good_sets()
    yield from trees.good_sets()
    files, trust = witness.cosigned(witness.ALL, "w1", "w2")
    for name, text in witness.good_policies(trust["witness_policy"]):
        yield "good-policy-" + name, files, {**trust, "witness_policy": text}


def all_sets():
    """(name, files, trust, failed, also) of every set."""
    for name, files, trust in good_sets():
        yield name, files, trust, [], []
    makers = (
        bad_set.cases, bad_log.cases, witness.bad_sets, times.bad_sets, erased.bad_sets, trees.bad_sets, identity.bad_sets,
        key_changes.bad_sets,
    )
    for cases in (maker() for maker in makers):
        for name, files, trust, failed in cases:
            manifest_lost = "MANIFEST.json" not in files or name.startswith("bad-manifest-unreadable")
            also = [n for n in range(2, 21) if n not in failed] if manifest_lost else dependents(failed)
            yield name, files, trust, failed, also

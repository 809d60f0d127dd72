"""Seed, draw and exact statistics: docs/FORMAT.md sections 10 and 11."""

from .signatures import sha256, sha256_hex

NONCE_LABEL = b"evidence-draw/auditor-nonce/v1\0"
SEED_LABEL = b"evidence-draw/seed/v1\0"


def lp(data):
    """Length prefix and data."""
    return len(data).to_bytes(4, "big") + data


def seed_of(plan_hash, population_sha256, count, nonce):
    """The seed of a draw without a beacon, 32 bytes."""
    return sha256(
        SEED_LABEL + lp(plan_hash) + lp(population_sha256) + count.to_bytes(8, "big") + lp(nonce)
        + lp(b"") + (0).to_bytes(8, "big") + lp(b"")
    )


def seed_decimal(seed):
    """The seed as 78 decimal digits."""
    return str(int.from_bytes(seed, "big")).zfill(78)


def _consistent(units, seed_dec, wanted):
    key = sha256_hex(seed_dec.encode("ascii"))
    tickets = []
    for unit in units:
        number = int(sha256_hex((key + unit).encode("utf-8")), 16)
        tickets.append(("0." + str(number).zfill(64)[::-1], unit))
    return sorted(tickets)[:wanted]


def _rivest2011(units, seed_dec, wanted):
    picked, rows, i = set(), [], 0
    wanted = min(wanted, len(units))
    while len(rows) < wanted:
        i += 1
        row = int(sha256_hex(("%s,%d" % (seed_dec, i)).encode("ascii")), 16) % len(units)
        if row not in picked:
            picked.add(row)
            rows.append((str(i), units[row]))
    return rows


def draw(method, units, seed_dec, wanted):
    """The first `wanted` (ticket, unit) of the order a method gives to a population file's units."""
    return (_consistent if method == "consistent" else _rivest2011)(units, seed_dec, wanted)


def draw_file(control, plan, units, population_sha256, seed):
    """The members of draw/<control>.json."""
    seed_dec = seed_decimal(seed)
    size, reserves = plan["sample_size"], plan["reserves"]
    order = draw(plan["method"], units, seed_dec, size + reserves + 1)
    rows = [{"ticket": ticket, "unit": unit} for ticket, unit in order]
    return {
        "control": control, "count": len(units), "first_not_taken": rows[size + reserves :],
        "method": plan["method"], "population_sha256": population_sha256.hex(),
        "reserves": rows[size : size + reserves], "seed": seed.hex(), "seed_dec": seed_dec,
        "selected": rows[:size],
    }


def at_most_risk(n, deviations, rate, rate_of, risk_bp):
    """Whether P(X <= deviations) <= risk for n trials at rate/rate_of < 1, in integers."""
    other = rate_of - rate
    term = total = other**n
    for k in range(deviations):
        # C(n, k+1) r^(k+1) o^(n-k-1) from C(n, k) r^k o^(n-k); the division leaves no remainder.
        term = term * (n - k) * rate // ((k + 1) * other)
        total += term
    return total * 10000 <= risk_bp * rate_of**n


def upper_limit(n, deviations, risk_bp):
    """One-sided Clopper-Pearson limit in percent, rounded up to one decimal."""
    if deviations >= n:
        return "100.0"
    low, high = 0, 1000  # the limit lies in (low, high]; it falls as the rate grows
    while high - low > 1:
        middle = (low + high) // 2
        if at_most_risk(n, deviations, middle, 1000, risk_bp):
            high = middle
        else:
            low = middle
    return "%d.%d" % divmod(high, 10)


def bound(n, deviations, plan):
    """One row of an evaluation."""
    supports = n > 0 and at_most_risk(n, deviations, plan["tolerable_bp"], 10000, plan["risk_bp"])
    return {
        "n": n, "deviations": deviations, "upper_limit": upper_limit(n, deviations, plan["risk_bp"]),
        "supports": int(supports),
    }


def tally(values):
    """value -> how often."""
    found = {}
    for value in values:
        found[value] = found.get(value, 0) + 1
    return found


def evaluation(control, plan, selected, reserves):
    """The members of evaluation/<control>.json from the states of the selected and reserve units in order."""
    left, states = list(reserves), []
    for state in selected:
        if plan["replace_not_applicable"] and state == "NOT_APPLICABLE" and left:
            state = left.pop(0)
        states.append(state)
    have = tally(states)
    n, passed = len(states), have.get("PASS", 0)
    deviations, aside = have.get("DEVIATION", 0), have.get("NOT_APPLICABLE", 0)
    return {
        "control": control, "sample": n, "states": have,
        "optimistic": bound(n, deviations, plan),
        "classified": bound(n - aside, n - aside - passed, plan),
        "strict": bound(n, n - passed, plan),
    }

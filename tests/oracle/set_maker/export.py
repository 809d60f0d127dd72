"""A plan's ceremony and its sampling set, with hooks at every step."""

from fractions import Fraction
from functools import cache
from math import comb

from .facts import OUTCOMES
from .log import ZERO
from .wire import b64, fixed, jcs, lp, note, random_id, sha, sha_hex

DAY_MS = 86400000
_ORDER = ("DEVIATION", "INDETERMINATE", "PASS", "NOT_APPLICABLE")


def tally(values):
    """value -> how often."""
    return {value: values.count(value) for value in set(values)}


def draw_order(method, seed_dec, units):
    """[(ticket, unit)] in draw order, all of them."""
    if method == "consistent":
        inner = sha_hex(seed_dec.encode())
        return sorted(
            ("0." + str(int.from_bytes(sha((inner + u).encode()), "big")).rjust(64, "0")[::-1], u) for u in units
        )
    rows, done, i = [], set(), 1
    while len(rows) < len(units):
        pick = 1 + int.from_bytes(sha(("%s,%d" % (seed_dec, i)).encode()), "big") % len(units)
        if pick not in done:
            done.add(pick)
            rows.append((str(i), units[pick - 1]))
        i += 1
    return rows


def _cdf(n, k, rate):
    return sum(comb(n, x) * rate**x * (1 - rate) ** (n - x) for x in range(k + 1))


@cache
def _limit(n, k, risk_bp):
    """The upper limit in thousandths, by trying every one of them."""
    risk = Fraction(risk_bp, 10000)
    return next((i for i in range(1001) if _cdf(n, k, Fraction(i, 1000)) <= risk), 1000)


def bound(n, k, plan):
    """One row of an evaluation, by fractions."""
    limit, supports = 1000, 0
    if n:
        supports = int(_cdf(n, k, Fraction(plan["tolerable_bp"], 10000)) <= Fraction(plan["risk_bp"], 10000))
        limit = _limit(n, k, plan["risk_bp"])
    return {"n": n, "deviations": k, "upper_limit": "%d.%d" % (limit // 10, limit % 10), "supports": supports}


class Audit:
    """One plan over a log, from plan to export."""

    def __init__(self, log, devices, name, **plan):
        self.log, self.hooks, self.name = log, log.hooks, name
        self.devices = {device.id: device for device in devices}
        members = {
            "engagement": random_id("e", name), "auditor_key": log.keys["auditor"].hex, "unit": "device-day",
            "scope": {"classes": [], "groups": []}, "method": "consistent", "acceptance": 0, "risk_bp": 1000,
            "tolerable_bp": 500, "expected_bp": 0, "partial_day": 0, "replace_not_applicable": 0,
            "beacon": "none", "strata": [], "supersedes": [], **plan,
        }
        _index, self.plan, self.plan_bytes = log.act("plan", members, "analyst")
        self.plan_hash = sha_hex(self.plan_bytes)
        self.nonce = fixed("nonce of " + name)

    def add(self, device):
        """A device enrolled after the plan was made."""
        self.devices.setdefault(device.id, device)

    # ---- ceremony

    def commit(self, size):
        """The auditor commits, having seen the checkpoint of `size` leaves."""
        self.committed_size = size
        self.log.act("commitment", {
            "plan_hash": self.plan_hash,
            "commitment": sha_hex(b"evidence-draw/auditor-nonce/v1\0" + self.nonce),
            "checkpoint": self.hooks.bend("committed checkpoint", self.log.checkpoint(size)), "predecessor": [],
        }, "auditor")

    def days(self):
        """[(label, start, end, partial)]."""
        starts = [int(day["start"]) for day in self.plan["days"]]
        end, partial = int(self.plan["end"]), False
        if self.plan["partial_day"] and self.freeze_ms < end:
            end, partial = self.freeze_ms, True
        rows = [[d["label"], s, e, False] for d, s, e in zip(self.plan["days"], starts, starts[1:] + [end])]
        rows[-1][3] = partial
        return [tuple(row) for row in rows]

    def _population(self, control):
        scope = self.plan["scope"]
        units = []
        for device in self.devices.values():
            if device.enrolled_ms is None:
                continue
            for label, start, end, _partial in self.days():
                if self._fits(device, start, end, scope):
                    units.append("%s/%s/%s" % (device.id, label, control))
        return self.hooks.bend("population", sorted(units))

    @staticmethod
    def _fits(device, start, end, scope):
        """Whether some state of those days is in scope."""
        return any(
            (not scope["classes"] or c in scope["classes"]) and (not scope["groups"] or g in scope["groups"])
            for c, g in device.states_on(start, end)
        )

    def freeze(self):
        """Freezes the populations."""
        log = self.log
        self.freeze_ms, self.freeze_index = log.now, log.size
        controls = self.plan["controls"]
        self.populations = {control: self._population(control) for control in controls}
        self.population_bytes = {c: "".join(u + "\n" for u in self.populations[c]).encode() for c in controls}
        self.population_bytes = self.hooks.bend("population bytes", self.population_bytes)
        roster = log.streams[1]
        log.act("freeze", {
            "plan_hash": self.plan_hash, "roster_entries": len(roster),
            "roster_head": log.tree.hashes[roster[-1]].hex(),
            "populations": [
                {"control": c, "count": len(self.populations[c]), "sha256": sha_hex(self.population_bytes[c])}
                for c in controls
            ],
            "heads": self.hooks.bend("freeze heads", log.heads()),
        }, "operations")

    def reveal(self):
        """The auditor's nonce."""
        nonce = self.hooks.bend("revealed nonce", self.nonce)
        self.log.act("reveal", {"plan_hash": self.plan_hash, "nonce": nonce.hex()}, "auditor")

    def draw(self):
        """Draws, and logs what was drawn."""
        self.draws = {}
        for control in self.plan["controls"]:
            units, data = self.populations[control], self.population_bytes[control]
            seed = sha(
                b"evidence-draw/seed/v1\0" + lp(bytes.fromhex(self.plan_hash)) + lp(sha(data))
                + len(units).to_bytes(8, "big") + lp(self.nonce) + lp(b"") + bytes(8) + lp(b"")
            )
            seed = self.hooks.bend("seed", seed)
            seed_dec = "%078d" % int.from_bytes(seed, "big")
            rows = [{"ticket": t, "unit": u} for t, u in draw_order(self.plan["method"], seed_dec, units)]
            n, reserves = self.plan["sample_size"], self.plan["reserves"]
            self.draws[control] = self.hooks.bend("draw", {
                "control": control, "count": len(units), "first_not_taken": rows[n + reserves : n + reserves + 1],
                "method": self.plan["method"], "population_sha256": sha_hex(data), "reserves": rows[n : n + reserves],
                "seed": seed.hex(), "seed_dec": seed_dec, "selected": rows[:n],
            })
        self.log.act("draw", {"plan_hash": self.plan_hash, "draws": [
            {"control": c, "seed": d["seed"], "draw_sha256": sha_hex(jcs(d))} for c, d in self.draws.items()
        ]}, "operations")

    # ---- judging

    def _policy(self, end, partial):
        found = ([], {})
        for index, received, controls in self.log.policies:
            if (index < self.freeze_index) if partial else (received < end):
                found = ([index], controls)
        return found

    def judge(self, unit):
        """(state, because, decided_by, policy_index, counted indexes)."""
        device_id, label, control_id = unit.split("/")
        device = self.devices[device_id]
        start, end, partial = next(day[1:] for day in self.days() if day[0] == label)
        policy_index, controls = self._policy(end, partial)
        if control_id not in controls:
            return "INDETERMINATE", "no-policy", [], policy_index, set()
        control = controls[control_id]
        if not self._fits(device, start, end, control):
            return "NOT_APPLICABLE", "class", [], policy_index, set()
        rows = []
        for s in device.statements:
            observed = s["observed"]
            if s["erased"] is not None and s["index"] < self.size:
                if self._inside(s, start, end, control) and not (partial and s["index"] > self.freeze_index):
                    rows.append((_ORDER.index("INDETERMINATE"), s["index"], "INDETERMINATE", "erased"))
                continue
            if observed is None or s["index"] >= self.size or not start <= observed < end:
                continue
            if s["received"] - observed > control["max_age_minutes"] * 60000 or partial and s["index"] > self.freeze_index:
                continue
            outcome = s["outcomes"].get(control_id)
            state, because = OUTCOMES[control_id][outcome][:2] if outcome else ("INDETERMINATE", "no-observation")
            rows.append((_ORDER.index(state), s["index"], state, because))
        counted = {row[1] for row in rows}
        if all(row[3] == "erased" for row in rows):
            return "MISSING", "erased" if rows else "no-evidence", [], policy_index, counted
        _rank, index, state, because = min(rows)
        return state, because, [index], policy_index, counted

    @staticmethod
    def _inside(s, start, end, control):
        if s["observed"] is None:
            return False
        if s["erased"] is None:
            return start <= s["observed"] < end
        return s["received"] >= start and s["received"] - control.get("max_age_minutes", 0) * 60000 < end

    def _statements(self, unit):
        device_id, label, control_id = unit.split("/")
        start, end, partial = next(day[1:] for day in self.days() if day[0] == label)
        control = self._policy(end, partial)[1].get(control_id, {})
        known = [s for s in self.devices[device_id].statements if s["index"] < self.size]
        instances = dict.fromkeys(s["instance"] for s in known)
        shown = [s for i in instances for s in self._of_instance([s for s in known if s["instance"] == i], start, end, control)]
        return sorted(shown, key=lambda s: s["index"])

    def _of_instance(self, known, start, end, control):
        inside = [n for n, s in enumerate(known) if self._inside(s, start, end, control)]
        if inside:
            return known[max(inside[0] - 1, 0) : inside[-1] + 2]
        before = [
            n for n, s in enumerate(known)
            if s["observed"] is not None and (s["observed"] if s["erased"] is None else s["received"]) < start
        ]
        return known[before[-1] : before[-1] + 2] if before else known[:1]

    # ---- the set

    def _unit_files(self, files, control):
        log, draw = self.log, self.draws[control]
        rows = [("selected", row) for row in draw["selected"]] + [("reserve", row) for row in draw["reserves"]]
        states = []
        for number, (role, row) in enumerate(rows, 1):
            folder = "units/%s/%04d/" % (control, number)
            state, because, decided, policy, counted = self.judge(row["unit"])
            statements = self.hooks.bend("statements %s" % folder, self._statements(row["unit"]))
            files[folder + "unit.json"] = jcs(self.hooks.bend("unit " + folder, {
                "unit": row["unit"], "ticket": row["ticket"], "role": role, "state": state, "because": because,
                "decided_by": decided, "policy_index": policy,
                "statements": [
                    {"index": s["index"], "sequence": s["sequence"], "instance": s["instance"],
                     "counts": int(s["index"] in counted)} for s in statements if s["erased"] is None
                ],
                "erased": [
                    {"index": s["index"], "sequence": s["sequence"], "instance": s["instance"],
                     "counts": int(s["index"] in counted), "tombstone": s["erased"]}
                    for s in statements if s["erased"] is not None
                ],
            }))
            for s in statements:
                index = s["index"]
                path = folder + str(index)
                if s["erased"] is not None:
                    grave = s["erased"]
                    extra = bytes([83]) + log.leaves[grave] + log.salts[grave] + lp(log.payloads[grave])
                    files[path + ".tlog-proof"] = log.proof(index, self.size, bytes([43]) + log.leaves[index], self.note)
                    files["tombstones/%d.tlog-proof" % grave] = log.proof(grave, self.size, extra, self.note)
                    continue
                extra = bytes([43]) + log.leaves[index] + log.salts[index]
                files[path + ".envelope"] = s["envelope"]
                files[path + ".tlog-proof"] = log.proof(index, self.size, extra, self.note)
                files[path + ".json"] = jcs({"sequence": s["sequence"], "outcomes": s["outcomes"]})
                if s["anchor"] is not None:
                    files["log/consistency/%d" % s["anchor"]] = self._consistency(s["anchor"])
                if s["note"] is not None:
                    files["log/anchors/" + s["note"]] = log.anchor_notes[s["note"]]
            states.append(state)
        return states

    def _results(self, control):
        states = {unit: self.judge(unit)[:2] for unit in self.populations[control]}
        devices = sorted({unit.split("/")[0] for unit in states})
        return self.hooks.bend("results", {
            "control": control, "counts": tally([s for s, _b in states.values()]),
            "devices": [
                {"device": d, "counts": tally([s for u, (s, _b) in states.items() if u.startswith(d)])} for d in devices
            ],
            "units": [{"because": b, "state": s, "unit": u} for u, (s, b) in sorted(states.items()) if s != "PASS"],
        })

    def _evaluation(self, control, states):
        taken = len(self.draws[control]["selected"])
        reserves, sample = states[taken:], []
        for state in states[:taken]:
            if state == "NOT_APPLICABLE" and self.plan["replace_not_applicable"] and reserves:
                state = reserves.pop(0)
            sample.append(state)
        n, passed, aside = len(sample), sample.count("PASS"), sample.count("NOT_APPLICABLE")
        return self.hooks.bend("evaluation", {
            "control": control, "sample": n, "states": tally(sample),
            "optimistic": bound(n, sample.count("DEVIATION"), self.plan),
            "classified": bound(n - aside, n - aside - passed, self.plan), "strict": bound(n, n - passed, self.plan),
        })

    def _consistency(self, size):
        return "".join(b64(h) + "\n" for h in self.log.tree.consistency(size, self.size)).encode()

    def _stream_files(self, files):
        log = self.log
        for stream, name in ((1, "roster"), (2, "rules"), (3, "audit")):
            mine = [index for index in log.streams[stream] if index < self.size]
            lines = [
                jcs({"index": i, "leaf": b64(log.leaves[i]), "payload": b64(log.payloads[i]), "salt": b64(log.salts[i])})
                for i in mine
            ]
            lines = self.hooks.bend("lines " + name, lines)
            files["streams/%s.jsonl" % name] = b"".join(line + b"\n" for line in lines)
            if mine:
                files["streams/%s.tlog-proof" % name] = log.proof(mine[-1], self.size, checkpoint=self.note)

    def export(self, pinned=(), stamp=None):
        """({path: bytes}, trust.json members) of the set at the checkpoint of all leaves so far."""
        log, hooks, self.size = self.log, self.hooks, self.log.size
        self.note = log.checkpoint_note(self.size)
        files = {
            "VERIFY.md": b"Use a verifier and a trust file that you got before this set existed.\n",
            "plan.json": self.plan_bytes, "log/checkpoint": self.note,
        }
        for size in {self.committed_size, *pinned}:
            files["log/consistency/%d" % size] = self._consistency(size)
        self._stream_files(files)
        for control in self.plan["controls"]:
            files["population/%s.txt" % control] = self.population_bytes[control]
            files["draw/%s.json" % control] = jcs(self.draws[control])
            states = self._unit_files(files, control)
            files["results/%s.json" % control] = jcs(self._results(control))
            files["evaluation/%s.json" % control] = jcs(self._evaluation(control, states))
        files = hooks.bend("files", files)
        manifest = hooks.bend("manifest", {
            "format": "tallystick/set/v1", "origin": log.origin, "plan_hash": self.plan_hash,
            "checkpoint": {"root": log.tree.root(0, self.size).hex(), "size": self.size},
            "files": [{"bytes": len(files[p]), "path": p, "sha256": sha_hex(files[p])} for p in sorted(files)],
        })
        files["MANIFEST.json"] = hooks.bend("manifest bytes", jcs(manifest))
        if stamp:
            files["MANIFEST.tsr"] = stamp
        self._seal(files, stamp)
        trust = hooks.bend("trust", {
            "format": "tallystick/trust/v1", "trust_domain": "audit.example", "origin": log.origin,
            "log_keys": [log.first_key.vkey(log.origin)],
            "witness_policy": "log %s\nquorum none\n" % log.first_key.vkey(log.origin),
            "checkpoints": [log.checkpoint(size) for size in (self.committed_size, *pinned)],
            "auditor_key": log.keys["auditor"].hex, "made_by": "auditor",
            "simulated": "accept" if log.origin.endswith("/simulated") else "refuse",
        })
        return hooks.bend("set", files), trust

    def _seal(self, files, stamp):
        """The export entry, its proof and the note."""
        log, hooks = self.log, self.hooks
        index, _act, _body = log.act("export", {
            "plan_hash": self.plan_hash, "manifest_sha256": sha_hex(files["MANIFEST.json"]),
            "tsr_sha256": sha_hex(stamp) if stamp else ZERO,
            "checkpoint": {"size": self.size, "root": log.tree.root(0, self.size).hex()},
            "heads": hooks.bend("export heads", log.heads(self.size)),
        }, "operations")
        log.act("configuration", {}, "operations")  # something after it, as in a running log
        extra = (
            bytes([83]) + log.leaves[index] + log.salts[index] + lp(log.payloads[index])
            + lp(b"".join(log.tree.consistency(self.size, log.size)))
        )
        files["export.tlog-proof"] = log.proof(index, log.size, hooks.bend("extra", extra))
        lines = ["tallystick-set/v1", log.origin, sha_hex(files["MANIFEST.json"]), sha_hex(files["export.tlog-proof"])]
        signers = hooks.bend("note signers", [(log.origin + "/operations", log.keys["operations"])])
        files["MANIFEST.note"] = note("".join(line + "\n" for line in lines), *signers)

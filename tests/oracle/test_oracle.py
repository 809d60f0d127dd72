#!/usr/bin/env python3
"""Tests of verify.py against hand-made sets, and of its rules against published numbers."""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

import make_set
from set_maker import scenes
from set_maker.wire import jcs
from tallystick_oracle import canonical, sampling
from tallystick_oracle.canonical import Bad
from tallystick_oracle.conditions import check_condition, evaluate
from tallystick_oracle.protobuf import decode
from tallystick_oracle.run import FAILED, is_sound, verify, verify_times
from tallystick_oracle.schema import CONTROLS, ENUMS, MESSAGES
from tallystick_oracle.setfolder import SetFolder
from tallystick_oracle.signatures import ed25519_holds
from tallystick_oracle.tiles import TreeFolder

HERE = os.path.dirname(os.path.abspath(__file__))
FUZZ_ROUNDS = 300
RESEALED_ROUNDS = 80


def run(folder, trust):
    """(sound, numbers that failed, details) of a set on disk."""
    tree = TreeFolder(folder + ".tree") if os.path.isdir(folder + ".tree") else None
    rows = verify(SetFolder(folder), trust, tree)
    crashed = [row["detail"] for row in rows if row["detail"].startswith("could not be checked")]
    if crashed:
        raise AssertionError("%s: %s" % (folder, crashed))
    failed = [row["number"] for row in rows if row["result"] == FAILED]
    return is_sound(rows), failed, {row["number"]: row["detail"] for row in rows}


class Sets(unittest.TestCase):
    """Every hand-made set gives what it must."""

    @classmethod
    def setUpClass(cls):
        cls.out = tempfile.mkdtemp(prefix="oracle-sets-")
        cls.addClassCleanup(shutil.rmtree, cls.out)
        assert make_set.main([cls.out]) == 0
        with open(os.path.join(cls.out, "expected.json"), encoding="utf-8") as file:
            cls.expected = json.load(file)

    def _trust(self, name):
        with open(os.path.join(self.out, name + ".trust.json"), "rb") as file:
            return file.read()

    def test_expected(self):
        self.assertGreaterEqual(sum(row["exit"] == 1 for row in self.expected.values()), 570)
        self.assertGreaterEqual(sum(row["exit"] == 0 for row in self.expected.values()), 90)
        for name, row in self.expected.items():
            with self.subTest(name):
                sound, failed, details = run(os.path.join(self.out, name), self._trust(name))
                self.assertEqual(sound, row["exit"] == 0, details)
                self.assertLessEqual(set(row["failed"]), set(failed), details)
                if name.startswith("good-tree"):
                    self.assertIn("leaves read", details[21])
                self.assertLessEqual(set(failed), set(row["failed"]) | set(row["also"]), details)

    def test_times(self):
        for name, row in self.expected.items():
            if "times" in row:
                with self.subTest(name):
                    times = verify_times(SetFolder(os.path.join(self.out, name)), self._trust(name))[1]
                    told = {time["folder"]: time["text"] for time in times}
                    self.assertEqual({folder: told.get(folder) for folder in row["times"]}, row["times"])

    def test_every_check_is_failed_by_some_set(self):
        reached = {number for row in self.expected.values() for number in row["failed"]}
        self.assertEqual(reached, set(range(1, 22)) | {22, 25})

    def _sweep(self, change):
        """Applies a change to every file of the minimal set in turn."""
        trust = self._trust("good-minimal")
        folder = os.path.join(self.out, "good-minimal")
        paths = sorted(SetFolder(folder).sizes)
        self.assertGreater(len(paths), 100)
        for path in paths:
            full = os.path.join(folder, path)
            with open(full, "rb") as file:
                data = file.read()
            try:
                change(full, data)
                with self.subTest(path):
                    self.assertFalse(run(folder, trust)[0])
            finally:
                with open(full, "wb") as file:
                    file.write(data)
        self.assertTrue(run(folder, trust)[0])

    def test_one_bit_in_each_file(self):
        chance = random.Random(1)

        def flip(full, data):
            at = chance.randrange(len(data))
            with open(full, "wb") as file:
                file.write(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
        self._sweep(flip)

    def test_each_file_removed(self):
        self._sweep(lambda full, _data: os.remove(full))

    def test_each_file_emptied(self):
        def empty(full, _data):
            with open(full, "wb"):
                pass
        self._sweep(empty)

    def test_one_file_added(self):
        folder = os.path.join(self.out, "good-minimal")
        for path in ("x", "log/consistency/1", "units/edr/0001/999.envelope", "MANIFEST.tsr", "trust.json"):
            full = os.path.join(folder, path)
            with open(full, "wb") as file:
                file.write(b"x")
            with self.subTest(path):
                self.assertFalse(run(folder, self._trust("good-minimal"))[0])
            os.remove(full)
        self.assertTrue(run(folder, self._trust("good-minimal"))[0])

    def test_random_damage(self):
        """Whatever the damage, the set is not sound and nothing crashes."""
        chance, folder = random.Random(2), os.path.join(self.out, "good-small")
        trust, paths = self._trust("good-small"), sorted(SetFolder(folder).sizes)
        for number in range(FUZZ_ROUNDS):
            full = os.path.join(folder, chance.choice(paths))
            with open(full, "rb") as file:
                data = file.read()
            with open(full, "wb") as file:
                file.write(_damaged(chance, data))
            with self.subTest(number=number, path=full):
                self.assertFalse(run(folder, trust)[0])
            with open(full, "wb") as file:
                file.write(data)

    def test_command_line(self):
        def call(*arguments):
            return subprocess.run(
                [sys.executable, os.path.join(HERE, "verify.py"), *arguments], capture_output=True, check=False
            )
        good, trust = os.path.join(self.out, "good-small"), os.path.join(self.out, "good-small.trust.json")
        result = call(good, "--trust", trust)
        self.assertEqual(result.returncode, 0)
        lines = result.stdout.decode().splitlines()
        self.assertTrue(lines[0].startswith("[ok] 1 files"))
        self.assertEqual(lines[20], "[not run] 21 completeness (needs the public tree)")
        self.assertTrue(any(line.startswith("sound") for line in lines))
        bad = os.path.join(self.out, "bad-draw-swapped")
        result = call(bad, "--trust", trust, "--json")
        self.assertEqual(result.returncode, 1)
        value = json.loads(result.stdout)
        self.assertIs(value["sound"], False)
        self.assertEqual([row["number"] for row in value["checks"]], list(range(1, 26)))
        self.assertEqual([row["number"] for row in value["checks"] if row["result"] == "failed"], [14])
        self.assertEqual({row["result"] for row in value["checks"]}, {"passed", "failed", "not-run"})
        for arguments in (
            (good,), (), (good, "--trust", trust + "x"), (good + "x", "--trust", trust), (trust, "--trust", trust),
            (good, "--trust", trust, "--what"),
        ):
            result = call(*arguments)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertNotIn(b"Traceback", result.stderr)


def _damaged(chance, data):
    """The data with one random change."""
    start, end = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
    end = max(end, start + 1)
    kind = chance.randrange(4)
    if kind == 0:
        new = data[:start] + data[end:]
    elif kind == 1:
        new = data[:end] + data[start:]
    elif kind == 2:
        new = data[:start] + chance.randbytes(chance.randrange(1, 9)) + data[start:]
    else:
        at = chance.randrange(max(len(data), 1))
        new = data[:at] + bytes([(data[at] if data else 0) ^ chance.randrange(1, 256)]) + data[at + 1 :]
    return new if new != data else data + b"\0"


class Resealed(unittest.TestCase):
    """Damage that the operations key sealed again reaches the parsers behind check 1."""

    def test_random_damage(self):
        chance, checks = random.Random(3), set()
        paths = sorted(path for path in scenes.small()[0] if "/" in path)
        for number in range(RESEALED_ROUNDS):
            path = chance.choice(paths)
            if path.startswith("units/") and path.split("/")[-1][0].isdigit() and path.endswith(".json"):
                continue  # a view is for people and only hashed
            files, trust = scenes.small(
                {"files": lambda files, path=path: {**files, path: _damaged(chance, files[path])}}
            )
            with tempfile.TemporaryDirectory() as folder:
                make_set.write_set(folder, files)
                with self.subTest(number=number, path=path):
                    sound, failed, details = run(folder, jcs(trust))
                    self.assertFalse(sound)
                    self.assertNotIn(1, failed, details)
                    checks.update(failed)
        self.assertGreaterEqual(len(checks), 5)


class Rules(unittest.TestCase):
    """Numbers from elsewhere."""

    def test_consistent_sampler(self):
        # The PyPI package consistent_sampler 1.0.10: first_fraction("AB-130", "01382438112797316654").
        (row,) = sampling.draw("consistent", ["AB-130"], "01382438112797316654", 1)
        self.assertEqual(
            row[0], "0.26299714122838008416507544297546663599715395525154425586041245287750224561854"
        )

    def test_rivest_2011(self):
        # Rivest's sampler.py: seed 1, rows 1 to 1000, the first three.
        units = [str(n) for n in range(1, 1001)]
        rows = sampling.draw("rivest2011", units, "1", 3)
        self.assertEqual([unit for _ticket, unit in rows], ["97", "89", "163"])

    def test_seed(self):
        self.assertEqual(len(sampling.seed_decimal(bytes(32))), 78)

    def test_upper_limits(self):
        # One-sided Clopper-Pearson, rounded up: AICPA Audit Guide, tables.
        for n, deviations, risk_bp, limit in (
            (20, 0, 500, "14.0"), (20, 0, 1000, "10.9"), (60, 0, 500, "4.9"), (60, 1, 500, "7.7"),
            (60, 2, 500, "10.2"), (25, 0, 1000, "8.8"), (1, 1, 500, "100.0"), (0, 0, 500, "100.0"),
        ):
            self.assertEqual(sampling.upper_limit(n, deviations, risk_bp), limit, (n, deviations))

    def test_support(self):
        # AS 2315.41: 60 items and no deviation support 5 % at 5 % risk; 2 do not. 59 is the first that does.
        for n, deviations, supports in ((60, 0, 1), (60, 2, 0), (59, 0, 1), (58, 0, 0), (93, 1, 1), (92, 1, 0)):
            plan = {"tolerable_bp": 500, "risk_bp": 500}
            self.assertEqual(sampling.bound(n, deviations, plan)["supports"], supports, n)

    def test_canonical_json(self):
        for data in (b"{}", b"[]", b'{"a":1,"b":[-1,"x"]}', '"é€\\u001f\\n"'.encode(), b"9007199254740991"):
            self.assertEqual(canonical.dump(canonical.load(data)), data)
        # UTF-16 order: U+1F600 (d83d de00) before U+FB33.
        self.assertEqual(canonical.dump({"\ufb33": 1, "\U0001f600": 2}), b'{"\xf0\x9f\x98\x80":2,"\xef\xac\xb3":1}')
        for data in (
            b" {}", b"{} ", b"1.0", b"1e3", b"-0", b"01", b"true", b"null", b"NaN", b"9007199254740992", b'"\\u0041"',
            b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'"\\/"', b'"\xff"', b'"\\ud800"', b"", b"[" * 65 + b"]" * 65,
            b"[1,]", b"'a'", "\ufeff1".encode(), '"a"'.encode("utf-16"),
        ):
            with self.subTest(data), self.assertRaises(Bad):
                canonical.load(data)
        self.assertEqual(canonical.dump(canonical.load(b"[" * 64 + b"]" * 64)), b"[" * 64 + b"]" * 64)


TESTDATA = os.path.join(HERE, "..", "..", "evidence", "testdata")


class HostileSignatures(unittest.TestCase):
    """The table of Ed25519 inputs that every verifier shares."""

    def test_verdicts(self):
        with open(os.path.join(TESTDATA, "ed25519.tsv"), encoding="utf-8") as file:
            rows = [line.rstrip("\n").split("\t") for line in file if not line.startswith("#")]
        self.assertGreater(len(rows), 60)
        self.assertEqual({row[4] for row in rows}, {"yes", "no"})
        for name, key, message, signature, strict, *_others in rows:
            with self.subTest(name):
                holds = ed25519_holds(bytes.fromhex(key), bytes.fromhex(signature), bytes.fromhex(message))
                self.assertEqual(holds, strict == "yes")


def _wire(kind, value):
    """A fact of the rule vectors as the protobuf decoder would give it."""
    if kind in MESSAGES:
        return {
            name: [_wire(item, row) for row in value.get(name, [])] if label == "repeated" else _wire(item, value[name])
            for _number, name, item, label in MESSAGES[kind] if label == "repeated" or name in value
        }
    if kind in ENUMS:
        return {name: number for number, name in ENUMS[kind].items()}[value] if value else 0
    return value == "yes" if kind == "bool" else value


def _seen(kind, value):
    """What a condition can see of a decoded value: unknown members and unset flags left out."""
    if kind in MESSAGES:
        rows = {name: (item, label) for _number, name, item, label in MESSAGES[kind]}
        seen = {name: [_seen(rows[name][0], row) for row in value[name]] if rows[name][1] == "repeated"
                else _seen(rows[name][0], value[name]) for name in value}
        unset = {name for name in seen if name.endswith("_truncated") and seen[name] == "no"}
        return {name: row for name, row in seen.items() if row != "" and name not in unset}
    if kind in ENUMS:
        return ENUMS[kind][value] if value else ""
    return ("yes" if value else "no") if kind == "bool" else value


class RuleVectors(unittest.TestCase):
    """The vectors that every verifier of rules/v1 shares."""

    @classmethod
    def setUpClass(cls):
        with open(os.path.join(TESTDATA, "rules_vectors.json"), encoding="utf-8") as file:
            cls.vectors = json.load(file)
        assert cls.vectors["format"] == "tallystick/rules-vectors/v1"

    def test_cases(self):
        self.assertGreater(len(self.vectors["cases"]), 200)
        for case in self.vectors["cases"]:
            with self.subTest(case["name"]):
                control, condition = case["control"], case["condition"]
                check_condition(condition, control)
                facts = _wire(CONTROLS[control][1], case["facts"])
                value = evaluate(condition, control, facts, case["minute"])
                self.assertEqual({True: "true", False: "false", None: "unknown"}[value], case["expected"])

    def test_refused(self):
        self.assertGreater(len(self.vectors["refused"]), 40)
        for case in self.vectors["refused"]:
            with self.subTest(case["name"]), self.assertRaises(Bad):
                check_condition(case["condition"], case["control"])

    def test_messages(self):
        self.assertGreater(len(self.vectors["messages"]), 8)
        for case in self.vectors["messages"]:
            with self.subTest(case["name"]):
                member, message = CONTROLS[case["control"]]
                decoded = decode("Facts", bytes.fromhex(case["protobuf"]))
                self.assertEqual(list(decoded), [member])
                expected = {
                    k: v for k, v in case["facts"].items()
                    if v != [] and not (k.endswith("_truncated") and v == "no")
                }
                seen = {k: v for k, v in _seen(message, decoded[member]).items() if v != []}
                self.assertEqual(seen, expected)


if __name__ == "__main__":
    unittest.main()

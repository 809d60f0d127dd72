"""Witnesses: keys that cosign checkpoints, and sets whose checkpoints they cosigned."""

import re

from . import scenes
from .forgery import large_s
from .wire import Key, b64, sha

ORIGIN = "audit.example/log/2026"
SECONDS = 1_780_444_800  # of every cosignature, unless said: when all is logged, 2026-06-03T00:00Z


class Witness(Key):
    """Cosigns note texts (tlog-cosignature v1); `bend` changes the text first, `bend_line` the 72 bytes after."""

    def __init__(self, name, seconds=SECONDS, bend=None, bend_line=None):
        super().__init__("witness " + name)
        self.seconds, self.bend, self.bend_line = seconds, bend, bend_line

    def note_id(self, name):
        return sha(name.encode() + b"\n\x04" + self.public)[:4]

    def vkey(self, name):
        return "%s+%s+%s" % (name, self.note_id(name).hex(), b64(b"\x04" + self.public))

    def sign(self, message):
        message = self.bend(message) if self.bend else message
        signed = super().sign(b"cosignature/v1\ntime %d\n" % self.seconds + message)
        line = self.seconds.to_bytes(8, "big") + signed
        return self.bend_line(line) if self.bend_line else line


def name_of(witness):
    """The key name of a witness."""
    return "%s.example/witness" % witness


def fork(text):
    """The text of another tree of the same size."""
    origin, size, _root, end = text.split(b"\n")
    return b"\n".join([origin, size, b64(sha(b"another tree")).encode(), end])


def policy(trust, quorum, witnesses=("w1", "w2", "w3")):
    """The trust file under a policy: `quorum` are the lines after the witnesses'."""
    lines = ["log " + key for key in trust["log_keys"]]
    lines += ["witness %s %s" % (name, Witness(name).vkey(name_of(name))) for name in witnesses]
    return {**trust, "witness_policy": "\n".join(lines + quorum) + "\n"}


def cosigned(quorum, *signers, **options):
    """(files, trust) of the small set; signers: name or (name, Witness) beside the log."""
    pairs = [(s, Witness(s)) if isinstance(s, str) else s for s in signers]
    lines = [(ORIGIN, Key("log"))] + [(name_of(name), key) for name, key in pairs]
    files, trust = scenes.small({"checkpoint signers": lambda _value: lines})
    return files, policy(trust, quorum, **options)


ALL = ["group g all w1 w2", "quorum g"]
TWO = ["group g 2 w1 w2 w3", "quorum g"]


def good_sets():
    """(name, files, trust) of sets that are sound."""
    yield ("good-witness-all", *cosigned(ALL, "w1", "w2"))
    yield ("good-witness-two-of-three", *cosigned(TWO, "w3", "w1"))
    yield ("good-witness-any", *cosigned(["group g any w1 w2", "quorum g"], "w2"))
    yield ("good-witness-one", *cosigned(["quorum w2"], "w2", "w1"))
    yield ("good-witness-groups", *cosigned(["group a any w1 w2", "group b all w3", "group g all a b", "quorum g"], "w2", "w3"))
    yield ("good-witness-unasked", *cosigned(["quorum none"], "w1"))
    yield ("good-witness-last-second", *cosigned(ALL, "w1", ("w2", Witness("w2", 2**63 - 1))))


def bad_sets():
    """(name, files, trust, failed) of sets that are not."""
    def case(name, failed, *arguments, **options):
        return ("bad-witness-" + name, *cosigned(*arguments, **options), failed)

    yield case("none-cosigned", [22], ALL)
    yield case("too-few", [22], ALL, "w1")
    yield case("two-of-three", [22], TWO, "w2")
    yield case("groups", [22], ["group a any w1 w2", "group b all w3", "group g all a b", "quorum g"], "w1", "w2")
    # A witness that signed another tree of this size: its line is no cosignature of the checkpoint it stands under.
    yield case("fork", [3], ALL, "w1", ("w2", Witness("w2", bend=fork)))
    yield case("fork-not-needed", [3], ["quorum w1"], "w1", ("w2", Witness("w2", bend=fork)))
    yield case("unknown", [3], ALL, "w1", "w2", "w4")
    yield case("twice", [3], ALL, "w1", "w1")
    yield case("twice-other-time", [3], ALL, "w1", ("w1", Witness("w1", SECONDS + 1)), "w2")
    yield case("large-s", [3], ALL, "w1", ("w2", Witness("w2", bend_line=lambda line: line[:8] + large_s(line[8:]))))
    yield case("other-time", [3], ALL, "w1", ("w2", Witness("w2", bend_line=lambda line: bytes(7) + b"\x07" + line[8:])))
    yield case("late", [3], ALL, "w1", ("w2", Witness("w2", 2**63)))
    yield case("short", [3], ALL, "w1", ("w2", Witness("w2", bend_line=lambda line: line[:-1])))
    # A plain signature by a witness's key is none of a witness.
    yield case("plain", [3], ALL, "w1", ("w2", Key("witness w2")))
    yield case("unasked-fork", [3], ["quorum none"], ("w1", Witness("w1", bend=fork)))
    files, trust = cosigned(ALL, "w1", "w2")
    for name, lines in bad_policies(trust["witness_policy"]):
        yield "bad-trust-policy-" + name, files, {**trust, "witness_policy": lines}, [2]
    yield "bad-witness-untrusting", files, {**trust, "witness_policy": "log %s\nquorum none\n" % trust["log_keys"][0]}, [3]


def bad_policies(good):
    """(name, text) of texts that are no policy over the log of `good`, which ends in ALL and knows w1 to w3."""
    log, w1, w2, w3 = good.split("\n")[:4]
    ending = "group g all w1 w2\nquorum g\n"

    def lines(*rows):
        return "".join(row + "\n" for row in rows)

    yield "empty", ""
    yield "no-quorum", lines(log, w1, w2)
    yield "no-log", lines(w1, w2) + ending
    yield "no-line-end", good[:-1]
    yield "two-quorums", good + "quorum w1\n"
    yield "quorum-unknown", lines(log, w1, "quorum w2")
    yield "quorum-before", lines(log, "quorum w1", w1)
    yield "member-unknown", lines(log, w1, "group g all w1 w2", "quorum g")
    yield "member-none", lines(log, w1, "group g any w1 none", "quorum g")
    yield "member-twice", lines(log, w1, w2, "group g 2 w1 w1", "quorum g")
    yield "member-of-two", lines(log, w1, w2, "group a all w1 w2", "group b all w1", "quorum a")
    yield "group-itself", lines(log, w1, "group g any g", "quorum g")
    yield "group-empty", lines(log, w1, "group g all", "quorum w1")
    for what, number in (("zero", "0"), ("three", "3"), ("padded", "02"), ("minus", "-1"), ("word", "most"), ("plus", "+1")):
        yield "threshold-" + what, lines(log, w1, w2, "group g %s w1 w2" % number, "quorum g")
    yield "name-taken", lines(log, w1, w2.replace("witness w2", "witness w1"), "quorum w1")
    yield "name-group", lines(log, w1, w2, "group w1 all w2", "quorum w1")
    yield "name-none", lines(log, w1.replace("witness w1", "witness none"), "quorum none")
    yield "key-twice", lines(log, w1, w1.replace("witness w1", "witness w9"), "quorum w1")
    yield "log-twice", lines(log, log, w1, "quorum w1")
    yield "log-as-witness", lines(log, "witness w1 " + log[4:], "quorum w1")
    yield "witness-as-log", lines(log, "log " + w1.split(" ")[2], w2, "quorum w2")
    log_key = type("LogKey", (Witness,), {})("x")
    log_key.private, log_key.public = Key("log").private, Key("log").public
    yield "log-key-cosigns", lines(log, "witness w1 " + log_key.vkey("own.example"), "quorum w1")
    yield "key-id", lines(log, w1.replace("+", "+0", 1), "quorum w1")
    yield "words", lines(log, w1 + " https://w1.example more", "quorum w1")
    yield "keyword", lines(log, w1, "witnesses w1", "quorum w1")
    yield "case", lines(log, w1, "Quorum w1")
    yield "cr", good.replace("\n", "\r\n")
    yield "nul", good.replace("quorum g", "quorum g\0")
    yield "delete", good + "# \x7f\n"
    yield "vertical-tab", good.replace("quorum g", "quorum\x0bg")
    yield "no-break-space", good.replace("quorum g", "quorum\u00a0g")


def good_policies(good):
    """(name, text) of other ways to write `good`."""
    yield "tabs", good.replace(" ", "\t \t")
    yield "margins", "".join(" \t%s \n" % line for line in good.split("\n")[:-1])
    yield "comments", "# all of it\n\n" + good.replace("quorum g", "\t# g: both\n \t\nquorum g") + "#\n"
    yield "urls", good.replace("\nwitness w2", " https://w1.example/submit\nwitness w2")
    yield "thresholds", good.replace("all w1 w2", "2 w1 w2")
    # Names are compared as bytes: the letter K and the sign of the kelvin are two.
    yield "kelvin", re.sub(r"(?<= )w2(?=[ \n])", "\u212a", re.sub(r"(?<= )w1(?=[ \n])", "K", good))

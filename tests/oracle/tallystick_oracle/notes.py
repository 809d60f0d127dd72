"""Signed notes, checkpoints and tlog-proofs: docs/FORMAT.md section 6."""

import re
from dataclasses import dataclass

from .canonical import Bad, decimal, tobase64, unbase64
from .merkle import PROOF_HASHES_MAX
from .signatures import ed25519_holds, key_allowed, sha256

NOTE_BYTES_MAX = 65536
SIGNATURES_MAX = 64
_VKEY = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+(\S+)\Z")
_NAME = re.compile(r"[^\s+]+\Z")
_SIGNATURE = re.compile("— ([^\\s+]+) (\\S+)\\Z")


@dataclass(frozen=True)
class NoteKey:
    """A key that may sign notes."""

    name: str
    id: bytes  # 4 bytes
    key: bytes  # 32 bytes

    @classmethod
    def of(cls, name, key):
        """The note key of an Ed25519 key under a name."""
        return cls(name, sha256(name.encode("utf-8") + b"\n\x01" + key)[:4], key)

    @property
    def vkey(self):
        """Its text."""
        return "%s+%s+%s" % (self.name, self.id.hex(), tobase64(b"\x01" + self.key))


def parse_vkey(text):
    """A vkey whose key id is right and whose algorithm is Ed25519."""
    match = _VKEY.match(text) if type(text) is str else None
    if not match:
        raise Bad("not a vkey")
    raw = unbase64(match.group(3), "vkey", 33)
    if raw[0] != 1:
        raise Bad("vkey is not Ed25519")
    if not key_allowed(raw[1:]):
        raise Bad("vkey is not a point, not canonical or weak")
    key = NoteKey.of(match.group(1), raw[1:])
    if key.id.hex() != match.group(2):
        raise Bad("vkey's key id is wrong")
    return key


def is_note_name(text):
    """A name that can sign notes."""
    return type(text) is str and bool(_NAME.match(text))


def split_note(data, what):
    """The text (with its last LF) of a note and its lines (name, key id ‖ signature), nothing of it verified."""
    if len(data) > NOTE_BYTES_MAX:
        raise Bad("%s: note is too large" % what)
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Bad("%s: note is not UTF-8" % what) from error
    if any(ord(ch) < 0x20 and ch != "\n" for ch in whole):
        raise Bad("%s: note holds control characters" % what)
    cut = whole.rfind("\n\n")
    if cut < 0 or not whole.endswith("\n"):
        raise Bad("%s: not a note" % what)
    text, lines = whole[: cut + 1], whole[cut + 2 :].split("\n")[:-1]
    if not 1 <= len(lines) <= SIGNATURES_MAX:
        raise Bad("%s: note has no signature, or too many" % what)
    found = []
    for line in lines:
        match = _SIGNATURE.match(line)
        if not match:
            raise Bad("%s: malformed signature line" % what)
        found.append((match.group(1), unbase64(match.group(2), what + ": signature line")))
    return text, found


def check_lines(text, lines, keys, what):
    """Raises unless there is a line, every line verifies under one of `keys`, and no key signed twice."""
    if not lines:
        raise Bad("%s: nobody signed it who must" % what)
    used = set()
    for name, raw in lines:
        known = [k for k in keys if k.name == name and k.id == raw[:4]]
        if len(known) != 1:
            raise Bad("%s: signature line of an unknown key" % what)
        if known[0] in used:
            raise Bad("%s: two signature lines of one key" % what)
        used.add(known[0])
        if len(raw) != 68 or not ed25519_holds(known[0].key, raw[4:], text.encode("utf-8")):
            raise Bad("%s: signature does not hold" % what)


def open_note(data, keys, what):
    """The text (with its last LF) of a note on which every line verifies under one of `keys`."""
    text, lines = split_note(data, what)
    check_lines(text, lines, keys, what)
    return text


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose note has verified."""

    origin: str
    size: int
    root: bytes


def parse_checkpoint(text, what):
    """The checkpoint in a note's text; there are no extension lines."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] != "" or not lines[0]:
        raise Bad("%s: not a checkpoint" % what)
    return Checkpoint(lines[0], decimal(lines[1], what + ": size"), unbase64(lines[2], what + ": root", 32))


def open_checkpoint(data, keys, what):
    """A checkpoint signed under its origin, every line by one of `keys`."""
    return _opened(*split_note(data, what), keys, what)


def open_cosigned(data, keys, policy, what):
    """A checkpoint signed under its origin, and {policy name: Unix seconds} of its cosignatures. Every line is by one of
    `keys` or by a witness of the policy."""
    text, lines = split_note(data, what)
    cosigned, rest = policy.sort(lines, text, what)
    return _opened(text, rest, keys, what), cosigned


def _opened(text, lines, keys, what):
    check_lines(text, lines, keys, what)
    checkpoint = parse_checkpoint(text, what)
    if any(key.name != checkpoint.origin for key in keys):
        raise Bad("%s: checkpoint of another origin" % what)
    return checkpoint


def hash_lines(text, what):
    """Base64 hashes, one a line, each line ending in LF."""
    if text and not text.endswith("\n"):
        raise Bad("%s: last line has no line end" % what)
    lines = text.split("\n")[:-1]
    if len(lines) > PROOF_HASHES_MAX:
        raise Bad("%s: too many hashes" % what)
    return [unbase64(line, what + ": hash", 32) for line in lines]


@dataclass(frozen=True)
class TlogProof:
    """A parsed c2sp.org/tlog-proof@v1; its note has not been looked at."""

    extra: bytes | None
    index: int
    path: list
    note: bytes


def parse_tlog_proof(data, what):
    """The parts of a tlog-proof file."""
    head, separator, note = data.partition(b"\n\n")
    if not separator:
        raise Bad("%s: not a tlog-proof" % what)
    try:
        lines = (head + b"\n").decode("ascii").split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise Bad("%s: not a tlog-proof" % what) from error
    if lines[0] != "c2sp.org/tlog-proof@v1":
        raise Bad("%s: not a tlog-proof" % what)
    lines = lines[1:]
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = unbase64(lines[0][6:], what + ": extra")
        lines = lines[1:]
    if not lines or not lines[0].startswith("index "):
        raise Bad("%s: no index line" % what)
    index = decimal(lines[0][6:], what + ": index")
    path = hash_lines("".join(line + "\n" for line in lines[1:]), what)
    return TlogProof(extra, index, path, note)

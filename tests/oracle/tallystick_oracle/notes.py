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


def open_note(data, keys, what):
    """The text (with its last LF) of a note on which every line verifies under one of `keys`."""
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
    used = set()
    for line in lines:
        match = _SIGNATURE.match(line)
        if not match:
            raise Bad("%s: malformed signature line" % what)
        raw = unbase64(match.group(2), what + ": signature line", 68)
        known = [k for k in keys if k.name == match.group(1) and k.id == raw[:4]]
        if len(known) != 1:
            raise Bad("%s: signature line of an unknown key" % what)
        if known[0] in used:
            raise Bad("%s: two signature lines of one key" % what)
        used.add(known[0])
        if not ed25519_holds(known[0].key, raw[4:], text.encode("utf-8")):
            raise Bad("%s: signature does not hold" % what)
    return text


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose note has verified."""

    origin: str
    size: int
    root: bytes


def open_checkpoint(data, keys, what):
    """A checkpoint without extension lines, signed under its origin."""
    lines = open_note(data, keys, what).split("\n")
    if len(lines) != 4 or lines[3] != "":
        raise Bad("%s: not a checkpoint" % what)
    origin, size, root = lines[0], decimal(lines[1], what + ": size"), unbase64(lines[2], what + ": root", 32)
    if any(key.name != origin for key in keys):
        raise Bad("%s: checkpoint of another origin" % what)
    return Checkpoint(origin, size, root)


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

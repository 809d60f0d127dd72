"""Cosignatures and witness policies: docs/FORMAT.md section 6, C2SP tlog-cosignature and tlog-policy."""

import re
from dataclasses import dataclass

from .canonical import Bad, decimal, tobase64, unbase64
from .notes import parse_vkey
from .signatures import ed25519_holds, key_allowed, sha256

POLICY_BYTES_MAX = 65536
ENTRIES_MAX = 32
SECONDS_MAX = 2**63 - 1
_VKEY = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+(\S+)\Z")
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class WitnessKey:
    """A key that may cosign checkpoints."""

    name: str
    id: bytes  # 4 bytes
    key: bytes  # 32 bytes

    @classmethod
    def parse(cls, text):
        """A vkey of signature type 4."""
        match = _VKEY.match(text)
        if not match:
            raise Bad("not a vkey")
        raw = unbase64(match.group(3), "vkey", 33)
        if raw[0] != 4:
            raise Bad("vkey is not of a witness")
        if not key_allowed(raw[1:]):
            raise Bad("vkey is not a point, not canonical or weak")
        found = sha256(match.group(1).encode("utf-8") + b"\n\x04" + raw[1:])[:4]
        if found.hex() != match.group(2):
            raise Bad("vkey's key id is wrong")
        return cls(match.group(1), found, raw[1:])

    @property
    def vkey(self):
        """Its text."""
        return "%s+%s+%s" % (self.name, self.id.hex(), tobase64(b"\x04" + self.key))

    def check(self, text, signature, what):
        """The Unix seconds of a cosignature that holds for the note text `text`."""
        if len(signature) != 72:
            raise Bad("%s: cosignature is not 72 bytes" % what)
        seconds = int.from_bytes(signature[:8], "big")
        if seconds > SECONDS_MAX:
            raise Bad("%s: cosignature is of no time" % what)
        message = b"cosignature/v1\ntime %d\n" % seconds + text.encode("utf-8")
        if not ed25519_holds(self.key, signature[8:], message):
            raise Bad("%s: cosignature of %s does not hold" % (what, self.name))
        return seconds


class Policy:
    """A witness policy: logs, witnesses, and which of them are a quorum."""

    def __init__(self, text):
        if not text.endswith("\n") or len(text.encode("utf-8")) > POLICY_BYTES_MAX or _FORBIDDEN.search(text):
            raise Bad("witness policy: not lines of text")
        self.logs, self.witnesses, self.quorum = [], {}, None
        self._groups, self._grouped, self._keys = {}, set(), set()
        for number, line in enumerate(text.split("\n")[:-1], 1):
            words = [word for word in re.split("[ \t]+", line) if word]
            if not words or words[0].startswith("#"):
                continue
            try:
                self._line(words)
            except Bad as why:
                raise Bad("witness policy: line %d: %s" % (number, why)) from why
        if self.quorum is None:
            raise Bad("witness policy: no quorum")

    def _line(self, words):
        kind, count = words[0], len(words)
        if kind == "log" and count in (2, 3):
            key = parse_vkey(words[1])
            self._once(key.key)
            self.logs.append(key)
            self._room(self.logs)
        elif kind == "witness" and count in (3, 4):
            key = WitnessKey.parse(words[2])
            self._once(key.key)
            self._fresh(words[1])
            self.witnesses[words[1]] = key
            self._room(self.witnesses)
        elif kind == "group" and count >= 4:
            self._group(words[1], words[2], words[3:])
        elif kind == "quorum" and count == 2:
            if self.quorum is not None:
                raise Bad("a second quorum")
            if words[1] != "none":
                self._known(words[1])
            self.quorum = words[1]
        else:
            raise Bad("not a line of a policy")

    def _once(self, key):
        if key in self._keys:
            raise Bad("a key twice")
        self._keys.add(key)

    def _fresh(self, name):
        if name == "none" or name in self.witnesses or name in self._groups:
            raise Bad("name %r is taken" % name)

    def _known(self, name):
        if name not in self.witnesses and name not in self._groups:
            raise Bad("%r is not defined above" % name)

    @staticmethod
    def _room(entries):
        if len(entries) > ENTRIES_MAX:
            raise Bad("too many entries")

    def _group(self, name, threshold, members):
        least = {"all": len(members), "any": 1}.get(threshold)
        if least is None:
            least = decimal(threshold, "threshold")
        if not 1 <= least <= len(members):
            raise Bad("threshold does not fit the members")
        for member in members:
            self._known(member)
            if member in self._grouped:
                raise Bad("%r is in a group already" % member)
            self._grouped.add(member)
        self._fresh(name)
        self._groups[name] = (least, members)
        self._room(self._groups)

    def holds(self, cosigned, name=None):
        """Whether the witnesses named in `cosigned` are the quorum, or what `name` means."""
        name = self.quorum if name is None else name
        if name == "none":
            return True
        if name in self.witnesses:
            return name in cosigned
        least, members = self._groups[name]
        return sum(self.holds(cosigned, member) for member in members) >= least

    def sort(self, lines, text, what):
        """{policy name: Unix seconds} of the checked cosignatures among `lines` (name, key id ‖ signature), and the
        other lines. Two lines of one witness are refused."""
        cosigned, rest = {}, []
        for name, raw in lines:
            found = [n for n, key in self.witnesses.items() if key.name == name and key.id == raw[:4]]
            if not found:
                rest.append((name, raw))
            elif found[0] in cosigned:
                raise Bad("%s: two cosignatures of %s" % (what, name))
            else:
                cosigned[found[0]] = self.witnesses[found[0]].check(text, raw[4:], what)
        return cosigned, rest

"""The keys of a log over time: docs/FORMAT.md section 6, following the log's key."""

from . import canonical, shapes
from .canonical import Bad, unbase64
from .ledger import open_act, parse_leaf
from .notes import open_cosigned, parse_vkey, split_note
from .signatures import ed25519_holds

LOG_KEY_LABEL = b"tallystick/log-key/v1\0"


def labelled(label, *parts):
    """The label and each part with its length before it."""
    return label + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def log_key_text(vkey):
    """What the old and the new key sign."""
    return labelled(LOG_KEY_LABEL, parse_vkey(vkey).name.encode("utf-8"), vkey.encode("utf-8"))


class LogKeys:
    """Pinned keys and those that endorsements lead to."""

    def __init__(self, pinned, roster_bytes):
        self.pinned, self.keys = list(pinned), list(pinned)
        self.ended = {}  # key -> index of the entry after which another signs in its place
        for line in roster_bytes.split(b"\n"):
            try:
                self._follow(line)
            except Bad:
                continue  # check 4 or 6 says what is wrong with it

    def _follow(self, line):
        value = canonical.load(line, "roster")
        shapes.entry(value, "roster")
        leaf = parse_leaf(unbase64(value["leaf"]), "roster")
        if (leaf.stream, leaf.kind) != (1, 12):
            return
        act = open_act(unbase64(value["payload"]), (1, 12), "roster").act
        if act["of"] != "log":
            return
        row = act["log"][0]
        new, text = parse_vkey(row["vkey"]), log_key_text(row["vkey"])
        for key in self.pinned + self.keys[-1:]:
            if key.name == new.name and ed25519_holds(key.key, unbase64(row["endorsement"]), text):
                self.ended[key] = min(value["index"], self.ended.get(key, value["index"]))
                if new not in self.keys:
                    self.keys.append(new)
                return

    def open(self, data, policy, what):
        """As `open_cosigned`, and one line is by a key that no other took the place of in this tree."""
        checkpoint, cosigned = open_cosigned(data, self.keys, policy, what)
        _text, lines = split_note(data, what)
        due = [(key.name, key.id) for key in self.keys if self.ended.get(key, checkpoint.size) >= checkpoint.size]
        if not any((name, raw[:4]) in due for name, raw in lines):
            raise Bad("%s: signed only by a log key that another took the place of" % what)
        return checkpoint, cosigned

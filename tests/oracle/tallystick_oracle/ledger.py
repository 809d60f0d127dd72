"""Leaves, stream entries and acts: docs/FORMAT.md sections 4 and 5."""

from dataclasses import dataclass

from . import canonical, shapes
from .canonical import ZERO_HASH, Bad
from .merkle import leaf_hash
from .signatures import ACT_TYPE, ed25519_holds, pae, sha256, sha256_hex

PAYLOAD_BYTES_MAX = 65536
STREAM_NAMES = {1: "roster", 2: "rules", 3: "audit"}


@dataclass(frozen=True)
class Leaf:
    """The members of a leaf."""

    raw: bytes
    stream: int
    kind: int
    received_ms: int
    commitment: bytes
    stream_sequence: int | None  # None in stream 0
    previous: bytes | None

    @property
    def hash(self):
        """RFC 6962 leaf hash."""
        return leaf_hash(self.raw)

    def check_payload(self, salt, payload, where):
        """Raises unless the leaf commits to this payload."""
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise Bad("%s: payload is larger than %d bytes" % (where, PAYLOAD_BYTES_MAX))
        if len(salt) != 32 or sha256(salt + payload) != self.commitment:
            raise Bad("%s: payload is not what the leaf commits to" % where)


KINDS = {0: 4, 1: 13, 2: 5, 3: 8, 4: 8}  # stream -> its highest kind; the lowest is 1


def parse_leaf(raw, where):
    """A leaf of version 1: 43 bytes in stream 0, 83 in streams 1 to 4."""
    if len(raw) not in (43, 83) or raw[0] != 1:
        raise Bad("%s: not a leaf of version 1" % where)
    stream, kind = raw[1], raw[2]
    if stream not in KINDS or (stream == 0) != (len(raw) == 43):
        raise Bad("%s: leaf has the length of another stream" % where)
    if not 1 <= kind <= KINDS[stream]:
        raise Bad("%s: leaf of no kind" % where)
    received, commitment = int.from_bytes(raw[3:11], "big"), raw[11:43]
    if stream == 0:
        return Leaf(raw, stream, kind, received, commitment, None, None)
    return Leaf(raw, stream, kind, received, commitment, int.from_bytes(raw[43:51], "big"), raw[51:])


@dataclass
class Entry:
    """One entry of streams 1 to 3."""

    index: int
    leaf: Leaf
    payload: bytes  # as committed to: the envelope of the act
    act: dict | None = None  # set by open_act
    body: bytes | None = None  # the act's payload

    @property
    def kind(self):
        """(stream, kind)."""
        return self.leaf.stream, self.leaf.kind

    @property
    def received_ms(self):
        """When the leaf was received, Unix milliseconds."""
        return self.leaf.received_ms


def read_stream(data, stream):
    """The entries of one stream's file: canonical lines, chained leaves, right commitments, known kinds."""
    name = STREAM_NAMES[stream]
    if data and not data.endswith(b"\n"):
        raise Bad("%s: last line has no line end" % name)
    entries, previous = [], None
    for number, line in enumerate(data.split(b"\n")[:-1]):
        where = "%s entry %d" % (name, number)
        value = canonical.load(line, where)
        shapes.entry(value, where)
        leaf = parse_leaf(canonical.unbase64(value["leaf"], where), where)
        if leaf.stream != stream:
            raise Bad("%s: leaf of another stream" % where)
        if (leaf.stream, leaf.kind) not in shapes.ACTS:
            raise Bad("%s: kind %d.%d is not of this release" % (where, leaf.stream, leaf.kind))
        if leaf.stream_sequence != number:
            raise Bad("%s: has stream sequence %d" % (where, leaf.stream_sequence))
        if leaf.previous != (previous.leaf.hash if previous else bytes(32)):
            raise Bad("%s: does not chain to the entry before it" % where)
        if previous and value["index"] <= previous.index:
            raise Bad("%s: index does not ascend" % where)
        if previous and leaf.received_ms < previous.received_ms:
            raise Bad("%s: received before the entry before it" % where)
        payload = canonical.unbase64(value["payload"], where)
        leaf.check_payload(canonical.unbase64(value["salt"], where), payload, where)
        previous = Entry(value["index"], leaf, payload)
        entries.append(previous)
    return entries


def check_order(rows, where):
    """Raises unless no index repeats and received_ms does not decrease with it. Rows are (index, received_ms)."""
    rows = sorted(rows)
    for (index, received), (next_index, next_received) in zip(rows, rows[1:]):
        if index == next_index:
            raise Bad("%s: two leaves at index %d" % (where, index))
        if next_received < received:
            raise Bad("%s: leaf %d was received before leaf %d" % (where, next_index, index))


def head(entries, stream):
    """The head of a stream after these entries."""
    return {
        "stream": stream,
        "entries": len(entries),
        "last_leaf_hash": entries[-1].leaf.hash.hex() if entries else ZERO_HASH,
    }


@dataclass(frozen=True)
class SignedAct:
    """An act's envelope in its parts; the signature has not been looked at."""

    body: bytes
    act: dict
    keyid: str
    sig: bytes

    def signed_by(self, key_hex):
        """Whether this key (hex) made the signature and is the one named."""
        key = bytes.fromhex(key_hex)
        return self.keyid == sha256_hex(key) and ed25519_holds(key, self.sig, pae(ACT_TYPE, self.body))


def open_act(payload, kind, where):
    """An act from the canonical JSON of its envelope; its members are checked, its signature is not."""
    envelope = canonical.load(payload, where)
    shapes.members(
        payload=shapes.base64,
        payloadType=shapes.one_of(ACT_TYPE),
        signatures=shapes.listed(shapes.members(keyid=shapes.h32, sig=shapes.base64), 1, 1),
    )(envelope, where)
    body = canonical.unbase64(envelope["payload"], where)
    act = canonical.load(body, where)
    shapes.check_act(kind[0], kind[1], act)
    signature = envelope["signatures"][0]
    if act["signer"] != signature["keyid"]:
        raise Bad("%s: signer is not the key that signed" % where)
    return SignedAct(body, act, signature["keyid"], canonical.unbase64(signature["sig"], where, 64))

"""Bytes: JSON, protobuf, notes, and keys from a fixed seed."""

import base64
import hashlib
import json

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

SEED = b"tallystick hand-made sets, 1: "
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def sha(data):
    """SHA-256."""
    return hashlib.sha256(data).digest()


def sha_hex(data):
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def fixed(name, size=32):
    """Bytes that look random and are the same in every run."""
    return hashlib.shake_256(SEED + name.encode()).digest(size)


def b64(data):
    """Base64 text."""
    return base64.b64encode(data).decode()


def jcs(value):
    """Canonical JSON; every key used here is ASCII, so plain sorting is right."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def random_id(kind, name):
    """`d-…` and its like."""
    return kind + "-" + base64.b32encode(fixed(kind + name, 16)).decode().rstrip("=").lower()


def instance_bytes(name):
    """The 16 bytes behind random_id("i", name)."""
    return fixed("i" + name, 16)


class Key:
    """An Ed25519 key of a fixed seed."""

    def __init__(self, name):
        self.private = Ed25519PrivateKey.from_private_bytes(fixed("ed25519 " + name))
        raw = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.public = self.private.public_key().public_bytes(*raw)
        self.hex = self.public.hex()
        self.id = sha_hex(self.public)

    def sign(self, message):
        """64 bytes."""
        return self.private.sign(message)

    def note_id(self, name):
        """4 bytes of the key under a note name."""
        return sha(name.encode() + b"\n\x01" + self.public)[:4]

    def vkey(self, name):
        """Its text."""
        return "%s+%s+%s" % (name, self.note_id(name).hex(), b64(b"\x01" + self.public))


class TlsKey:
    """A P-256 key of a fixed seed."""

    def __init__(self, name):
        scalar = int.from_bytes(fixed("p256 " + name), "big") % (_P256_ORDER - 1) + 1
        self.private = ec.derive_private_key(scalar, ec.SECP256R1())
        self.spki = self.private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, message):
        """r and s, 64 bytes."""
        algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        r, s = decode_dss_signature(self.private.sign(message, algorithm))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def pae(kind, body):
    """DSSE pre-authentication encoding."""
    return b"DSSEv1 " + str(len(kind)).encode() + b" " + kind + b" " + str(len(body)).encode() + b" " + body


def note(text, *signers):
    """A note; signers are (name, Key)."""
    lines = ["— %s %s\n" % (name, b64(key.note_id(name) + key.sign(text.encode()))) for name, key in signers]
    return (text + "\n" + "".join(lines)).encode()


def lp(data):
    """u32 length and data."""
    return len(data).to_bytes(4, "big") + data


# ---- protobuf, one function per wire form


def varint(number):
    """A minimal varint."""
    out = []
    while number >= 128:
        out.append(number % 128 + 128)
        number //= 128
    return bytes(out + [number])


def num(field, value, keep=False):
    """An integer, bool or enum; 0 is left out unless the field is optional (keep)."""
    return varint(field * 8) + varint(int(value)) if value or keep else b""


def blob(field, value, keep=False):
    """Bytes, text or a message; empty ones are left out unless keep."""
    raw = value.encode() if isinstance(value, str) else value
    return varint(field * 8 + 2) + varint(len(raw)) + raw if raw or keep else b""

"""Signatures, key ids and the pre-authentication encoding: docs/FORMAT.md section 2."""

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

ACT_TYPE = "application/vnd.tallystick.act.v1+json"
STATEMENT_TYPE = "application/vnd.tallystick.attestation.v1+protobuf"

_FIELD_PRIME = 2**255 - 19
_CURVE_D = -121665 * pow(121666, -1, _FIELD_PRIME)
_GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
_REFUSED_POINTS = frozenset(
    bytes.fromhex(line)
    for line in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    )
)
# SubjectPublicKeyInfo of a P-256 key up to and with the mark of an uncompressed point; 64 bytes follow.
_P256_SPKI_HEAD = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def sha256(data):
    """SHA-256 as bytes."""
    return hashlib.sha256(data).digest()


def sha256_hex(data):
    """SHA-256 as lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def pae(payload_type, body):
    """DSSE pre-authentication encoding, version 1."""
    kind = payload_type.encode("ascii")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)


def point_allowed(encoded):
    """Whether 32 bytes pass rules 2 and 3 of section 2."""
    y = int.from_bytes(encoded, "little") & (2**255 - 1)
    return y < _FIELD_PRIME and encoded not in _REFUSED_POINTS


def key_allowed(encoded):
    """Whether 32 bytes may be a signing key: rules 2 and 3 of section 2, and a point of the curve."""
    y = int.from_bytes(encoded, "little") & (2**255 - 1)
    # x^2 = (y^2 - 1) / (d y^2 + 1) must be a square: Euler's criterion, a quotient being as square as the product.
    product = (y * y - 1) * (_CURVE_D * y * y + 1)
    return point_allowed(encoded) and pow(product, (_FIELD_PRIME - 1) // 2, _FIELD_PRIME) == 1


def ed25519_holds(key, signature, message):
    """Strict Ed25519: the rules of section 2 first, because the library accepts more than they allow."""
    if len(key) != 32 or len(signature) != 64:
        return False
    if int.from_bytes(signature[32:], "little") >= _GROUP_ORDER:
        return False
    if not point_allowed(key) or not point_allowed(signature[:32]):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def p256_holds(spki, signature, message):
    """ECDSA P-256 over SHA-256; the signature is r and s, 32 bytes each, the key the 91-byte SPKI."""
    if len(spki) != 91 or not spki.startswith(_P256_SPKI_HEAD) or len(signature) != 64:
        return False
    r = int.from_bytes(signature[:32], "big")
    s = int.from_bytes(signature[32:], "big")
    if not 0 < r < _P256_ORDER or not 0 < s < _P256_ORDER:
        return False
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), spki[26:])
        key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True

"""Signatures that careless libraries accept and docs/FORMAT.md section 2 refuses."""

import hashlib

from .wire import Key, fixed

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
IDENTITY = bytes([1]) + bytes(31)
_D = -121665 * pow(121666, P - 2, P) % P


def _add(a, b):
    (x1, y1), (x2, y2) = a, b
    k = _D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + k, P - 2, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - k, P - 2, P) % P
    return x, y


def _base():
    y = 4 * pow(5, P - 2, P) % P
    xx = (y * y - 1) * pow(_D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    return (P - x if x & 1 else x), y


def _times(scalar):
    point, power = (0, 1), _base()
    while scalar:
        if scalar & 1:
            point = _add(point, power)
        power = _add(power, power)
        scalar >>= 1
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def large_s(signature):
    """The same signature with S + L."""
    return signature[:32] + (int.from_bytes(signature[32:], "little") + L).to_bytes(32, "little")


class SmallOrderKey(Key):
    """The identity as a public key: R = S·B holds for every message."""

    def __init__(self):
        super().__init__("small order")
        self.public = IDENTITY
        self.hex = IDENTITY.hex()
        self.id = hashlib.sha256(IDENTITY).hexdigest()

    def sign(self, message):
        scalar = int.from_bytes(fixed("forged", 31), "little")
        return _times(scalar) + scalar.to_bytes(32, "little")


class SmallOrderR(Key):
    """A good key whose signatures have the identity as R: S = h·a."""

    def sign(self, message):
        digest = hashlib.sha512(fixed("ed25519 " + self.name)).digest()
        a = int.from_bytes(digest[:32], "little") & (2**254 - 8) | 2**254
        h = int.from_bytes(hashlib.sha512(IDENTITY + self.public + message).digest(), "little")
        return IDENTITY + (h * a % L).to_bytes(32, "little")

    def __init__(self, name):
        super().__init__(name)
        self.name = name


class Signer(Key):
    """A good key whose signatures are bent by a function."""

    def __init__(self, name, bend):
        super().__init__(name)
        self.bend = bend

    def sign(self, message):
        return self.bend(super().sign(message))

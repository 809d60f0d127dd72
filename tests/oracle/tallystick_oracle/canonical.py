"""Canonical JSON, base64, decimals and ids: docs/FORMAT.md section 1."""

import base64
import datetime
import json
import re

INTEGER_MAX = 2**53 - 1
DEPTH_MAX = 64  # levels of nesting in any JSON input
ZERO_HASH = "0" * 64

_ESCAPES = {
    0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\",
}


class Bad(Exception):
    """Something in the set does not hold; the text says what."""


def _string(text):
    out = ['"']
    for ch in text:
        code = ord(ch)
        if code in _ESCAPES:
            out.append(_ESCAPES[code])
        elif code < 0x20:
            out.append("\\u%04x" % code)
        else:
            out.append(ch)
    out.append('"')
    return "".join(out)


def _encode(value, out, depth):
    if depth > DEPTH_MAX:
        raise Bad("JSON is nested deeper than %d levels" % DEPTH_MAX)
    # bool is a subclass of int in Python and must not pass as one.
    if type(value) is int:
        if not -INTEGER_MAX <= value <= INTEGER_MAX:
            raise Bad("JSON integer outside +-(2^53 - 1)")
        out.append(str(value))
    elif type(value) is str:
        out.append(_string(value))
    elif type(value) is list:
        out.append("[")
        for n, item in enumerate(value):
            if n:
                out.append(",")
            _encode(item, out, depth + 1)
        out.append("]")
    elif type(value) is dict:
        out.append("{")
        # RFC 8785 sorts by UTF-16 code units, which big-endian UTF-16 bytes do.
        for n, key in enumerate(sorted(value, key=lambda k: k.encode("utf-16-be"))):
            if n:
                out.append(",")
            out.append(_string(key))
            out.append(":")
            _encode(value[key], out, depth + 1)
        out.append("}")
    else:
        raise Bad("JSON holds something else than objects, arrays, strings and integers")


def dump(value):
    """Canonical bytes of a value."""
    out = []
    _encode(value, out, 1)
    try:
        return "".join(out).encode("utf-8")
    except UnicodeEncodeError as error:
        raise Bad("JSON string is not Unicode text") from error


def _no_float(_text):
    raise Bad("JSON holds a number that is not an integer")


def load(data, what="JSON"):
    """Parses canonical JSON; anything that does not re-encode to itself is refused."""
    try:
        value = json.loads(data.decode("utf-8"), parse_float=_no_float, parse_constant=_no_float)
        again = dump(value)
    except Bad as error:
        raise Bad("%s: %s" % (what, error)) from error
    except (ValueError, RecursionError) as error:
        raise Bad("%s: not JSON" % what) from error
    if again != data:
        raise Bad("%s: not canonical JSON" % what)
    return value


def unbase64(text, what="base64", size=None):
    """Strict standard base64 that re-encodes to itself; with `size`, of exactly that many bytes."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, UnicodeError, AttributeError) as error:
        raise Bad("%s: not base64" % what) from error
    if base64.b64encode(raw).decode("ascii") != text:
        raise Bad("%s: not canonical base64" % what)
    if size is not None and len(raw) != size:
        raise Bad("%s: %d bytes, not %d" % (what, len(raw), size))
    return raw


def tobase64(raw):
    """Standard padded base64."""
    return base64.b64encode(raw).decode("ascii")


_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,19})\Z", re.ASCII)


def decimal(text, what="decimal", most=2**64 - 1):
    """A decimal without sign and without leading zero, at most `most`."""
    if type(text) is not str or not _DECIMAL.match(text) or int(text) > most:
        raise Bad("%s: not a decimal" % what)
    return int(text)


_BASE32_26 = r"[a-z2-7]{25}[aeimquy4]"  # 130 bits hold 128: the two spare bits are zero
_RANDOM_ID = {kind: re.compile(kind + "-" + _BASE32_26 + r"\Z", re.ASCII) for kind in "dipe"}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", re.ASCII)
_HEX = re.compile(r"[0-9a-f]*\Z", re.ASCII)


def is_random_id(text, kind):
    """An id of 16 random bytes: kind d device, i instance, p person, e engagement."""
    return type(text) is str and bool(_RANDOM_ID[kind].match(text))


def is_name(text):
    """An id that people choose."""
    return type(text) is str and bool(_NAME.match(text))


def is_day(text):
    """A day label, YYYY-MM-DD, of the calendar from 1970 on."""
    if type(text) is not str or not _DAY.match(text):
        return False
    try:
        return datetime.date.fromisoformat(text).year >= 1970
    except ValueError:
        return False


def is_hex(text, digits):
    """Lower-case hex of that many digits."""
    return type(text) is str and len(text) == digits and bool(_HEX.match(text))


def instance_text(raw):
    """The text of a 16-byte instance."""
    return "i-" + base64.b32encode(raw).decode("ascii").rstrip("=").lower()

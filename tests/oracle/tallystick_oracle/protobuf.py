"""Canonical protobuf over the table of schema.py: docs/FORMAT.md section 3."""

from .canonical import Bad
from .schema import ENUMS, MESSAGES

ROWS_MAX = 256  # of any repeated field
TEXT_BYTES_MAX = 256
_DEFAULTS = {"bytes": b"", "text": "", "u32": 0, "u64": 0, "bool": False}
_INTEGER_LIMITS = {"u32": 2**32, "u64": 2**64, "bool": 2}
_VARINT, _BYTES = 0, 2


def _varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Bad("protobuf: broken varint")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        shift += 7
        if not byte & 0x80:
            return value, at


def _scalar_to_wire(kind, value):
    """(wire type, bytes after the tag) of one value."""
    if kind in MESSAGES:
        body = encode(kind, value)
    elif kind == "bytes":
        body = value
    elif kind == "text":
        body = value.encode("utf-8")
    else:
        return _VARINT, _varint(int(value))
    return _BYTES, _varint(len(body)) + body


def encode(message, value):
    """Canonical bytes of a message given as a dict; absent fields are left out of the dict."""
    out = []
    for number, name, kind, label in MESSAGES[message]:
        if name not in value:
            continue
        item = value[name]
        if label == "repeated":
            if kind in ENUMS:
                packed = b"".join(_varint(row) for row in item)
                if packed:
                    out.append(_varint(number << 3 | _BYTES) + _varint(len(packed)) + packed)
                continue
            rows = item
        elif label == "plain" and item == _DEFAULTS.get(kind, 0):
            continue
        else:
            rows = [item]
        for row in rows:
            wire, body = _scalar_to_wire(kind, row)
            out.append(_varint(number << 3 | wire) + body)
    return b"".join(out)


def _from_wire(kind, raw):
    """A value from a varint (int) or from the bytes of a length-delimited field."""
    if kind in MESSAGES:
        return _decode(kind, raw)
    if kind == "bytes":
        return raw
    if kind == "text":
        if len(raw) > TEXT_BYTES_MAX:
            raise Bad("protobuf: text longer than %d bytes" % TEXT_BYTES_MAX)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Bad("protobuf: text is not UTF-8") from error
    if kind in ENUMS:
        if raw not in ENUMS[kind]:
            raise Bad("protobuf: unknown number of enum %s" % kind)
        return raw
    if raw >= _INTEGER_LIMITS[kind]:
        raise Bad("protobuf: integer out of range")
    return bool(raw) if kind == "bool" else raw


def _unpack(kind, raw):
    rows, at = [], 0
    while at < len(raw):
        value, at = _read_varint(raw, at)
        rows.append(_from_wire(kind, value))
        if len(rows) > ROWS_MAX:
            raise Bad("protobuf: more than %d rows" % ROWS_MAX)
    return rows


def _decode(message, data):
    # The schema is not recursive, so neither is hostile input.
    fields = {number: (name, kind, label) for number, name, kind, label in MESSAGES[message]}
    value, at, oneofs = {}, 0, set()
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, wire = tag >> 3, tag & 7
        if number not in fields:
            raise Bad("protobuf: unknown field %d of %s" % (number, message))
        name, kind, label = fields[number]
        packed = label == "repeated" and kind in ENUMS
        delimited = packed or kind in MESSAGES or kind in ("bytes", "text")
        if wire != (_BYTES if delimited else _VARINT):
            raise Bad("protobuf: wrong wire type of %s.%s" % (message, name))
        raw, at = _read_varint(data, at)
        if delimited:
            if raw > len(data) - at:
                raise Bad("protobuf: %s.%s is cut off" % (message, name))
            raw, at = data[at : at + raw], at + raw
        if label == "repeated" and not packed:
            rows = value.setdefault(name, [])
            if len(rows) >= ROWS_MAX:
                raise Bad("protobuf: more than %d rows" % ROWS_MAX)
            rows.append(_from_wire(kind, raw))
            continue
        if name in value:
            raise Bad("protobuf: %s.%s twice" % (message, name))
        if label.startswith("oneof"):
            if label in oneofs:
                raise Bad("protobuf: two members of %s of %s" % (label, message))
            oneofs.add(label)
        value[name] = _unpack(kind, raw) if packed else _from_wire(kind, raw)
    return value


def _with_defaults(message, value):
    for _number, name, kind, label in MESSAGES[message]:
        if label == "repeated":
            rows = value.setdefault(name, [])
            if kind in MESSAGES:
                for row in rows:
                    _with_defaults(kind, row)
        elif name in value:
            if kind in MESSAGES:
                _with_defaults(kind, value[name])
        elif label == "plain":
            value[name] = _DEFAULTS.get(kind, 0)
    return value


def decode(message, data):
    """A message as a dict: plain fields have their default, absent optional ones are missing.

    Refuses bytes that do not encode to themselves.
    """
    value = _decode(message, data)
    if encode(message, value) != data:
        raise Bad("protobuf: %s is not canonical" % message)
    return _with_defaults(message, value)

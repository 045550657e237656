"""A canonical, length-prefixed encoding, so that no two different values share a digest."""

import hashlib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

Value = str | int | float | bool | None | Sequence["Value"] | Mapping[str, "Value"] | AbstractSet[str]


def encode(value: Value) -> bytes:
    """Bytes that differ whenever two values differ: type tag, length, content; mappings and sets in sorted order."""
    match value:
        case None:
            return b"n"
        case bool():
            return b"t" if value else b"f"
        case int() | float():
            return _framed(b"i" if isinstance(value, int) else b"d", repr(value).encode())
        case str():
            return _framed(b"s", value.encode("utf-8", "surrogatepass"))
        case Mapping():
            return _framed(b"m", b"".join(encode(key) + encode(value[key]) for key in sorted(value)))
        case AbstractSet():
            return _framed(b"u", b"".join(encode(item) for item in sorted(value)))
        case Sequence():
            return _framed(b"l", b"".join(encode(item) for item in value))


def digest(value: Value) -> str:
    """SHA-256 of the canonical encoding, in hexadecimal."""
    return hashlib.sha256(encode(value)).hexdigest()


def _framed(tag: bytes, content: bytes) -> bytes:
    return tag + len(content).to_bytes(8, "big") + content

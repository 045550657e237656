"""The format of an API key: `cohort_<id>_<secret>_<check>`.

`id` is 16 hexadecimal digits and public; `secret` is 256 random bits in base 62, 43 digits; `check` is the CRC-32 of
everything before it in 8 hexadecimal digits, so that a typo is told apart from a wrong key without any look-up.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass

PREFIX = "cohort"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SHAPE = re.compile(rf"({PREFIX}_([0-9a-f]{{16}})_([0-9A-Za-z]{{43}}))_([0-9a-f]{{8}})")


@dataclass(frozen=True, repr=False)
class ApiKey:
    """A parsed key. Its repr shows only the id, so that it can't be logged by accident."""

    id: str
    token: str

    def __repr__(self) -> str:
        return f"ApiKey(id={self.id!r})"


def new_key() -> ApiKey:
    """A fresh random key; `token` is what the user is shown, once."""
    number = secrets.randbits(256)
    secret = ""
    for _ in range(43):
        number, digit = divmod(number, 62)
        secret = _DIGITS[digit] + secret
    key_id = secrets.token_hex(8)
    body = f"{PREFIX}_{key_id}_{secret}"
    return ApiKey(id=key_id, token=f"{body}_{_check(body)}")


def parse_key(token: str) -> ApiKey | None:
    """The key that `token` spells, or None where shape or check digits are wrong."""
    shape = _SHAPE.fullmatch(token)
    if shape is None or not hmac.compare_digest(_check(shape[1]), shape[4]):
        return None
    return ApiKey(id=shape[2], token=token)


def key_digest(token: str, pepper: bytes) -> bytes:
    """HMAC-SHA256 of the whole token under the server's secret: what is stored instead of the key."""
    return hmac.new(pepper, token.encode(), hashlib.sha256).digest()


def _check(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"

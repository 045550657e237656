"""How payloads look to the workflow server: pydantic JSON, deflated where that helps, sealed with AES-256-GCM.

Inputs, results, headers of failures and the words that operators read are all sealed, from the first workflow on;
search attributes are not, so nothing that a caller wrote goes there. A payload names the key that sealed it, so that
a key can be followed by another one and old histories stay readable.
"""

import asyncio
import hashlib
import os
import zlib
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf import json_format
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

ENCODING = b"binary/cohort-aes256gcm"
DEFLATE_ABOVE = 4_096
"""Bytes from which deflating is tried."""
INLINE_BELOW = 262_144
"""Bytes up to which sealing costs less than a hop to a thread."""

_PLAIN = b"\x00"
_DEFLATED = b"\x01"
_NONCE = 12


class UnreadablePayload(ValueError):
    """A payload that no key of this process opens: sealed elsewhere, or damaged."""


class SealingCodec(PayloadCodec):
    """Seals and opens payloads. The first key seals; every key opens what it sealed.

    Args:
        key: 32 bytes.
        retired: earlier keys, of 32 bytes each, that still open old histories.
    """

    def __init__(self, key: bytes, retired: Sequence[bytes] = ()) -> None:
        self._keys = {_key_id(one): AESGCM(one) for one in (key, *retired)}
        self._current = _key_id(key)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Seal every payload."""
        return await _each(self.seal, payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Open every sealed payload; what was never sealed is left as it is.

        Raises:
            UnreadablePayload: the key is not known here, or the bytes were changed.
        """
        return await _each(self.open, payloads)

    def seal(self, payload: Payload) -> Payload:
        """One payload, sealed under the current key with a fresh nonce."""
        content = payload.SerializeToString()
        packed = _PLAIN + content
        if len(content) > DEFLATE_ABOVE:
            deflated = zlib.compress(content, level=1)
            if len(deflated) < len(content):
                packed = _DEFLATED + deflated
        nonce = os.urandom(_NONCE)
        sealed = nonce + self._keys[self._current].encrypt(nonce, packed, ENCODING)
        return Payload(metadata={"encoding": ENCODING, "key-id": self._current}, data=sealed)

    def open(self, payload: Payload) -> Payload:
        """One payload, opened.

        Raises:
            UnreadablePayload: the key is not known here, or the bytes were changed.
        """
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        cipher = self._keys.get(payload.metadata["key-id"])
        if cipher is None:
            raise UnreadablePayload(
                "A workflow payload was sealed with a key that this process does not have. Nothing was changed. "
                "Start with the COHORT_SECRET_KEY under which the workflow was started."
            )
        try:
            packed = cipher.decrypt(payload.data[:_NONCE], payload.data[_NONCE:], ENCODING)
        except InvalidTag as broken:
            raise UnreadablePayload("A workflow payload is damaged: its seal does not fit its bytes.") from broken
        content = zlib.decompress(packed[1:]) if packed[:1] == _DEFLATED else packed[1:]
        return Payload.FromString(content)


def data_converter(key: bytes, retired: Sequence[bytes] = ()) -> DataConverter:
    """The converter that every client and worker of Cohort uses; `key` is 32 bytes."""
    return DataConverter(
        payload_converter_class=PydanticPayloadConverter,
        payload_codec=SealingCodec(key, retired),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


def encode_payloads(codec: SealingCodec, body: bytes) -> bytes:
    """The Temporal UI's `POST …/encode`: JSON of `Payloads` in, JSON of sealed `Payloads` out.

    Raises:
        ValueError: the body is no JSON of payloads.
    """
    return _mapped(codec.seal, body)


def decode_payloads(codec: SealingCodec, body: bytes) -> bytes:
    """The Temporal UI's `POST …/decode`: JSON of sealed `Payloads` in, JSON of readable `Payloads` out.

    Raises:
        ValueError: the body is no JSON of payloads, or a payload can't be opened.
    """
    return _mapped(codec.open, body)


def _mapped(turn: Callable[[Payload], Payload], body: bytes) -> bytes:
    try:
        given = json_format.Parse(body.decode(), Payloads())
    except json_format.ParseError as unread:
        raise ValueError("The body is not the JSON of Temporal payloads.") from unread
    return json_format.MessageToJson(Payloads(payloads=[turn(one) for one in given.payloads])).encode()


async def _each(turn: Callable[[Payload], Payload], payloads: Sequence[Payload]) -> list[Payload]:
    if sum(len(one.data) for one in payloads) > INLINE_BELOW:
        return await asyncio.to_thread(lambda: [turn(one) for one in payloads])
    return [turn(one) for one in payloads]


def _key_id(key: bytes) -> bytes:
    if len(key) != 32:
        raise ValueError(f"a payload key has 32 bytes, not {len(key)}")
    return hashlib.sha256(b"cohort payload key" + key).hexdigest()[:16].encode()

"""Sealing of workflow payloads."""

import json

import pytest
from google.protobuf import json_format
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.exceptions import ApplicationError

from domain.calls import Usage
from workflows.converter import (
    ENCODING,
    INLINE_BELOW,
    SealingCodec,
    UnreadablePayload,
    data_converter,
    decode_payloads,
    encode_payloads,
)

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


@pytest.mark.parametrize("size", [0, 10, 5_000, INLINE_BELOW * 2])
async def test_what_is_sealed_opens_again(size: int) -> None:
    codec = SealingCodec(KEY)
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b"secret" * size)

    [sealed] = await codec.encode([payload])

    assert b"secret" not in sealed.SerializeToString()
    assert sealed.metadata["encoding"] == ENCODING
    assert await codec.decode([sealed]) == [payload]


def test_text_is_deflated_and_noise_is_not() -> None:
    codec = SealingCodec(KEY)

    assert len(codec.seal(Payload(data=b"the same words " * 1_000)).data) < 1_000
    assert len(codec.seal(Payload(data=b"short")).data) < 100


def test_no_two_seals_are_alike() -> None:
    codec = SealingCodec(KEY)

    assert codec.seal(Payload(data=b"a")).data != codec.seal(Payload(data=b"a")).data


def test_a_retired_key_still_opens() -> None:
    old = SealingCodec(OTHER).seal(Payload(data=b"a"))

    assert SealingCodec(KEY, retired=[OTHER]).open(old).data == b"a"
    with pytest.raises(UnreadablePayload, match="COHORT_SECRET_KEY"):
        SealingCodec(KEY).open(old)


@pytest.mark.parametrize("place", [0, 12, -1])
def test_a_changed_payload_does_not_open(place: int) -> None:
    sealed = SealingCodec(KEY).seal(Payload(data=b"a" * 50))
    bent = bytearray(sealed.data)
    bent[place] ^= 1
    sealed.data = bytes(bent)

    with pytest.raises(UnreadablePayload, match="damaged"):
        SealingCodec(KEY).open(sealed)


def test_what_was_never_sealed_is_left_alone() -> None:
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b"1")

    assert SealingCodec(KEY).open(payload) == payload


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SealingCodec(b"short")


async def test_models_and_messages_of_failures_are_sealed() -> None:
    converter = data_converter(KEY)
    usage = Usage(provider="p", model="the model", cost=0.5)

    payloads = await converter.encode([usage])
    failure = Failure()
    await converter.encode_failure(ApplicationError("the words of the failure", "its detail"), failure)

    assert await converter.decode(payloads, [Usage]) == [usage]
    wire = payloads[0].SerializeToString() + failure.SerializeToString()
    assert b"the model" not in wire
    assert b"the words" not in wire
    assert b"its detail" not in wire
    opened = await converter.decode_failure(failure)
    assert isinstance(opened, ApplicationError)
    assert opened.message == "the words of the failure"


def test_the_ui_can_have_payloads_decoded() -> None:
    codec = SealingCodec(KEY)
    plain = Payloads(payloads=[Payload(metadata={"encoding": b"json/plain"}, data=b'"hello"')])

    sealed = encode_payloads(codec, json_format.MessageToJson(plain).encode())
    opened = decode_payloads(codec, sealed)

    assert "aGVsbG8" not in sealed.decode()
    assert json_format.Parse(opened, Payloads()) == plain


@pytest.mark.parametrize("body", [b"", b"{", b'{"payloads": 3}', b"\xff", json.dumps({"x": 1}).encode()])
def test_a_body_that_holds_no_payloads_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"payloads|utf-8"):
        decode_payloads(SealingCodec(KEY), body)

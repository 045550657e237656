"""Keys at the door: what is wrong with each, and that nothing else can be learned."""

import hmac
import time
import zlib
from unittest.mock import patch

import pytest

from domain.calls import Caller
from domain.errors import CohortError, ErrorCode
from domain.keys import ApiKey, new_key
from storage import groups, refusals
from storage.identity import Identity
from storage.tables import KEYS
from tests.storage.worlds import PEPPER, World


@pytest.fixture
def identity(world: World) -> Identity:
    return Identity(world.database, PEPPER)


async def said(identity: Identity, token: str) -> str:
    with pytest.raises(CohortError) as refusal:
        await identity.verify(token)
    assert refusal.value.code is ErrorCode.UNAUTHENTICATED
    assert token not in refusal.value.message or not token
    return refusal.value.message


async def test_a_key_is_its_users(identity: Identity, world: World) -> None:
    verified = await identity.verify(world.keys["rosa"].token)
    assert (verified.user_id, verified.key_id, verified.lane) == ("rosa", world.keys["rosa"].id, "research")


async def test_lanes(identity: Identity, world: World) -> None:
    rosa = world.keys["rosa"].token
    assert (await identity.verify(rosa, context="acme")).lane == "acme"
    assert (await identity.verify(rosa, override="lab")).lane == "lab"
    assert (await identity.verify(rosa, context="partner")).lane == "research"
    assert (await identity.verify(rosa, override="partner")).lane == "research"


async def test_what_is_wrong_with_a_key(identity: Identity, world: World) -> None:
    token = world.keys["rosa"].token
    assert await said(identity, "") == refusals.MISSING
    for broken in [
        token[:-1],
        token + "0",
        "x" * 70,
        token[:30] + ("0" if token[30] != "0" else "1") + token[31:],
        "ä",
    ]:
        assert await said(identity, broken) == refusals.MALFORMED
    assert await said(identity, new_key().token) == refusals.WRONG


async def test_expired_revoked_and_disabled_are_told_only_to_the_holder(identity: Identity, world: World) -> None:
    async with world.database.write() as tx:
        old = await groups.create_key(tx, "sam", pepper=PEPPER, expires_at=time.time() - 1)
        gone = await groups.create_key(tx, "sam", pepper=PEPPER)
        await groups.revoke_key(tx, gone.id)
        await groups.disable_user(tx, "lena")
    assert await said(identity, old.token) == refusals.EXPIRED
    assert await said(identity, gone.token) == refusals.REVOKED
    assert await said(identity, world.keys["lena"].token) == refusals.DISABLED
    for key in (old, gone, world.keys["lena"]):
        assert await said(identity, _same_id(key).token) == refusals.WRONG


async def test_unknown_and_wrong_keys_do_the_same_work(identity: Identity, world: World) -> None:
    for token in (new_key().token, _same_id(world.keys["rosa"]).token):
        with patch("hmac.compare_digest", wraps=hmac.compare_digest) as compared:
            assert await said(identity, token) == refusals.WRONG
        assert [len(digest) for digest in compared.call_args.args] == [32, 32]
        assert compared.call_count == 2, "the check digits, then the digest"


async def test_another_servers_pepper_opens_nothing(world: World) -> None:
    assert await said(Identity(world.database, b"q" * 32), world.keys["rosa"].token) == refusals.WRONG


async def test_what_is_remembered_is_the_whole_token(identity: Identity, world: World) -> None:
    await identity.verify(world.keys["rosa"].token)
    assert await said(identity, _same_id(world.keys["rosa"]).token) == refusals.WRONG


async def test_principal_reads_again(identity: Identity, world: World) -> None:
    token = world.keys["rosa"].token
    await identity.verify(token)
    async with world.database.write() as tx:
        await groups.revoke_key(tx, world.keys["rosa"].id)
    assert (await identity.verify(token)).user_id == "rosa"
    with pytest.raises(CohortError, match="revoked"):
        await identity.principal(Caller(key_id=world.keys["rosa"].id, user_id="rosa"))


async def test_the_token_is_nowhere_in_the_database(world: World) -> None:
    async with world.database.read() as tx:
        rows = (await tx.execute(KEYS.select())).all()
    secret = world.keys["rosa"].token.split("_")[2]
    assert len(rows) == len(world.keys)
    assert all(secret not in repr(row) and secret.encode() not in bytes(row.digest) for row in rows)


def _same_id(key: ApiKey) -> ApiKey:
    """A well-formed key with the id of `key` and another secret."""
    body = f"cohort_{key.id}_{new_key().token.split('_')[2]}"
    return ApiKey(id=key.id, token=f"{body}_{zlib.crc32(body.encode()):08x}")

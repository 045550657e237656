"""Administrative calls: exactly once however often they are tried, and no token of a key in any history."""

import asyncio
import json
from typing import Any

from sqlalchemy import func, select, update
from temporalio.api.common.v1 import Payload

from activities.administer import Administer
from activities.administration import Follow
from domain.calls import Call, Outcome, Work
from domain.errors import CohortError, ErrorCode
from domain.policy import Principal
from storage import groups, snapshots
from storage.answers import Answers
from storage.indexing import Indexer
from storage.pages import Pages
from storage.reindexing import Reindexer
from storage.tables import AUDIT, EPOCHS, GROUPS, KEYS, METADATA, OUTBOX
from tests.support.world import World


def activity(ruled: World) -> Administer:
    """The activity, as a worker wires it."""
    parts = ruled.parts
    indexer = Indexer(parts.database, parts.vectors, parts.embedder)
    return Administer(
        parts.database,
        Answers(parts.database, parts.secrets.key("answers")),
        Pages(parts.secrets.key("pages")),
        Follow(Reindexer(parts.database, parts.vectors, indexer)),
        parts.secrets.key("api-keys"),
    )


async def attempt(ruled: World, call: Call) -> Outcome:
    """One attempt of the activity for one admitted call."""
    async with ruled.parts.database.read() as tx:
        [principal] = await snapshots.take(tx, [call.caller])
    assert isinstance(principal, Principal)
    work = Work(calls=(call,), principals=(principal,), principal_of={call.id: 0})
    [outcome] = (await activity(ruled).run(work)).outcomes
    return outcome


async def count(ruled: World, table: Any, *where: Any) -> int:
    async with ruled.parts.database.read() as tx:
        return await tx.scalar(select(func.count()).select_from(table).where(*where)) or 0


async def token_of(ruled: World, outcome: Outcome) -> str:
    """The token that a door fetches for its caller."""
    assert outcome.stored, outcome
    assert outcome.data is None
    answers = Answers(ruled.parts.database, ruled.parts.secrets.key("answers"))
    return (await answers.get(outcome.call_id))["token"]


async def payloads(ruled: World, workflow_id: str) -> list[bytes]:
    """Everything that an execution's history holds, opened as an operator may."""
    history = await ruled.client.get_workflow_handle(workflow_id).fetch_history()
    found: list[Payload] = []

    def walk(message: Any) -> None:
        for field, value in message.ListFields():
            if isinstance(value, Payload):
                found.append(value)
            elif field.message_type is None:
                continue
            elif hasattr(value, "ListFields"):
                walk(value)
            elif hasattr(value, "values") and field.message_type.GetOptions().map_entry:
                for each in value.values():
                    found.append(each) if isinstance(each, Payload) else hasattr(each, "ListFields") and walk(each)
            else:
                for each in value:
                    found.append(each) if isinstance(each, Payload) else walk(each)

    for event in history.events:
        walk(event)
    codec = ruled.client.data_converter.payload_codec
    assert codec is not None
    return [one.data for one in await codec.decode(found)]


async def test_a_change_holds_and_is_written_down_once(ruled: World) -> None:
    call = ruled.call("root", "groups_add_member", {"id": "acme-research", "user_id": "sam", "role": 0})
    outcome = await ruled.answer(call)
    assert outcome.error is None, outcome.error
    assert outcome.data == {
        "groupId": "acme-research",
        "userId": "sam",
        "role": 0,
        "adminLevel": 0,
        "changed": True,
    }
    async with ruled.parts.database.read() as tx:
        entry = (await tx.execute(select(AUDIT).where(AUDIT.c.id == call.id))).one()
        [event] = (await tx.execute(select(OUTBOX))).all()
    assert (entry.user_id, entry.operation, entry.object) == ("root", "groups_add_member", "group:acme-research")
    assert (entry.decision, entry.correlation_id) == ("allowed", call.labels.correlation_id)
    assert (event.topic, event.key) == ("administration", "group:acme-research")
    assert event.payload["callId"] == call.id
    assert event.payload["userId"] == "sam"


async def test_attempts_after_the_first_give_its_answer(ruled: World) -> None:
    call = ruled.call("root", "groups_create", {"id": "novel", "name": "Novel"})
    first = await attempt(ruled, call)
    assert first.data is not None
    before = await count(ruled, OUTBOX)
    again = await asyncio.gather(*(attempt(ruled, call) for _ in range(3)))
    assert all(one == first for one in again)
    assert await count(ruled, OUTBOX) == before
    assert await count(ruled, AUDIT, AUDIT.c.id == call.id) == 1


async def test_attempts_side_by_side_make_one_key_with_one_token(ruled: World) -> None:
    before = await count(ruled, KEYS)
    call = ruled.call("root", "keys_create", {"user_id": "sam", "name": "twice"})
    outcomes = await asyncio.gather(*(attempt(ruled, call) for _ in range(4)))
    assert len({await token_of(ruled, one) for one in outcomes}) == 1
    assert await count(ruled, KEYS) == before + 1


async def test_a_refused_attempt_that_was_written_down_is_not_made_later(ruled: World) -> None:
    """A batch may be run again from its start: what its first run refused and settled stays refused."""
    call = ruled.call("root", "groups_add_member", {"id": "nowhere", "user_id": "sam"})
    assert (await ruled.answer(call)).error is not None
    async with ruled.parts.database.write() as tx:
        await groups.create_group(tx, "nowhere", name="Now here")
    again = await attempt(ruled, call)
    assert again.error is not None
    assert (again.error.code, again.error.retryable) == (ErrorCode.CONFLICT, True)
    async with ruled.parts.database.read() as tx:
        assert await tx.scalar(select(AUDIT.c.decision).where(AUDIT.c.id == call.id)) == "refused"


async def test_one_bad_call_of_a_batch_fails_alone(ruled: World) -> None:
    calls = [
        ruled.call("root", "groups_create", {"id": "one", "name": "One"}),
        ruled.call("root", "groups_create", {"id": "acme", "name": "Again"}),
        ruled.call("root", "groups_create", {"id": "two", "name": "Two", "parent": "one"}),
        ruled.call("sam", "groups_create", {"id": "three", "name": "Three"}),
    ]
    outcomes = await ruled.batch(*calls)
    codes = [one.error.code if one.error is not None else None for one in outcomes]
    assert codes == [None, ErrorCode.CONFLICT, None, ErrorCode.FORBIDDEN]
    assert await count(ruled, AUDIT, AUDIT.c.id.in_([call.id for call in calls])) == 4


async def test_no_token_is_in_a_history_or_in_a_table(ruled: World) -> None:
    call = ruled.call("root", "keys_create", {"user_id": "sam"}, idempotency_key="k-1")
    made = await token_of(ruled, await ruled.answer(call))
    rotation = ruled.call("root", "keys_rotate", {"id": made.split("_")[1]})
    newer = await token_of(ruled, await ruled.answer(rotation))
    secrets = [token.split("_")[2].encode() for token in (made, newer)]
    for one in (call, rotation):
        held = await payloads(ruled, f"calls-acme-research-{one.id}")
        assert any(call.id.encode() in each or rotation.id.encode() in each for each in held)
        assert not any(secret in each for each in held for secret in secrets)
    async with ruled.parts.database.read() as tx:
        for table in METADATA.sorted_tables:
            for each in await tx.execute(select(table)):
                said = json.dumps([str(value) for value in each])
                assert not any(secret.decode() in said for secret in secrets), table.name


async def test_a_repeated_request_gets_the_same_token_while_its_maker_may(ruled: World) -> None:
    asked = {"user_id": "sam", "name": "repeated"}
    first = await ruled.answer(ruled.call("root", "keys_create", asked, idempotency_key="k-2"))
    again = await ruled.answer(ruled.call("root", "keys_create", asked, idempotency_key="k-2"))
    assert await token_of(ruled, first) == await token_of(ruled, again)
    async with ruled.parts.database.write() as tx:
        await groups.add_member(tx, "root", "platform", role=1)
    late = await ruled.answer(ruled.call("root", "keys_create", asked, idempotency_key="k-2"))
    assert late.error is not None
    assert late.error.code is ErrorCode.CONFLICT


async def test_rights_that_were_lost_after_admission_count_no_more(ruled: World) -> None:
    call = ruled.call("root", "groups_create", {"id": "late", "name": "Late"})
    async with ruled.parts.database.read() as tx:
        [principal] = await snapshots.take(tx, [call.caller])
    assert isinstance(principal, Principal)
    async with ruled.parts.database.write() as tx:
        await groups.disable_user(tx, "root")
    work = Work(calls=(call,), principals=(principal,), principal_of={call.id: 0})
    [outcome] = (await activity(ruled).run(work)).outcomes
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.UNAUTHENTICATED


async def test_a_replayed_answer_is_for_administrators_only(ruled: World) -> None:
    given = {"id": "partner", "name": "Partners"}
    first = await ruled.answer(ruled.call("root", "groups_update", given, idempotency_key="k-3"))
    assert first.error is None
    async with ruled.parts.database.write() as tx:
        await groups.remove_member(tx, "root", "platform")
        values = {"permissions": ["groups:admin"], "admin_level": 2}
        await tx.execute(update(GROUPS).where(GROUPS.c.id == "acme-sales").values(values))
    late = await ruled.answer(ruled.call("root", "groups_update", given, idempotency_key="k-3"))
    assert late.error is not None
    assert CohortError.of(late.error).code is ErrorCode.CONFLICT
    async with ruled.parts.database.read() as tx:
        assert await tx.scalar(select(EPOCHS.c.value).where(EPOCHS.c.scope == "group:partner"))

"""Batches: every call gets an outcome of its own, in order, whatever becomes of the others."""

from collections import Counter

import pytest
from sqlalchemy import select, text

from domain.calls import Outcome
from domain.errors import ErrorCode
from domain.ids import new_id
from storage import groups
from storage.tables import AUDIT, LEDGER
from tests.support.provider import Provider
from tests.support.waiting import eventually
from tests.support.world import World


def code(outcome: Outcome) -> ErrorCode | None:
    return outcome.error.code if outcome.error else None


async def audited(acme: World) -> Counter[tuple[str, str]]:
    async with acme.parts.database.read() as tx:
        rows = await tx.execute(select(AUDIT.c.decision, AUDIT.c.reason).where(AUDIT.c.user_id != "system"))
        return Counter((row.decision, row.reason) for row in rows)


async def test_a_miss_goes_on_alone_and_is_answered(acme: World, provider: Provider) -> None:
    [outcome] = await acme.batch(call := acme.ask("ada", "What is new?"))
    assert outcome.deferred == f"completion-{call.id}"

    final = await acme.final(outcome)

    assert final.error is None
    assert final.data is not None
    assert final.data["id"] == f"completion-{call.id}"
    assert final.data["text"] == "An answer."
    assert final.data["finishReason"] == "stop"
    assert final.data["usage"] == {"promptTokens": 11, "completionTokens": 7}
    assert final.usage is not None
    assert (final.usage.provider, final.usage.model, final.usage.cached) == ("tester", "good", False)
    assert final.facts is not None
    assert final.facts.user_groups == ("acme", "acme-research")
    assert provider.attempts == {"good": 1}


async def test_a_colleague_is_answered_from_the_cache(acme: World, provider: Provider) -> None:
    first = await acme.answer(acme.ask("ada", "What is new?"))

    [second] = await acme.batch(call := acme.ask("grace", "What is new?"))

    assert second.data == {**(first.data or {}), "id": f"completion-{call.id}"}
    assert second.usage is not None
    assert second.usage.cached
    assert second.usage.cost == 0
    assert second.usage.cache_age is not None
    assert provider.attempts == {"good": 1}
    assert acme.parts.cache.counts.by_result == {"miss": 1, "l1": 1}
    async with acme.parts.database.read() as tx:
        rows = (await tx.execute(select(LEDGER).order_by(LEDGER.c.at))).all()
    assert [(row.user_id, row.group_id, row.cached, row.prompt_tokens) for row in rows] == [
        ("ada", "acme-research", False, 11),
        ("grace", "acme-research", True, 0),
    ]
    assert await audited(acme) == {("allowed", ""): 2}


@pytest.mark.parametrize("user", ["sam", "pat"])
async def test_nobody_of_another_group_is_answered_from_it(acme: World, provider: Provider, user: str) -> None:
    await acme.answer(acme.ask("ada", "What is new?"))

    other = await acme.answer(acme.ask(user, "What is new?"), lane="other")

    assert other.usage is not None
    assert not other.usage.cached
    assert provider.attempts == {"good": 2}


@pytest.mark.parametrize("mode", ["off", "refresh"])
async def test_the_cache_can_be_passed_by(acme: World, provider: Provider, mode: str) -> None:
    await acme.answer(acme.ask("ada", "What is new?"))

    again = await acme.answer(acme.ask("ada", "What is new?", cache=mode))

    assert again.usage is not None
    assert not again.usage.cached
    assert provider.attempts == {"good": 2}


async def test_an_answer_that_was_kept_out_of_the_cache_is_not_in_it(acme: World, provider: Provider) -> None:
    await acme.answer(acme.ask("ada", "What is new?", cache="off"))

    again = await acme.answer(acme.ask("ada", "What is new?"))

    assert again.usage is not None
    assert not again.usage.cached


async def test_one_bad_call_fails_alone(acme: World) -> None:
    good = acme.ask("ada", "What is new?")
    model = acme.ask("ada", "What is new?", model="unheard-of")
    late = acme.ask("ada", "What is new?", seconds=-1)
    broken = acme.call("ada", "completions_create", {"prompt": 7})
    mute = acme.ask("mute", "What is new?")
    foreign = acme.ask("ada", "What is new?", context="partner")
    unknown = good.model_copy(update={"id": "0" * 20, "caller": good.caller.model_copy(update={"key_id": "f" * 16})})

    outcomes = await acme.batch(model, late, good, broken, mute, foreign, unknown)

    assert [outcome.call_id for outcome in outcomes] == [
        call.id for call in (model, late, good, broken, mute, foreign, unknown)
    ]
    assert [code(outcome) for outcome in outcomes] == [
        ErrorCode.INVALID_ARGUMENT,
        ErrorCode.DEADLINE_EXCEEDED,
        None,
        ErrorCode.INVALID_ARGUMENT,
        ErrorCode.FORBIDDEN,
        ErrorCode.FORBIDDEN,
        ErrorCode.UNAUTHENTICATED,
    ]
    assert (await acme.final(outcomes[2])).error is None
    refused = outcomes[0].error
    assert refused is not None
    assert refused.details["fields"][0]["field"] == "model"
    assert "good" in refused.message
    assert await audited(acme) == {
        ("allowed", ""): 1,
        ("refused", "invalid_argument"): 2,
        ("failed", "deadline_exceeded"): 1,
        ("refused", "forbidden"): 2,
        ("refused", "unauthenticated"): 1,
    }


async def test_a_groups_audit_has_its_refused_and_repeated_calls(acme: World) -> None:
    """A group finds what was tried in its name; a group that was only named is told nothing."""
    once = acme.ask("ada", "What is new?", idempotency_key="k")
    await acme.answer(once)
    foreign = acme.ask("ada", "What is new?", context="partner")
    acting = acme.call("ada", "groups_list", override="partner")
    late = acme.ask("ada", "What is new?", seconds=-1)
    again = once.model_copy(update={"id": new_id()})
    other = acme.ask("ada", "Something else", idempotency_key="k")
    mute = acme.ask("mute", "What is new?")
    async with acme.parts.database.write() as tx:
        await groups.revoke_key(tx, acme.keys["grace"])
    revoked = acme.ask("grace", "What is new?")

    await acme.batch(foreign, late, again, other, revoked)
    await acme.batch(acting)
    await acme.batch(mute, lane="silent")

    async with acme.parts.database.read() as tx:
        rows = (await tx.execute(select(AUDIT).where(AUDIT.c.user_id != "system"))).all()
    assert {row.id: (row.group_id, row.override, row.decision, row.reason) for row in rows} == {
        once.id: ("acme-research", None, "allowed", ""),
        again.id: ("acme-research", None, "allowed", ""),
        foreign.id: ("acme-research", None, "refused", "forbidden"),
        acting.id: ("acme-research", "partner", "refused", "forbidden"),
        late.id: ("acme-research", None, "failed", "deadline_exceeded"),
        other.id: ("acme-research", None, "refused", "conflict"),
        revoked.id: ("acme-research", None, "refused", "unauthenticated"),
        mute.id: ("silent", None, "refused", "forbidden"),
    }


async def test_a_family_that_no_worker_knows_keeps_nobody_waiting(acme: World) -> None:
    [outcome] = await acme.batch(acme.call("ada", "unheard_of"))

    assert code(outcome) is ErrorCode.INTERNAL


@pytest.mark.parametrize(
    ("table", "operation"), [("jobs", "health_check"), ("keys", "groups_list"), ("audit", "groups_list")]
)
async def test_a_step_that_keeps_failing_is_an_answer_too(acme: World, table: str, operation: str) -> None:
    async with acme.parts.database.write() as tx:
        await tx.execute(text(f"DROP TABLE {table}"))

    outcomes = await acme.batch(acme.call("ada", operation), acme.call("grace", operation))

    assert [code(outcome) for outcome in outcomes] == [ErrorCode.INTERNAL, ErrorCode.INTERNAL]
    assert all(outcome.error is not None and table not in outcome.error.message for outcome in outcomes)


async def test_groups_are_told_to_their_members(acme: World) -> None:
    mine, theirs, foreign = await acme.batch(
        acme.call("ada", "groups_list"),
        acme.call("ada", "groups_permissions", {"id": "acme-research"}),
        acme.call("ada", "groups_permissions", {"id": "partner"}),
    )

    assert mine.data is not None
    assert [group["id"] for group in mine.data["groups"]] == ["acme-research", "acme"]
    assert mine.data["userId"] == "ada"
    assert theirs.data is not None
    assert theirs.data["groupId"] == "acme-research"
    assert {(origin["permission"], origin["source"], origin["kind"]) for origin in theirs.data["permissions"]} == {
        ("products:write", "acme-research", "direct"),
        ("completions:create", "acme", "shared"),
        ("products:read", "acme", "shared"),
    }
    assert code(foreign) is ErrorCode.NOT_FOUND


async def test_health_names_every_part_and_only_the_callers_groups(acme: World) -> None:
    [outcome] = await acme.batch(acme.call("ada", "health_check"))

    assert outcome.data is not None
    assert outcome.data["status"] == "ok"
    parts = {part["name"]: part["state"] for part in outcome.data["components"]}
    assert {"database", "cache", "vectors", "workflows", "provider:good"} <= parts.keys()
    assert set(parts.values()) == {"ok"}
    assert [group["id"] for group in outcome.data["groups"]] == ["acme-research"]


async def test_health_tells_how_a_route_is_and_nothing_of_others_calls(acme: World) -> None:
    """How long a provider took, it took for another group, whose questions would show in it."""

    async def told() -> dict[str, dict[str, object]]:
        [outcome] = await acme.batch(acme.call("sam", "health_check"), lane="acme-sales")
        assert outcome.data is not None
        return {part["name"]: part for part in outcome.data["components"]}

    before = await told()
    for model in ("good", "status-500"):
        await acme.answer(acme.ask("ada", "What is new?", model=model))
    after = await told()

    good = {"name": "provider:good", "state": "ok", "latency": None}
    assert before["provider:good"] == {**good, "note": "not called lately"}
    assert after["provider:good"] == {**good, "note": ""}
    failed = after["provider:status-500"]
    assert (failed["state"], failed["latency"]) == ("degraded", None)
    assert str(failed["note"]).startswith("its last call failed")
    assert all(after[name]["latency"] is not None for name in ("database", "cache", "vectors", "workflows"))


async def test_operators_find_a_call_and_read_how_it_ended(acme: World) -> None:
    good, bad = acme.ask("ada", "a secret question"), acme.ask("mute", "a secret question")
    handle = await acme.start([good, bad])
    outcomes = (await handle.result()).outcomes
    await acme.final(outcomes[0])

    async def found() -> bool:
        names = {
            execution.id async for execution in acme.client.list_workflows(f'CohortCall = "{good.labels.request_id}"')
        }
        return names == {handle.id, f"completion-{good.id}"}

    await eventually(found, seconds=10, what="both executions under the request's id")
    told = (await handle.describe()).typed_search_attributes
    assert {str(value) for pair in told for value in ([pair.value] if isinstance(pair.value, str) else pair.value)} >= {
        good.id,
        bad.id,
        "acme-research",
        "completions_create",
        "forbidden",
    }
    details = await acme.details(handle.id)
    assert f"| `{good.id}` | ada |" in details
    assert f"goes on as `completion-{good.id}`" in details
    assert "not answered (forbidden)" in details
    completion = await acme.details(f"completion-{good.id}")
    assert "`good` (good)" in completion
    assert "11 tokens in, 7 out" in completion
    assert "ended: answered" in completion
    assert "secret question" not in details + completion
    history = (await handle.fetch_history()).to_json()
    assert "secret question" not in history


async def test_a_refusal_says_of_its_caller_what_is_known_and_no_more(acme: World) -> None:
    forbidden = acme.call("mute", "completions_create", {"prompt": "Hello"})
    unknown = acme.call("ada", "groups_list", context="partner")
    key = new_id()
    await acme.answer(acme.ask("ada", "One.", idempotency_key=key))
    conflict = acme.ask("ada", "Another.", idempotency_key=key)
    for call, groups_known in ((forbidden, ("silent",)), (unknown, None), (conflict, ("acme", "acme-research"))):
        [outcome] = await acme.batch(call)
        assert outcome.error is not None
        assert (outcome.facts.user_groups if outcome.facts else None) == groups_known

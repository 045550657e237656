"""Answer completions from the cache; what it can't answer goes on as a `Completion` of its own."""

from dataclasses import dataclass

from temporalio import activity

from activities.bounded import bounded
from activities.inputs import input_of
from activities.providers.routes import RouteTable
from domain.answers import Answered
from domain.calls import AdmittedCall, Facts, Outcome, Usage, Work
from domain.completions import CompletionInput, CompletionJob
from domain.errors import CohortError
from storage import provenance
from storage.answers import Answers
from storage.cache import Cache, Entry, Families, key_of, scope_of
from storage.preferences import Preferences, Remembered
from storage.sql import Database
from workflows import ports

FAMILY = Families.LLM_RESPONSE
PROMPT_FORMAT = 1
"""Rises when the framing of prompts changes: older answers were given to other prompts."""


@dataclass(frozen=True)
class _Asked:
    """A call with its place in the cache."""

    admitted: AdmittedCall
    input: CompletionInput
    key: str

    @property
    def id(self) -> str:
        return self.admitted.call.id


class LookUp:
    """One look into L1, one round trip to Redis and one snapshot of SQL for the whole batch."""

    def __init__(self, database: Database, cache: Cache, table: RouteTable, answers: Answers) -> None:
        self._database = database
        self._cache = cache
        self._table = table
        self._answers = answers
        self._preferences = Remembered(database)

    @activity.defn(name=ports.look_up.name)
    async def run(self, work: Work) -> Answered:
        """Cached answers whose sources the caller may still see, as they are; all other calls deferred."""
        calls = work.admitted()
        asked, refused = self._places(calls, await self._preferences.of(work.principals))
        found = await self._cache.get(FAMILY, [one.key for one in asked if one.input.cache == "use"])
        hits = [(one, found[one.key]) for one in asked if one.input.cache == "use" and one.key in found]
        verdicts = await self._authorised(hits)
        answers = dict(refused)
        for (one, entry), may in zip(hits, verdicts, strict=True):
            if may:
                answers[one.id] = _answer(one, entry)
            else:
                await self._cache.drop(one.key)
        jobs = [_job(one) for one in asked if one.id not in answers]
        answers |= {_id(job): _deferred(job) for job in jobs}
        outcomes = await bounded([answers[call.call.id] for call in calls], self._answers)
        return Answered(outcomes=outcomes, completions=tuple(jobs))

    async def _authorised(self, hits: list[tuple[_Asked, Entry]]) -> list[bool]:
        """Whether each caller may still see everything that his answer rests on."""
        if not any(entry.provenance for _, entry in hits):
            return [True] * len(hits)
        async with self._database.read() as tx:
            return await provenance.authorised(tx, [(one.admitted.principal, entry.provenance) for one, entry in hits])

    def _places(
        self, calls: list[AdmittedCall], preferred: dict[str, Preferences]
    ) -> tuple[list[_Asked], dict[str, Outcome]]:
        """The calls' places in the cache, and the outcomes of those that name what they may not use."""
        scopes: dict[int, str] = {}
        asked: list[_Asked] = []
        refused: dict[str, Outcome] = {}
        for admitted in calls:
            principal = admitted.principal
            # Colleagues of one batch share their principal, and with it the digest of all that it may see.
            scope = scopes.get(id(principal)) or scopes.setdefault(id(principal), scope_of(principal))
            try:
                asked.append(self._place(admitted, scope, preferred[principal.billing_group]))
            except CohortError as error:
                call = admitted.call
                refused[call.id] = Outcome(call_id=call.id, error=error.body(), facts=Facts.of(principal))
        return asked, refused

    def _place(self, admitted: AdmittedCall, scope: str, preferred: Preferences) -> _Asked:
        asked = input_of(admitted.call, CompletionInput)
        routes = self._table.choose(asked.model, admitted.principal, preferred)
        key = key_of(
            FAMILY,
            scope,
            {
                "operation": admitted.call.operation,
                "format": PROMPT_FORMAT,
                "table": self._table.digest,
                "routes": [route.name for route in routes.items],
                "asked": asked.model_dump(mode="json", exclude={"cache", "prompt", "messages"}),
                "conversation": [turn.model_dump(mode="json") for turn in asked.conversation()],
            },
        )
        return _Asked(admitted=admitted, input=asked, key=key)


def _answer(one: _Asked, entry: Entry) -> Outcome:
    """The cached answer as this call's own: it cost nothing and used no tokens."""
    return Outcome(
        call_id=one.id,
        data={**entry.data, "id": f"completion-{one.id}"},
        facts=Facts.of(one.admitted.principal),
        usage=Usage(
            provider=entry.usage.provider, model=entry.usage.model, cached=True, cache_age=round(entry.age(), 3)
        ),
        provenance=entry.provenance,
    )


def _job(one: _Asked) -> CompletionJob:
    return CompletionJob(admitted=one.admitted, cache_key=None if one.input.cache == "off" else one.key)


def _deferred(job: CompletionJob) -> Outcome:
    return Outcome(call_id=_id(job), deferred=_workflow(job), facts=Facts.of(job.admitted.principal))


def _id(job: CompletionJob) -> str:
    return job.admitted.call.id


def _workflow(job: CompletionJob) -> str:
    return f"completion-{_id(job)}"

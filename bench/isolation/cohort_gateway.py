"""The adapter for Cohort, over its REST door."""

import asyncio
import json
import uuid
from collections.abc import Sequence
from typing import Any

from bench.isolation.cohort_stack import HIDDEN_MODEL, HIDDEN_MODEL_GROUP, Cohort
from bench.isolation.gateway import Answer, Foreign, Member, NotOffered, Pair, Request, Revocation, Unusable
from bench.isolation.http import Http, served
from bench.isolation.provider import MODEL, TOKENS

PERMISSIONS = ["completions:create", "products:read", "products:write", "documents:write"]
ADMIN_PERMISSIONS = ["groups:admin", "keys:admin"]
INGESTED_WITHIN = 60.0


class CohortGateway:
    """Two front doors and two workers; what is administered goes to the first door."""

    name = "cohort"
    setting = "its defaults; the embedded stack with two front doors and two workers"
    volatile: frozenset[str] = frozenset({"requestId", "correlationId", "timestamp", "latency"})
    rests_on = "a document of A's group"

    def __init__(self, cohort: Cohort, http: Http, version: str) -> None:
        self.doors: Sequence[str] = cohort.doors
        self.version = version
        self._admin, self._research, self._http = cohort.keys["admin"], cohort.keys["research"], http

    async def call(self, member: Member, request: Request, door: int = 0) -> Answer:
        """As the member."""
        return await self._http.send(self.doors[door], request, {"X-API-Key": member.key})

    async def group(self, name: str) -> str:
        """A group on its own, whose members may ask, search and put things in."""
        return await self._group(name)

    async def member(self, group: str) -> Member:
        """A user with a key."""
        user = f"user-{uuid.uuid4().hex[:16]}"
        await self._administer("POST", "/admin/users", {"id": user, "primaryGroup": group})
        key = await self._administer("POST", "/admin/keys", {"userId": user, "name": "bench"})
        return Member(user, group, key["token"], key["key"]["id"])

    async def own(self, member: Member, code_word: str) -> None:
        """A document that only the member's group may see."""
        text = f"---\ntitle: The note of our group\nsource: bench\n---\nThe note of our group says {code_word}.\n"
        await self._ingest(member, "documents", {"name": f"note-{uuid.uuid4().hex}.md", "text": text})

    def question(self, words: str) -> Request:
        """A completion that may be answered from the cache."""
        return _completion(MODEL, words)

    def question_into(self, words: str, group: str) -> Request:
        """Nothing for a caller to name."""
        raise NotOffered("callers name no part of the cache: each view has its own")

    async def revocation(self, way: str) -> Revocation:
        """The right to see a product of a group; a member who is removed from it keeps another one."""
        home, group = await self.group("home"), await self.group("revocation")
        owner, member = await self.member(group), await self.member(home)
        await self._administer("POST", f"/groups/{group}/members", {"userId": member.id})
        undo = {
            "member removed": ("DELETE", f"/groups/{group}/members/{member.id}"),
            "key deleted": ("DELETE", f"/admin/keys/{member.key_id}"),
            "user deleted": ("DELETE", f"/admin/users/{member.id}"),
            "user disabled": ("POST", f"/admin/users/{member.id}/disable"),
        }
        method, path = undo[way]

        async def revoke() -> None:
            await self._administer(method, path, {} if method == "POST" else None)

        return Revocation(member, Request("GET", f"/api/v1/products/{await self._product(owner)}"), revoke)

    async def pairs(self, owner: Member, other: Member) -> list[Pair]:
        """Group, members, keys, product, job, and a model that only one group may use.

        Who asks for members and keys administers a group of his own, since others may ask for none at all.
        """
        product, job = await self._product(owner), await self._job(owner)
        no_group, no_user = f"group-{uuid.uuid4().hex[:8]}", f"user-{uuid.uuid4().hex[:16]}"
        model = HIDDEN_MODEL[:-1] + "z"
        admin = await self.member(await self._group("admins", adminLevel=2, permissions=ADMIN_PERMISSIONS))
        everybodys_admin = Member("admin", "platform", self._admin)
        research = Member("research", HIDDEN_MODEL_GROUP, self._research)

        def get(what: str, path: str, ids: tuple[str, str], by: Member = other, seen_by: Member = owner) -> Pair:
            hidden, absent = (Request("GET", f"/api/v1{path.format(each)}") for each in ids)
            return Pair(what, hidden, absent, ids, by, seen_by)

        return [
            get("group", "/groups/{}/permissions", (owner.group, no_group)),
            get("member", "/groups/{}/members", (owner.group, no_group), admin, everybodys_admin),
            get("key", "/admin/keys?userId={}", (owner.id, no_user), admin, everybodys_admin),
            get("product", "/products/{}", (product, _product_id())),
            get("job", "/jobs/{}", (job, uuid.uuid4().hex[:20])),
            Pair(
                "model",
                _completion(HIDDEN_MODEL, "hello"),
                _completion(model, "hello"),
                (HIDDEN_MODEL, model),
                by=other,
                seen_by=research,
            ),
        ]

    async def price(self) -> float:
        """As an answer's metadata say."""
        asked = await self.call(await self.member(await self._group("price")), self.question(uuid.uuid4().hex))
        return float(served(asked, "a completion")["metadata"]["cost"])

    async def budgeted(self, usd: float) -> Member:
        """A group with a monthly budget, if one that pays for nothing lets nobody ask."""
        penniless = await self.member(await self._group("penniless", monthlyBudget=0))
        if (await self.call(penniless, self.question(uuid.uuid4().hex))).ok:
            raise NotOffered("a group takes a monthlyBudget, and no call is refused for it yet")
        return await self.member(await self._group("budget", monthlyBudget=usd))

    async def foreign(self, owner: Member, what: str) -> list[Foreign]:
        """An ingestion; batches are to come."""
        if what == "batch":
            body = {"data": {"requests": [{"prompt": "hello"}]}}
            answer = await self.call(owner, Request("POST", "/api/v1/completions/batch", body))
            raise NotOffered(f"POST /api/v1/completions/batch answers {answer.status}")
        job = await self._job(owner)
        return [Foreign("job read", Request("GET", f"/api/v1/jobs/{job}"), job)]

    async def _group(self, name: str, **more: Any) -> str:
        group = f"{name}-{uuid.uuid4().hex[:8]}"
        told = {"id": group, "name": name, "permissions": PERMISSIONS, **more}
        await self._administer("POST", "/admin/groups", told)
        return group

    async def _administer(self, method: str, path: str, data: dict[str, Any] | None = None) -> Any:
        body = None if data is None else {"data": data}
        headers = {"X-API-Key": self._admin}
        answer = await self._http.send(self.doors[0], Request(method, f"/api/v1{path}", body), headers)
        return served(answer, f"{method} {path}")["data"]

    async def _product(self, owner: Member) -> str:
        product = _product_id()
        row = {"id": product, "title": "A lantern of one group", "category": "lanterns", "price": 10}
        await self._ingest(owner, "products", row)
        return product

    async def _job(self, owner: Member) -> str:
        product = {"id": _product_id(), "title": "A stove of one group", "category": "stoves", "price": 20}
        return await self._ingest(owner, "products", product)

    async def _ingest(self, owner: Member, kind: str, row: dict[str, Any]) -> str:
        """Upload one row, start the ingestion and wait for it; gives the job's id."""
        headers = {"X-API-Key": owner.key}
        upload = Request("POST", "/api/v1/admin/uploads")
        sent = served(await self._http.send(self.doors[0], upload, headers, content=json.dumps(row)), "an upload")
        body = {"data": {"uploadId": sent["data"]["uploadId"], "group": owner.group}}
        begun = served(await self.call(owner, Request("POST", f"/api/v1/admin/{kind}", body)), "an ingestion")
        job = str(begun["data"]["jobId"])
        async with asyncio.timeout(INGESTED_WITHIN):
            while True:
                answer = served(await self.call(owner, Request("GET", f"/api/v1/jobs/{job}")), "a job")["data"]
                if answer["status"] in ("completed", "failed", "cancelled"):
                    break
                await asyncio.sleep(0.1)
        if answer["status"] != "completed" or not answer["result"]["accepted"]:
            raise Unusable(f"an ingestion: {answer}")
        return job


def _completion(model: str, words: str) -> Request:
    return Request("POST", "/api/v1/completions", {"data": {"prompt": words, "model": model, "maxTokens": TOKENS}})


def _product_id() -> str:
    return f"bench-{uuid.uuid4().hex}"

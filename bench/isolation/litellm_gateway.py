"""The adapter for the LiteLLM proxy: a group is a team, a member a user of it with a virtual key."""

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any

from bench.isolation.gateway import Answer, Foreign, Member, NotOffered, Pair, Request, Revocation
from bench.isolation.http import Http, served
from bench.isolation.litellm_proxy import HIDDEN_MODEL, PRICE_OF_A_TOKEN, Proxy
from bench.isolation.provider import GROUP_HEADER, MODEL, TOKENS

BATCH = (
    b'{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "bench", "messages": []}}\n'
)


class LiteLlm:
    """Two proxy processes; what is administered goes to the first."""

    name = "litellm"
    setting = (
        "its defaults, and `x-` headers passed on; two processes on one PostgreSQL and one Redis, which keeps the "
        "cache; teams, users and virtual keys; the engine of its database client (Prisma) in the WebAssembly build, "
        "as the native one is no package"
    )
    volatile: frozenset[str] = frozenset()
    rests_on = "A's identity, which the gateway passes on in a header"

    def __init__(self, proxy: Proxy, http: Http) -> None:
        self.doors: Sequence[str] = proxy.doors
        self.version = proxy.version
        self._master, self._http = proxy.master_key, http
        self._code_words: dict[str, str] = {}

    async def call(self, member: Member, request: Request, door: int = 0) -> Answer:
        """As the member, whose backend would know him by a header."""
        headers = {"Authorization": f"Bearer {member.key}", GROUP_HEADER: self._code_words.get(member.id, member.group)}
        return await self._http.send(self.doors[door], request, headers)

    async def group(self, name: str) -> str:
        """A team that may use one of the two models."""
        return str((await self._team(name))["team_id"])

    async def member(self, group: str) -> Member:
        """A user with a key of his team."""
        user = f"user-{uuid.uuid4().hex}"
        await self._administer("/user/new", {"user_id": user, "auto_create_key": False, "user_role": "internal_user"})
        await self._administer("/team/member_add", {"team_id": group, "member": {"role": "user", "user_id": user}})
        key = await self._administer("/key/generate", {"team_id": group, "user_id": user})
        return Member(user, group, key["key"], key["token"])

    async def own(self, member: Member, code_word: str) -> None:
        """The proxy keeps no data of a group: the member's identity is what an answer may rest on."""
        self._code_words[member.id] = code_word

    def question(self, words: str) -> Request:
        """A chat completion."""
        return Request("POST", "/v1/chat/completions", _chat(MODEL, words))

    def question_into(self, words: str, group: str) -> Request:
        """A cache namespace in the body; keys cannot be given one, and the proxy's own is for all."""
        return Request("POST", "/v1/chat/completions", _chat(MODEL, words) | {"cache": {"namespace": group}})

    async def revocation(self, way: str) -> Revocation:
        """The right to a completion, which is answered from the cache."""
        member = await self.member(await self.group("revocation"))
        undo = {
            "member removed": ("/team/member_delete", {"team_id": member.group, "user_id": member.id}),
            "key deleted": ("/key/delete", {"keys": [member.key]}),
            "user deleted": ("/user/delete", {"user_ids": [member.id]}),
        }
        if way not in undo:
            raise NotOffered("users are deleted, or their keys blocked one by one")
        path, body = undo[way]

        async def revoke() -> None:
            await self._administer(path, body)

        return Revocation(member, self.question("What is the weather like?"), revoke)

    async def pairs(self, owner: Member, other: Member) -> list[Pair]:
        """Team, user, key, model and batch."""
        team, user, key = str(uuid.uuid4()), f"user-{uuid.uuid4().hex}", hashlib.sha256(b"of nobody").hexdigest()
        model = HIDDEN_MODEL[:-1] + "z"
        batch = (await self.foreign(owner, "batch"))[0].mark
        no_batch = batch[:-3] + "999"
        user_of_model = await self.member(str((await self._team("model", models=[HIDDEN_MODEL]))["team_id"]))

        def get(what: str, path: str, hidden: str, absent: str) -> Pair:
            requests = Request("GET", path + hidden), Request("GET", path + absent)
            return Pair(what, *requests, (hidden, absent), by=other, seen_by=owner)

        return [
            get("group", "/team/info?team_id=", owner.group, team),
            get("member", "/user/info?user_id=", owner.id, user),
            get("key", "/key/info?key=", owner.key_id, key),
            Pair(
                "model",
                Request("POST", "/v1/chat/completions", _chat(HIDDEN_MODEL, "hello")),
                Request("POST", "/v1/chat/completions", _chat(model, "hello")),
                (HIDDEN_MODEL, model),
                by=other,
                seen_by=user_of_model,
            ),
            get("job", "/v1/batches/", batch, no_batch),
        ]

    async def price(self) -> float:
        """Its tokens at the price of its configuration."""
        asked = await self.call(await self.member(await self.group("price")), self.question(uuid.uuid4().hex))
        return served(asked, "a completion")["usage"]["total_tokens"] * PRICE_OF_A_TOKEN

    async def budgeted(self, usd: float) -> Member:
        """A team with a budget."""
        return await self.member(str((await self._team("budget", max_budget=usd))["team_id"]))

    async def foreign(self, owner: Member, what: str) -> list[Foreign]:
        """A batch at the provider; the managed files that know their owners are no part of the open proxy."""
        if what != "batch":
            raise NotOffered("no other jobs than batches")
        headers = {"Authorization": f"Bearer {owner.key}"}
        kept = await self._http.send(
            self.doors[0],
            Request("POST", "/v1/files"),
            headers,
            files={"file": ("requests.jsonl", BATCH)},
            data={"purpose": "batch"},
        )
        file = str(served(kept, "a file")["id"])
        body = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        batch = str(served(await self.call(owner, Request("POST", "/v1/batches", body)), "a batch")["id"])
        return [
            Foreign("batch read", Request("GET", f"/v1/batches/{batch}"), batch),
            Foreign("batch list", Request("GET", "/v1/batches"), batch),
            Foreign("batch cancel", Request("POST", f"/v1/batches/{batch}/cancel"), batch),
            Foreign("file read", Request("GET", f"/v1/files/{file}/content"), "custom_id"),
            Foreign("file list", Request("GET", "/v1/files"), file),
        ]

    async def _team(self, name: str, **more: Any) -> dict[str, Any]:
        alias = f"{name}-{uuid.uuid4().hex[:8]}"
        return await self._administer("/team/new", {"team_alias": alias, "models": [MODEL]} | more)

    async def _administer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._master}"}
        return served(await self._http.send(self.doors[0], Request("POST", path, body), headers), path)


def _chat(model: str, words: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": words}], "max_tokens": TOKENS}

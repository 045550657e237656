"""A gateway in memory that leaks on command, so that a probe can be seen to notice."""

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.isolation.gateway import Answer, Foreign, Member, NotOffered, Pair, Request, Revocation


@dataclass
class Fake:
    """Every field is a fault; without any, nothing leaks."""

    shared_cache: bool = False
    revoked_after: float = 0
    """Seconds for which a deleted key still works."""
    forbidden_if_hidden: bool = False
    slow_if_hidden: float = 0
    checks_budget_first: bool = False
    """Looks at what was spent before a call and books after it."""
    open_batches: bool = False

    name: str = "fake"
    version: str = "1"
    setting: str = "in memory"
    doors: Sequence[str] = ("a", "b")
    volatile: frozenset[str] = frozenset({"requestId"})
    rests_on: str = "nothing"
    provider: Any = None
    _cache: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    _code_words: dict[str, str] = field(default_factory=dict[str, str])
    _revoked: dict[str, float] = field(default_factory=dict[str, float])
    _left: dict[str, float] = field(default_factory=dict[str, float])

    async def call(self, member: Member, request: Request, door: int = 0) -> Answer:
        if time.perf_counter() >= self._revoked.get(member.key, float("inf")):
            status, body = 401, {}
        else:
            status, body = await self._serve(member, request)
        body["requestId"] = uuid.uuid4().hex
        slow = self.slow_if_hidden if request.path == "/hidden" else 0
        return Answer(status, json.dumps(body), 0.001 + slow, body)

    async def _serve(self, member: Member, request: Request) -> tuple[int, dict[str, Any]]:
        if request.path == "/ask":
            return await self._answer(member, str((request.body or {})["words"]))
        if request.path == "/hidden":
            if member.group == "owners":
                return 200, {}
            return (403 if self.forbidden_if_hidden else 404), {"message": "hidden"}
        if request.path == "/absent":
            return 404, {"message": "absent"}
        seen = member.group == "owners" or self.open_batches
        return (200, {"batch": "batch-1"}) if seen else (404, {})

    async def _answer(self, member: Member, words: str) -> tuple[int, dict[str, Any]]:
        key = ("" if self.shared_cache else member.group, words)
        if key not in self._cache:
            if self._left.get(member.group, 1.0) < 1.0:
                return 402, {}
            if not self.checks_budget_first:
                self._book(member)
            await asyncio.sleep(0)
            if self.checks_budget_first:
                self._book(member)
            self.provider.answers += 1
            self._cache[key] = f"answer-{self.provider.answers} {self._code_words.get(member.id, '')}"
        return 200, {"text": self._cache[key]}

    def _book(self, member: Member) -> None:
        if member.group in self._left:
            self._left[member.group] -= 1.0

    async def group(self, name: str) -> str:
        return "owners" if name.endswith("-a") else f"{name}-{uuid.uuid4().hex}"

    async def member(self, group: str) -> Member:
        return Member(uuid.uuid4().hex, group, uuid.uuid4().hex)

    async def own(self, member: Member, code_word: str) -> None:
        self._code_words[member.id] = code_word

    def question(self, words: str) -> Request:
        return Request("POST", "/ask", {"words": words})

    def question_into(self, words: str, group: str) -> Request:
        raise NotOffered("no parts")

    async def revocation(self, way: str) -> Revocation:
        if way != "key deleted":
            raise NotOffered("only keys")
        member = await self.member("some")

        async def revoke() -> None:
            self._revoked[member.key] = time.perf_counter() + self.revoked_after

        return Revocation(member, self.question("hello"), revoke)

    async def pairs(self, owner: Member, other: Member) -> list[Pair]:
        requests = Request("GET", "/hidden"), Request("GET", "/absent")
        return [Pair("group", *requests, ("hidden", "absent"), by=other, seen_by=owner)]

    async def price(self) -> float:
        return 1.0

    async def budgeted(self, usd: float) -> Member:
        member = await self.member(f"budget-{uuid.uuid4().hex}")
        self._left[member.group] = usd
        return member

    async def foreign(self, owner: Member, what: str) -> list[Foreign]:
        if what != "batch":
            raise NotOffered("only batches")
        cases = ("file read", "file list", "batch read", "batch list", "batch cancel")
        return [Foreign(case, Request("GET", "/batch"), "batch-1") for case in cases]

"""A world with administrators: acme with a lab and a shop below it, a till below the shop, and a rival."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.calls import Caller
from domain.errors import CohortError
from domain.keys import ApiKey
from domain.policy import Level
from storage import authority, epochs, groups
from storage.administration.change import Change
from storage.sql import Database
from storage.tables import EPOCHS
from tests.storage.worlds import PEPPER, World

Given = TypeVar("Given")
ADMIN = ["groups:admin", "keys:admin"]
USERS = {
    "root": "platform",
    "ann": "acme",
    "lee": "lab",
    "sue": "shop",
    "tom": "till",
    "max": "rival",
}


class Office(World):
    """The world, and changes in it as a caller makes them."""

    async def change(
        self,
        user: str,
        operation: Callable[[AsyncConnection, Caller, Given], Awaitable[Change]],
        given: Given,
        **narrowing: str,
    ) -> Any:
        """The output of a change that `user` makes."""
        async with self.database.write() as tx:
            await authority.serialise(tx)
            return (await operation(tx, self.caller(user, **narrowing), given)).output

    async def refused(
        self,
        user: str,
        operation: Callable[[AsyncConnection, Caller, Given], Awaitable[Change]],
        given: Given,
        **narrowing: str,
    ) -> CohortError:
        """Why a change that `user` asks for is not made; nothing of it may be left."""
        before = await self.epochs()
        try:
            done = await self.change(user, operation, given, **narrowing)
        except CohortError as error:
            assert await self.epochs() == before
            return error
        raise AssertionError(f"{user} was allowed to: {done}")

    async def cost(
        self, user: str, operation: Callable[[AsyncConnection, Caller, Given], Awaitable[Change]], given: Given
    ) -> int:
        """How many statements a refusal takes."""
        statements = 0

        def executed(*_: object) -> None:
            nonlocal statements
            statements += 1

        async with self.database.read() as tx:
            connection = tx.sync_connection
            assert connection is not None
            event.listen(connection, "before_cursor_execute", executed)
            try:
                await operation(tx, self.caller(user), given)
            except CohortError:
                return statements
        raise AssertionError(f"{user} was allowed to")

    async def epochs(self) -> dict[str, int]:
        """Every epoch there is."""
        async with self.database.read() as tx:
            return {row.scope: row.value for row in await tx.execute(select(EPOCHS))}

    async def risen(self, before: dict[str, int]) -> set[str]:
        """The scopes that have risen since."""
        return {scope for scope, value in (await self.epochs()).items() if value != before.get(scope, 0)}


async def office(database: Database) -> Office:
    """Make it."""
    async with database.write() as tx:
        return Office(database, await _fill(tx))


async def _fill(tx: AsyncConnection) -> dict[str, ApiKey]:
    confidential = Level.CONFIDENTIAL
    await groups.create_group(
        tx, "platform", name="Platform", access_level=confidential, admin_level=3, permissions=["*:*"]
    )
    await groups.create_group(
        tx,
        "acme",
        name="Acme",
        admin_level=2,
        permissions=[*ADMIN, "documents:write", "products:write", "objects:publish"],
        shared_permissions=["products:read", "completions:create"],
        monthly_budget_micros=100_000_000,
    )
    await groups.create_group(
        tx, "lab", name="Lab", parent="acme", access_level=confidential, permissions=["models:*", "documents:write"]
    )
    await groups.create_group(
        tx, "shop", name="Shop", parent="acme", admin_level=2, permissions=[*ADMIN, "products:write"]
    )
    await groups.create_group(tx, "till", name="Till", parent="shop", permissions=["products:write"])
    await groups.create_group(tx, "rival", name="Rival", admin_level=2, permissions=[*ADMIN, "products:write"])
    for user, group in USERS.items():
        await groups.create_user(tx, user, primary_group=group)
    await groups.create_user(tx, "kim", primary_group="shop", role=0)
    await groups.create_user(tx, "bob", primary_group="till")
    await groups.add_member(tx, "bob", "rival", role=0)
    names = (*USERS, "kim", "bob")
    return {name: await groups.create_key(tx, name, pepper=PEPPER) for name in names}


def group_epoch(*names: str) -> set[str]:
    """The scopes of these groups."""
    return {epochs.of_group(name) for name in names}

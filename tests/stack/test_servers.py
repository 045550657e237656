"""The embedded servers answer as the supervisor starts them."""

from datetime import timedelta

import redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from stack.temporal import SEARCH_ATTRIBUTES


async def test_temporal_knows_the_search_attributes(temporal: str) -> None:
    client = await Client.connect(temporal)
    known = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace="default"))
    assert set(SEARCH_ATTRIBUTES) <= set(known.custom_attributes)


async def test_temporal_forgets_after_a_day(temporal: str) -> None:
    """Or its database would grow for ever: what must be kept for longer is in SQL."""
    client = await Client.connect(temporal)
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
    assert described.config.workflow_execution_retention_ttl.ToTimedelta() == timedelta(days=1)


def test_redis_wants_its_password(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.set("tests:stack", "1", ex=5)
        assert client.config_get("appendonly") == {"appendonly": "yes"}
    socket = redis_url.rsplit("@", 1)[1]
    with redis.Redis(unix_socket_path=socket) as stranger:
        try:
            stranger.ping()
        except redis.AuthenticationError:
            return
    raise AssertionError("Redis answered without a password")


async def test_postgres_gives_an_empty_database(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url)
    async with engine.connect() as connection:
        tables = await connection.execute(text("select count(*) from pg_tables where schemaname = 'public'"))
        assert tables.scalar_one() == 0
    await engine.dispose()

"""Gives every activity what it stands on."""

from collections.abc import Callable
from importlib import metadata
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from activities.accept_ingests import AcceptIngests
from activities.administer import Administer
from activities.administration import Follow
from activities.admit import Admit
from activities.choose_routes import ChooseRoutes
from activities.end_ingest import EndIngest
from activities.find_products import FindProducts
from activities.ingest_slice import IngestSlices
from activities.look_up import LookUp
from activities.parts import Parts
from activities.read_groups import ReadGroups
from activities.read_health import ReadHealth
from activities.read_jobs import ReadJobs
from activities.read_products import ReadProducts
from activities.retrieve_documents import RetrieveDocuments
from activities.settle import Settle
from activities.settle_completion import SettleCompletion
from domain.health import State
from storage.answers import Answers
from storage.idempotency import IdempotencyKeys
from storage.index_lag import is_behind
from storage.indexing import Indexer
from storage.pages import Pages
from storage.reindexing import Reindexer


def activities_of(parts: Parts) -> list[Callable[..., Any]]:
    """Every activity that workflows run beside themselves, or in the workflows' queue."""
    answers_key = parts.secrets.key("answers")
    keys, answers = IdempotencyKeys(answers_key), Answers(parts.database, answers_key)
    indexer, pages = Indexer(parts.database, parts.vectors, parts.embedder), Pages(parts.secrets.key("pages"))
    return [
        Admit(parts.database, keys, answers).run,
        LookUp(parts.database, parts.cache, parts.calling.routes, answers).run,
        ReadGroups(parts.database).run,
        ReadHealth(parts.database, parts.redis, lambda: _vectors_answer(parts), parts.calling, version()).run,
        ReadJobs(parts.database).run,
        ReadProducts(
            parts.database,
            parts.vectors,
            parts.embedder,
            pages,
            parts.redis,
            answers,
        ).run,
        Administer(
            parts.database,
            answers,
            pages,
            Follow(Reindexer(parts.database, parts.vectors, indexer)),
            parts.secrets.key("api-keys"),
        ).run,
        AcceptIngests(parts.database, parts.uploads).run,
        IngestSlices(parts.database, parts.uploads, indexer, keys).run,
        EndIngest(parts.database, parts.uploads, parts.vectors).run,
        RetrieveDocuments(parts.database, parts.vectors, parts.embedder).run,
        FindProducts(parts.database, parts.vectors, parts.embedder).run,
        ChooseRoutes(parts.database, parts.calling.routes).run,
        Settle(parts.database, keys).run,
        SettleCompletion(parts.database, keys, parts.cache).run,
    ]


def version() -> str:
    """The installed version."""
    try:
        return metadata.version("cohort")
    except metadata.PackageNotFoundError:
        return "0.0.0+source"


async def _vectors_answer(parts: Parts) -> State:
    try:
        return "degraded" if await is_behind(parts.database, parts.vectors) else "ok"
    except SQLAlchemyError:  # which the database's own probe tells
        return "ok"
    except (RuntimeError, OSError, ValueError):
        return "down"

"""Whether the vector copy holds as many objects as SQL: a folder or bucket may have been removed or restored alone."""

from sqlalchemy import exists, func, select

from storage.sql import Database
from storage.tables import DOCUMENTS, JOBS, PRODUCTS
from storage.vectors import Vectors


async def is_behind(database: Database, vectors: Vectors) -> bool:
    """Whether objects lack their copy, by counting all of them; never while an ingestion is about to write some."""
    async with database.read() as tx:
        ingesting = exists().where(JOBS.c.kind.endswith("_ingest"), JOBS.c.status.in_(["queued", "running"]))
        products, documents, busy = (
            await tx.execute(
                select(
                    select(func.count()).select_from(PRODUCTS).scalar_subquery(),
                    select(func.count()).select_from(DOCUMENTS).scalar_subquery(),
                    ingesting,
                )
            )
        ).one()
    copied = await vectors.count("products"), await vectors.count_documents()
    return not busy and (copied[0] < products or copied[1] < documents)

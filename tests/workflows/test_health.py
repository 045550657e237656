"""What health says of parts that answer and yet are not whole."""

from typing import Any

from storage import jobs
from storage.indexing import Indexer
from storage.jobs import NewJob
from tests.support.world import World


async def part(acme: World, name: str) -> tuple[str, dict[str, Any]]:
    """The overall status, and one component."""
    [outcome] = await acme.batch(acme.call("ada", "health_check"))
    assert outcome.data is not None
    [found] = [one for one in outcome.data["components"] if one["name"] == name]
    return outcome.data["status"], found


async def test_an_index_that_lacks_rows_is_said_with_what_mends_it(acme: World) -> None:
    await acme.add_document("acme-sales", "lamps", "Every lamp is blue.\n\n# Prices\n\nEvery lamp costs ten.")
    assert (await part(acme, "vectors"))[1]["state"] == "ok"

    await acme.parts.vectors.delete_documents("acme-sales", ["lamps"])
    status, vectors = await part(acme, "vectors")

    assert (status, vectors["state"]) == ("degraded", "degraded")
    assert "fewer rows than the database" in vectors["note"]
    assert "ingest the same files again" in vectors["note"]
    assert not any(letter.isdigit() for letter in vectors["note"]), "how much other groups have is not told"

    await Indexer(acme.parts.database, acme.parts.vectors, acme.parts.embedder).documents("acme-sales", ["lamps"])
    assert (await part(acme, "vectors"))[1]["state"] == "ok"


async def test_rows_that_an_ingestion_is_about_to_copy_are_not_missed(acme: World) -> None:
    await acme.add_document("acme", "lamps", "Every lamp is blue.")
    await acme.parts.vectors.delete_documents("acme", ["lamps"])
    job = NewJob(id="j", kind="documents_ingest", user_id="ada", billing_group="acme", target_group="acme")
    async with acme.parts.database.write() as tx:
        await jobs.create(tx, job)

    assert (await part(acme, "vectors"))[1]["state"] == "ok"

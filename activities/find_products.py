"""Find the products that a completion may mention, among those that its caller may see."""

from temporalio import activity

from activities.inputs import input_of
from domain.completions import CompletionInput, CompletionJob, Source, Sources
from domain.policy import visibility
from domain.products import ProductFilters, ProductOutput
from storage import products
from storage.embeddings import Embedder
from storage.indexing import facts_of
from storage.questions import searchable
from storage.sql import Database
from storage.vectors import Vectors
from workflows import ports

RELEVANT = 0.35
"""Cosine between question and product below which the product is left out.

Measured on the demo world: of 15 questions that no product answers (leave, targets, poems) none has a product above it,
the nearest is at 0.30; of 55 that name or describe a product, 49 have one.
"""
DEPTH = 1_000
SHOWN = 100
"""Candidates that SQL is asked about."""


class FindProducts:
    """Hybrid search under the caller's filter; what is shown comes from SQL."""

    def __init__(self, database: Database, vectors: Vectors, embedder: Embedder) -> None:
        self._database = database
        self._vectors = vectors
        self._embedder = embedder

    @activity.defn(name=ports.find_products.name)
    async def run(self, job: CompletionJob) -> Sources:
        """The best products that have to do with the question, best first; often none."""
        asked = input_of(job.admitted.call, CompletionInput)
        text, principal = searchable(asked.question()), job.admitted.principal
        if not asked.products.enabled or not text:
            return Sources()
        [vector] = await self._embedder.embed_queries([text])
        hits = await self._vectors.search_products(
            visibility(principal), ProductFilters(), [], text, vector, depth=DEPTH
        )
        near = {hit.ref for hit in hits if hit.similarity is not None and hit.similarity >= RELEVANT}
        async with self._database.read() as tx:
            shown = await products.recheck(tx, principal, [hit.ref for hit in hits[:SHOWN]])
        relevant = [one for one in shown if (one.owner_group, one.id) in near or _named(one, text)]
        return Sources(items=tuple(_source(one, rank) for rank, one in enumerate(relevant[: asked.products.limit], 1)))


def _named(product: ProductOutput, text: str) -> bool:
    """Whether the question says the product's whole title or its stock number."""
    said = text.casefold()
    return product.title.casefold() in said or (product.sku is not None and product.sku.casefold() in said)


def _source(product: ProductOutput, rank: int) -> Source:
    text = (
        f"{product.title}. Price {product.price:.2f} {product.currency}. {product.category}. "
        f"{facts_of(product.attributes)}. {product.description}"
    )
    return Source(
        kind="product",
        owner_group=product.owner_group,
        id=product.id,
        version=product.version,
        title=product.title,
        source=f"product catalogue of {product.owner_group}",
        text=text,
        rank=rank,
    )

"""Contracts of the product catalogue."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from domain.base import Contract
from domain.flat import Lift
from domain.policy import Level

AttributeValue = str | bool | int | float


class ProductFilters(Contract):
    """Narrow a search by facts. Attributes must equal what is given, all of them."""

    category: str | None = Field(default=None, max_length=128, description="Only this category, as facets name it.")
    min_price: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="The lowest price, in each product's currency."
    )
    max_price: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="The highest price, in each product's currency."
    )
    attributes: dict[str, AttributeValue] = Field(
        default={}, max_length=16, description='Facts that must hold, such as {"colour": "red", "waterproof": true}.'
    )

    @model_validator(mode="after")
    def _a_range(self) -> Self:
        if self.min_price is not None and self.max_price is not None and self.min_price > self.max_price:
            raise ValueError("minPrice must not be above maxPrice")
        return self


class ProductSearchInput(Contract):
    """Search the products that your groups may see, by meaning and by words; without a query, list them."""

    query: str = Field(default="", max_length=1_000, description="What to look for, in words. Empty lists everything.")
    limit: int = Field(default=50, ge=1, le=100, description="How many products a page has.")
    next_token: str | None = Field(default=None, max_length=4_096, description="From the page before.")
    filters: Annotated[ProductFilters, Lift()] = ProductFilters()
    sort: Literal["relevance", "price_asc", "price_desc", "title"] = Field(
        default="relevance",
        description="In which order. With a query, what matches it comes first and what is only similar after it.",
    )


class ProductSummary(Contract):
    """One row of a search. `rank` counts from 1 over all pages."""

    id: str
    title: str
    category: str
    price: float
    currency: str
    attributes: dict[str, AttributeValue]
    owner_group: str
    rank: int


class FacetValue(Contract):
    """How many visible rows that pass the filters have this value."""

    value: str
    count: int


class ProductSearchOutput(Contract):
    """A page of products, and counts over all rows that pass policy and filters."""

    items: list[ProductSummary]
    facets: dict[str, list[FacetValue]]


class ProductGetInput(Contract):
    """Look one product up. Ids are unique within an owner group: give it where two groups use the same id."""

    id: str = Field(min_length=1, max_length=128, description="The product's id, from a search or a citation.")
    owner_group: str | None = Field(default=None, max_length=64, description="Whose product, if two share the id.")


class ProductOutput(Contract):
    """Everything about one product that its reader may know."""

    id: str
    sku: str | None
    title: str
    description: str
    category: str
    price: float
    currency: str
    attributes: dict[str, AttributeValue]
    owner_group: str
    access_level: Level
    version: int
    updated_at: str


class ProductRow(Contract):
    """One line of a products file. Unset access fields take the defaults of the ingestion."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$")
    sku: str | None = Field(default=None, max_length=64)
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
    description: str = Field(default="", max_length=20_000)
    category: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=128)]
    price: float = Field(ge=0, le=1e9, allow_inf_nan=False)
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    attributes: dict[str, AttributeValue] = Field(default={}, max_length=64)
    access_level: Level | None = None
    allowed_groups: list[str] | None = Field(default=None, max_length=64)
    restricted_groups: list[str] | None = Field(default=None, max_length=64)
    sensitive: bool = False

"""Rows of a small catalogue."""

from typing import Any

from domain.products import ProductRow


def row(product_id: str, **columns: Any) -> ProductRow:
    """A product, a lamp unless told otherwise."""
    usual = {"id": product_id, "title": product_id.title(), "category": "Lighting", "price": 10.0}
    return ProductRow.model_validate(usual | columns)

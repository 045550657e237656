"""Documents and products, and who may see them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "documents",
        sa.Column("owner_group", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("access_level", sa.String(), nullable=False),
        sa.Column("sensitive", sa.Boolean(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.CheckConstraint("access_level IN ('public', 'internal', 'confidential')", name="ck_documents_level"),
        sa.ForeignKeyConstraint(["owner_group"], ["groups.id"], name="fk_documents_owner_group_groups"),
        sa.PrimaryKeyConstraint("owner_group", "id", name="pk_documents"),
    )
    op.create_index("ix_documents_id", "documents", ["id"])
    op.create_table(
        "products",
        sa.Column("owner_group", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("access_level", sa.String(), nullable=False),
        sa.Column("sensitive", sa.Boolean(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("sku", sa.String(), nullable=True),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("title_key", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.Column("price", sa.Float(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.CheckConstraint("access_level IN ('public', 'internal', 'confidential')", name="ck_products_level"),
        sa.ForeignKeyConstraint(["owner_group"], ["groups.id"], name="fk_products_owner_group_groups"),
        sa.PrimaryKeyConstraint("owner_group", "id", name="pk_products"),
    )
    op.create_index("ix_products_category", "products", ["category"])
    op.create_index("ix_products_id", "products", ["id"])
    op.create_index("ix_products_price", "products", ["price"])
    op.create_index("ix_products_title_key", "products", ["title_key"])
    op.create_table(
        "product_attributes",
        sa.Column("owner_group", sa.String(), nullable=False),
        sa.Column("product_id", sa.String(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_group", "product_id"],
            ["products.owner_group", "products.id"],
            name="fk_product_attributes_owner_group_product_id_products",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("owner_group", "product_id", "token", name="pk_product_attributes"),
    )
    op.create_index("ix_product_attributes_token", "product_attributes", ["token"])
    op.create_table(
        "object_groups",
        sa.Column("object_kind", sa.String(), nullable=False),
        sa.Column("owner_group", sa.String(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("effect", sa.String(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.CheckConstraint("effect IN ('allowed', 'restricted')", name="ck_object_groups_effect"),
        sa.PrimaryKeyConstraint(
            "object_kind", "owner_group", "object_id", "effect", "group_id", name="pk_object_groups"
        ),
    )
    op.create_index("ix_object_groups_group_id", "object_groups", ["group_id"])
    op.create_table(
        "tombstones",
        sa.Column("object_kind", sa.String(), nullable=False),
        sa.Column("owner_group", sa.String(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("object_kind", "owner_group", "object_id", name="pk_tombstones"),
    )

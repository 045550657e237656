"""The group that a job is about."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply."""
    # Jobs of before belong to no group: their administrators see them still, and they are kept for 30 days at most.
    op.add_column("jobs", sa.Column("target_group", sa.String(), nullable=False, server_default=""))

"""The upload that a job takes in."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("upload_id", sa.String(), nullable=True))

"""Models of other tasks than detection, with labels of their own"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("model_version", sa.Column("task", sa.String(length=12), nullable=False, server_default="detect"))
    op.add_column("model_version", sa.Column("labels", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("model_version") as table:
        table.drop_column("labels")
        table.drop_column("task")

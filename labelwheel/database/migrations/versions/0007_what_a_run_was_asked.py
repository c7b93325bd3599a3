"""What a run was asked for, and what called for it; how classes changed; versions of the holdout"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ADDED = (
    ("training_run", sa.Column("request", sa.JSON(), nullable=False, server_default="{}")),
    ("training_run", sa.Column("slice", sa.JSON(), nullable=True)),
    ("class_map", sa.Column("changes", sa.JSON(), nullable=True)),
    ("dataset", sa.Column("holdout", sa.String(length=64), nullable=True)),
)


def upgrade() -> None:
    for table, column in ADDED:
        op.add_column(table, column)


def downgrade() -> None:
    for table, column in reversed(ADDED):
        with op.batch_alter_table(table) as changed:
            changed.drop_column(column.name)

"""Predictions that come later"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "prediction_request",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("ls_task_id", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_prediction_request_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prediction_request")),
        sa.UniqueConstraint("project_id", "ls_task_id", name=op.f("uq_prediction_request_project_id_ls_task_id")),
    )
    op.create_index(op.f("ix_prediction_request_ended_at"), "prediction_request", ["ended_at"])


def downgrade() -> None:
    op.drop_table("prediction_request")

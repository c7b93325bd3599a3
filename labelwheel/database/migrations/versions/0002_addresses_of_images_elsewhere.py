"""Addresses of images elsewhere"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "image_address",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("address_sha256", sa.String(length=64), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("etag", sa.String(length=300), nullable=False),
        sa.Column("modified", sa.String(length=100), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_image_address_image_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_image_address_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_address")),
        sa.UniqueConstraint("project_id", "address_sha256", name=op.f("uq_image_address_project_id_address_sha256")),
    )
    op.create_index(op.f("ix_image_address_image_id"), "image_address", ["image_id"])


def downgrade() -> None:
    op.drop_table("image_address")

"""Reviews, corrections, checks of labels, pauses; adopted tasks"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


MOMENTS = (
    ("project", "ls_created_at"),
    ("ls_task", "ls_updated_at"),
    ("annotation_revision", "lost_at"),
    ("image", "erased_at"),
    ("queue_item", "sent_at"),
)


def upgrade() -> None:
    op.add_column("ls_task", sa.Column("adopted", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("queue_item", sa.Column("fault", sa.String(length=500), nullable=True))
    op.add_column("label", sa.Column("approved_by", sa.String(length=200), nullable=True))
    for table, column in MOMENTS:
        op.add_column(table, sa.Column(column, sa.DateTime(timezone=True), nullable=True))
    op.add_column("class_map", sa.Column("drawn_with", sa.JSON(), nullable=True))
    op.add_column("project", sa.Column("adopt_after", sa.Integer(), nullable=True))
    _hint()
    op.create_index(op.f("ix_capture_project_id_captured_at"), "capture", ["project_id", "captured_at"])
    _review()
    _answer()
    _correction()
    _label_check()
    _pause()


def _hint() -> None:
    """Hints that wait become one for each thing said; those that are there are told apart by their own ids."""
    with op.batch_alter_table("hint") as changed:
        changed.add_column(sa.Column("digest", sa.String(length=64), nullable=True))
        changed.add_column(sa.Column("times", sa.Integer(), nullable=False, server_default=sa.text("1")))
    op.execute("UPDATE hint SET digest = CAST(id AS VARCHAR(64))")
    with op.batch_alter_table("hint") as changed:
        changed.alter_column("digest", existing_type=sa.String(length=64), nullable=False)
    waiting = sa.text("handled_at IS NULL")
    op.create_index("uq_hint_waiting", "hint", ["project_id", "digest"], unique=True, sqlite_where=waiting, postgresql_where=waiting)


def _review() -> None:
    op.create_table(
        "review",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("unique_id", sa.String(length=64), nullable=False),
        sa.Column("annotation_updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("verdict", sa.String(length=12), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("why", sa.String(length=500), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_review_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review")),
    )
    op.create_index(op.f("ix_review_project_id_key"), "review", ["project_id", "key"])
    op.create_index(op.f("ix_review_project_id_unique_id"), "review", ["project_id", "unique_id"])


def _answer() -> None:
    op.create_table(
        "answer",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.BigInteger(), nullable=False),
        sa.Column("act", sa.String(length=12), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("why", sa.String(length=500), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_answer_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answer")),
        sa.UniqueConstraint("project_id", "key", "digest", name=op.f("uq_answer_project_id_key_digest")),
    )


def _correction() -> None:
    op.create_table(
        "correction",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("annotation_revision_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("served_as", sa.String(length=120), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("outcomes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_correction_project_id")),
        sa.ForeignKeyConstraint(["annotation_revision_id"], ["annotation_revision.id"], name=op.f("fk_correction_annotation_revision_id")),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_correction_image_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_correction")),
        sa.UniqueConstraint("annotation_revision_id", name=op.f("uq_correction_annotation_revision_id")),
    )
    op.create_index(op.f("ix_correction_project_id_served_as"), "correction", ["project_id", "served_as"])


def _label_check() -> None:
    op.create_table(
        "label_check",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("label_id", sa.Integer(), nullable=False),
        sa.Column("model_version_id", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("flagged", sa.Boolean(), nullable=False),
        sa.Column("faults", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_label_check_project_id")),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name=op.f("fk_label_check_label_id")),
        sa.ForeignKeyConstraint(["model_version_id"], ["model_version.id"], name=op.f("fk_label_check_model_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_check")),
        sa.UniqueConstraint("label_id", "model_version_id", name=op.f("uq_label_check_label_id_model_version_id")),
    )


def _pause() -> None:
    op.create_table(
        "pause",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("what", sa.String(length=40), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("why", sa.String(length=500), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_pause_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pause")),
        sa.UniqueConstraint("project_id", "what", name=op.f("uq_pause_project_id_what")),
    )


def downgrade() -> None:
    for table in ("pause", "label_check", "correction", "answer", "review"):
        op.drop_table(table)
    op.drop_index(op.f("ix_capture_project_id_captured_at"), table_name="capture")
    op.drop_index("uq_hint_waiting", table_name="hint")
    added = [("queue_item", "fault"), ("hint", "times"), ("hint", "digest"), ("project", "adopt_after")]
    for table, column in (*added, ("label", "approved_by"), ("ls_task", "adopted"), ("class_map", "drawn_with"), *MOMENTS):
        with op.batch_alter_table(table) as changed:
            changed.drop_column(column)

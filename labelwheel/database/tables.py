"""All tables. Words and keys are those of `docs/architecture.md`; everything below `project` is scoped by it.

Keys come from content, so that a job that runs twice writes the same rows: see each UNIQUE constraint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

QUEUE_STATUSES = ("pending", "pushed", "labeled", "approved", "rejected", "skipped", "expired")
OPEN_STATUSES = ("pending", "pushed")
VERDICTS = ("submitted", "approved", "rejected", "flagged", "withdrawn", "reinstated")
REASONS = ("low_confidence", "audit", "drift", "novelty", "disagreement", "label_error", "adopted")
ACTIVE_RUN_STATUSES = ("queued", "exporting", "training", "evaluating")
ENDED_RUN_STATUSES = ("promoted", "kept_champion", "failed", "cancelled")

IMPORTED = "import:"  # begins the identity of an annotation that came with a dataset; Label Studio's begin with a number
DEFAULT_TAG = "label"  # the champion's name in `deployment.tag`

_ACTIVE = "status IN ('queued', 'exporting', 'training', 'evaluating')"


def utcnow() -> datetime:
    return datetime.now(UTC)


class Instant(TypeDecorator[datetime]):
    """A UTC instant. SQLite drops the zone, so it is checked going in and put back coming out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def hint_digest(action: str, task_ids: Sequence[int]) -> str:
    """What a hint says, in short."""
    return hashlib.sha256(f"{action}/{list(task_ids)}".encode()).hexdigest()


def _only(row: Any, *names: str) -> dict[str, Any]:
    """These values of a row that is being inserted."""
    given = row.get_current_parameters()
    return {name: given[name] for name in names}


class Table(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: Instant(), dict[str, Any]: JSON, list[Any]: JSON}


class Project(Table):
    """A Label Studio project that the wheel turns for."""

    __tablename__ = "project"
    __table_args__ = (UniqueConstraint("ls_url", "ls_project_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    ls_url: Mapped[str] = mapped_column(String(500))
    ls_project_id: Mapped[int]
    title: Mapped[str] = mapped_column(String(200))
    label_config: Mapped[str] = mapped_column(Text)
    salt: Mapped[str] = mapped_column(String(64))  # makes the draw of audits and splits unpredictable, yet repeatable
    pull_cursor: Mapped[datetime | None]
    adopt_after: Mapped[int | None]  # while tasks of others are being adopted: those up to this id of Label Studio's are done
    ls_created_at: Mapped[datetime | None]  # when Label Studio made it: a reset server gives the same id to another project
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class ClassMap(Table):
    """Class ids, append-only: an id never changes its meaning."""

    __tablename__ = "class_map"
    __table_args__ = (UniqueConstraint("project_id", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    version: Mapped[int]
    labels: Mapped[list[Any]]
    drawn_with: Mapped[list[Any] | None]  # every tag that boxes were ever drawn with, with all its labels: what is gone stays readable
    changes: Mapped[list[Any] | None]  # how it differs from the version before: labels added, renamed, merged, removed
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Image(Table):
    """Bytes, known by their SHA-256. Blank frames recur: many captures may share one image."""

    __tablename__ = "image"
    __table_args__ = (UniqueConstraint("project_id", "sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    sha256: Mapped[str] = mapped_column(String(64))
    width: Mapped[int]  # upright, in pixels
    height: Mapped[int]
    size: Mapped[int]  # bytes
    uri: Mapped[str] = mapped_column(String(500))  # relative to the store's root
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expired_at: Mapped[datetime | None]  # when retention removed the bytes; without it a missing file is a lost one
    erased_at: Mapped[datetime | None]  # when somebody had it erased: the row is a tombstone, and these bytes are refused


class ImageAddress(Table):
    """Which image an address in task data led to, and what its server calls that version of it. Only for images that live elsewhere."""

    __tablename__ = "image_address"
    __table_args__ = (UniqueConstraint("project_id", "address_sha256"), Index(None, "image_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    address_sha256: Mapped[str] = mapped_column(String(64))  # not the address: it may carry a signature
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    etag: Mapped[str] = mapped_column(String(300))
    modified: Mapped[str] = mapped_column(String(100))
    checked_at: Mapped[datetime]

    image: Mapped[Image] = relationship()


class Capture(Table):
    """One arrival of an image from a source. Split and audit are drawn here, before any model looks."""

    __tablename__ = "capture"
    __table_args__ = (
        UniqueConstraint("project_id", "external_id"),
        Index(None, "project_id", "source", "captured_at"),
        Index(None, "project_id", "captured_at"),
        Index(None, "image_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    source: Mapped[str] = mapped_column(String(100))
    external_id: Mapped[str] = mapped_column(String(200))
    captured_at: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column(default=utcnow)
    features: Mapped[dict[str, Any]]
    descriptor: Mapped[bytes | None] = mapped_column(LargeBinary)  # float32 appearance vector, for diversity without a model
    split: Mapped[str] = mapped_column(String(12))  # train | holdout | quarantined
    audit: Mapped[bool]
    propensity: Mapped[float] = mapped_column(Float)  # probability with which an audit was drawn

    image: Mapped[Image] = relationship()


class ModelVersion(Table):
    """One trained model. The registry (MLflow) mirrors it; the ONNX file is what serves."""

    __tablename__ = "model_version"
    __table_args__ = (UniqueConstraint("project_id", "name", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str] = mapped_column(String(100))
    version: Mapped[int]
    onnx_uri: Mapped[str] = mapped_column(String(500))  # relative to `home`, or absolute
    onnx_sha256: Mapped[str] = mapped_column(String(64))
    weights_uri: Mapped[str] = mapped_column(String(500))
    weights_sha256: Mapped[str | None] = mapped_column(String(64))  # None: without weights, or from before it was kept
    class_map_id: Mapped[int] = mapped_column(ForeignKey("class_map.id"))
    training_run_id: Mapped[int | None] = mapped_column(ForeignKey("training_run.id", use_alter=True), unique=True)
    mlflow_run_id: Mapped[str | None] = mapped_column(String(64))
    task: Mapped[str] = mapped_column(String(12), default="detect", server_default="detect")
    labels: Mapped[list[Any] | None]  # of a model that is not trained here; without them they are the class map's
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    # Versions are looked at long after their session, and `classes` needs it.
    class_map: Mapped[ClassMap] = relationship(lazy="joined", innerjoin=True)

    @property
    def title(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def classes(self) -> list[str]:
        """The labels that it tells apart."""
        return self.class_map.labels if self.labels is None else self.labels


class Prediction(Table):
    """What one model version saw on one image, down to a low floor: the cache. Thresholds are a view on it, never in its key."""

    __tablename__ = "prediction"
    __table_args__ = (UniqueConstraint("image_id", "model_version_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    detections: Mapped[list[Any]]
    count: Mapped[int]  # detections at or above the display threshold of the time, a summary only
    top_confidence: Mapped[float | None]
    embedding: Mapped[bytes | None] = mapped_column(LargeBinary)  # float16
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Deployment(Table):
    """Append-only; the newest row of (project, tag, role) is what serves. MLflow's aliases are reconciled from it."""

    __tablename__ = "deployment"
    __table_args__ = (Index(None, "project_id", "tag", "role", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    tag: Mapped[str] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(20), default="champion")
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    served_as: Mapped[str] = mapped_column(String(120))  # the `model_version` that Label Studio sees
    decision_id: Mapped[int | None] = mapped_column(ForeignKey("decision.id"))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    refreshed_at: Mapped[datetime | None]  # when every open task had this version's predictions

    model_version: Mapped[ModelVersion] = relationship()


class QueueItem(Table):
    """An image that a person shall look at. A second look is a new round."""

    __tablename__ = "queue_item"
    __table_args__ = (UniqueConstraint("project_id", "image_id", "round"), Index(None, "project_id", "status"))

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    capture_id: Mapped[int] = mapped_column(ForeignKey("capture.id"))
    round: Mapped[int] = mapped_column(default=1)
    status: Mapped[str] = mapped_column(String(12), default="pending")
    reason: Mapped[str] = mapped_column(String(20))
    priority: Mapped[float]
    scores: Mapped[dict[str, Any]]
    decision_id: Mapped[int | None] = mapped_column(ForeignKey("decision.id"))
    sent_at: Mapped[datetime | None]  # when an import that carries it was first tried: from then on Label Studio may have its task
    fault: Mapped[str | None] = mapped_column(String(500))  # why it cannot be pushed; it waits until somebody has mended that
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow, onupdate=utcnow)

    image: Mapped[Image] = relationship()
    capture: Mapped[Capture] = relationship()


class QueueEvent(Table):
    """Append-only: who moved a queue item where, when and why."""

    __tablename__ = "queue_event"
    __table_args__ = (Index(None, "queue_item_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    queue_item_id: Mapped[int] = mapped_column(ForeignKey("queue_item.id"))
    status: Mapped[str] = mapped_column(String(12))
    who: Mapped[str] = mapped_column(String(200))
    why: Mapped[str] = mapped_column(String(500))
    at: Mapped[datetime] = mapped_column(default=utcnow)


class LsTask(Table):
    """Our key of a task, and Label Studio's id of it. Ids are reused there; keys never are."""

    __tablename__ = "ls_task"
    __table_args__ = (UniqueConstraint("project_id", "key"), Index(None, "project_id", "ls_task_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    key: Mapped[str] = mapped_column(String(100))
    queue_item_id: Mapped[int] = mapped_column(ForeignKey("queue_item.id"))
    ls_task_id: Mapped[int]  # 0: Label Studio has lost the task (see sync.exchange.reset)
    ls_updated_at: Mapped[datetime | None]  # Label Studio's `updated_at` of the state that was mirrored last
    generation: Mapped[int] = mapped_column(default=1)
    served_as: Mapped[str | None] = mapped_column(String(120))  # version of the newest pre-annotation that we sent
    adopted: Mapped[bool] = mapped_column(default=False, server_default=false())  # it was there before us: never ours to delete
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    queue_item: Mapped[QueueItem] = relationship()


class AnnotationRevision(Table):
    """Mirror of Label Studio: every annotation in every state that we saw it in. Imported labels stand beside them, under `IMPORTED`."""

    __tablename__ = "annotation_revision"
    __table_args__ = (UniqueConstraint("project_id", "unique_id", "updated_at"), Index(None, "project_id", "key"))

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    unique_id: Mapped[str] = mapped_column(String(64))  # "<Label Studio's id>@<created_at>", or IMPORTED + digest: see sync.exchange.mirror
    updated_at: Mapped[datetime]
    key: Mapped[str] = mapped_column(String(100))  # our task key
    ls_annotation_id: Mapped[int]
    ls_task_id: Mapped[int]
    annotator: Mapped[str] = mapped_column(String(200))  # who left it in this state
    was_cancelled: Mapped[bool]
    body: Mapped[dict[str, Any]]
    seen_at: Mapped[datetime] = mapped_column(default=utcnow)
    deleted_at: Mapped[datetime | None]
    lost_at: Mapped[datetime | None]  # Label Studio was reset or restored and knows it no longer; what it said still counts


class Review(Table):
    """Append-only: what somebody said of an annotation as it stood then. With the mirror it is all that labels follow from.

    `submitted` names the author of an annotation that came through our API; `reinstated` takes a withdrawal back. A later edit of the
    annotation is another matter: no verdict on an earlier state binds it.
    """

    __tablename__ = "review"
    __table_args__ = (Index(None, "project_id", "key"), Index(None, "project_id", "unique_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    key: Mapped[str] = mapped_column(String(100))  # our task key
    unique_id: Mapped[str] = mapped_column(String(64))  # which annotation; as in the mirror
    annotation_updated_at: Mapped[datetime]  # which state of it; as in the mirror, for two machines' clocks cannot be compared
    verdict: Mapped[str] = mapped_column(String(12))  # VERDICTS
    who: Mapped[str] = mapped_column(String(200))
    why: Mapped[str] = mapped_column(String(500))
    at: Mapped[datetime] = mapped_column(default=utcnow)


class Answer(Table):
    """A label or a skip that came through a door of ours, written down before Label Studio is told.

    It says who answered: the annotation's user in Label Studio is ours. There the annotation carries `digest` as its `import_id`.
    """

    __tablename__ = "answer"
    __table_args__ = (UniqueConstraint("project_id", "key", "digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    key: Mapped[str] = mapped_column(String(100))  # our task key
    digest: Mapped[int] = mapped_column(BigInteger)  # of who answered what: 52 bits, so that JavaScript keeps them
    act: Mapped[str] = mapped_column(String(12))  # label | skip
    who: Mapped[str] = mapped_column(String(200))
    why: Mapped[str] = mapped_column(String(500))
    at: Mapped[datetime] = mapped_column(default=utcnow)


class Correction(Table):
    """What a person did to the boxes that were drawn beforehand: a pure function of one annotation revision and of its pre-annotation.

    `outcomes` lists boxes: kept, moved, relabelled, deleted or added, with label and confidence.
    """

    __tablename__ = "correction"
    __table_args__ = (UniqueConstraint("annotation_revision_id"), Index(None, "project_id", "served_as"))

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    annotation_revision_id: Mapped[int] = mapped_column(ForeignKey("annotation_revision.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    source: Mapped[str] = mapped_column(String(100))
    served_as: Mapped[str] = mapped_column(String(120))  # version of the pre-annotation
    seconds: Mapped[float | None] = mapped_column(Float)  # Label Studio's `lead_time`
    outcomes: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class LabelCheck(Table):
    """How far a label is to be doubted, by a model that was not trained on it."""

    __tablename__ = "label_check"
    __table_args__ = (UniqueConstraint("label_id", "model_version_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    label_id: Mapped[int] = mapped_column(ForeignKey("label.id"))
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    score: Mapped[float] = mapped_column(Float)  # 0 (surely wrong) to 1
    flagged: Mapped[bool]
    faults: Mapped[list[Any]]  # boxes overlooked, misplaced, swapped or extra, each with its score
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Label(Table):
    """What we train on: a pure function of the mirror, of reviews and of the approval policy. An edit supersedes, it never overwrites.

    Its revision is the first that said so: a touch that changes nothing, such as a star, makes no other label.
    """

    __tablename__ = "label"
    __table_args__ = (UniqueConstraint("annotation_revision_id"), Index(None, "project_id", "image_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    annotation_revision_id: Mapped[int] = mapped_column(ForeignKey("annotation_revision.id"))
    boxes: Mapped[list[Any]]  # empty: a person looked and there is nothing
    exclusions: Mapped[list[Any]]  # regions left out, each with its reason
    annotator: Mapped[str] = mapped_column(String(200))
    annotated_at: Mapped[datetime]
    approved_at: Mapped[datetime | None]
    approved_by: Mapped[str | None] = mapped_column(String(200))  # a person, or the name of the policy
    superseded_by: Mapped[int | None] = mapped_column(ForeignKey("label.id"))
    withdrawn_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    image: Mapped[Image] = relationship()


class Dataset(Table):
    """A dataset version, known by the hash of its content."""

    __tablename__ = "dataset"
    __table_args__ = (UniqueConstraint("project_id", "content_hash"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    content_hash: Mapped[str] = mapped_column(String(64))
    dvc_hash: Mapped[str | None] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(String(500))
    class_map_id: Mapped[int] = mapped_column(ForeignKey("class_map.id"))
    holdout: Mapped[str | None] = mapped_column(String(64))  # version of its holdout: scores on another are not to be compared
    counts: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class DatasetItem(Table):
    """Which label of which image stands in which split of a dataset: "used for training" is read from here."""

    __tablename__ = "dataset_item"
    __table_args__ = (Index(None, "label_id"),)

    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True)
    label_id: Mapped[int] = mapped_column(ForeignKey("label.id"))
    split: Mapped[str] = mapped_column(String(12))  # train | replay | holdout


class Decision(Table):
    """What was decided and what was seen when deciding: policy, gate, selection."""

    __tablename__ = "decision"
    __table_args__ = (Index(None, "project_id", "kind", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    kind: Mapped[str] = mapped_column(String(20))
    verdict: Mapped[str] = mapped_column(String(40))
    reasons: Mapped[list[Any]]
    inputs: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(default=utcnow)


class TrainingRun(Table):
    """One retraining, from trigger to verdict. The partial index lets one run be active."""

    __tablename__ = "training_run"
    __table_args__ = (
        Index("uq_training_run_active", "project_id", unique=True, sqlite_where=text(_ACTIVE), postgresql_where=text(_ACTIVE)),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    status: Mapped[str] = mapped_column(String(20), default="queued")
    cause: Mapped[str] = mapped_column(String(40))  # cold_start | new_labels | drift | weak_class | age | manual
    request: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))  # who asked, and for which start and recipe
    slice: Mapped[dict[str, Any] | None] = mapped_column(
        JSON(none_as_null=True)
    )  # source or class that called for it; the gate looks there
    decision_id: Mapped[int | None] = mapped_column(ForeignKey("decision.id"))
    gate_decision_id: Mapped[int | None] = mapped_column(ForeignKey("decision.id"))
    dataset_id: Mapped[int | None] = mapped_column(ForeignKey("dataset.id"))
    champion_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id", use_alter=True))
    challenger_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id", use_alter=True))
    mlflow_run_id: Mapped[str | None] = mapped_column(String(64))
    percent: Mapped[float] = mapped_column(default=0.0)
    new_labels: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict)
    control: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # same updates without the new labels
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    heartbeat_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    @property
    def started_from(self) -> int | None:
        """The version whose weights it went on from; the champion is what it was judged against, and may be another. None: from scratch."""
        start = self.metrics.get("start")
        if start is not None:
            found: int | None = start.get("model_version")
            return found
        warm = (self.metrics.get("training") or {}).get("warm", False)  # a run of the time when all went on from the champion
        return self.champion_id if warm else None


class Hint(Table):
    """A webhook said that something changed. It is believed only after the pull has looked.

    While it waits, another that says the same is counted in `times` instead of stored.
    """

    __tablename__ = "hint"
    __table_args__ = (
        Index(None, "handled_at"),
        Index(
            "uq_hint_waiting", "project_id", "digest", unique=True, sqlite_where=text("handled_at IS NULL"),
            postgresql_where=text("handled_at IS NULL"),
        ),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    action: Mapped[str] = mapped_column(String(60))
    task_ids: Mapped[list[Any]]
    digest: Mapped[str] = mapped_column(String(64), default=lambda row: hint_digest(**_only(row, "action", "task_ids")))
    times: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    received_at: Mapped[datetime] = mapped_column(default=utcnow)
    handled_at: Mapped[datetime | None]


class PredictionRequest(Table):
    """A task that a batch had no time for: predicted in the background, and stored through Label Studio's predictions API.

    `outcome` is set with `ended_at`: stored, gone, refused (Label Studio took it not), or the code of the reason why nothing was answered.
    """

    __tablename__ = "prediction_request"
    __table_args__ = (UniqueConstraint("project_id", "ls_task_id"), Index(None, "ended_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    ls_task_id: Mapped[int]
    asked_at: Mapped[datetime] = mapped_column(default=utcnow)
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(40))


class Pause(Table):
    """What somebody has paused. No row: it goes on."""

    __tablename__ = "pause"
    __table_args__ = (UniqueConstraint("project_id", "what"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    what: Mapped[str] = mapped_column(String(40))  # selection | retraining
    who: Mapped[str] = mapped_column(String(200))
    why: Mapped[str] = mapped_column(String(500))
    since: Mapped[datetime] = mapped_column(default=utcnow)


class Tick(Table):
    """A scheduled moment: inserted once whoever schedules, so that two schedulers and catching up are harmless."""

    __tablename__ = "tick"
    __table_args__ = (UniqueConstraint("name", "fire_time"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(60))
    fire_time: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Lease(Table):
    """Who may do a thing alone just now (pushing, pulling). It lapses by itself when its holder dies."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    holder: Mapped[str] = mapped_column(String(100))
    expires_at: Mapped[datetime]


class DriftReport(Table):
    """One test of one feature of one source: a window against its reference."""

    __tablename__ = "drift_report"
    __table_args__ = (UniqueConstraint("project_id", "source", "feature", "last_capture_id"), Index(None, "project_id", "source", "id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    source: Mapped[str] = mapped_column(String(100))
    feature: Mapped[str] = mapped_column(String(60))
    method: Mapped[str] = mapped_column(String(60))
    score: Mapped[float]
    threshold: Mapped[float]
    drifted: Mapped[bool]
    reference_size: Mapped[int]
    window_size: Mapped[int]
    last_capture_id: Mapped[int] = mapped_column(Integer)  # the newest capture of the window: the same window is tested once
    summary: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Alert(Table):
    """Raised once per source and feature, until it is resolved."""

    __tablename__ = "alert"
    __table_args__ = (
        Index(
            "uq_alert_open",
            "project_id",
            "source",
            "feature",
            unique=True,
            sqlite_where=text("resolved_at IS NULL"),
            postgresql_where=text("resolved_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    drift_report_id: Mapped[int] = mapped_column(ForeignKey("drift_report.id"))
    source: Mapped[str] = mapped_column(String(100))
    feature: Mapped[str] = mapped_column(String(60))
    message: Mapped[str] = mapped_column(String(500))
    raised_at: Mapped[datetime] = mapped_column(default=utcnow)
    resolved_at: Mapped[datetime | None]

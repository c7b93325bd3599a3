"""Settings: environment variables `LABELWHEEL_*`, then `settings.env` of the home, then `.env`, then the secrets generated on first start.

`labelwheel up` writes the addresses that it really took to `run/addresses.env`, so that every other command finds a
running system without being told; they are believed while that `up` lives. The documented table in `docs/settings.md`
is generated from the fields below.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import socket
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv import dotenv_values
from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from labelwheel.architectures import read_architecture
from labelwheel.augmentations import read_augmentations
from labelwheel.errors import SettingsError
from labelwheel.hours import read_hours
from labelwheel.shares import read_shares
from labelwheel.wording import faults

EMBEDDED = "embedded"  # how our tables know our own Label Studio, whatever port it gets
PREFIX = "LABELWHEEL_"
INTERNAL = {"PROGRAM", "LAUNCH"}  # by which `up` knows its own children
OF_THE_HOME = "settings.env"  # in a home: what holds for it from whatever folder it is used
LONGEST_SOCKET_DIR = 72  # sun_path holds 104 to 108 bytes, and supervisord first binds its name with a pid appended


class Settings(BaseSettings):
    """One object for the whole process. Field descriptions are the documentation."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", validate_default=True)

    # where things are
    home: Path = Field(Path("var"), description="Folder for all state: database, images, models, logs.")
    database_url: str = Field("", description="SQLAlchemy URL. Empty: SQLite in `home`. PostgreSQL: `postgresql+psycopg://…`.")
    redis_url: str = Field("", description="Redis or Valkey URL. Empty: the embedded Valkey on a unix socket in `home`.")
    mlflow_uri: str = Field("", description="MLflow tracking and registry URI. Empty: SQLite in `home`.")
    dvc_remote: str = Field("", description="DVC remote URL for dataset versions. Empty: kept in the local DVC cache only.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")

    # Label Studio
    label_studio_url: str = Field("", description="Label Studio's address as we reach it. Empty: `up` starts one.")
    label_studio_public_url: str = Field("", description="Its address in an annotator's browser. Empty: the same.")
    label_studio_name: str = Field("", description="Lasting name of the server in our tables, so that it may move. Empty: its address.")
    label_studio_port: int = Field(
        8080, ge=1, le=65535, description="Port of the Label Studio that `up` starts; the next free one is taken when busy."
    )
    label_studio_command: str = Field(".venv-label-studio/bin/label-studio", description="The program that `up` starts as Label Studio.")
    label_studio_username: str = Field("admin@labelwheel.local", description="Login of the user that `up` creates.")
    label_studio_password: SecretStr = Field(SecretStr(""), description="Its password. Generated.")
    label_studio_token: SecretStr = Field(
        SecretStr(""), description="Personal access token (or legacy token) of Label Studio. `up` fetches one by itself."
    )
    label_studio_project: str = Field("Labelwheel", min_length=3, max_length=50, description="Title of the project.")
    label_config: Path = Field(Path("label_config.xml"), description="Label config from which a new project is created.")
    adopt: bool = Field(
        True,
        description="Adopt tasks that others make in the project: their images are copied into our store, what is drawn on them becomes "
        "labels, and our key is written into their data.",
    )
    image_urls: Literal["local-files", "signed"] = Field(
        "local-files",
        description="How images reach the annotator's browser: `local-files` (Label Studio shares our disk) or `signed` URLs served by us.",
    )
    image_url_days: int = Field(30, ge=1, description="Life of a signed image URL, in days.")

    # ml_backend and console
    ml_backend_port: int = Field(9090, ge=1, le=65535, description="Port of ml_backend; the next free one is taken when busy.")
    ml_backend_url: str = Field(
        "", description="ml_backend's address as Label Studio and cameras reach it. Empty: loopback and port, while `up` runs."
    )
    ml_backend_public_url: str = Field("", description="Its address in an annotator's browser (signed image URLs). Empty: the same.")
    ml_backend_user: str = Field("label-studio", description="Basic-auth user that Label Studio presents.")
    ml_backend_password: SecretStr = Field(SecretStr(""), description="Basic-auth password that Label Studio presents. Generated.")
    ml_backend_threads: int = Field(8, ge=1, description="Request threads of ml_backend.")
    webhook_secret: SecretStr = Field(SecretStr(""), description="Secret in the header of our webhook. Generated.")
    console_port: int = Field(8700, ge=1, le=65535, description="Port of the console; the next free one is taken when busy.")
    console_url: str = Field("", description="The console's address. Empty: loopback and port.")
    console_user: str = Field("engineer", description="Login of the console.")
    console_password: SecretStr = Field(SecretStr(""), description="Its password. Generated.")
    api_token: SecretStr = Field(SecretStr(""), description="Bearer token of our REST API and of `POST /inspect`. Generated.")
    secret_key: SecretStr = Field(SecretStr(""), description="Signs sessions and image URLs. Generated.")
    bind: str = Field("127.0.0.1", description="Address that our servers bind. Containers set 0.0.0.0.")
    max_image_bytes: int = Field(32 * 2**20, ge=1024, description="Largest image accepted, in bytes.")
    max_image_pixels: int = Field(64_000_000, ge=1024, description="Largest image accepted, in pixels.")

    predict_seconds: float = Field(
        80,
        gt=0,
        description="Longest time for a batch of Label Studio's; tasks that it leaves over are predicted in the background. "
        "Keep it below Label Studio's ML_TIMEOUT_PREDICT (100).",
    )

    # images that live elsewhere
    image_sources: str = Field(
        "",
        description="Where images of tasks may be fetched from besides Label Studio: addresses that they begin with, separated by blanks, "
        "such as `https://images.example/line-1/ s3://bucket/`. Empty: from nowhere else.",
    )
    image_networks: str = Field(
        "",
        description="Private networks that those hosts may lie in, such as `10.20.0.0/16`, separated by blanks. Empty: public ones only.",
    )
    label_studio_files: Path | None = Field(
        None,
        description="Document root of Label Studio's local files, where we share that disk. Empty: our media folder when `image_urls` is "
        "`local-files`; other files are fetched through Label Studio.",
    )
    image_fetches: int = Field(8, ge=1, le=64, description="Images of tasks fetched and decoded at once.")
    image_connect_seconds: float = Field(3, gt=0, description="Longest wait for a connection to an image's server.")
    image_read_seconds: float = Field(10, gt=0, description="Longest silence of an image's server.")
    image_total_seconds: float = Field(30, gt=0, description="Longest time for one image, redirects and all.")
    image_recheck_seconds: float = Field(60, ge=0, description="An address is not asked again within this time whether its image changed.")
    image_cache_bytes: int = Field(
        2 * 2**30, ge=0, description="Disk for copies of images that live elsewhere; the least recently used go."
    )

    # detector
    model_name: str = Field("labelwheel", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Name of the model in the registry.")
    detector_threads: int = Field(0, ge=0, description="ONNX Runtime threads. 0: all cores.")
    display_threshold: float = Field(0.25, ge=0, le=1, description="Detections below it are not shown to annotators.")

    # selection and push
    uncertainty: Literal["expected_errors", "least_confidence", "margin", "entropy", "random"] = Field(
        "expected_errors", description="What images are ranked by: how unsure the model is of them, or by lot (`random`)."
    )
    uncertainty_min: float = Field(
        0.05, ge=0, le=1, description="Images less uncertain than this are certain: they are not chosen for doubt."
    )
    confidence_low: float = Field(0.4, ge=0, le=1, description="Lower edge of the band in which doubt counts in full; beyond it, it fades.")
    confidence_high: float = Field(0.7, ge=0, le=1, description="Upper edge of that band.")
    class_weights: str = Field(
        "",
        description="How much doubt about a label counts, such as `short=1 *=0.3` (`*`: each label that is not named). Empty: 1 for all.",
    )
    spread: int = Field(4, ge=0, le=20, description="A batch is spread over the best so many times its size. 0: the best alone.")
    budget_per_day: int = Field(200, ge=0, description="Captures selected for labelling in 24 hours, audits aside.")
    budget_per_hour: int = Field(0, ge=0, description="Of these, at most so many in 60 minutes. 0: no bound of its own.")
    drift_share: float = Field(0.2, ge=0, le=1, description="Share of the day's budget for captures of sources with an open drift alert.")
    novelty_share: float = Field(0.1, ge=0, le=1, description="Share of the day's budget for captures unlike all that is labelled.")
    novelty_from: float = Field(
        1.5, gt=0, description="How far such a capture lies from what is labelled, at least; 1 is what is usual among the labelled."
    )
    quota_sources: str = Field(
        "",
        description="Largest share of a day's budget for each source, such as `line-1=0.5 *=0.3` (`*`: each source that is not named). "
        "Empty: no bound.",
    )
    quota_labels: str = Field(
        "", description="The same for each label; an image counts for the label of its most doubtful box. Empty: no bound."
    )
    similar_distance: float = Field(
        0.1,
        ge=0,
        description="Captures of one source whose appearance differs by less, and in which the model sees the same, are near-duplicates: "
        "one of them is chosen. 0: none are.",
    )
    first_batch: int = Field(100, ge=0, description="Captures in the diverse first batch, chosen while there is no model.")
    settle_seconds: int = Field(10, ge=0, description="The first batch waits until no capture has arrived for so long.")
    audit_rate: float = Field(0.1, ge=0, le=1, description="Share of captures audited: labelled whatever the model says.")
    holdout_rate: float = Field(0.5, ge=0, le=1, description="Share of the audited captures that form the holdout.")
    twin_seconds: float = Field(
        60,
        ge=0,
        description="Images of one source that look the same and were taken at most so many seconds apart share a split. 0: only equal "
        "bytes do, for lines whose parts can hardly be told apart.",
    )
    queue_days: int = Field(
        30,
        ge=0,
        description="Days after which what was selected and nobody touched leaves the queue and Label Studio; audits stay. 0: never.",
    )
    replay_days: int = Field(
        30,
        ge=0,
        description="Days after which what a selection chose from is forgotten: its verdict, reasons and rules stay, but it cannot be "
        "replayed. 0: never.",
    )
    push_chunk: int = Field(100, ge=1, le=500, description="Tasks in one import request to Label Studio.")

    old_predictions: Literal["keep", "remove"] = Field(
        "keep",
        description="What a refresh does with the earlier versions' predictions of open tasks: `keep` or `remove`.",
    )

    # review
    approval: str = Field(
        "submit",
        pattern=r"^(submit|star|explicit|trusted:.+|agree:\d+(@[0-9.]+)?|choice:[^=]+=.+)$",
        description="When a label counts: `submit`, `trusted:anna@plant.example,…`, `agree:2@0.7` (annotators at an IoU), `star` "
        "(ground truth), `choice:review=accepted`, or `explicit` (through our API only). See docs/labels.md.",
    )
    vanish_share: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Share of the annotations, and of the open tasks, that may vanish from Label Studio at once (ten in any case); when more "
        "do, the pull stops until somebody decides.",
    )

    # label errors
    doubt_below: float = Field(0.5, ge=0, le=1, description="Labels of which a model is less sure than this (0: surely wrong) are flagged.")
    second_looks_per_day: int = Field(
        20, ge=0, description="Flagged labels that people are asked to look at once more in 24 hours, most doubtful first."
    )

    # the door and what it keeps
    retention_days: int = Field(
        90, ge=0, description="Days after which the bytes of an image that nobody needs are removed; its rows stay. 0: never."
    )
    store_max_bytes: int = Field(
        0, ge=0, description="Bound of the image store, in bytes: the oldest images that nobody needs go, then cameras wait. 0: none."
    )
    min_free_bytes: int = Field(2**30, ge=0, description="Free bytes on the images' disk below which cameras are asked to wait.")
    pending_max: int = Field(10_000, ge=0, description="Queue items not yet pushed at which cameras are asked to wait. 0: none.")

    # policy
    first_labels: int = Field(100, ge=1, description="Labels (training and holdout) needed for the first model.")
    first_class_labels: int = Field(
        0, ge=0, description="Training labels with each class needed for the first model. 0: a class that is rare holds nothing back."
    )
    min_new_labels: int = Field(50, ge=1, description="New training labels since the last run that make a retraining due.")
    min_new_share: float = Field(
        0.1, ge=0, le=1, description="And at least this share of the training labels that were trained on. 0: the number alone counts."
    )
    drift_new_labels: int = Field(
        20,
        ge=0,
        description="New training labels of a source with an open drift alert, since it was raised, that make a retraining due. 0: drift calls "
        "for none.",
    )
    weak_class_ap: float = Field(
        0.5,
        ge=0,
        le=1,
        description="A class is weak when the champion's AP50 on the holdout is below it, or when it was never trained on. 0: none is.",
    )
    weak_class_labels: int = Field(50, ge=1, description="New training labels with a weak class that make a retraining due.")
    max_age_days: int = Field(
        30, ge=0, description="Days without a training after which few new labels make a retraining due. 0: age calls for none."
    )
    age_new_labels: int = Field(10, ge=1, description="New training labels needed then.")
    cooldown_seconds: int = Field(3600, ge=0, description="Shortest time between two runs.")
    label_quiet_seconds: int = Field(30, ge=0, description="A run waits until no new training label has come for so long.")
    label_quiet_most_seconds: int = Field(
        600, ge=0, description="But no longer than this after the first label of a row that came without such a pause."
    )
    training_quiet_hours: str = Field(
        "",
        description="Local hours in which the policy starts no run, such as `07:00-17:00 22:00-23:30`; a run under way goes on. Empty: none.",
    )
    time_zone: str = Field("", description="Time zone of those hours, such as `Europe/Berlin`. Empty: the machine's.")
    training_seconds_per_day: int = Field(
        0,
        ge=0,
        description="Seconds of training within 24 hours, controls and failed runs too, after which the policy starts none. 0: no bound.",
    )
    training_seconds_per_week: int = Field(0, ge=0, description="The same within 7 days. 0: no bound.")

    # training
    architecture: str = Field("yolov8n", description="Ultralytics architecture of the first model.")
    image_size: int = Field(640, ge=32, le=2048, multiple_of=32, description="Side of the network's input, in pixels.")
    batch_size: int = Field(8, ge=1, description="Images in one update.")
    first_updates: int = Field(2000, ge=1, description="Updates (optimiser steps) of a training from scratch.")
    warm_updates: int = Field(400, ge=1, description="Updates of a warm start from the champion.")
    replay: float = Field(1.0, ge=0, description="Old images per new image in a warm start's training set.")
    learning_rate: float = Field(0.002, gt=0, description="AdamW learning rate from scratch; a warm start takes a quarter.")
    augmentations: str = Field(
        "",
        description="What training does to its images besides fliplr=0.5 flipud=0.5 hsv_h=0 hsv_s=0 (and mosaic=1 from scratch), or instead: "
        "`fliplr=0 degrees=10`, in ultralytics' names. Classes that mirror each other need fliplr=0.",
    )
    freeze: int = Field(0, ge=0, le=100, description="So many of the first layers keep their weights in a warm start.")
    train_control: bool = Field(
        False,
        description="Also train a control (same updates without the new labels) after each warm start, to show what the labels bought.",
    )
    keep_challengers: int = Field(
        5,
        ge=0,
        description="Weights (.pt) of so many challengers that never served stay in `home`, the newest; those of older ones are in MLflow alone. "
        "Every model that ever served keeps its own.",
    )
    train_threads: int = Field(0, ge=0, description="Torch threads. 0: all cores but one.")
    train_nice: int = Field(15, ge=0, le=19, description="Niceness of the training process.")

    # gate
    gate_confidence: float = Field(
        0.975, gt=0.5, lt=1, description="Confidence, one-sided, with which a challenger must be better, and with which a slice is worse."
    )
    gate_min_images: int = Field(20, ge=1, description="Holdout images below which nothing is promoted over a champion.")
    gate_budget: float = Field(
        0.01, ge=0, lt=1, description="mAP50 that all promotions on a slice together may cost, counted from the best model so far."
    )
    gate_slice_boxes: int = Field(20, ge=1, description="True boxes of a class or source, below which it is not judged by itself.")

    # drift
    drift_reference: int = Field(40, ge=10, description="Captures of a source that form its reference.")
    drift_window: int = Field(40, ge=10, description="Latest captures of a source that are tested.")
    drift_threshold: float = Field(0.8, gt=0, description="Normed Wasserstein distance from which a window counts as drifted.")
    drift_repeats: int = Field(2, ge=1, description="Drifted windows in a row before an alert is raised.")

    # schedule, in seconds
    tick_select: int = Field(60, ge=1, description="Seconds between selections.")
    tick_expire: int = Field(3600, ge=1, description="Seconds between looks for what has waited too long in the queue.")
    tick_pull: int = Field(60, ge=1, description="Seconds between pulls, when no webhook asks for one.")
    tick_deletions: int = Field(300, ge=1, description="Seconds between comparisons of all tasks, when no webhook asks for one.")
    tick_check: int = Field(600, ge=1, description="Seconds between label checks, when no pull asks for one.")
    tick_policy: int = Field(60, ge=1, description="Seconds between looks of the retraining policy.")
    tick_drift: int = Field(300, ge=1, description="Seconds between drift checks.")
    tick_retention: int = Field(3600, ge=1, description="Seconds between retentions.")
    tick_sweep: int = Field(15, ge=1, description="Seconds between sweeps for work that the queue lost.")

    @field_validator("image_sources")
    @classmethod
    def _sources_can_be_read(cls, value: str) -> str:
        if value:  # most settings have none, and reading them loads an HTTP client
            from labelwheel.resolver.allow import read_sources

            read_sources(value)
        return value

    @field_validator("image_networks")
    @classmethod
    def _networks_can_be_read(cls, value: str) -> str:
        if value:
            from labelwheel.resolver.allow import read_networks

            read_networks(value)
        return value

    @field_validator("augmentations")
    @classmethod
    def _augmentations_can_be_read(cls, value: str) -> str:
        read_augmentations(value)
        return value

    @field_validator("architecture")
    @classmethod
    def _architecture_is_known(cls, value: str) -> str:
        return read_architecture(value)

    @field_validator("training_quiet_hours")
    @classmethod
    def _hours_can_be_read(cls, value: str) -> str:
        read_hours(value)
        return value

    @field_validator("time_zone")
    @classmethod
    def _zone_is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value or "UTC")
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{value!r} is no time zone such as Europe/Berlin") from error
        return value

    @field_validator("class_weights", "quota_sources", "quota_labels")
    @classmethod
    def _shares_can_be_read(cls, value: str) -> str:
        read_shares(value)
        return value

    _ml_backend_given: bool = PrivateAttr(False)

    @model_validator(mode="after")
    def _fill_derived(self) -> Settings:
        self._ml_backend_given = bool(self.ml_backend_url)  # what is derived below counts as set, too
        self.home = self.home.expanduser().resolve()
        self.database_url = self.database_url or f"sqlite:///{self.home / 'labelwheel.db'}"
        self.redis_url = self.redis_url or f"unix://{quote(str(self.valkey_socket))}"
        self.mlflow_uri = self.mlflow_uri or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"
        self.ml_backend_url = (self.ml_backend_url or f"http://127.0.0.1:{self.ml_backend_port}").rstrip("/")
        self.ml_backend_public_url = (self.ml_backend_public_url or self.ml_backend_url).rstrip("/")
        self.console_url = (self.console_url or f"http://127.0.0.1:{self.console_port}").rstrip("/")
        self.label_studio_url = self.label_studio_url.rstrip("/")
        self.label_studio_public_url = (self.label_studio_public_url or self.label_studio_url).rstrip("/")
        self.label_studio_name = self.label_studio_name or self.label_studio_url or EMBEDDED
        if self.confidence_low > self.confidence_high:
            raise ValueError("confidence_low is above confidence_high")
        return self

    @property
    def ml_backend_given(self) -> bool:
        """Whether somebody named ml_backend's address: the user, or the `up` that lives (left out by `load_settings(live=False)`)."""
        return self._ml_backend_given

    @property
    def is_up(self) -> bool:
        """Whether an `up` of this home lives: it noted its addresses, and its supervisord listens."""
        if not self.addresses_file.exists():
            return False
        with closing(socket.socket(socket.AF_UNIX)) as probe:
            probe.settimeout(2)
            return probe.connect_ex(str(self.supervisor_socket)) == 0

    @property
    def run_dir(self) -> Path:
        """Sockets, pid files and live addresses; safe to delete while nothing runs."""
        return self.home / "run"

    @property
    def log_dir(self) -> Path:
        return self.home / "logs"

    @property
    def media_dir(self) -> Path:
        """All that Label Studio may read of our disk: never the database, models or secrets."""
        return self.home / "media"

    @property
    def images_dir(self) -> Path:
        return self.media_dir / "images"

    @property
    def cache_dir(self) -> Path:
        """Copies that can be made again; safe to delete at any time."""
        return self.home / "cache"

    @property
    def secrets_file(self) -> Path:
        return self.home / "secrets.env"

    @property
    def addresses_file(self) -> Path:
        return self.run_dir / "addresses.env"

    @property
    def socket_dir(self) -> Path:
        """Where unix sockets lie: `run_dir`, or a private folder (0700) keyed by `home` when its path is too long for a socket."""
        if len(os.fsencode(self.run_dir)) <= LONGEST_SOCKET_DIR:
            return self.run_dir
        key = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        return Path("/tmp") / f"labelwheel-{os.getuid()}-{key}"  # noqa: S108  TMPDIR differs between terminals; `up` checks owner and mode

    @property
    def supervisor_socket(self) -> Path:
        return self.socket_dir / "supervisor.sock"

    @property
    def valkey_socket(self) -> Path:
        return self.socket_dir / "valkey.sock"

    @property
    def secret_values(self) -> list[str]:
        """All secrets in clear, for the log filter that keeps them out of logs."""
        fields = (getattr(self, name) for name in type(self).model_fields)
        plain = [field.get_secret_value() for field in fields if isinstance(field, SecretStr) and field.get_secret_value()]
        inside = [urlsplit(url).password for url in (self.database_url, self.redis_url, self.mlflow_uri, self.dvc_remote)]
        return plain + [password for password in inside if password]


def load_settings(home: Path | None = None, *, live: bool = True) -> Settings:
    """Read settings; raise SettingsError naming each wrong variable and its cure.

    `live=False` leaves out the addresses that `up` took: what the user configured, and nothing else. So they are when that `up` was
    killed: whoever has its ports now is a stranger.
    """
    root = Path(home or _configured_home()).expanduser().resolve()
    files = (root / "secrets.env", Path(".env"), root / OF_THE_HOME)
    try:
        configured = Settings(_env_file=files, home=root)  # type: ignore[call-arg]
        if not (live and configured.is_up):
            return configured
        return Settings(_env_file=(*files, configured.addresses_file), home=root)  # type: ignore[call-arg]
    except ValidationError as error:
        raise SettingsError(_explain(error), "Correct the environment or .env; docs/settings.md lists every setting.") from error


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings, read once."""
    return load_settings()


def unknown_variables() -> dict[str, str]:
    """Variables of ours that name no setting, each with the setting that it is most like, or ""."""
    known = [name.upper() for name in Settings.model_fields]
    names = (*os.environ, *dotenv_values(".env"), *dotenv_values(Path(_configured_home()).expanduser() / OF_THE_HOME))
    given = {name.upper().removeprefix(PREFIX) for name in names if name.upper().startswith(PREFIX)}
    strangers = sorted(given - {*known, *INTERNAL})
    likeness = {name: next(iter(difflib.get_close_matches(name, known, 1, 0.75)), None) for name in strangers}
    return {PREFIX + name: PREFIX + like if like else "" for name, like in likeness.items()}


def _configured_home() -> str:
    return os.environ.get(PREFIX + "HOME") or dotenv_values(".env").get(PREFIX + "HOME") or "var"


def _explain(error: ValidationError) -> str:
    """No value is repeated: it may be a secret in the wrong place."""
    told = f"Settings do not fit: {faults(error, _variable, most=len(Settings.model_fields), shown=False)}."
    formless = [item["loc"] for item in error.errors() if item["type"] == "string_pattern_mismatch"]
    return " ".join([told, *(f"{_variable(place)}: {Settings.model_fields[str(place[0])].description}" for place in formless)])


def _variable(place: tuple[int | str, ...]) -> str:
    return PREFIX + "_".join(str(part) for part in place).upper() if place else ""

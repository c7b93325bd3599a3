"""MLflow behind one small class. Our tables are the truth; what is here mirrors them for people and other tools."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from filelock import FileLock

EXPERIMENT = "labelwheel"
KEY = "labelwheel.run"
CHAMPION = "champion"
UNKNOWN = "RESOURCE_DOES_NOT_EXIST"  # MLflow's code for an id of nothing
BATCH = 500  # MLflow takes 1,000 metrics in one call


class Registry:
    """Runs, model versions and aliases at `uri`; artifacts lie under `artifact_root` unless a server keeps them."""

    def __init__(self, uri: str, artifact_root: Path) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.tracking import MlflowClient

        if uri.startswith("sqlite:///"):
            _prepare(Path(uri.removeprefix("sqlite:///")), artifact_root)
        self._artifacts = None if uri.startswith("http") else artifact_root.resolve().as_uri()
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    def run(self, key: str, name: str) -> str:
        """Id of the MLflow run with this key: the same one each time, created at the first."""
        experiment = self._experiment()
        found = self._client.search_runs([experiment], filter_string=f"tags.`{KEY}` = '{key}'", max_results=1)
        if found:
            return cast(str, found[0].info.run_id)
        created = self._client.create_run(experiment, tags={KEY: key, "mlflow.runName": name})
        return cast(str, created.info.run_id)

    def note(self, run_id: str, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Params and tags; both may be written again with equal values."""
        from mlflow.entities import Param, RunTag

        self._client.log_batch(
            run_id,
            params=[Param(key, str(value)[:6000]) for key, value in params.items()],
            tags=[RunTag(key, str(value)[:5000]) for key, value in tags.items()],
        )

    def measure(self, run_id: str, series: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Metrics by step. A step that is there already is not written twice."""
        from mlflow.entities import Metric

        known: dict[str, set[int]] = {}
        points: list[Any] = []
        now = int(time.time() * 1000)
        for step, values in series:
            for key, value in values.items():
                if step not in known.setdefault(key, self._steps(run_id, key)) and math.isfinite(value):
                    points.append(Metric(key, float(value), now, step))
        for start in range(0, len(points), BATCH):
            self._client.log_batch(run_id, metrics=points[start : start + BATCH])

    def attach(self, run_id: str, folder: Path, name: str) -> str:
        """Copy a folder's files into the run's artifacts under `name`; return where they lie."""
        self._client.log_artifacts(run_id, str(folder), name)
        return f"{self._client.get_run(run_id).info.artifact_uri}/{name}"

    def keep(self, run_id: str, content: Mapping[str, Any], name: str) -> None:
        """JSON as the run's artifact `name`; again overwrites it."""
        self._client.log_dict(run_id, dict(content), name)

    def fetch(self, run_id: str, path: str, target: Path) -> None:
        """Bring a run's artifact back as the file `target`, whole or not at all."""
        draft = target.with_name(f".{target.name}.fetched")
        draft.mkdir(parents=True, exist_ok=True)
        try:
            Path(self._client.download_artifacts(run_id, path, str(draft))).replace(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def has(self, run_id: str, folder: str, name: str) -> bool:
        """Whether a run's artifacts hold this file; not those of a run that MLflow does not know."""
        from mlflow.exceptions import MlflowException

        try:
            return any(Path(found.path).name == name for found in self._client.list_artifacts(run_id, folder)) if run_id else False
        except MlflowException as error:
            if error.error_code != UNKNOWN:
                raise
            return False

    def register(self, run_id: str, model: str, source: str, tags: Mapping[str, str]) -> int:
        """The run's version of a model: the same number each time, created at the first. `source` is a folder."""
        known = [version for version in self._client.search_model_versions(f"run_id = '{run_id}'") if version.name == model]
        if known:
            return int(known[0].version)
        if not list(self._client.search_registered_models(f"name = '{model}'")):
            self._client.create_registered_model(model)
        return int(self._client.create_model_version(model, source, run_id, tags=dict(tags)).version)

    def point(self, model: str, version: int, alias: str = CHAMPION) -> None:
        """Let an alias name this version."""
        self._client.set_registered_model_alias(model, alias, str(version))

    def pointed(self, model: str, alias: str = CHAMPION) -> int | None:
        """The version that an alias names."""
        for found in self._client.search_registered_models(f"name = '{model}'"):
            version = found.aliases.get(alias)
            return int(version) if version is not None else None
        return None

    def end(self, run_id: str, *, failed: bool = False) -> None:
        self._client.set_terminated(run_id, "FAILED" if failed else "FINISHED")

    def withdraw(self, key: str, model: str) -> None:
        """The run with this key came to nothing: it ends as killed, and no version of the model comes from it."""
        found = self._client.search_runs([self._experiment()], filter_string=f"tags.`{KEY}` = '{key}'", max_results=1)
        for run_id in [run.info.run_id for run in found]:
            for version in self._client.search_model_versions(f"run_id = '{run_id}'"):
                if version.name == model:
                    self._client.delete_model_version(model, version.version)
            self._client.set_terminated(run_id, "KILLED")

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return cast(str, found.experiment_id)
        return cast(str, self._client.create_experiment(EXPERIMENT, artifact_location=self._artifacts))

    def _steps(self, run_id: str, key: str) -> set[int]:
        return {metric.step for metric in self._client.get_metric_history(run_id, key)}


def _prepare(path: Path, artifact_root: Path) -> None:
    """Let MLflow make its database aside, whole or not at all: over one that a kill left half made, its migrations stumble for ever."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return
    with FileLock(path.with_name(f"{path.name}.lock")):
        if not path.exists():
            draft = path.with_name(f"{path.name}.draft")
            for left in path.parent.glob(f"{draft.name}*"):
                left.unlink()
            _make(draft, artifact_root)
            draft.replace(path)


def _make(path: Path, artifact_root: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(f"sqlite:///{path}", artifact_root.resolve().as_uri()).engine.dispose()

"""A version's ONNX file: ours, or the copy in MLflow where ours is gone."""

from __future__ import annotations

from pathlib import Path

from labelwheel.database.tables import ModelVersion
from labelwheel.errors import ModelError
from labelwheel.registry import Registry
from labelwheel.serving import model_path
from labelwheel.settings import Settings
from labelwheel.vision.image import digest


def onnx_of(version: ModelVersion, settings: Settings) -> Path:
    """The file that serves, brought back from MLflow where it is gone. Raises ModelError."""
    path = model_path(version.onnx_uri, settings)
    if not path.is_file():
        try:
            _bring_back(version, settings, path)
        except Exception as error:  # MLflow's stores raise errors of many packages
            cure = (
                f"Restore {version.onnx_uri} from a backup, or let another version serve: `labelwheel promote VERSION --override --note …`."
            )
            raise ModelError(f"The file of {version.title} is gone, and MLflow has none: {error}", cure) from error
    return path


def _bring_back(version: ModelVersion, settings: Settings, path: Path) -> None:
    if version.mlflow_run_id is None:
        raise FileNotFoundError("it never was there")
    registry, draft = Registry(settings.mlflow_uri, settings.home / "mlflow" / "artifacts"), path.with_name(f".{path.name}")
    registry.fetch(version.mlflow_run_id, f"weights/{path.name}", draft)
    if digest(draft.read_bytes()) != version.onnx_sha256:
        draft.unlink()
        raise ValueError("its copy has another SHA-256")
    draft.replace(path)

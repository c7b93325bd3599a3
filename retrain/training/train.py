"""The trainer, a process of its own: `python -m retrain.training.train FOLDER PARENT`, where FOLDER holds spec.json.

It goes on from the last whole epoch if it was killed, writes progress.json while it works, and result.json when all is there. It ends
when PARENT, the id of the process that started it, is its parent no longer.
Nothing is chosen by the holdout: the gate judges on it, so neither an epoch nor a checkpoint may be picked by it.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from retrain.training import head
from retrain.training import spec as files
from retrain.training.spec import Progress, Result, Spec
from retrain.training.torchvision import ensure_torchvision

WAIT_SECONDS = 300  # for an orphan of an earlier attempt to notice that its parent is gone
BEAT_SECONDS = 1.0
SAVE_SECONDS = 20.0  # between checkpoints: epochs of a small dataset are shorter than the saving
CACHE_BYTES = 2**30  # of images that are kept decoded
INTEGRATIONS = ("mlflow", "dvc", "sync", "clearml", "comet", "raytune", "wandb", "neptune", "tensorboard", "hub")  # those we do ourselves


def main(folder: Path, parent: int) -> None:
    """Train what the folder's spec asks for."""
    spec = files.read_spec(folder)
    if spec is None:
        raise SystemExit(f"There is no {files.SPEC} in {folder}.")
    os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), spec.nice))
    with FileLock(folder / "train.lock", timeout=WAIT_SECONDS):
        if files.read_result(folder) is None:  # an orphan may have come to its end meanwhile
            files.write(folder / files.RESULT, _work(spec, parent))


def _work(spec: Spec, parent: int) -> Result:
    started = time.monotonic()
    _heed(parent)
    last, resumed = fit(spec, parent)
    _heed(parent)
    onnx = _export(last)
    seconds = round(time.monotonic() - started, 1)
    return Result(str(last), str(onnx), spec.epochs, spec.updates_made, seconds, resumed)


def _heed(parent: int) -> None:
    """End a trainer whose job is gone: another may be under way, and nobody would read its result."""
    if os.getppid() != parent:
        raise SystemExit("The job that started this training is gone.")


def fit(spec: Spec, parent: int) -> tuple[Path, bool]:
    """Train, or go on where a killed attempt stopped. Returns the last epoch's weights and whether it was resumed."""
    last = Path(spec.folder) / "fit" / "weights" / "last.pt"
    prepare(spec.threads)
    epochs_done = _epochs_done(last, spec.epochs)
    if epochs_done < spec.epochs:
        _train(spec, last if epochs_done else None, parent)
    _strip(last)
    return last, epochs_done > 0


def prepare(threads: int) -> None:
    """Ready torch and ultralytics: all threads that we may use, no integrations, no network."""
    ensure_torchvision()
    import torch
    import ultralytics.utils.torch_utils as torch_utils
    from ultralytics.utils import SETTINGS

    # Ultralytics takes one core less than there are: on two cores that halves the speed.
    torch_utils.NUM_THREADS = threads
    torch.set_num_threads(threads)
    SETTINGS.update({name: False for name in INTEGRATIONS if name in SETTINGS})


def recipe(spec: Spec) -> dict[str, Any]:
    """Arguments of ultralytics' `train`. Mosaic helps from scratch (off for the last quarter) and spoils short warm starts."""
    return {
        "data": spec.data,
        "epochs": spec.epochs,
        "batch": spec.batch,
        "nbs": spec.batch,  # one optimiser step a batch
        "imgsz": spec.image_size,
        "seed": spec.seed,
        "deterministic": True,
        "optimizer": "AdamW",
        "lr0": spec.learning_rate,
        "lrf": 0.01,
        "warmup_epochs": 1,
        "warmup_bias_lr": 0.0,  # the default 0.1 is meant for SGD
        "mosaic": 0.0 if spec.warm else 1.0,
        "close_mosaic": 0 if spec.warm else max(1, spec.epochs // 4),
        "fliplr": 0.5,
        "flipud": 0.5,
        "hsv_h": 0.0,
        "hsv_s": 0.0,
        **spec.augmentations,
        "freeze": spec.freeze or None,
        "pretrained": spec.warm,  # False throws weights away that were loaded
        "project": spec.folder,
        "name": "fit",
        "exist_ok": True,
        "val": False,
        "plots": False,
        "amp": False,
        "workers": 0,  # a loader beside the threads of the network takes turns with them on few cores
        "cache": "ram" if spec.images * spec.image_size**2 * 3 <= CACHE_BYTES else False,
        "verbose": False,
    }


def _train(spec: Spec, checkpoint: Path | None, parent: int) -> None:
    from ultralytics import YOLO

    if checkpoint is None:
        shutil.rmtree(Path(spec.folder) / "fit", ignore_errors=True)
    model = YOLO(checkpoint or spec.start, task="detect")
    model.add_callback("on_train_batch_end", _reporter(spec, parent))
    model.train(trainer=_trainer(spec), **({"resume": True} if checkpoint else recipe(spec) | {"device": _device()}))


def _trainer(spec: Spec) -> type:
    """Ultralytics' trainer without its validation (see the module's docstring), and with checkpoints that a kill cannot tear.

    Rows of classes that have another name, or none, since the weights were trained are where they belong.
    """
    from ultralytics.models.yolo.detect import DetectionTrainer

    class Unjudged(DetectionTrainer):  # type: ignore[misc]
        saved = float("-inf")

        def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
            network = super().get_model(cfg, None, verbose)
            if weights:
                wanted = [str(name) for name in self.data["names"].values()]
                trained = [str(name) for name in weights.names.values()]
                head.load(network, weights, head.rows(trained, wanted, spec.formerly, spec.retired))
            return network

        def validate(self) -> tuple[dict[str, float], None]:
            return {}, None

        def final_eval(self) -> None:
            return

        def save_metrics(self, metrics: dict[str, float]) -> None:
            super().save_metrics({key: value for key, value in metrics.items() if key.startswith(("train/", "lr/"))})

        def save_model(self) -> bool:
            due = time.monotonic() - self.saved >= SAVE_SECONDS or self.stop
            if due:
                last: Path = self.wdir / "last.pt"
                self.last = self.best = last.with_name("draft.pt")  # ultralytics overwrites in place, and twice
                super().save_model()
                self.last.replace(last)
                self.last, self.saved = last, time.monotonic()
            return due

    return Unjudged


def _reporter(spec: Spec, parent: int) -> Callable[[Any], None]:
    """A callback that writes progress, and ends a trainer whose job is gone."""
    batches, started, written = 0, time.monotonic(), 0.0

    def report(trainer: Any) -> None:
        nonlocal batches, written
        batches += 1
        _heed(parent)
        now = time.monotonic()
        if now - written >= BEAT_SECONDS:
            written = now
            files.write(Path(spec.folder) / files.PROGRESS, _progress(trainer, batches, now - started))

    return report


def _progress(trainer: Any, batches: int, seconds: float) -> Progress:
    per_epoch = len(trainer.train_loader)
    to_do = trainer.epochs * per_epoch
    left = to_do - trainer.start_epoch * per_epoch - batches
    losses = trainer.label_loss_items(trainer.tloss, prefix="train")
    return Progress(round(100 * (1 - left / to_do), 1), trainer.epoch + 1, trainer.epochs, round(seconds / batches * left, 1), losses)


def _epochs_done(last: Path, epochs: int) -> int:
    """Whole epochs in a checkpoint; all of them when it was finished, 0 when it is absent or was cut short in writing."""
    if not last.is_file():
        return 0
    import torch

    try:
        checkpoint = torch.load(last, map_location="cpu", weights_only=False)
    except Exception:  # noqa: BLE001  a torn file raises whatever the unpickler meets
        return 0
    if checkpoint.get("optimizer") is None:
        return epochs
    return min(int(checkpoint["epoch"]) + 1, epochs)


def _strip(last: Path) -> None:
    from ultralytics.utils.torch_utils import strip_optimizer

    draft = last.with_name("draft.pt")
    strip_optimizer(last, str(draft))
    draft.replace(last)


def _export(weights: Path) -> Path:
    from retrain.training.export import export_onnx

    return export_onnx(weights)


def _device() -> int | str:
    import torch

    return 0 if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""What the labels of one run bought, and what they cost: against the champion, and against the control, which trained as long without them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import AnnotationRevision, Correction, Decision, Label, TrainingRun
from labelwheel.errors import ConflictError
from labelwheel.settings import Settings
from retrain.dataset import content, labels
from retrain.gate.compare import Gain
from retrain.policy import CALLED
from retrain.run.status import find, title_of

Scores = Mapping[str, Any]

MANY = 10  # intervals, of which each misses once in twenty
ROUNDING = 0.0005  # of scores that are stored with four digits


@dataclass(frozen=True, slots=True)
class Batch:
    """The labels that no weights had seen before: of each image its source and the labels of its boxes, and the seconds that are known."""

    images: Sequence[tuple[str, tuple[str, ...]]] = ()
    seconds: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """An ended run as the receipt sees it."""

    run: int
    status: str
    cause: str
    slice: Mapping[str, str] | None
    champion: str | None
    challenger: str | None
    metrics: Mapping[str, Any]
    control: Mapping[str, Any] | None
    min_images: int
    slices: Sequence[Mapping[str, Any]] = ()  # of the gate's verdict


class Parts(NamedTuple):
    """What was gained by class and source, with bounds."""

    over_champion: Mapping[str, dict[str, Any]]
    over_control: Mapping[str, dict[str, Any]]


def receipt(session: Session, project_id: int, run_id: int, settings: Settings) -> dict[str, Any]:
    """The receipt as JSON; `lines` says the same in words. NotFoundError, and ConflictError for a run that came to no verdict."""
    run = find(session, project_id, run_id)
    if run.status not in labels.FINISHED:
        raise ConflictError(
            f"Training {run_id} is {run.status}: its labels bought nothing yet.", "Ask for a run that was promoted or kept."
        )
    names = (title_of(session, run.champion_id), title_of(session, run.challenger_id))
    gate = session.get(Decision, run.gate_decision_id) if run.gate_decision_id else None
    slices = gate.inputs.get("slices", []) if gate else []
    settled = Settled(run.id, run.status, run.cause, run.slice, *names, run.metrics, run.control, settings.gate_min_images, slices)
    return account(settled, _batch(session, run))


def account(run: Settled, batch: Batch) -> dict[str, Any]:
    """The receipt of what was read. Pure."""
    before, after, control = run.metrics.get("champion") or {}, run.metrics.get("challenger") or {}, _control(run)
    over_champion = _gain(before, after, run.metrics.get("gate") or {})
    over_control = _gain(control, after, control.get("against") or {})
    parts = Parts(_parts(run.slices, over_champion), _parts((control.get("against") or {}).get("slices", ()), over_control))
    found = {
        "run": run.run,
        "status": run.status,
        "cause": run.cause,
        "slice": dict(run.slice) if run.slice else None,
        "champion": run.champion,
        "challenger": run.challenger,
        "holdout_images": after.get("images") if run.metrics.get("judged_on", "holdout") == "holdout" else 0,
        "labels": _labels(batch),
        "scores": {"before": before.get("map50"), "after": after.get("map50"), "control": control.get("map50")},
        "over_champion": over_champion,
        "over_control": over_control,
        "cost": _cost(over_control, over_champion, batch),
        "per_class": _rows("class", parts, before, after, control, Counter(name for _, names in batch.images for name in set(names))),
        "per_source": _rows("source", parts, before, after, control, Counter(source for source, _ in batch.images)),
    }
    caveats = list(_caveats(run, found))
    return {**found, "caveats": caveats, "lines": [*_lines(found), *caveats]}


def _batch(session: Session, run: TrainingRun) -> Batch:
    if run.dataset_id is None:
        return Batch()
    used = labels.consumed(session, run.project_id, before_run=run.id)
    items = [item for item in content.recall(session, run.dataset_id).only("train") if item.label_id not in used]
    images = [(item.source, tuple(box.label for box in item.boxes)) for item in items]
    return Batch(images, list(_seconds(session, [item.label_id for item in items])))


def _seconds(session: Session, label_ids: Sequence[int]) -> Iterator[float]:
    """What Label Studio timed; of labels that nobody timed there is none."""
    for some in content.portions(label_ids):
        query = select(Correction.seconds, AnnotationRevision.body["lead_time"].as_float())
        query = query.select_from(Label).join(AnnotationRevision, AnnotationRevision.id == Label.annotation_revision_id)
        query = query.outerjoin(Correction, Correction.annotation_revision_id == AnnotationRevision.id).where(Label.id.in_(some))
        for corrected, lead_time in session.execute(query).tuples():
            seconds = corrected if corrected is not None else lead_time
            if seconds is not None:
                yield float(seconds)


def _control(run: Settled) -> Scores:
    return run.control if run.control and run.control.get("state") == "done" else {}


def _labels(batch: Batch) -> dict[str, Any]:
    return {
        "images": len(batch.images),
        "boxes": sum(len(names) for _, names in batch.images),
        "background": sum(not names for _, names in batch.images),
        "seconds": round(sum(batch.seconds), 1),
        "timed_images": len(batch.seconds),
    }


def _gain(before: Scores, after: Scores, numbers: Mapping[str, Any]) -> dict[str, Any] | None:
    """mAP50 won, and its bounds (each one-sided at `confidence`) where a bootstrap was made: over the classes that both models know."""
    if before.get("map50") is None or after.get("map50") is None:
        return None
    bounds = {name: numbers.get(name) for name in ("lower", "upper", "confidence")}
    gain = numbers.get("gain")
    return {"gain": round(after["map50"] - before["map50"] if gain is None else gain, 4), **bounds}


def _cost(over_control: Mapping[str, Any] | None, over_champion: Mapping[str, Any] | None, batch: Batch) -> dict[str, Any] | None:
    """For one point (0.01) of mAP50. None where nothing was won."""
    gain, against = (over_control, "control") if over_control else (over_champion, "champion")
    if gain is None or gain["gain"] <= 0 or not batch.images:
        return None
    points = gain["gain"] * 100
    each = sum(batch.seconds) / len(batch.seconds) if batch.seconds else None
    seconds = round(each * len(batch.images) / points, 1) if each is not None else None
    return {"against": against, "images_per_point": round(len(batch.images) / points, 1), "seconds_per_point": seconds}


def _parts(slices: Iterable[Mapping[str, Any]], told: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Gains with their bounds by slice, those that can be told."""
    confidence = (told or {}).get("confidence")
    if confidence is None:
        return {}
    gains = ((row["slice"], Gain.from_dict(row)) for row in slices)
    return {name: _bounded(gain, confidence) for name, gain in gains if gain.tells}


def _bounded(gain: Gain, confidence: float) -> dict[str, Any]:
    return {"gain": round(gain.gain, 4), "lower": round(gain.lower(confidence), 4), "upper": round(gain.upper(confidence), 4)}


def _rows(kind: str, parts: Parts, before: Scores, after: Scores, control: Scores, images: Mapping[str, int]) -> list[dict[str, Any]]:
    """AP50 of each class, or mAP50 of each source."""
    found = [scores.get(f"per_{kind}") or {} for scores in (before, after, control)]
    names = sorted({*images, *(name for scores in found for name in scores)})
    return [_row(f"{kind} {name}", name, parts, images.get(name, 0), *(scores.get(name) for scores in found)) for name in names]


def _row(
    part: str, name: str, parts: Parts, images: int, before: float | None, after: float | None, control: float | None
) -> dict[str, Any]:
    return {
        "name": name,
        "images": images,
        "before": before,
        "after": after,
        "control": control,
        "over_champion": parts.over_champion.get(part) or _difference(before, after),
        "over_control": parts.over_control.get(part) or _difference(control, after),
    }


def _difference(before: float | None, after: float | None) -> dict[str, Any] | None:
    return None if before is None or after is None else {"gain": round(after - before, 4), "lower": None, "upper": None}


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    batch, scores = found["labels"], found["scores"]
    called = CALLED.get(found["cause"], found["cause"])
    yield f"Training {found['run']}, {called}: {found['challenger'] or 'no model'}, {found['status'].replace('_', ' ')}."
    yield f"Paid: {batch['images']} newly labelled images with {batch['boxes']} boxes; {_time(batch)}."
    if found["over_champion"]:
        change = f"{found['champion'] or 'it'} had {scores['before']:.3f} mAP50, it has {scores['after']:.3f}"
        yield f"Over the champion: {found['over_champion']['gain']:+.3f} ({change}); {_bounds(found['over_champion'])}."
    elif scores["after"] is not None:
        yield f"It has {scores['after']:.3f} mAP50; there was no model before it."
    if found["over_control"]:
        why = f"trained as long, without these labels: {scores['control']:.3f}"
        yield f"Over the control ({why}): {found['over_control']['gain']:+.3f}; {_bounds(found['over_control'])}."
    if found["cost"]:
        cost = found["cost"]
        spent = f" and {cost['seconds_per_point']:.0f} s" if cost["seconds_per_point"] is not None else ""
        yield f"A point (0.01) won over the {cost['against']} cost {cost['images_per_point']:g} images{spent}."


def _time(batch: Mapping[str, Any]) -> str:
    if not batch["timed_images"]:
        return "nobody timed them"
    part = "" if batch["timed_images"] == batch["images"] else f" ({batch['timed_images']} of them are timed)"
    return f"{batch['seconds'] / 60:.1f} minutes of people's time{part}"


def _bounds(gain: Mapping[str, Any]) -> str:
    if gain["lower"] is None or gain["upper"] is None or gain["confidence"] is None:
        return "no interval"
    return f"{2 * gain['confidence'] - 1:.0%} interval {gain['lower']:+.3f} to {gain['upper']:+.3f}"


def _caveats(run: Settled, found: Mapping[str, Any]) -> Iterator[str]:
    """What forbids to believe the figures as they stand."""
    images = found["holdout_images"] or 0
    if run.metrics.get("judged_on", "holdout") != "holdout":
        yield "There was no holdout: the score is that of the training images, and says nothing of others."
    elif images < run.min_images:
        yield f"The holdout has {images} images: too few to believe a difference ({run.min_images} are asked for)."
    if not _control(run):
        yield _no_control(run)
    if _other_classes(found):
        yield "The models do not know the same classes: what was won over the champion is over those that both know."
    compared = found["over_control"] or found["over_champion"]
    if compared and compared["lower"] is not None and compared["upper"] is not None and compared["lower"] <= 0 <= compared["upper"]:
        yield "The interval holds zero: it may all be chance."
    elif compared and compared["gain"] <= 0:
        yield "These labels bought nothing that can be measured."
    if found["over_control"]:
        yield "One control is one draw of the training's chance: small differences are noise."
    if parts := _intervals(found):
        yield f"Each interval by class and source is for itself: of these {parts}, some miss by chance."


def _intervals(found: Mapping[str, Any]) -> int:
    """How many intervals by class and source there are, when they are many enough for one to miss."""
    gains = [row[over] for kind in ("per_class", "per_source") for row in found[kind] for over in ("over_champion", "over_control")]
    count = sum(gain is not None and gain["lower"] is not None for gain in gains)
    return count if count >= MANY else 0


def _other_classes(found: Mapping[str, Any]) -> bool:
    won, scores = found["over_champion"], found["scores"]
    return won is not None and abs(scores["after"] - scores["before"] - won["gain"]) > ROUNDING


def _no_control(run: Settled) -> str:
    state = (run.control or {}).get("state")
    if state == "due":
        return "The control is still to be trained: what more training alone would have won is not known yet."
    if state == "failed":
        return f"The control failed ({(run.control or {}).get('error')}): what more training alone would have won is not known."
    if state == "none":
        return f"No control was trained, for {(run.control or {}).get('why')}: what more training alone would have won is not known."
    if not (run.metrics.get("training") or {}).get("warm"):
        return "It started from scratch, so no control was trained: all that it knows is from all labels, not from these alone."
    return "No control was trained (LABELWHEEL_TRAIN_CONTROL): what more training alone would have won is not known."

"""Which of our labels each class of somebody else's model or dataset is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from labelwheel.errors import InputError
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.label_config import KEYPOINTS, SHOWS, ControlTag, trained_labels
from labelwheel.vision.model_info import TASKS


@dataclass(frozen=True, slots=True)
class Match:
    """One foreign class: its name, our label for it (None: none), and how that came: same, case, renamed, kept, ignored or unknown."""

    name: str
    label: str | None
    how: str


@dataclass(frozen=True)
class Matching:
    """Foreign classes in the order of their ids, against our labels in the order of the class map."""

    matches: tuple[Match, ...]
    labels: tuple[str, ...]

    @property
    def unknown(self) -> list[str]:
        """Foreign classes that are neither one of our labels nor ignored on purpose."""
        return [match.name for match in self.matches if match.how == "unknown"]

    @property
    def missing(self) -> list[str]:
        """Our labels that no foreign class stands for."""
        known = {match.label for match in self.matches}
        return [label for label in self.labels if label not in known]

    @property
    def groups(self) -> dict[str, list[int]]:
        """Our labels that are known there, in our order, each with the foreign class ids that stand for it."""
        ids = {label: [class_id for class_id, match in enumerate(self.matches) if match.label == label] for label in self.labels}
        return {label: found for label, found in ids.items() if found}

    @property
    def renamed(self) -> dict[str, str]:
        """Foreign class → our label, for those that have one."""
        return {match.name: match.label for match in self.matches if match.label is not None}

    def rows(self) -> list[dict[str, str]]:
        """A table for people and machines: each foreign class, then our labels that are missing there."""
        found = [{"class": match.name, "label": match.label or "", "how": self._told(match)} for match in self.matches]
        return found + [{"class": "", "label": label, "how": "missing"} for label in self.missing]

    def demand(self) -> None:
        """Raise InputError, with the ways out, unless every class is one of our labels or ignored, and at least one is a label."""
        if self.unknown:
            raise InputError(
                f"No label is known for {_listed(self.unknown)}; the labels are {_listed(self.labels)}.",
                "Say what each is: `--map CLASS=LABEL`; leave one out with `--map CLASS=`, or all of them with `--ignore-others`. "
                "Or add the label in Label Studio, then `labelwheel connect`.",
            )
        if not self.groups:
            raise InputError("None of its classes is one of our labels.", "Map at least one: `--map CLASS=LABEL`.")

    def _told(self, match: Match) -> str:
        places = list(self.groups)
        moved = match.label is not None and self.matches.index(match) != places.index(match.label)
        return f"{match.how}, other place" if moved else match.how


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Our labels for the classes of a model. Where it is `closed`, a class must be one of them; else it may keep its own name."""

    labels: tuple[str, ...]
    closed: bool = True


def match_classes(
    names: Sequence[str], ours: Vocabulary, renames: Mapping[str, str] | None = None, *, ignore_others: bool = False
) -> Matching:
    """Match by `renames` (an empty label ignores the class), else by name, else by name in another case.

    Raises InputError for a rename from a class or to a label that does not exist.
    """
    wanted = renames or {}
    _check(wanted, names, ours)
    matches = tuple(_match(name, ours, wanted, ignore_others) for name in names)
    kept = (match.label for match in matches if match.label is not None)
    return Matching(matches, tuple(dict.fromkeys([*ours.labels, *kept])))


def parse_renames(given: Iterable[str]) -> dict[str, str]:
    """`old=new` of a command line, as a dictionary. Raises InputError."""
    pairs = [(text, *(part.strip() for part in text.partition("="))) for text in given]
    bad = [text for text, old, sign, _ in pairs if not sign or not old]
    if bad:
        raise InputError(
            f"--map {bad[0]!r} is not of the form CLASS=LABEL.", "For example --map scratch_v2=scratch, or --map dust= to ignore."
        )
    return {old: new for _, old, _, new in pairs}


def vocabularies(tags: Sequence[ControlTag], name: str, trained: ClassMap) -> dict[str, Vocabulary]:
    """Our labels for a model of each task that tags name (empty: the champion): those of the tags that can show it, and what these stand for.

    `trained` is the class map. The champion's boxes are what is trained and judged, so its classes must be among them.
    """
    found = {task: Vocabulary(_names(tags, name, task), closed=False) for task in TASKS}
    if not name:
        found["detect"] = Vocabulary(drawable(tags, trained))
    return found


def drawable(tags: Sequence[ControlTag], known: ClassMap) -> tuple[str, ...]:
    """Classes that a person can draw today, under whatever name, in the order of the class map."""
    drawn = {known.read(label) for label in trained_labels(tags)}
    return tuple(label for label in known.active if label in drawn)


def _names(tags: Sequence[ControlTag], name: str, task: str) -> tuple[str, ...]:
    """A key point's label names a point, so only what it stands for names a class."""
    showing = [tag for tag in tags if tag.slot.name == name and task in SHOWS[tag.kind]]
    labels = [label for tag in showing if tag.kind != KEYPOINTS for label in tag.labels]
    return tuple(dict.fromkeys([*labels, *(predicted for tag in showing for rule in tag.rules for predicted in rule.predicted)]))


def _match(name: str, ours: Vocabulary, renames: Mapping[str, str], ignore_others: bool) -> Match:
    if name in renames:
        return Match(name, renames[name] or None, "renamed" if renames[name] else "ignored")
    if name in ours.labels:
        return Match(name, name, "same")
    alike = [label for label in ours.labels if label.casefold().strip() == name.casefold().strip()]
    if len(alike) == 1:
        return Match(name, alike[0], "case")
    if ignore_others:
        return Match(name, None, "ignored")
    return Match(name, None, "unknown") if ours.closed else Match(name, name, "kept")


def _check(renames: Mapping[str, str], names: Sequence[str], ours: Vocabulary) -> None:
    strangers = [old for old in renames if old not in names]
    if strangers:
        raise InputError(f"--map names {_listed(strangers)}, which is no class there; it has {_listed(names)}.", "Mind case and blanks.")
    absent = [new for new in renames.values() if new and new not in ours.labels] if ours.closed else []
    if absent:
        raise InputError(
            f"--map leads to {_listed(absent)}, which is no label; the labels are {_listed(ours.labels)}.",
            "Add the label in Label Studio, then `labelwheel connect`.",
        )


def _listed(names: Iterable[str]) -> str:
    every = [repr(name) for name in names]
    return ", ".join(every[:12]) + (f" and {len(every) - 12} more" if len(every) > 12 else "")

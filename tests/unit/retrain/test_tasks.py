"""Rules by which tasks of any Label Studio become an export: classes, annotations, names. Those for what was drawn are in test_regions.py.

The seven that its own converter breaks in silence are among both.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.from_json import read_classes
from labelwheel.errors import InputError
from labelwheel.vision.class_map import ClassMap
from retrain.dataset.folder import folder_of
from tests.fixtures.exported import CONFIG, box, lines, names, said, task, written

# Class ids


def test_class_ids_are_those_of_the_class_map_whatever_the_config_says_now() -> None:
    turned = CONFIG.replace('value="open"', 'value="new"').replace('value="short"', 'value="open"')
    known = ClassMap(("short", "open"))
    assert names(task(said(box())), known=known) == ["short", "open"]
    assert lines(task(said(box("open"))), known=known)[0][0] == 1
    assert names(task(said(box())), config=turned, known=known) == ["short", "open", "new"], "what is new is appended"
    assert names(task(said(box()))) == ["open", "short"], "the first time it is the config's order, never `category`"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.yaml", "names: {0: short, 1: open}"),
        ("data.yml", "names: [short, open]"),
        ("manifest.json", '{"names": ["short", "open"]}'),
        ("classes.txt", "short\nopen\n"),
    ],
)
def test_class_ids_are_read_from_what_an_earlier_export_left(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_classes(tmp_path / name).labels == ("short", "open")


@pytest.mark.parametrize(
    ("name", "text"), [("data.yaml", "names: {0: a, 2: b}"), ("x.json", "[]"), ("x.txt", "a\n\nb"), ("x.yaml", ": ["), ("x.txt", "a\na")]
)
def test_class_ids_with_gaps_or_doubles_are_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="names no classes"):
        read_classes(tmp_path / name)


# Which annotation counts


def test_of_several_annotations_the_latest_submitted_counts() -> None:
    both = task(said(box("open"), at=5), said(box("short"), at=2))
    assert [line[0] for line in lines(both)] == [0]
    [item] = written(both)[1]
    assert (item["counts_as"], item["annotation"]) == ("latest submitted", 6)
    edited = said(box("short"), at=2) | {"updated_at": "2026-11-23T09:00:00Z"}
    assert [line[0] for line in lines(task(said(box("open"), at=5), edited))] == [1], "an edit is a submission"


def test_the_ground_truth_counts_before_a_later_annotation() -> None:
    starred = task(said(box("short"), at=1, ground_truth=True), said(box("open"), at=9))
    assert [line[0] for line in lines(starred)] == [1]
    assert written(starred)[1][0]["counts_as"] == "ground truth"


def test_reviews_count_where_an_edition_has_them() -> None:
    accepted, rejected = ({"accepted": verdict, "created_at": "2026-11-23T09:00:00Z"} for verdict in (True, False))
    assert [line[0] for line in lines(task(said(box("short"), at=1, reviews=[accepted]), said(box("open"), at=9)))] == [1]
    assert [line[0] for line in lines(task(said(box("short"), at=1), said(box("open"), at=9, reviews=[rejected])))] == [1]
    [item] = written(task(said(box(), reviews=[rejected])))[1]
    assert (item["status"], item["reason"]) == ("excluded", "rejected")


def test_a_later_nothing_here_beats_an_earlier_box() -> None:
    files, [item] = written(task(said(box(), at=1), said(at=2)))
    assert item["status"] == "background"
    assert files[item["labels"]] == b""


def test_unlabelled_is_not_reviewed_and_empty() -> None:
    files, items = written(task(identity=1), task(said(), identity=2), task(identity=3, predictions=[{"result": [box()]}]))
    assert [item["status"] for item in items] == ["excluded", "background", "excluded"]
    assert items[0]["labels"] is None and items[0]["split"] is None and "unlabelled" in items[0]["reason"]
    assert sorted(files) == ["data.yaml", items[1]["labels"], "manifest.json"]


def test_skipped_is_excluded_whatever_was_drawn() -> None:
    _, items = written(
        task(said(box(), was_cancelled=True)), task(said(box(), at=1), said(box("short"), at=2, was_cancelled=True), identity=2)
    )
    assert (items[0]["status"], items[0]["reason"]) == ("excluded", "skipped")
    assert (items[1]["status"], items[1]["annotation"]) == ("labeled", 2)


# Names and bytes


def test_equal_file_names_and_one_address_twice_never_collide() -> None:
    files, items = written(
        task(said(box()), identity=1, image="/data/local-files/?d=a/img.jpg"),
        task(said(box("short")), identity=2, image="/data/local-files/?d=b/img.jpg"),
        task(said(), identity=3, image="/data/local-files/?d=b/img.jpg"),
        task(said(box()), identity=3, image="/data/local-files/?d=b/img.jpg"),
        task(said(box()), identity=None, image="/data/local-files/?d=b/img.jpg"),
        task(said(box()), identity="../../etc", image="/data/local-files/?d=b/img.jpg"),
    )
    assert len({item["labels"] for item in items}) == 6
    assert all(item["labels"].count("/") == 2 for item in items)
    assert [len(files[item["labels"]].splitlines()) for item in items] == [1, 1, 0, 1, 1, 1]


def test_no_holdout_is_said() -> None:
    files, _ = written(task(said(box())))
    assert "no holdout" in json.loads(files["data.yaml"])["note"]
    assert "no holdout" in json.loads(files["manifest.json"])["note"]


def test_equal_tasks_give_equal_bytes() -> None:
    assert written(task(said(box())))[0] == written(task(said(box())))[0]


@given(
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20) | st.sampled_from((".", "..", "...", "a/b", "../x", "%2E"))
)
def test_a_label_is_the_name_of_one_folder_and_can_be_read_back(label: str) -> None:
    name = folder_of(label)
    assert unquote(name) == label
    assert name not in (".", "..") and "/" not in name and "\\" not in name

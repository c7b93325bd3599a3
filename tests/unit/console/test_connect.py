"""The label config of a new project is checked before a project is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.connect import label_config
from labelwheel.errors import SettingsError
from labelwheel.settings import Settings

GOOD = '<View><Image name="image" value="$image"/><RectangleLabels name="l" toName="image"><Label value="car"/></RectangleLabels></View>'


def test_a_good_file_is_given_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.xml"
    path.write_text(GOOD)
    assert label_config(Settings(label_config=path)) == GOOD


@pytest.mark.parametrize("text", ["", "<View>", '<View><Image name="image" value="$image"/></View>', "\ufeff\x00"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.xml"
    path.write_text(text)
    with pytest.raises(SettingsError) as raised:
        label_config(Settings(label_config=path))
    assert str(path) in raised.value.message
    assert "RectangleLabels" in raised.value.cure


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no\.xml"):
        label_config(Settings(label_config=tmp_path / "no.xml"))

"""Write an answer to Label Studio as an annotation, exactly once in effect.

A double click, a retry after an answer that was lost, or after a kill at any line, finds what is there and writes nothing; where somebody
else has had the last word meanwhile, it is told so (`sync.review.recognise.refuse_repeated`). The key is noted in `answer` first: whoever
mirrors the annotation knows its author.
"""

from __future__ import annotations

from typing import Any

from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import Answer, utcnow
from labelwheel.errors import LabelStudioError
from sync.review.recognise import Key, is_there
from sync.review.said import Said, demand
from sync.review.turn import Turn, look_again
from sync.review.window import Window

Json = dict[str, Any]


def annotate(window: Window, turn: Turn, act: str, said: Said, key: Key, **annotation: Any) -> Json:
    """Give the answer, if the item stands where it was seen; the item as it stands then. Raises Answered, LabelStudioError."""
    demand(window, turn.item, act, said)
    _note(window, turn, act, said, key)
    _write(window, turn, said, key, annotation)
    return window.state(turn.item.id)


def _note(window: Window, turn: Turn, act: str, said: Said, key: Key) -> None:
    row = {"digest": key.import_id, "act": act, "who": said.who, "why": said.why, "at": utcnow()}
    with window.database.write() as session:
        insert_absent(session, Answer, [{"project_id": window.project.id, "key": turn.key, **row}])


def _write(window: Window, turn: Turn, said: Said, key: Key, annotation: Json) -> None:
    """Create the annotation and mirror it. An error says little: it may be there all the same, or have been there before."""
    author = next((user for user, address in turn.people.items() if address == said.who), None)
    fields = {**annotation, "unique_id": key.unique_id, "import_id": key.import_id, **({"completed_by": author} if author else {})}
    failure: LabelStudioError | None = None
    try:
        window.client.create_annotation(turn.task["id"], **fields)
    except LabelStudioError as error:
        failure = error
    if not is_there(look_again(window, turn).task, key) and failure:
        raise failure

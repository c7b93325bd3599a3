"""Becomes a program: reads its argv and environment from a private file, and execs.

So no secret stands in supervisord's configuration, and no quoting stands between us and the child. Run by path, with `-I`:
it imports nothing but the standard library, and is gone once the program runs.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main(path: str) -> None:
    """Replace this process by the program described in `path`: `{"argv", "environment", "directory"}`."""
    program = json.loads(Path(path).read_text())
    os.chdir(program["directory"])
    try:
        os.execvpe(program["argv"][0], program["argv"], {**os.environ, **program["environment"]})  # noqa: S606  argv is our own file's
    except OSError as error:
        sys.exit(f"{program['argv'][0]} cannot be started: {error.strerror}.")


if __name__ == "__main__":
    main(sys.argv[1])

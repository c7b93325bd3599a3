"""Where ml_backend is: where the user said, or where the `up` that lives put it; never a port that a stranger may hold by now."""

from __future__ import annotations

from labelwheel.errors import LabelwheelError
from labelwheel.settings import Settings, load_settings


class NothingRuns(LabelwheelError):
    """No `up` lives in this home, and no address was given: whoever holds the default port shall see no secret of ours."""

    code = "nothing_runs"
    status = 503

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            f"Nothing runs in {settings.home}.",
            "Start it with `labelwheel up`; another home is named by LABELWHEEL_HOME. Where you run the parts yourself, set "
            "LABELWHEEL_ML_BACKEND_URL.",
        )


class Whereabouts:
    """ml_backend's address, asked for anew before each use: `up` may end and start elsewhere meanwhile."""

    def __init__(self, settings: Settings) -> None:
        configured = load_settings(settings.home, live=False)
        self._settings = settings
        self._given = configured.ml_backend_url if configured.ml_backend_given else ""
        self._noted: tuple[int, str] = (0, "")

    def __call__(self) -> str:
        """The address; raises NothingRuns."""
        if self._given:
            return self._given
        if not self._settings.is_up:
            raise NothingRuns(self._settings)
        return self._of_up()

    def _of_up(self) -> str:
        try:
            changed = self._settings.addresses_file.stat().st_mtime_ns
        except FileNotFoundError as error:
            raise NothingRuns(self._settings) from error
        if self._noted[0] != changed:
            live = load_settings(self._settings.home)
            if not live.ml_backend_given:  # it ended at this very moment
                raise NothingRuns(self._settings)
            self._noted = changed, live.ml_backend_url
        return self._noted[1]

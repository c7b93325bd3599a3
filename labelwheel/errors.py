"""Every error that Labelwheel raises on purpose.

    LabelwheelError
    ├── SettingsError            a setting is missing or contradicts another
    ├── InputError               what came in over HTTP, CLI or a file cannot be used
    │   ├── ImageError           the bytes are not an image that we accept
    │   ├── AddressRefused       a task's image has an address that nobody allowed, or that is none
    │   └── ConflictError        the same external id arrived with other bytes; a run is already active
    ├── BackpressureError        the disk, the image store or the queue is full: come again later
    ├── NotFoundError            the named thing does not exist
    │   └── ExpiredError         the image's bytes were removed by retention; its rows stay
    │       └── ErasedError      somebody had the image erased: its bytes are not taken again
    ├── LabelStudioError         Label Studio refused, or answered something unusable
    │   ├── LabelStudioRefused   it found fault with what it was sent, and stored none of it
    │   ├── PredictionsDropped   it stored fewer predictions than it was sent, without a word
    │   ├── LabelStudioUnreachable
    │   └── WentBack             it was restored or reset: it shows an earlier state than we saw
    ├── TooLate                  a batch had no time for a task; it is predicted in the background
    ├── FetchError               an image's server refused, was late, or sent something unusable
    ├── DatabaseMissing          nothing was ever started in this home
    ├── NotWritten               the database did not take what was to be written
    ├── QueueUnreachable         Redis / Valkey does not answer
    ├── ModelError               a model file cannot be loaded or does not fit the class map
    ├── DatasetError             a dataset cannot be built or restored
    ├── TrainingError            training ended without a usable model
    ├── AlreadyRunning           another process holds the role
    └── UnauthorizedError        a door was tried without the right login, token or secret

Each carries a `code` (stable, for machines), a message (what happened) and a `cure` (what to do next).
Every door answers in the one shape that `LabelwheelError.as_dict` gives.
"""

from __future__ import annotations


class LabelwheelError(Exception):
    """Base of all. `status` is the HTTP status a door answers with."""

    code = "error"
    status = 500

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".strip()

    def as_dict(self) -> dict[str, dict[str, str]]:
        """The error as JSON: `{"error": {"code", "message", "cure"}}`."""
        return {"error": {"code": self.code, "message": self.message, "cure": self.cure}}


class SettingsError(LabelwheelError):
    code = "settings"


class InputError(LabelwheelError):
    code = "bad_input"
    status = 400


class ImageError(InputError):
    code = "bad_image"


class AddressRefused(InputError):
    code = "address_refused"
    status = 403


class ConflictError(InputError):
    code = "conflict"
    status = 409


class BackpressureError(LabelwheelError):
    """`retry_after` is in seconds; doors answer it as the header `Retry-After`."""

    code = "backpressure"
    status = 429
    retry_after = 10


class NotFoundError(LabelwheelError):
    code = "not_found"
    status = 404


class ExpiredError(NotFoundError):
    code = "expired"
    status = 410


class ErasedError(ExpiredError):
    code = "erased"


class LabelStudioError(LabelwheelError):
    code = "label_studio"
    status = 502


class LabelStudioRefused(LabelStudioError):
    code = "label_studio_refused"


class PredictionsDropped(LabelStudioError):
    """`stored`: how many it took; what was left out did not fit the label config."""

    code = "predictions_dropped"
    stored = 0

    @classmethod
    def of(cls, stored: int, sent: int) -> PredictionsDropped:
        """Of so many that were sent."""
        cure = "Check their labels and control names against the project's label config."
        error = cls(f"Label Studio stored {stored} of {sent} predictions.", cure)
        error.stored = stored
        return error


class LabelStudioUnreachable(LabelStudioError):
    code = "label_studio_unreachable"
    status = 503


class WentBack(LabelStudioError):
    """Nothing of it is believed until a person has decided."""

    code = "label_studio_went_back"
    status = 409

    CURE = (
        "If Label Studio was restored or reset: `labelwheel connect --accept-reset keep` keeps every label and sends open tasks anew. "
        "If all that was deleted on purpose: `labelwheel connect --accept-reset withdraw`."
    )

    def __init__(self, message: str, cure: str = CURE) -> None:
        super().__init__(message, cure)


class TooLate(LabelwheelError):
    code = "too_late"
    status = 503


class FetchError(LabelwheelError):
    code = "fetch_failed"
    status = 502


class DatabaseMissing(LabelwheelError):
    code = "database"
    status = 503


class NotWritten(LabelwheelError):
    code = "not_written"
    status = 503


class QueueUnreachable(LabelwheelError):
    code = "queue_unreachable"
    status = 503


class ModelError(LabelwheelError):
    code = "model"


class DatasetError(LabelwheelError):
    code = "dataset"


class TrainingError(LabelwheelError):
    code = "training"


class AlreadyRunning(LabelwheelError):
    code = "already_running"
    status = 409


class UnauthorizedError(LabelwheelError):
    code = "unauthorized"
    status = 401

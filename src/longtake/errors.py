"""The errors a user can cause: ValueErrors with a one-line message. Our own invariants are asserts."""


class LongTakeError(ValueError):
    """Anything that a different input would cure."""


class OptionError(LongTakeError):
    """An option or a prompt that cannot be filmed."""


class ModelError(LongTakeError):
    """A model folder that is missing, incomplete, or of a kind that cannot be used."""


class OutputError(LongTakeError):
    """An output path, or a disk, that cannot take the film."""


class DataError(LongTakeError):
    """Film to train on that is missing, unreadable, or prepared for something else."""


class NumberError(LongTakeError):
    """A number that is not finite, where only finite ones have a meaning."""


class StateError(LongTakeError):
    """The state of a film that cannot be gone on from."""


class LongTakeWarning(UserWarning):
    """What a user should know, and nothing depends on."""

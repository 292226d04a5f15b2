"""The errors a user can meet. Each message names what was wrong, where, and what to do."""


class ZhiyinError(Exception):
    """Base of every error raised on purpose."""


class InputError(ZhiyinError):
    """A file, row, field or argument cannot be used as it is."""


class ConfigError(ZhiyinError):
    """A setting is unknown or out of range."""


class RefusedTextError(ConfigError):
    """A server refuses what it was sent this time, and may well answer to other texts."""


class StoreError(ZhiyinError):
    """The store cannot be opened, read or written."""


class ArtifactError(ZhiyinError):
    """A trained system is missing, damaged or of another format version."""


class NotFoundError(ZhiyinError):
    """The named thing does not exist."""


class BrokenRowError(StoreError):
    """A row breaks a rule of the store; others that came with it may not."""

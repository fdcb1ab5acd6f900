"""The two exceptions a user meets: bad input, and a failure on the way."""


class InputError(ValueError):
    """Something the user wrote cannot be used: one line that says what, where, and what would be right."""


class BuildError(RuntimeError):
    """The input is fine, but the work could not be finished: a full disk, a damaged file, a held lock."""

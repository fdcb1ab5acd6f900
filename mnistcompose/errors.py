"""The two exceptions that a user sees: invalid input, and work that failed."""


class InputError(ValueError):
    """The user's input cannot be used; the message says what is wrong, where, and what is allowed."""


class BuildError(RuntimeError):
    """The input is fine, but the work could not be finished: a full disk, a damaged file, a held lock."""

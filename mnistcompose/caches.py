"""Where the user's caches are: files that can be made again."""

import os
from pathlib import Path

from platformdirs import user_cache_path

from .arguments import here
from .errors import InputError


def cache_folder(name: str) -> Path:
    """Folder of a cache, in the folder that MNISTCOMPOSE_CACHE names, else in the user's cache; it may be missing.

    Raises
    ------
    InputError
        MNISTCOMPOSE_CACHE is a URL, or in the home of an unknown user.
    """
    given = os.environ.get("MNISTCOMPOSE_CACHE")
    try:
        return (here(given) if given else user_cache_path("mnistcompose")) / name
    except InputError as error:
        raise InputError(f"MNISTCOMPOSE_CACHE: {error}") from None

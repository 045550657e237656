"""The installed version, for everything that says it."""

from importlib import metadata


def version() -> str:
    """The version of the package, or a name for a source tree that was not installed."""
    try:
        return metadata.version("cohort")
    except metadata.PackageNotFoundError:
        return "0.0.0+source"

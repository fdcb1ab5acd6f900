"""Quantities as people write them."""


def human_bytes(size: float) -> str:
    """Format a number of bytes with a suitable decimal unit."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if float(f"{size:.3g}") < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} PB"

"""Format counts, durations and lists for messages."""

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 image`, `2,365 images`; give `plural` if it is irregular."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def lasting(seconds: float) -> str:
    """`7 s`, `2 min 10 s`, `3 h 5 min`, `12 days`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{round(hours / 24):,} days"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def first_of(names: Sequence[str], most: int, total: int | None = None) -> str:
    """`a, b and 7 more`: the first `most` names and the number of the rest.

    `total` is the number of all names, if `names` are only some of them.
    """
    shown, rest = ", ".join(names[:most]), (len(names) if total is None else total) - most
    return f"{shown} and {rest:,} more" if rest > 0 else shown

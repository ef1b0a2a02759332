"""A stable colour for every class, told apart by colour-blind readers too.

The first seven are Okabe and Ito's (https://jfly.uni-koeln.de/color/); further classes repeat them
lighter, then darker, then from the start.
"""

Colour = tuple[int, int, int]

OKABE_ITO: tuple[Colour, ...] = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # green
    (213, 94, 0),  # vermilion
    (204, 121, 167),  # purple
    (0, 114, 178),  # blue
    (240, 228, 66),  # yellow
)
WHITE: Colour = (255, 255, 255)
INK: Colour = (24, 24, 27)


def colour_of(label: int) -> Colour:
    """The colour of a class by its index."""
    turn, index = divmod(label, len(OKABE_ITO))
    base = OKABE_ITO[index]
    return (base, blend(base, WHITE, 0.45), blend(base, INK, 0.4))[turn % 3]


def blend(colour: Colour, other: Colour, share: float) -> Colour:
    """`colour` with a share of `other` mixed in."""
    r, g, b = (round((1 - share) * x + share * y) for x, y in zip(colour, other, strict=True))
    return r, g, b


def ink_on(colour: Colour) -> Colour:
    """Dark or white, whichever is easier to read on `colour` (WCAG's contrast of luminances)."""
    light = luminance(colour)
    dark = (light + 0.05) / (luminance(INK) + 0.05)
    return INK if dark >= 1.05 / (light + 0.05) else WHITE


def luminance(colour: Colour) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (IEC 61966-2-1)."""
    r, g, b = (
        c / 12.92 if (c := value / 255) <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for value in colour
    )
    return 0.2126 * r + 0.7152 * g + 0.0722 * b

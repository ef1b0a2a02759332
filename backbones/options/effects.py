"""What setting a field does, as marks in its annotation: `Annotated[Count, Effect.EVALUATION]`.

A field without a mark changes training and is part of a run's identity. The effect of a section is
that of the fields in it that name none.
"""

from enum import Enum, Flag, auto


class Effect(Flag):
    """What a field changes.

    A resumed run may set what changes nothing; an evaluation of a trained model, what changes
    evaluation.
    """

    NOTHING = 0
    TRAINING = auto()
    EVALUATION = auto()
    BOTH = TRAINING | EVALUATION


class Identity(Enum):
    """How a field counts in the identity of a run; one that changes nothing never does."""

    COUNTED = auto()
    COUNTED_UNLESS_DEFAULT = auto()
    """For every field added after c73681b, so that earlier runs keep their names."""
    COUNTED_APART = auto()
    """What the field counts is counted elsewhere."""


class Role(Enum):
    """What a field is, to code that serves recipes of any backbone."""

    DATA_PATH = auto()
    LENGTH = auto()
    """How long training is; one of them is set."""
    SIZE = auto()
    """Of model, images or batch; reports state it where it differs from the paper's."""
    WEIGHTS = auto()
    """Files of pre-trained weights, the main one first."""

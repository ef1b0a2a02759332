"""A backbone that leaves tokens out declares how many, and does what it declares."""

import math
from collections.abc import Iterator

import torch
from pydantic import ValidationError

from backbones.contract import Backbone
from backbones.options.base import BackboneOptions, TokenSampling
from mimdet_cli.conformance.promise import Finding, promise
from mimdet_cli.conformance.subject import Subject, batch, evaluated

HALF = 0.5


@promise(
    "sampling",
    "the encoder sees the share of the tokens that the options declare",
    fix="make `Options.token_sampling` and `tokens_seen` agree with `forward`, and name the "
    "options that set the shares.",
    needs=("levels",),
)
def sampling(subject: Subject) -> Finding:
    """Shares as declared in both modes, by options that exist; random only where declared."""
    backbone = subject.build()
    declared = subject.options.token_sampling
    images, _ = batch(backbone)
    canvas = (images.shape[2], images.shape[3])
    if declared is None:
        seen = backbone.tokens_seen(*canvas)
        wrong = f"tokens_seen{canvas} is {seen}, but `Options.token_sampling` is None"
        return Finding("sees every token", () if seen is None else (wrong,))
    broken = [
        *_wrong_options(subject.options, declared),
        *_wrong_shares(backbone, declared, canvas),
        *_wrong_chance(subject, declared),
    ]
    shares = f"{declared.train_ratio:g} in training, {declared.eval_ratio:g} in evaluation"
    return Finding(shares, tuple(broken))


def _wrong_options(options: BackboneOptions, declared: TokenSampling) -> Iterator[str]:
    for mode in ("train", "eval"):
        name, ratio = getattr(declared, f"{mode}_option"), getattr(declared, f"{mode}_ratio")
        if name not in type(options).model_fields:
            yield f"{mode}_option is '{name}', which is not an option"
        elif getattr(options, name) != ratio:
            value = getattr(options, name)
            yield f"{mode}_ratio is {ratio:g}, but the option '{name}' is {value!r}"


def _wrong_shares(
    backbone: Backbone, declared: TokenSampling, canvas: tuple[int, int]
) -> Iterator[str]:
    """A pattern may keep a row or a column more than its share."""
    for training, ratio in ((True, declared.train_ratio), (False, declared.eval_ratio)):
        found = backbone.train(training).tokens_seen(*canvas)
        mode = "training" if training else "evaluation"
        if found is None:
            yield f"in {mode} tokens_seen{canvas} is None, declared {ratio:g}"
        elif abs(found[0] - ratio * found[1]) > math.sqrt(found[1]):
            yield f"in {mode} {found[0]} of {found[1]} tokens are seen, declared {ratio:g}"


def _wrong_chance(subject: Subject, declared: TokenSampling) -> Iterator[str]:
    """At half of the tokens, two seeds give different maps if and only if that is declared."""
    values = subject.options.model_dump() | {declared.eval_option: HALF}
    try:
        options = subject.kind.Options.model_validate(values)
    except ValidationError:
        return  # these options need every token
    half = options.token_sampling
    if half is None or half.eval_ratio != HALF:
        yield f"with '{declared.eval_option}' {HALF:g} the declared share is {half!r}"
        return
    torch.manual_seed(0)
    backbone = subject.kind(options)
    images, sizes = batch(backbone)
    first, second = (evaluated(backbone, images, sizes, seed) for seed in (0, 1))
    differ = any(not torch.equal(first[name], second[name]) for name in first)
    if differ != half.stochastic:
        yield (
            f"at {HALF:g} of the tokens two seeds give {'different' if differ else 'the same'} "
            f"maps, but `stochastic` is {half.stochastic}"
        )

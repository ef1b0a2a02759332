"""The promises of a backbone, in the order in which they are checked and shown."""

from mimdet_cli.conformance.building import builds, options_round_trip
from mimdet_cli.conformance.gradients import gradients
from mimdet_cli.conformance.groups import depths, key_maps, rules
from mimdet_cli.conformance.isolation import global_state, inputs
from mimdet_cli.conformance.learning import learning
from mimdet_cli.conformance.levels import levels
from mimdet_cli.conformance.memory import memory
from mimdet_cli.conformance.precision import bf16
from mimdet_cli.conformance.promise import Promise
from mimdet_cli.conformance.repeats import batch_invariance, determinism
from mimdet_cli.conformance.sampling import sampling
from mimdet_cli.conformance.state import state_round_trip
from mimdet_cli.conformance.tracing import compiles, exports

PROMISES = (
    Promise(
        "builds",
        "it builds from its options",
        "let `__init__(self, options)` build from the defaults of `Options`, or from `tiny`.",
        builds,
    ),
    Promise(
        "levels",
        "maps p2 to p5 are as promised at ordinary, odd and extreme sizes",
        "give every level of `levels` at ceil(H / stride) x ceil(W / stride) cells; ask for what "
        "the architecture cannot do without by `padding`.",
        levels,
    ),
    Promise(
        "batch",
        "in evaluation an image's maps do not depend on the others in its batch",
        "sum and normalise over one image's values only.",
        batch_invariance,
        needs=("determinism", "levels"),
    ),
    Promise(
        "determinism",
        "the same input and seed give the same maps; in evaluation no seed is needed",
        "draw random numbers in training alone, with torch's generator, and keep none between "
        "passes.",
        determinism,
        needs=("inputs",),
    ),
    Promise(
        "inputs",
        "a pass leaves images and sizes as they were",
        "use `x = x + y` for `x += y` on what comes in.",
        inputs,
    ),
    Promise(
        "gradients",
        "gradients reach every parameter, or it is declared frozen",
        "use the parameter in `forward`, or take it away, or call `requires_grad_(False)` on it.",
        gradients,
        needs=("levels",),
    ),
    Promise(
        "state",
        "weights saved and loaded into another instance give the same maps",
        "keep what the maps depend on in parameters and persistent buffers, and no tensor under "
        "two names.",
        state_round_trip,
        needs=("determinism", "levels"),
    ),
    Promise(
        "options",
        "options written and read are equal and give the same parameters",
        "let validators refuse values, never change them, and exclude no field.",
        options_round_trip,
    ),
    Promise(
        "depth",
        "every parameter has a depth, from the stem's 0 to `depth`, rising along the blocks",
        "let `depth_of` answer for every name of `named_parameters()`: i + 1 for block i, `depth` "
        "for what is no block.",
        depths,
    ),
    Promise(
        "rules",
        "every parameter rule matches a parameter and names a rate",
        "match the full name (`re.fullmatch`), and leave out rules that these options do not need.",
        rules,
    ),
    Promise(
        "key_maps",
        "every key map is a table of regular expressions",
        "give each layout as a KeyMap; targets refer to groups as \\1, \\2.",
        key_maps,
    ),
    Promise(
        "bf16",
        "in bfloat16 on a CPU maps stay close to float32, and gradients finite",
        "take over the other tensor's dtype where you make one, and compute positions in float32.",
        bf16,
        needs=("levels", "determinism"),
    ),
    Promise(
        "compile",
        'torch.compile(backend="eager") computes the same maps',
        "keep to tensor operations in `forward`.",
        compiles,
        needs=("levels", "determinism"),
    ),
    Promise(
        "export",
        "torch.export takes it at a fixed size and computes the same maps",
        "let no value of a tensor decide what is computed: no `if x.mean() > 0`, no `.item()`.",
        exports,
        needs=("levels", "determinism"),
    ),
    Promise(
        "sampling",
        "it sees the share of the tokens that it declares",
        "let `Options.token_sampling` and `tokens_seen` say what `forward` does, and name the "
        "options that set the shares.",
        sampling,
        needs=("levels",),
    ),
    Promise(
        "globals",
        "nothing that the process shares is changed",
        "leave such settings to the recipe and the user; draw from torch's generator, without "
        "seeding it.",
        global_state,
    ),
    Promise(
        "memory",
        "an instance that is gone is freed, and passes leave nothing behind",
        "keep instances and maps out of lists and caches, also `functools.cache` on methods.",
        memory,
    ),
    Promise(
        "learning",
        "a few training steps through the real head lower its loss",
        "look for a `detach`, a sign, or values that grow with each step.",
        learning,
        needs=("levels", "gradients", "determinism"),
    ),
)

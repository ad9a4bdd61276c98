"""The training, what may calm it, and when it has diverged."""

from flags.definitions import conditions
from flags.facts import WITH_DESCRIPTOR, WITH_GENERATOR, Group

training = Group("training")
training.enum(
    "jit_compile",
    "auto",
    ["auto", "on", "off"],
    "Compile the training step by XLA, on one device; it then draws other noise. auto: "
    "off, until a measurement shows it to be faster (docs/PERFORMANCE.md).",
)
training.integer(
    "steps_per_call",
    1,
    "Training steps in one call of a graph, on one device, up to the next line of "
    "metrics, picture or checkpoint. The numbers are the same.",
    low=1,
    may_change=True,
)
training.integer(
    "num_iterations",
    10_000,
    "Training steps, of all sessions together.",
    basic="length of the training, in steps",
    when=lambda settings: settings["epochs"] is None,
    low=1,
    may_change=True,
)
training.integer(
    "epochs",
    None,
    "Length of the training as passes over the images, in place of --num_iterations; "
    "the short rest of a pass is left out.",
    basic="or in passes over the images",
    low=1,
    may_change=True,
)
training.integer(
    "batch_size",
    100,
    "n, observed images of one step.",
    basic="observed images of one step",
    low=1,
)
training.integer(
    "num_chains",
    144,
    "n~, Langevin chains of one step. A generator alone has one for each image.",
    basic="Langevin chains of one step",
    low=1,
    algorithms=WITH_DESCRIPTOR,
)
training.number(
    "adam_beta_1",
    0.5,
    "Adam's beta1, both nets, in [0, 1).",
    good=lambda value: 0 <= value < 1,
    must="a number in [0, 1)",
)
training.enum(
    "langevin_loop",
    "unrolled",
    ["unrolled", "while"],
    "Langevin steps in the compiled graph: one after the other, or a loop (starts "
    "faster, same numbers).",
)

stabilisers = Group("stabilisers")  # the paper's algorithm has none of them
stabilisers.enum(
    "learning_rate_schedule",
    "constant",
    ["constant", "exponential", "cosine", "plateaus"],
    "How both learning rates go down to --final_rate_factor times their value within "
    "--schedule_steps: not at all, exponentially (and on), along a cosine, or in 80 "
    "plateaus on a logarithmic scale.",
)
stabilisers.positive(
    "final_rate_factor",
    0.01,
    "Where the learning rates' schedule ends.",
    when=conditions.follows_schedule,
)
stabilisers.integer(
    "schedule_steps",
    None,
    "Length of the learning rates' schedule. Default: the training steps with which "
    "the run begins.",
    when=conditions.follows_schedule,
    low=1,
)
stabilisers.positive(
    "descriptor_clip_norm",
    None,
    "Largest norm of D2's whole gradient.",
    algorithms=WITH_DESCRIPTOR,
)
stabilisers.positive(
    "generator_clip_norm",
    None,
    "Largest norm of G2's whole gradient.",
    algorithms=WITH_GENERATOR,
)
stabilisers.positive(
    "descriptor_gradient_cap",
    None,
    "Largest entry of D2's gradient; a weight tensor with a larger one is scaled down "
    "as a whole, as in the authors' MATLAB code.",
    algorithms=WITH_DESCRIPTOR,
)
stabilisers.positive(
    "generator_gradient_cap", None, "The same for G2.", algorithms=WITH_GENERATOR
)
stabilisers.positive(
    "langevin_clamp",
    None,
    "Largest size of an entry of the energy's gradient in D1, per pixel unit.",
    algorithms=WITH_DESCRIPTOR,
)
stabilisers.weight(
    "energy_penalty",
    None,
    "Weight of mean f(Y)^2 + mean f(Y~)^2 in D2's loss.",
    algorithms=WITH_DESCRIPTOR,
)
stabilisers.momentum(
    "descriptor_average",
    None,
    "Momentum of a moving average of the descriptor's weights, for D1 outside of "
    "training. Default: the weights themselves.",
    algorithms=WITH_DESCRIPTOR,
)
stabilisers.momentum(
    "generator_average",
    None,
    "Momentum, such as 0.999, of a moving average of the generator's weights, which "
    "pictures and export then use. Default: the weights themselves.",
    algorithms=WITH_GENERATOR,
)

divergence = Group("divergence", when=conditions.is_guarded)
divergence.boolean(
    "guard",
    True,
    "Go back to a healthy checkpoint, and on with other noise, when a metric is not "
    "finite or beyond its --max_...",
    when=lambda settings: True,
)
divergence.positive("max_loss", 1e9, "Size of any of the losses.")
divergence.positive(
    "max_gradient_norm",
    1e8,
    "Mean norm of the energy's gradient along the chains, and along those on latents.",
)
divergence.positive(
    "max_displacement",
    2.0,
    "Displacement of an image by the chains, root mean square, in pixel units.",
    when=conditions.guards_revision,
)
divergence.positive(
    "max_saturation",
    0.99,
    "Share of revised pixels outside [-1, 1].",
    when=conditions.guards_revision,
)
divergence.integer(
    "max_rollbacks", 3, "Rollbacks of a run before it gives up.", low=0, may_change=True
)
divergence.positive(
    "rollback_rate_factor", 1.0, "Each rollback multiplies both learning rates by it."
)

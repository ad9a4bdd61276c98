"""What a training step computes, by the operations of its graph: no pass too many."""

from collections import Counter

import pytest
import tensorflow as tf

from coopnets_tf.runs.stepping import build_step
from tests import helpers
from tests.helpers import (
    make_descriptor_model,
    make_dual_model,
    make_generator_model,
    make_model,
)

ON_HOST = ("PyFunc", "Print", "Send", "Recv", "Feed", "Fetch", "Iterator", "Stack")


def batches(model, number=3):
    for seed in range(number):
        batch = {"images": tf.constant(helpers.noise(4, 8, 8, 1, seed=seed))}
        if "latents" in model.kept:
            batch["numbers"] = tf.range(4) + seed
        yield batch


def traced(model):
    """The graph of a model's step."""
    return build_step(model).get_concrete_function(next(batches(model))).graph


def executed(graph):
    """How many operations a graph runs, by kind; it also holds some on which nothing
    depends, such as gradients that nobody asks for, and those are never run.
    """
    waiting = [one.op for one in graph.outputs] + list(graph.control_outputs)
    found = set()
    while waiting:
        op = waiting.pop()
        if op not in found:
            found.add(op)
            waiting += [one.op for one in op.inputs] + list(op.control_inputs)
    return Counter(op.type for op in found)


def layers_run(graph):
    """How many convolutions of each kind and batch norms a step runs.

    "Conv2DBackpropInput" is also TensorFlow's transposed convolution, whose gradient by
    its input is then "Conv2D".
    """
    counts = executed(graph)
    convolutions = ("Conv2D", "Conv2DBackpropFilter", "Conv2DBackpropInput")
    return [counts[kind] for kind in (*convolutions, "FusedBatchNormV3")]


# The toy nets: the descriptor has one convolution, the generator two transposed ones
# with batch norm between them.


@pytest.mark.parametrize(("steps", "penalty"), [(1, 0.1), (3, 0.0)])
def test_a_cooperative_step_passes_no_net_twice(steps, penalty):
    model = make_model(num_steps=steps, penalty=penalty)
    assert layers_run(traced(model)) == [
        # D1: up and down again in each step. D2: observed and revised images go up
        # together. G2: from the image to the map between both; the latents need none.
        2 * steps + 1 + 1,
        # D2: one kernel. G2: two.
        1 + 2,
        # G0: two. G2 reuses them.
        2,
        1,
    ]


def test_a_cooperative_step_that_infers_latents():
    model = make_model(num_steps=3, inference_steps=2)
    assert layers_run(traced(model)) == [
        # D1 and D2 as above. G1: from the image to the latents, in each step. G2.
        2 * 3 + 1 + 2 * 2 + 1,
        1 + 2,
        # G0, each step of G1, and G2, whose latents are other ones.
        2 + 2 * 2 + 2,
        1 + 2 + 1,
    ]


def test_a_step_of_the_descriptor_alone():
    model = make_descriptor_model(chain_init="noise", num_steps=3)
    assert layers_run(traced(model)) == [2 * 3 + 1, 1, 0, 0]  # as D1 and D2 above


def test_a_step_of_the_generator_alone():
    model = make_generator_model(inference_steps=2)
    # G1: down and up in each step; then G2 goes down once, and up to the map between.
    assert layers_run(traced(model)) == [2 * 2 + 1, 2, 2 * 2 + 2, 2 + 1]


def test_a_loop_holds_one_langevin_step():
    """Its graph is of one size, however many steps it makes."""
    few, many = (traced(make_model(num_steps=n, unroll=False)) for n in (2, 9))
    assert layers_run(few) == [1 + 1, 1 + 2, 2, 1]  # D2, G2 and G0: all but D1
    few, many = few.as_graph_def(), many.as_graph_def()
    assert len(few.node) == len(many.node)
    bodies, others = (
        sorted(len(one.node_def) for one in definition.library.function)
        for definition in (few, many)
    )
    assert bodies == others
    convolutions = [
        [node.op for node in one.node_def].count("Conv2D")
        for one in few.library.function
    ]
    assert sorted(convolutions) == [0, 2]  # is there one more? D1: up and down


@pytest.mark.parametrize(
    "make",
    [make_model, make_descriptor_model, make_generator_model, make_dual_model],
)
@pytest.mark.parametrize("unroll", [True, False])
def test_a_step_is_traced_once_and_stays_on_the_device(make, unroll):
    model = make(unroll=unroll)
    step = build_step(model)
    for batch in batches(model):
        step(batch)
    assert step.experimental_get_tracing_count() == 1
    definition = step.get_concrete_function(batch).graph.as_graph_def()
    kinds = {node.op for node in definition.node}
    for function in definition.library.function:
        kinds |= {node.op for node in function.node_def}
    assert not [kind for kind in kinds if any(word in kind for word in ON_HOST)]

"""The cooperative step in plain PyTorch, eager, as one writes it there.

Maps are channels-last in memory. What is padded unequally gets more before than after,
the reverse of TensorFlow's order: these nets are ours mirrored in both axes of the
image, and images and kernels that come from ours are mirrored on the way in.
"""

import math

import numpy as np
import torch
from torch import nn

from benchmarks.peers import turns

LAST = torch.channels_last


def padding(row):
    """Zeros on the fuller side, for maps as long as `row` says."""
    total = (row["inner"] - 1) * row["strides"] + row["size"] - row["outer"]
    return total - total // 2, total % 2


def descriptor(spec):
    """Bottom-up: images -> `num_outputs` answers, whose sum is the score."""
    layers, channels = [], spec["channels"]
    for row in spec["descriptor"]:
        before, _ = padding(row)
        layers += [
            nn.Conv2d(channels, row["filters"], row["size"], row["strides"], before),
            nn.LeakyReLU(spec["slope"], inplace=True),
        ]
        channels = row["filters"]
    places = spec["descriptor"][-1]["inner"] ** 2
    top = nn.Linear(places * channels, spec["num_outputs"])
    return initialised(nn.Sequential(*layers, nn.Flatten(), top), spec, "descriptor")


def generator(spec):
    """Top-down: latents [batch, latent_size, 1, 1] -> images."""
    layers, channels = [], spec["latent_size"]
    for row in spec["generator"]:
        before, more = padding(row)
        layers.append(
            nn.ConvTranspose2d(
                channels, row["filters"], row["size"], row["strides"], before, more
            )
        )
        channels = row["filters"]
        if row is not spec["generator"][-1]:
            norm = nn.BatchNorm2d(
                channels, spec["norm_epsilon"], 1 - spec["norm_momentum"]
            )
            norm.weight.requires_grad_(False)  # a shift and no scale
            layers += [norm, nn.LeakyReLU(spec["slope"], inplace=True)]
    return initialised(nn.Sequential(*layers, nn.Tanh()), spec, "generator")


def initialised(net, spec, name):
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, std=spec[f"{name}_stddev"])
            nn.init.zeros_(layer.bias)
    return net


class Step:
    """A descriptor, a generator, and the step in which they teach each other."""

    def __init__(self, spec, device):
        self.spec, self.device = spec, device
        self.nets = {
            name: make(spec).to(device, memory_format=LAST)
            for name, make in (("descriptor", descriptor), ("generator", generator))
        }
        self.optimizers = {
            name: torch.optim.Adam(
                self.weights(name),
                spec[f"{name}_rate"],
                (spec["beta_1"], spec["beta_2"]),
                spec["adam_epsilon"],
                fused=True,
            )
            for name in self.nets
        }

    def weights(self, name):
        return [one for one in self.nets[name].parameters() if one.requires_grad]

    def scores(self, images):
        return self.nets["descriptor"](images).sum(1)

    def revise(self, images):
        """D1: Langevin dynamics on images."""
        delta, s = self.spec["step_size"], self.spec["reference_stddev"]
        for _ in range(self.spec["num_steps"]):
            images.requires_grad_()
            energy = images.square().sum() / (2 * s**2) - self.scores(images).sum()
            (gradient,) = torch.autograd.grad(energy, images)
            noise = self.spec["noise_scale"] * torch.randn_like(images)
            images = images.detach() - delta**2 / 2 * gradient + delta * noise
        return images

    def learn(self, name, loss):
        self.optimizers[name].zero_grad()
        loss.backward()
        self.optimizers[name].step()

    def __call__(self, observed, latents):
        """One step; the revised images, and the losses of D2 and G2."""
        # G0: drafts. G2 reuses their graph.
        generated = self.nets["generator"](latents)
        revised = self.revise(generated.detach())  # D1
        scores = self.scores(torch.cat([observed, revised]))
        number = len(observed)
        descriptor_loss = scores[number:].mean() - scores[:number].mean()
        self.learn("descriptor", descriptor_loss)  # D2
        residuals = (revised - generated).square().sum((1, 2, 3))
        generator_loss = residuals.mean() / (2 * self.spec["residual_stddev"] ** 2)
        self.learn("generator", generator_loss)  # G2
        return revised, descriptor_loss.detach(), generator_loss.detach()

    def latents(self):
        shape = (self.spec["num_chains"], self.spec["latent_size"], 1, 1)
        return torch.randn(shape, device=self.device)

    def images(self, ours):
        """Our images, [batch, height, width, channels], as these nets take them."""
        images = torch.tensor(ours[:, ::-1, ::-1].transpose(0, 3, 1, 2).copy())
        return images.to(self.device, memory_format=LAST)

    def load(self, name, ours):
        """Takes our weights, in our order."""
        with torch.no_grad():
            for mine, given in zip(self.weights(name), ours, strict=True):
                if given.ndim == 4:
                    given = given[::-1, ::-1].transpose(3, 2, 0, 1)
                mine.copy_(torch.tensor(given.copy()).reshape(mine.shape))

    def saved(self, name, ours):
        """These weights in the shapes of ours."""
        for mine, like in zip(self.weights(name), ours, strict=True):
            found = mine.detach().cpu().numpy()
            if like.ndim == 4:
                shape = [like.shape[axis] for axis in (3, 2, 0, 1)]
                found = found.reshape(shape).transpose(2, 3, 1, 0)[::-1, ::-1]
            yield found


def checked(step, spec):
    """Makes one step from the weights, images and latents of a file, and writes what
    has become of them to another.
    """
    with np.load(spec["given"]) as file:
        given = dict(file)
    weights = {
        name: [given[f"{name}.{index}"] for index in range(len(step.weights(name)))]
        for name in step.nets
    }
    for name, ours in weights.items():
        step.load(name, ours)
    latents = torch.tensor(given["latents"])[:, :, None, None].to(step.device)
    revised, *losses = step(step.images(given["observed"]), latents)
    revised = revised.cpu().numpy().transpose(0, 2, 3, 1)[:, ::-1, ::-1]
    found = {"revised": revised, "losses": [float(one) for one in losses]}
    for name, ours in weights.items():
        for index, value in enumerate(step.saved(name, ours)):
            found[f"{name}.{index}"] = value
    np.savez(spec["found"], **found)


def build(spec):
    torch.backends.cudnn.allow_tf32 = False  # float32, as the others
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    step = Step(spec, device)
    if spec.get("given"):
        checked(step, spec)
    side, channels = spec["side"], spec["channels"]
    shape = (spec["batch_size"], side, side, channels)
    observed = step.images(np.random.default_rng(0).uniform(-1, 1, shape))
    observed = observed.float()
    number = sum(math.prod(w.shape) for name in step.nets for w in step.weights(name))
    facts = {"peer": f"PyTorch {torch.__version__}", "parameters": number}
    return lambda: step(observed, step.latents())[2].item(), facts


if __name__ == "__main__":
    turns.answer(build)

"""One cooperative step in float64 NumPy, written from the formulas alone.

Nothing here comes from the package. Convolutions are sums over kernel positions, and
gradients are written out by hand.
"""

import numpy as np

SLOPE, EPSILON = 0.2, 1e-3


def pads(length, size, strides):
    """Zeros of "SAME" padding before and after."""
    outputs = -(-length // strides)
    total = max((outputs - 1) * strides + size - length, 0)
    return total // 2, total - total // 2


def conv(images, kernel, strides):
    """Correlation with "SAME" padding; also returns what the gradients need."""
    size = kernel.shape[0]
    (top, bottom), (left, right) = (
        pads(length, size, strides) for length in images.shape[1:3]
    )
    padded = np.pad(images, [(0, 0), (top, bottom), (left, right), (0, 0)])
    height, width = (-(-length // strides) for length in images.shape[1:3])
    result = np.zeros((len(images), height, width, kernel.shape[3]))
    for u, v in np.ndindex(size, size):
        patch = padded[:, u::strides, v::strides][:, :height, :width]
        result += patch @ kernel[u, v]
    return result


def conv_gradients(images, kernel, strides, upstream):
    """Gradients of `sum(conv * upstream)`: for the images, for the kernel."""
    size = kernel.shape[0]
    (top, bottom), (left, right) = (
        pads(length, size, strides) for length in images.shape[1:3]
    )
    padded = np.pad(images, [(0, 0), (top, bottom), (left, right), (0, 0)])
    d_padded, d_kernel = np.zeros_like(padded), np.zeros_like(kernel)
    height, width = upstream.shape[1:3]
    for u, v in np.ndindex(size, size):
        rows = slice(u, u + (height - 1) * strides + 1, strides)
        columns = slice(v, v + (width - 1) * strides + 1, strides)
        d_padded[:, rows, columns] += upstream @ kernel[u, v].T
        patch = padded[:, rows, columns]
        d_kernel[u, v] = np.einsum("bhwi,bhwo->io", patch, upstream)
    height, width = images.shape[1:3]
    return d_padded[:, top : top + height, left : left + width], d_kernel


def conv_transpose(maps, kernel, strides, output_size, *, same):
    """The adjoint of `conv`: kernel [height, width, filters, input channels]."""
    batch, height, width, _ = maps.shape
    rows, columns = kernel.shape[:2]
    full = np.zeros(
        (
            batch,
            (height - 1) * strides + rows,
            (width - 1) * strides + columns,
            kernel.shape[2],
        )
    )
    for u, v in np.ndindex(rows, columns):
        full[:, u : u + (height - 1) * strides + 1 : strides][
            :, :, v : v + (width - 1) * strides + 1 : strides
        ] += maps @ kernel[u, v].T
    top = pads(output_size[0], rows, strides)[0] if same else 0
    left = pads(output_size[1], columns, strides)[0] if same else 0
    return full[:, top : top + output_size[0], left : left + output_size[1]]


def conv_transpose_gradients(maps, kernel, strides, upstream, *, same):
    """Gradients of `sum(conv_transpose * upstream)`: for the maps, for the kernel."""
    batch, height, width, _ = maps.shape
    rows, columns = kernel.shape[:2]
    top = pads(upstream.shape[1], rows, strides)[0] if same else 0
    left = pads(upstream.shape[2], columns, strides)[0] if same else 0
    full = np.zeros(
        (
            batch,
            (height - 1) * strides + rows,
            (width - 1) * strides + columns,
            kernel.shape[2],
        )
    )
    full[:, top : top + upstream.shape[1], left : left + upstream.shape[2]] = upstream
    d_maps, d_kernel = np.zeros_like(maps), np.zeros_like(kernel)
    for u, v in np.ndindex(rows, columns):
        patch = full[:, u : u + (height - 1) * strides + 1 : strides]
        patch = patch[:, :, v : v + (width - 1) * strides + 1 : strides]
        d_maps += patch @ kernel[u, v]
        d_kernel[u, v] = np.einsum("bhwo,bhwi->oi", patch, maps)
    return d_maps, d_kernel


def leaky(values):
    return np.where(values > 0, values, SLOPE * values)


def leaky_gradient(values, upstream):
    return np.where(values > 0, upstream, SLOPE * upstream)


class Descriptor:
    """f(Y), its gradients; from (kernel, bias, strides) rows and the head's weights.

    Images of `labels` have their class's weights added to each filter of the head.
    """

    def __init__(self, convs, head_kernel, head_bias, classes=None, labels=None):
        self.convs, self.head_kernel, self.head_bias = convs, head_kernel, head_bias
        self.classes, self.labels = classes, labels

    def given(self, labels):
        head = self.head_kernel, self.head_bias
        return Descriptor(self.convs, *head, self.classes, labels)

    def scores(self, images):
        maps, self.trace = images, []
        for kernel, bias, strides in self.convs:
            before = conv(maps, kernel, strides) + bias
            self.trace.append((maps, before))
            maps = leaky(before)
        self.top = maps
        outputs = np.einsum("bhwc,hwco->bo", maps, self.head_kernel) + self.head_bias
        if self.labels is not None:
            own = np.einsum("bhwc,bhwc->b", maps, self.classes[self.labels])
            outputs = outputs + own[:, None]
        return outputs.sum(axis=1)

    def gradients(self, images, weights_of_scores):
        """Gradients of `sum_i weight_i f(Y_i)`: for images, for weights in order."""
        self.scores(images)
        each = weights_of_scores[:, None, None, None]
        number = self.head_kernel.shape[-1]
        head = self.head_kernel.sum(axis=-1)
        d_head = np.einsum("b,bhwc->hwc", weights_of_scores, self.top)
        result = [
            np.repeat(d_head[..., None], number, axis=-1),
            np.full(number, weights_of_scores.sum()),
        ]
        if self.labels is not None:
            head = head + number * self.classes[self.labels]
            d_classes = np.zeros_like(self.classes)
            np.add.at(d_classes, self.labels, number * each * self.top)
            result = [d_classes, *result]
        upstream = each * head
        for (kernel, _, strides), (maps, before) in zip(
            self.convs[::-1], self.trace[::-1], strict=True
        ):
            upstream = leaky_gradient(before, upstream)
            d_bias = upstream.sum(axis=(0, 1, 2))
            upstream, d_kernel = conv_gradients(maps, kernel, strides, upstream)
            result = [d_kernel, d_bias, *result]
        return upstream, result


class Generator:
    """g(X) on batch statistics; rows (kernel, bias, strides, size, same, beta)."""

    def __init__(self, rows):
        self.rows = rows

    def images(self, latents):
        maps, self.trace = latents[:, None, None, :], []
        for kernel, bias, strides, size, same, beta in self.rows:
            before = conv_transpose(maps, kernel, strides, size, same=same) + bias
            if beta is None:
                self.trace.append((maps, before, None, None))
                return np.tanh(before)
            mean, variance = before.mean(axis=(0, 1, 2)), before.var(axis=(0, 1, 2))
            scale = 1 / np.sqrt(variance + EPSILON)
            normal = (before - mean) * scale
            self.trace.append((maps, normal + beta, normal, scale))
            maps = leaky(normal + beta)

    def gradients(self, latents, upstream):
        """Gradients of `sum(g * upstream)`: for latents, for weights in order."""
        images = self.images(latents)
        upstream = upstream * (1 - images**2)
        result = []
        for (kernel, _, strides, _, same, beta), (maps, before, normal, scale) in zip(
            self.rows[::-1], self.trace[::-1], strict=True
        ):
            if beta is not None:
                upstream = leaky_gradient(before, upstream)
                axes = (0, 1, 2)
                result = [upstream.sum(axis=axes), *result]
                upstream = scale * (
                    upstream
                    - upstream.mean(axis=axes)
                    - normal * (upstream * normal).mean(axis=axes)
                )
            d_bias = upstream.sum(axis=(0, 1, 2))
            upstream, d_kernel = conv_transpose_gradients(
                maps, kernel, strides, upstream, same=same
            )
            result = [d_kernel, d_bias, *result]
        return upstream[:, 0, 0, :], result


class Adam:
    """Adam with epsilon added to the root of the raw second moment, as in TF."""

    def __init__(self, rate, beta_1=0.5, beta_2=0.999, epsilon=1e-8):
        self.rate, self.betas, self.epsilon = rate, (beta_1, beta_2), epsilon
        self.first, self.second, self.steps = 0.0, 0.0, 0

    def change(self, gradient):
        self.steps += 1
        self.first = self.betas[0] * self.first + (1 - self.betas[0]) * gradient
        self.second = self.betas[1] * self.second + (1 - self.betas[1]) * gradient**2
        factor = np.sqrt(1 - self.betas[1] ** self.steps) / (
            1 - self.betas[0] ** self.steps
        )
        return -self.rate * factor * self.first / (np.sqrt(self.second) + self.epsilon)

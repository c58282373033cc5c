"""What the vector unit does for each kind of node: arithmetic and memory traffic, forward and backward.

Assumptions, the same for every kind:
- Nothing is fused: each operation streams its inputs from memory and its output back, one read or write per pass.
- A row of LayerNorm or softmax fits on chip and is read once; a whole batch (BatchNorm) does not.
- Vectors of one value per channel (scale, shift, statistics) stay on chip and cost no traffic.
- Add, subtract, multiply, divide, compare, select, exp, tanh and rsqrt count as one operation each.
- Bias is added in the output path of the GEMM, free; its gradient is a reduction of its own. Dropout is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Sizes:
    """Elements of all inputs together (`x`), of the output (`y`), of the parameters; inputs per output (`taps`)."""

    x: int
    y: int
    params: int = 0
    taps: int = 1


class Work(NamedTuple):
    """Scalar operations, and elements that pass through memory."""

    operations: int
    read_elements: int
    write_elements: int


class Cost(NamedTuple):
    """Work of a kind in each direction, None where it is free.

    `passes_gradient`: the inputs get the output gradient as it is, so they need not wait for the backward work.
    """

    forward: Callable[[Sizes], Work] | None = None
    backward: Callable[[Sizes], Work] | None = None
    passes_gradient: bool = False


COSTS: dict[str, Cost] = {
    "input": Cost(),
    "view": Cost(passes_gradient=True),
    "order": Cost(passes_gradient=True),
    # Forward, pass 1: sum, square, sum of squares (3). Pass 2: y = a.x + b (2).
    # Backward, pass 1: xhat (2), dy.xhat and its sum (2), sum of dy (1). Pass 2: dx = a.dy + b.x + c (4).
    "batchnorm": Cost(lambda s: Work(5 * s.x, 2 * s.x, s.y), lambda s: Work(9 * s.x, 4 * s.x, s.x)),
    # Forward: sum, square, sum of squares (3), normalise (2), scale and shift (2).
    # Backward: xhat (2), g = scale.dy (1), sums of g and g.xhat (3), dx = (g - m1 - xhat.m2).r (4),
    # scale gradient (2), shift gradient (1); reads dy and x.
    "layernorm": Cost(lambda s: Work(7 * s.x, s.x, s.y), lambda s: Work(13 * s.x, 2 * s.x, s.x)),
    # Backward: select dy where y > 0.
    "relu": Cost(lambda s: Work(s.x, s.x, s.y), lambda s: Work(s.x, 2 * s.x, s.x)),
    # Backward: dy.(1 - y.y).
    "tanh": Cost(lambda s: Work(s.x, s.x, s.y), lambda s: Work(3 * s.x, 2 * s.x, s.x)),
    # Forward: 0.5x(1 + t), t = tanh(c.x(1 + a.x.x)): 6 for t, 3 more.
    # Backward: t again (6); dy.[0.5(1 + t) + 0.5x(1 - t.t).c(1 + 3a.x.x)]: 2 + 4 + 4 + 1 + 1 more.
    "gelu": Cost(lambda s: Work(9 * s.x, s.x, s.y), lambda s: Work(18 * s.x, 2 * s.x, s.x)),
    # Any other function of one tensor. Backward: derivative, product.
    "elementwise": Cost(lambda s: Work(s.x, s.x, s.y), lambda s: Work(2 * s.x, 2 * s.x, s.x)),
    # Sum of `taps` tensors, such as a residual. Backward: all share dy as it is.
    "add": Cost(lambda s: Work((s.taps - 1) * s.y, s.x, s.y), passes_gradient=True),
    # Any other combination of `taps` tensors, broadcast or not. Backward: product and reduction for each input.
    "binary": Cost(lambda s: Work((s.taps - 1) * s.y, s.x, s.y), lambda s: Work(2 * s.x, s.y + s.x, s.x)),
    # Product with a trained vector. Backward: dx = dy.scale (1), scale gradient (2).
    "scale": Cost(lambda s: Work(s.x, s.x, s.y), lambda s: Work(3 * s.x, 2 * s.x, s.x + s.params)),
    # Forward: one compare per window element; the value and its index are written. Backward: dx is scattered.
    "maxpool": Cost(lambda s: Work(s.taps * s.y, s.x, 2 * s.y), lambda s: Work(s.y, 2 * s.y, s.x)),
    # Forward and backward: one addition or scaled copy per window element.
    "avgpool": Cost(lambda s: Work(s.taps * s.y, s.x, s.y), lambda s: Work(s.taps * s.y, s.y, s.x)),
    # Forward: max, subtract, exp, sum, multiply by 1/sum. Backward: y.(dy - sum(dy.y)), reads dy and y.
    "softmax": Cost(lambda s: Work(5 * s.x, s.x, s.y), lambda s: Work(4 * s.x, 2 * s.x, s.x)),
    # Forward: gather a row of each table and add them. Backward: clear the gradient, then add dy to a row of each.
    "embedding": Cost(
        lambda s: Work((s.taps - 1) * s.y, s.taps * s.y, s.y),
        lambda s: Work(s.taps * s.y, (1 + s.taps) * s.y, s.taps * s.y + s.params),
    ),
    # Forward: add a row of the table. Backward: sum dy over the batch; the input gets dy as it is.
    "position": Cost(
        lambda s: Work(s.y, s.x + min(s.params, s.y), s.y),
        lambda s: Work(s.y, s.y, s.params),
        passes_gradient=True,
    ),
    # Copies the inputs into one tensor. Backward: each input gets its slice of dy.
    "concat": Cost(lambda s: Work(0, s.x, s.y), passes_gradient=True),
    # The same with trained tokens among the inputs. Backward: sum their gradient over the batch.
    "prepend": Cost(
        lambda s: Work(0, s.x + s.params, s.y),
        lambda s: Work(s.y - s.x, s.y - s.x, s.params),
        passes_gradient=True,
    ),
    # Forward: softmax, written for the backward pass. Backward: subtract the one-hot target, divide by the batch.
    "loss": Cost(lambda s: Work(5 * s.x, s.x, s.y), lambda s: Work(2 * s.x, s.x, s.x)),
    # Bias gradient: sum of dy for each output channel.
    "bias": Cost(None, lambda s: Work(s.y, s.y, s.params)),
    # Sum of the gradients that the consumers of one tensor send back (`x`: all of them).
    "accumulate": Cost(None, lambda s: Work(s.x - s.y, s.x, s.y)),
}

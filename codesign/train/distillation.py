"""Distillation from the dense model, as AST (Huang et al., AAAI 2025) and CAST train with it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def distillation_loss(
    logits: Tensor, teacher_logits: Tensor, task_loss: Tensor, share: float, temperature: float = 1.0
) -> Tensor:
    """`share` of the divergence KL(teacher || student), the rest of `task_loss`; a scalar.

    Both logits are (..., classes) and are divided by `temperature`; the divergence is averaged over all positions and
    multiplied by its square (Hinton et al., 2015). The teacher gets no gradient: make it with `copy.deepcopy` before
    the model becomes sparse.
    """
    student = functional.log_softmax(logits.flatten(0, -2) / temperature, -1)
    teacher = functional.log_softmax(teacher_logits.detach().flatten(0, -2) / temperature, -1)
    divergence = functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return share * temperature**2 * divergence + (1 - share) * task_loss

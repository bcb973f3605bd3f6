"""What a latent vector model is trained for: squared error, and beside it, if wanted, a ranking loss.

Squared error alone predicts a mean, which is near to everything and nearest to nothing. InfoNCE (van den
Oord et al., 2018) asks that the prediction be nearer to its target than to other texts, but its gradient is
larger by orders of magnitude: next to a squared error that is averaged over 768 dimensions even a twentieth
of it decides the training, whatever the loss values look like. So gradients are compared, and they are held
in proportion (after GradNorm, Chen et al., 2018) or the training stops.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nextvec.errors import InvalidInput
from services.lvm.checkpoint import CONTEXT
from training import processes

_MEASURED_EVERY = 100  # steps between measurements of an unbalanced term, besides powers of two


class DominantTerm(InvalidInput):
    """An auxiliary loss would decide the training; names the measured ratio of the gradients."""


@dataclass(frozen=True)
class Contrast:
    """InfoNCE beside the squared error.

    Unbalanced, `squared` and `weight` are the factors of squared error and InfoNCE, the former averaged
    over dimensions. Balanced, `weight` is the norm that InfoNCE's gradient is held at, as a share of the
    squared error's.
    """

    weight: float
    squared: float = 1.0
    temperature: float = 0.07
    balanced: bool = False


class Objective(nn.Module):
    """A model and its loss.

    The main loss is the squared distance of the raw prediction to the target, mean over the batch. The
    target has the norm that the model's `scale` says, and the distance is measured in units of that norm.
    With a scale of 1 this is the original's mean squared error times the dimension; Adam's steps are the
    same for both, while the gradients have a size that the clip is meant for. InfoNCE is multiplied by the
    same factor, so that the proportion of the two stays what it is.

    Gradients are compared where both losses last share weights, on the model's last matrix: there they
    cost a hundredth of a step, and what the loss does to earlier layers passes through it.
    """

    def __init__(self, model: nn.Module, scale: float, contrast: Contrast | None = None):
        super().__init__()
        self.model = model
        self.scale = scale
        self.contrast = contrast
        self.measured: dict[str, float] = {}
        self._steps = 0

    def forward(self, context: Tensor, target: Tensor, rows: Tensor | None = None) -> Tensor:
        """Unit context [B, 5, D] and unit target [B, D] → loss.

        `rows` [B] numbers the targets so that chunks of one document in reading order are consecutive; it
        is needed with a contrast. Raises DominantTerm where InfoNCE is unbalanced and its gradient exceeds
        the squared error's, at the first step, often in the next ones and every hundredth from then on.
        """
        predicted = self.model(context).float() / self.scale
        squared = (predicted - target).square().sum(1).mean()
        if self.contrast is None or rows is None:
            return squared
        ranking = info_nce(predicted, target, rows, self.contrast.temperature)
        return squared + self._factor(self.contrast, squared, ranking, target.shape[1]) * ranking

    def _factor(self, contrast: Contrast, squared: Tensor, ranking: Tensor, dimensions: int) -> float:
        """What InfoNCE is multiplied by."""
        fixed = contrast.weight / contrast.squared * dimensions
        # A network that starts with predictions far too long has its largest squared error then, so the
        # first steps alone do not tell.
        due = self._steps % _MEASURED_EVERY == 0 or self._steps.bit_count() == 1
        step, self._steps = self._steps, self._steps + self.training
        if not (self.training and (due or contrast.balanced)):
            return fixed
        of_squared, of_ranking = self._gradient(squared), self._gradient(ranking)
        factor = contrast.weight * of_squared / max(of_ranking, 1e-12) if contrast.balanced else fixed
        ratio = factor * of_ranking / max(of_squared, 1e-12)
        self.measured = {"infonce": ranking.item(), "infonce_factor": factor, "infonce_gradient": ratio}
        if ratio > 1 and not contrast.balanced:
            raise DominantTerm(
                f"InfoNCE of weight {contrast.weight:g} has {ratio:.3g} times the gradient of the squared "
                f"error of weight {contrast.squared:g} on the last layer, {step} steps from the start, "
                "and would decide the training: leave it out, balance it, or give it less than "
                f"{contrast.weight / ratio:.2g}"
            )
        return factor

    def _gradient(self, loss: Tensor) -> float:
        """Norm of a loss's gradient with respect to the model's last matrix, over all processes."""
        last = [p for p in self.model.parameters() if p.ndim >= 2][-1]
        (gradient,) = torch.autograd.grad(loss, last, retain_graph=True)
        processes.average([gradient], 1 / processes.count())
        return float(gradient.norm())


def info_nce(predicted: Tensor, target: Tensor, rows: Tensor, temperature: float) -> Tensor:
    """Mean negative log-likelihood of each target among the batch's, by cosine over temperature.

    predicted and target [B, D], rows [B] as in `Objective.forward`. Targets up to five rows away from the
    own one are no wrong answers, being the window's own chunks or their neighbours, and are left out.
    """
    others, places = processes.gathered(target), processes.gathered(rows)
    own = torch.arange(len(rows), device=rows.device) + processes.rank() * len(rows)
    # In half precision a cosine's error, divided by the temperature, is as large as what is to be learned.
    with torch.autocast(predicted.device.type, enabled=False):
        logits = F.normalize(predicted, dim=1) @ others.T / temperature  # [B, all]
    near = (rows[:, None] - places).abs() <= CONTEXT
    near[torch.arange(len(rows), device=rows.device), own] = False
    return F.cross_entropy(logits.masked_fill(near, -torch.inf), own)

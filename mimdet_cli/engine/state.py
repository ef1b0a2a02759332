"""What training changes: the model, the optimizer, the loss scale and the step."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(slots=True)
class TrainState:
    """Everything a checkpoint must hold; `step` counts finished optimizer steps."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """AdamW's moments by parameter name, `NAME.exp_avg` and so on."""
        tensors = {}
        for name, parameter in self.model.named_parameters():
            for key in MOMENTS:
                if key in (moments := self.optimizer.state.get(parameter, {})):
                    tensors[f"{name}.{key}"] = moments[key].contiguous()
        return tensors

    def load_optimizer_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `optimizer_tensors` gave, on each parameter's device and in its layout."""
        for name, parameter in self.model.named_parameters():
            moments = {
                key: _laid_out_as(parameter, tensors[f"{name}.{key}"])
                for key in MOMENTS
                if f"{name}.{key}" in tensors
            }
            if moments:
                self.optimizer.state[parameter] = moments


def _laid_out_as(parameter: nn.Parameter, stored: Tensor) -> Tensor:
    """The fused optimizer walks a parameter and its moments through memory side by side."""
    if stored.shape != parameter.shape:
        return stored.to(parameter.device)  # the step count
    return torch.empty_like(parameter).copy_(stored)

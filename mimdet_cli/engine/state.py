"""What training changes: the model, the optimizer, the loss scale and the step."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(slots=True)
class TrainState:
    """Everything a checkpoint must hold; `step` counts finished optimizer steps."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0

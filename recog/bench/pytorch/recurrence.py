"""The cell of a GRU."""

import torch
import torch.nn.functional as F
from torch import nn


class GRUCell(nn.GRUCell):
    """PyTorch's cell; a trace has its single operations, because OpenVINO has none for the whole cell."""

    def forward(self, x: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        if not torch.jit.is_tracing():
            return super().forward(x, hidden)
        r, z, new = F.linear(x, self.weight_ih, self.bias_ih).chunk(3, -1)
        of_r, of_z, of_new = F.linear(hidden, self.weight_hh, self.bias_hh).chunk(3, -1)
        new = torch.tanh(new + torch.sigmoid(r + of_r) * of_new)
        return new + torch.sigmoid(z + of_z) * (hidden - new)

"""The network of a training run that is finished, with the data to try it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from codesign.errors import SpecError
from codesign.nm.format import NM
from codesign.spec_errors import printable
from codesign.train.config import load_config
from codesign.train.run_folder import MODEL
from codesign.train.session import prepare
from codesign.train.sparsify import finalize
from workloads.ops import Stage


@dataclass(frozen=True)
class Finished:
    """A network in evaluation mode, the ratios of its sparse layers by name, and inputs of the validation data."""

    model: nn.Module
    ratios: Mapping[str, NM]
    inputs: Tensor


def load_finished(folder: Path, *, samples: int = 200) -> Finished:
    """Read the run in a folder, and at most `samples` inputs. Raises SpecError if it holds no finished run."""
    session = prepare(load_config(folder).model_copy(update={"device": "cpu"}))
    path = folder / MODEL
    model = finalize(session.model)
    try:
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = printable(str(error).splitlines()[0])
        raise SpecError(
            f"{printable(str(path))}: {reason}; expected the model of a finished run, see `codesign train --resume`"
        ) from None
    ratios = {row.layer: row.nm for row in session.report if row.stage is Stage.FF and row.nm}
    inputs: list[Tensor] = []
    for batch, _ in session.data.validation:
        inputs.append(batch)
        if sum(map(len, inputs)) >= samples:
            break
    return Finished(model.eval(), ratios, torch.cat(inputs)[:samples])

"""Models from Hugging Face configurations: the architecture alone, no weights, nothing from the network."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from codesign.errors import SpecError
from codesign.input_files import read_file
from codesign.spec_errors import printable
from codesign.train.tracer import reason

MAX_BYTES = 1 << 24


class HfModel(NamedTuple):
    """A model on the meta device, what it is called, and whether it reads token numbers."""

    model_type: str
    model: nn.Module
    reads_tokens: bool


def load_hf_model(path: Path) -> HfModel:
    """The base model of a `config.json` of transformers, its attention written out, without code from elsewhere.

    Raises SpecError if the file is bad, the model unknown, or transformers not installed.
    """
    where, settings = printable(str(path)), _read(path)
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError:
        raise SpecError(
            "a Hugging Face configuration needs transformers; run: pip install codesign[hf]"
        ) from None
    try:
        config = AutoConfig.for_model(settings["model_type"]).from_dict(settings)
        config.use_cache = False
        with torch.device("meta"):
            model = AutoModel.from_config(config, attn_implementation="eager", trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds, and some of them are its own
        raise SpecError(f"{where}: transformers cannot build this model: {reason(error)}") from error
    return HfModel(settings["model_type"], model, getattr(model, "main_input_name", "") == "input_ids")


def _read(path: Path) -> dict[str, Any]:
    where = printable(str(path))
    try:
        settings: Any = json.loads(read_file(path, "a config.json of transformers", MAX_BYTES))
    except (ValueError, RecursionError):
        raise SpecError(f"{where}: is no JSON; expected a config.json of transformers") from None
    model_type = settings.get("model_type") if isinstance(settings, dict) else None
    if not isinstance(model_type, str):
        raise SpecError(
            f'{where}: has no "model_type", such as "bert"; expected a config.json of transformers'
        )
    return dict(settings)

"""Everything that a training run depends on, as one immutable value that round-trips to `config.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    NonNegativeFloat,
    NonNegativeInt,
    PlainSerializer,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from codesign.errors import SpecError
from codesign.input_files import read_file
from codesign.nm.format import NM
from codesign.spec_errors import describe, nearest, printable, shorten
from codesign.train.methods import METHODS, Method
from codesign.train.schedule import Schedule
from hw_models.block_specs import Ratio
from workloads.catalog import NETWORKS

FILE_NAME = "config.json"
MAX_BYTES = 1 << 20

DENSE = "dense"
"""Instead of an N:M ratio: no pruning."""

DEFAULT_METHOD, DEFAULT_EPOCHS = "bdwp", 10

ADAMW = {"lr": 1e-3, "weight_decay": 0.05, "warmup": 0.1, "grad_clip": 1.0}
"""Defaults of training with AdamW, which transformers are trained with; those of the fields are for SGD."""

FREE = frozenset({"device", "threads", "checkpoint_every", "tensorboard"})
"""Fields that a resumed run may change: they say where and how it is computed, not what."""

OverrideRatio = Annotated[
    Ratio | None,
    BeforeValidator(lambda value: None if value == DENSE else value),
    PlainSerializer(lambda nm: DENSE if nm is None else str(nm)),
]
Fraction = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]

LARGEST = 1e6
"""Bound of rates and of numbers among a method's options; only a slip of the pen exceeds it."""


class TrainConfig(BaseModel):
    """Settings of a training run. What is not given, or None, has the default for its network and optimizer.

    Raises SpecError for a name, an option or a range that is wrong; whether model and data fit each other is found
    out by `codesign.train.session.prepare`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str = Field(description="Network, see workloads.models.")
    data: str = Field(description="Data, see codesign.train.data.")
    input_size: PositiveInt | None = Field(None, description="Height and width of the images.")
    seq_len: PositiveInt | None = Field(None, description="Tokens of a sequence.")

    method: str = Field(DEFAULT_METHOD, description="Training method, see codesign.train.methods.")
    nm: Ratio | None = Field(NM(2, 8), description="N:M ratio, N kept of M; none if dense.")
    mvue: Ratio | None = Field(None, description="N:M ratio of the gradient of WU.")
    first_dense: bool = Field(True, description="Keep the first layer dense.")
    head_dense: bool = Field(False, description="Keep the last layer dense.")
    overrides: dict[str, OverrideRatio] = Field({}, description="Ratios of layers by name pattern.")
    options: dict[str, Any] = Field({}, description="Options of the method.")
    schedule_start: Fraction = Field(0.0, description="Share of the run that is dense at first.")
    schedule_full: Fraction = Field(0.0, description="Share of the run after which N:M is reached.")
    schedule_dense: Fraction = Field(1.0, description="Share of the run after which it is dense again.")
    teacher: str | None = Field(
        None, description="Weights of the dense network that AST or CAST distils from."
    )

    epochs: PositiveInt | None = Field(None, description="Length of the run in epochs.")
    steps: PositiveInt | None = Field(None, description="Length of the run in optimizer steps.")
    batch: PositiveInt = Field(64, description="Samples of a batch.")
    accumulate: PositiveInt = Field(1, description="Batches of an optimizer step.")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="Optimizer.")
    lr: float = Field(0.05, gt=0, le=LARGEST, description="Peak of the learning rate.")
    lr_decay: Literal["cosine", "none"] = Field("cosine", description="Decay of the learning rate, to 0.")
    warmup: Fraction = Field(0.05, description="Share of the run over which the learning rate rises.")
    warmup_steps: NonNegativeInt | None = Field(None, description="The same in steps, instead of a share.")
    momentum: BelowOne = Field(0.9, description="Momentum of SGD, first beta of AdamW.")
    weight_decay: float = Field(5e-4, ge=0, le=LARGEST, description="Of weights; biases and norms have none.")
    label_smoothing: BelowOne = Field(0.0, description="Label smoothing of the training loss.")
    grad_clip: NonNegativeFloat = Field(0.0, description="Largest norm of the gradient; 0: any.")
    seed: int = Field(0, ge=0, lt=1 << 63, description="Seed of weights, order and augmentation of data.")

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to train.")
    amp: Literal["off", "bf16"] = Field("off", description="Mixed precision.")
    threads: int | None = Field(None, gt=0, le=1024, description="Threads of a CPU.")
    log_every: PositiveInt | None = Field(None, description="Steps from one line of metrics to the next.")
    checkpoint_every: PositiveInt | None = Field(None, description="Steps between checkpoints in an epoch.")
    tensorboard: bool = Field(False, description="Also write event files of TensorBoard.")
    record_every: NonNegativeInt | None = Field(None, description="Steps between statistics; 0: none.")
    record_tensors: tuple[str, ...] = Field((), description="Layers, by pattern, whose tensors are recorded.")
    record_at: NonNegativeInt | None = Field(None, description="The step that they are recorded at.")

    @model_validator(mode="wrap")
    @classmethod
    def _complete(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Fill in what depends on other fields; every error becomes a SpecError."""
        try:
            return handler(_with_defaults(values) if isinstance(values, Mapping) else values)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"]))
            raise SpecError(f"{printable(where)}: {describe(cls, problem)}") from None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.epochs and self.steps:
            raise SpecError(f"epochs {self.epochs} and steps {self.steps}: expected one of them")
        if self.teacher and METHODS[self.method].distillation_share is None:
            distilling = [name for name, method in METHODS.items() if method.distillation_share]
            raise SpecError(
                f"teacher: method {self.method!r} does not distil; expected method {' or '.join(distilling)}"
            )
        if self.record_tensors and self.accumulate > 1:
            raise SpecError(
                f"record_tensors with accumulate {self.accumulate}: the operands of one batch do not give the "
                "gradient of several; expected accumulate 1"
            )
        self.method_of(1)  # raises what its options raise
        return self

    def method_of(self, steps: int) -> Method:
        """The method, its schedule laid over a run of so many steps. Raises SpecError."""
        schedule = Schedule.of_fractions(steps, self.schedule_start, self.schedule_full, self.schedule_dense)
        ratio = {} if self.nm is None else {"nm": self.nm}
        method = METHODS[self.method]
        return method(
            **ratio,
            schedule=schedule,
            first_dense=self.first_dense,
            head_dense=self.head_dense,
            mvue=self.mvue,
            **method.options_for(steps) | self.options,
        )

    def warmup_length(self, steps: int) -> int:
        """Steps over which the learning rate rises in a run of so many."""
        return ceil(self.warmup * steps) if self.warmup_steps is None else self.warmup_steps

    def to_json(self) -> str:
        """The content of `config.json`; `load_config` reads it."""
        return self.model_dump_json(indent=2) + "\n"

    def difference(self, other: TrainConfig) -> str:
        """How `other` differs in what a resumed run must keep, for a message, or nothing."""
        mine, others = (config.model_dump(mode="json", exclude=set(FREE)) for config in (self, other))
        changed = (name for name in mine if mine[name] != others[name])
        return "; ".join(f"{name} was {mine[name]!r} and is {others[name]!r}" for name in changed)


def load_config(folder: Path) -> TrainConfig:
    """The configuration of the run in a folder. Raises SpecError."""
    path = folder / FILE_NAME
    text = read_file(path, "the configuration of a training run", MAX_BYTES)
    try:
        return TrainConfig.model_validate(json.loads(text))
    except (SpecError, ValueError, RecursionError) as error:
        raise SpecError(f"{printable(str(path))}: {error}; expected what a training run wrote") from None


def _with_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in given.items() if value is not None}
    method = str(values.get("method", DEFAULT_METHOD))
    if method not in METHODS:
        raise SpecError(
            f"unknown method {shorten(method)!r}{nearest(method, METHODS)}; expected one of: {', '.join(METHODS)}"
        )
    if method == DENSE:
        if "nm" in values:
            raise SpecError(f"nm {values['nm']} has no meaning with method 'dense'; leave one of them out")
        values["nm"] = None
    if isinstance(options := values.get("options"), Mapping):
        values["options"] = _method_options(METHODS[method], options)
    if not ({"epochs", "steps"} & values.keys()):
        values["epochs"] = DEFAULT_EPOCHS
    network = NETWORKS.get(str(values.get("model")))
    optimizer = values.setdefault("optimizer", network.optimizer if network else "sgd")
    return (ADAMW if optimizer == "adamw" else {}) | values


def _method_options(method: type[Method], given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the method's own options, texts converted to their types. Raises SpecError."""
    own = [field.name for field in fields(method) if field.name not in {base.name for base in fields(Method)}]
    types = get_type_hints(method)
    values = {}
    for name, value in given.items():
        if name not in own:
            takes = f"it takes {', '.join(own)}" if own else "it has no options"
            raise SpecError(
                f"method {method.name!r} has no option {shorten(name)!r}{nearest(name, own)}; {takes}"
            )
        try:
            values[name] = TypeAdapter(types[name]).validate_python(value)
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            raise SpecError(f"method {method.name!r}, option {name}: got {value!r}; {message}") from None
        if isinstance(values[name], float) and not abs(values[name]) <= LARGEST:
            raise SpecError(
                f"method {method.name!r}, option {name}: got {value!r}; expected a size of at most {LARGEST:g}"
            )
    return values

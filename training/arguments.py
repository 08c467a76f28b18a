"""The keys of a recipe beside those of trl's SFTConfig (how to train) and ModelConfig (precision and LoRA)."""

from dataclasses import asdict, dataclass, field, fields

from trl import ModelConfig, SFTConfig

from .data import DataError
from .mixture import DataSource

LOCAL_KEYS = {"output_dir", "hub_token", "push_to_hub", "hub_model_id", "disable_tqdm", "run_name", "logging_dir"}
FREE_KEYS = {
    *("per_device_train_batch_size", "gradient_accumulation_steps", "per_device_eval_batch_size", "max_eval_rows"),
    *("eval_datasets", "eval_steps", "eval_strategy", "sample_answers", "save_steps", "save_total_limit", "report_to"),
    *("save_strategy", "logging_steps", "num_train_epochs", "max_steps", "license", "dataloader_num_workers"),
    *("gradient_checkpointing", "activation_checkpointing", "project", "torch_compile"),
}


@dataclass
class MuLlamaArguments:
    """What is trained, and on what."""

    model: str | None = field(default=None, metadata={"help": "model folder or Hub id to start from; or the next two"})
    audio_model: str | None = field(default=None, metadata={"help": "MERT to start from, with a fresh adapter"})
    text_model: str | None = field(default=None, metadata={"help": "language model of LLaMA's kind to start from"})
    num_adapter_layers: int | None = field(default=None, metadata={"help": "layers that hear, of a fresh adapter"})
    start_gate: float | None = field(default=None, metadata={"help": "set the adapter's gates; fresh ones are at 0"})
    standardise_audio: bool = field(
        default=False, metadata={"help": "begin the projector by standardising the cached features"}
    )
    add_biases: bool = field(default=False, metadata={"help": "give the language model biases, at first 0"})
    trainable: list[str] = field(
        default_factory=list,
        metadata={"help": "regular expressions; a parameter trains whose name one matches, beside a LoRA if any"},
    )
    datasets: list[DataSource] = field(default_factory=list, metadata={"help": "what to train on"})
    eval_datasets: list[DataSource] = field(default_factory=list, metadata={"help": "what to evaluate on"})
    max_eval_rows: int = field(default=256, metadata={"help": "first rows of each evaluation set"})
    sample_answers: int = field(default=4, metadata={"help": "questions to answer at each evaluation"})
    questions: str | None = field(default=None, metadata={"help": "Parquet of messages and clip, not `datasets`"})
    layer_means: str | None = field(default=None, metadata={"help": ".npy of layer means, for `questions`"})
    silence_seconds: float | None = field(
        default=None, metadata={"help": "play so much silence to rows without audio; the paper: 1.0"}
    )
    noise: float = field(default=0.0, metadata={"help": "noise on layer means, in standard deviations"})
    warmup_epochs: float | None = field(default=None, metadata={"help": "warm-up in epochs, not `warmup_steps`"})
    license: str = field(default="unknown", metadata={"help": "licence of the trained weights, for the card"})

    def __post_init__(self) -> None:
        self.datasets = [_source(entry) for entry in self.datasets]
        self.eval_datasets = [_source(entry) for entry in self.eval_datasets]


def _source(entry: DataSource | dict) -> DataSource:
    if isinstance(entry, DataSource):
        return entry
    unknown = set(entry) - set(DataSource.__dataclass_fields__)
    if unknown or "path" not in entry:
        what = f"unknown key `{min(unknown)}`" if unknown else "no `path`"
        raise DataError(
            f"a dataset of the recipe has {what}: {entry}; keys are {', '.join(DataSource.__annotations__)}"
        )
    return DataSource(**entry)


def recipe_of(script_args: MuLlamaArguments, training_args: SFTConfig, model_args: ModelConfig) -> dict:
    """All that was set otherwise than by default, in the form of YAML, less what belongs to the machine."""
    recipe = {}
    for part in (script_args, model_args, training_args):
        values = asdict(part) if part is not training_args else part.to_dict()
        for key in fields(part):
            value = values.get(key.name)
            if key.name.endswith("datasets"):
                value = [{name: kept for name, kept in entry.items() if kept not in (None, False)} for entry in value]
            plain = isinstance(value, (str, int, float, bool, list))
            if plain and value not in (key.default, [], "") and key.name not in LOCAL_KEYS:
                recipe[key.name] = value
    return recipe


def identity_of(recipe: dict, training_args: SFTConfig) -> dict:
    """What may not change when a run goes on: all but how long it is, what is watched, and how work is shared."""
    kept = {key: value for key, value in recipe.items() if key not in FREE_KEYS}
    rows = training_args.per_device_train_batch_size * training_args.gradient_accumulation_steps
    return kept | {"rows_a_step": rows * training_args.world_size}

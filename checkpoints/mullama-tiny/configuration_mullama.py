"""Configuration of MU-LLaMA: a MERT encoder, a projector, and a LLaMA whose upper layers hear the audio."""

# First, because it refuses an unfit version of transformers in one line.
from .configuration_mert import MertConfig  # isort: split

from huggingface_hub.dataclasses import strict
from transformers import LlamaConfig, PreTrainedConfig

# What a saved folder's code files offer to transformers' Auto classes, whichever class has written the folder.
AUTO_MAP = {
    "AutoConfig": "configuration_mullama.MuLlamaConfig",
    "AutoModel": "modeling_mullama.MuLlamaModel",
    "AutoModelForMultimodalLM": "modeling_mullama.MuLlamaForConditionalGeneration",
    "AutoProcessor": "processing_mullama.MuLlamaProcessor",
}


@strict
class MuLlamaTextConfig(LlamaConfig):
    r"""
    The configuration of the language model of MU-LLaMA: LLaMA's, with the audio adapter of its upper layers.

    LLaMA has one switch for all biases of its attention (`attention_bias`) and one for its MLP (`mlp_bias`). Released
    MU-LLaMA weights have biases on the query, output, gate, up and down projections; the key and value projections
    then have them too, and they are zero. A non-zero value bias takes part in the audio prefix's value.

    num_adapter_layers (`int`, *optional*, defaults to 20):
        Number of decoder layers, counted from the top of the stack, whose attention is conditioned on the audio.
    value_correction_rank (`int`, *optional*, defaults to 0):
        Rank of a LoRA that is merged into the value projections of the adapted layers, and that the audio prefix must
        not see: its value is `v_proj(x) - B A x`. 0 if nothing is merged there.

    Raises `ValueError` if `num_adapter_layers` exceeds the number of layers, or a number is negative.
    """

    model_type = "mullama_text"
    base_config_key = "text_config"
    # The adapter's gates are not cut by head, so LLaMA's tensor-parallel plan does not hold here.
    base_model_tp_plan = None

    num_adapter_layers: int = 20
    value_correction_rank: int = 0

    def __post_init__(self, **kwargs) -> None:
        super().__post_init__(**kwargs)
        if not 0 <= self.num_adapter_layers <= self.num_hidden_layers:
            raise ValueError(
                f"`num_adapter_layers` must be in [0, {self.num_hidden_layers}], the number of layers, but is "
                f"{self.num_adapter_layers}."
            )
        if self.value_correction_rank < 0:
            raise ValueError(f"`value_correction_rank` must not be negative, but is {self.value_correction_rank}.")


@strict
class MuLlamaConfig(PreTrainedConfig):
    r"""
    The configuration of a [`MuLlamaForConditionalGeneration`].

    audio_config (`dict` or `MertConfig`, *optional*):
        The encoder.
    text_config (`dict` or `MuLlamaTextConfig`, *optional*):
        The language model.
    num_projector_layers (`int`, *optional*, defaults to 3):
        Number of residual gated MLP blocks between the pooled audio and the language model.
    projector_intermediate_size (`int`, *optional*):
        Inner width of those blocks; by default, four times the language model's width.
    projector_norm_eps (`float`, *optional*, defaults to 1e-06):
        Epsilon of those blocks' RMSNorm, whatever the language model's is.
    initializer_range (`float`, *optional*, defaults to 0.02):
        Standard deviation of the initial weights of the projector.
    """

    model_type = "mullama"
    sub_configs = {"audio_config": MertConfig, "text_config": MuLlamaTextConfig}

    audio_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    num_projector_layers: int = 3
    projector_intermediate_size: int | None = None
    projector_norm_eps: float = 1e-6
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs) -> None:
        if self.audio_config is None or isinstance(self.audio_config, dict):
            # A released MERT configuration names itself "mert_model" and points at remote code.
            foreign = ("model_type", "architectures", "auto_map")
            self.audio_config = MertConfig(**{k: v for k, v in (self.audio_config or {}).items() if k not in foreign})
        if self.text_config is None or isinstance(self.text_config, dict):
            text_config = {k: v for k, v in (self.text_config or {}).items() if k != "model_type"}
            self.text_config = MuLlamaTextConfig(**text_config)
        if self.projector_intermediate_size is None:
            self.projector_intermediate_size = 4 * self.text_config.hidden_size
        # The head belongs to the outer model and its embeddings to the inner one: one switch, the inner one's.
        self.tie_word_embeddings = self.text_config.tie_word_embeddings
        super().__post_init__(**kwargs)

    def save_pretrained(self, *args, **kwargs) -> None:
        """transformers' own, with an entry for every Auto class: a model alone would enter just itself."""
        self.auto_map = dict(AUTO_MAP)
        super().save_pretrained(*args, **kwargs)


__all__ = ["MuLlamaConfig", "MuLlamaTextConfig"]

"""
MU-LLaMA (arXiv 2308.11276): LLaMA that hears music.

MERT's hidden states, averaged over time and mixed over layers, become one vector per audio. Each adapted layer of
LLaMA turns it into one more value that its attention adds at every position, so a piece of music is, to LLaMA, a
handful of constant vectors: hear it once, keep the vector, ask anything.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Any

import torch
from torch import nn
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling, CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaDecoderLayer,
    LlamaForCausalLM,
    LlamaModel,
    LlamaPreTrainedModel,
    LlamaRMSNorm,
    apply_rotary_pos_emb,
    eager_attention_forward,
)
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple

from .configuration_mullama import MuLlamaConfig, MuLlamaTextConfig
from .modeling_mert import MertModel

# Windows are encoded together up to the size of one window of the released recipe: 60 s at 24 kHz.
MAX_SAMPLES_AT_ONCE = 60 * 24_000
# The key-value cache in transformers' arguments and outputs: `past_key_values` until 5.23, then `cache`.
CACHE = "cache" if "cache" in (field.name for field in fields(BaseModelOutputWithPast)) else "past_key_values"
# What the released programs sample with.
RELEASED_SAMPLING = {"do_sample": True, "temperature": 0.6, "top_p": 0.8, "max_new_tokens": 512}


def _is_sharded(module: nn.Module) -> bool:
    """Whether the weights are whole only inside their own module's forward (FSDP, FSDP2, DeepSpeed ZeRO-3)."""
    if is_deepspeed_zero3_enabled():
        return True
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel

    return any(isinstance(child, (FSDPModule, FullyShardedDataParallel)) for child in module.modules())


class MuLlamaAudioPrefix(nn.Module):
    """
    The audio's share of one layer's attention.

    LLaMA-Adapter attends to its prefix with a softmax of its own. MU-LLaMA's prefix is a single token, over which that
    softmax is 1 whatever the query, so the prefix contributes its value, scaled per head by `tanh(gate)`: the same
    vector at every position, independent of the key-value cache.
    """

    def __init__(self, config: MuLlamaTextConfig, head_dim: int):
        super().__init__()
        self.head_dim = head_dim
        self.num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
        self.query = nn.Parameter(torch.empty(config.hidden_size))
        self.gate = nn.Parameter(torch.empty(config.num_attention_heads, 1))
        self.value_correction_a, self.value_correction_b = None, None
        if (rank := config.value_correction_rank) > 0:
            self.value_correction_a = nn.Parameter(torch.empty(rank, config.hidden_size))
            self.value_correction_b = nn.Parameter(torch.empty(config.num_key_value_heads * head_dim, rank))

    def forward(self, audio_embeds: torch.Tensor, v_proj: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """
        Args:
            audio_embeds (`torch.Tensor` of shape `(batch, text width)`): what the projector makes of the audio.
            v_proj (`Callable`): the layer's value projection, without adapters.

        Returns the gated value, of shape `(batch, 1, heads * head_dim)`.
        """
        prefix = (audio_embeds.to(self.query.device) + self.query).to(audio_embeds.dtype)
        value = v_proj(prefix)  # (batch, key-value heads * head_dim)
        if self.value_correction_a is not None:
            low_rank = nn.functional.linear(prefix.to(self.value_correction_a.dtype), self.value_correction_a)
            value = value - nn.functional.linear(low_rank, self.value_correction_b)
        value = value.unflatten(-1, (-1, self.head_dim)).repeat_interleave(self.num_key_value_groups, dim=-2)
        return (self.gate.tanh() * value).to(audio_embeds.dtype).flatten(-2)[:, None]


class MuLlamaAttention(LlamaAttention):
    """LLaMA's attention, offset by a gated audio prefix."""

    def __init__(self, config: MuLlamaTextConfig, layer_idx: int):
        super().__init__(config, layer_idx)
        self.prefix_idx = layer_idx - (config.num_hidden_layers - config.num_adapter_layers)
        self.audio_prefix = MuLlamaAudioPrefix(config, self.head_dim)

    def prefix_value(self, audio_embeds: torch.Tensor) -> torch.Tensor:
        """Gated value of the audio prefix, of shape `(batch, 1, heads * head_dim)`."""
        # The prefix meets the base value matrix. PEFT wraps a layer that it adapts, and keeps it as `base_layer`.
        v_proj = dict(self.v_proj.named_children()).get("base_layer", self.v_proj)
        # As a function, for Accelerate's hooks move whatever argument can be moved, modules too.
        return self.audio_prefix(audio_embeds, v_proj.__call__)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        cache: Cache | None = None,
        audio_embeds: torch.Tensor | None = None,
        audio_prefix: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        input_shape = hidden_states.shape[:-1]
        hidden_shape = (*input_shape, -1, self.head_dim)

        query_states = self.q_proj(hidden_states).view(hidden_shape).transpose(1, 2)
        key_states = self.k_proj(hidden_states).view(hidden_shape).transpose(1, 2)
        value_states = self.v_proj(hidden_states).view(hidden_shape).transpose(1, 2)

        cos, sin = position_embeddings
        query_states, key_states = apply_rotary_pos_emb(query_states, key_states, cos, sin)

        if cache is None:
            cache = past_key_values
        if cache is not None:
            key_states, value_states = cache.update(key_states, value_states, self.layer_idx)

        attention_interface: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        attn_output, attn_weights = attention_interface(
            self,
            query_states,
            key_states,
            value_states,
            attention_mask,
            dropout=0.0 if not self.training else self.attention_dropout,
            scaling=self.scaling,
            **kwargs,
        )
        attn_output = attn_output.reshape(*input_shape, -1).contiguous()  # (batch, positions, heads * head_dim)

        # Before `o_proj`, whose bias would otherwise count twice.
        if audio_prefix is not None:
            attn_output = attn_output + audio_prefix.select(1, self.prefix_idx).unsqueeze(1)
        elif audio_embeds is not None:
            attn_output = attn_output + self.prefix_value(audio_embeds.to(hidden_states.dtype))

        attn_output = self.o_proj(attn_output)
        return attn_output, attn_weights


class MuLlamaDecoderLayer(LlamaDecoderLayer):
    """LLaMA's decoder layer; the upper ones of the stack hear the audio."""

    def __init__(self, config: MuLlamaTextConfig, layer_idx: int):
        super().__init__(config, layer_idx)
        self.is_adapted = layer_idx >= config.num_hidden_layers - config.num_adapter_layers
        if self.is_adapted:
            self.self_attn = MuLlamaAttention(config, layer_idx)

    # `audio_embeds` is one graph node shared by all layers: reentrant checkpointing, which DeepSpeed ZeRO-3 with PEFT
    # still needs, only tracks the gradients of positional arguments, and `LlamaModel` passes it as a keyword.
    def __call__(self, hidden_states: torch.Tensor, audio_embeds: torch.Tensor | None = None, **kwargs):
        return super().__call__(hidden_states, audio_embeds, **kwargs)

    def forward(
        self,
        hidden_states: torch.Tensor,
        audio_embeds: torch.Tensor | None = None,
        audio_prefix: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> torch.Tensor:
        if self.is_adapted:
            kwargs.update(audio_embeds=audio_embeds, audio_prefix=audio_prefix)
        return super().forward(hidden_states, **kwargs)


class MuLlamaPreTrainedModel(LlamaPreTrainedModel):
    """Weights' initialisation and loading, common to the MU-LLaMA models."""

    config: MuLlamaConfig
    base_model_prefix = "model"
    input_modalities = ("audio", "text")
    _no_split_modules = ["MuLlamaDecoderLayer"]
    _can_record_outputs = {"hidden_states": MuLlamaDecoderLayer, "attentions": LlamaAttention}

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        """transformers' own; the encoder comes frozen, as the paper has it. To train it: `requires_grad_(True)`."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        for module in model.modules():
            if isinstance(module, MertModel):
                module.requires_grad_(False)
        return loaded

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        PreTrainedModel._init_weights(self, module)
        if isinstance(module, MuLlamaAudioPrefix):
            init.normal_(module.query, mean=0.0, std=self.config.initializer_range)
            init.zeros_(module.gate)
            if module.value_correction_a is not None:
                init.normal_(module.value_correction_a, mean=0.0, std=self.config.initializer_range)
                init.zeros_(module.value_correction_b)
        elif isinstance(module, MuLlamaMultiModalProjector):
            # All layers alike, until training tells them apart.
            init.constant_(module.layer_weights.weight, 1 / module.layer_weights.in_features)


class MuLlamaTextModel(MuLlamaPreTrainedModel, LlamaModel):
    """LLaMA whose last `num_adapter_layers` layers hear the audio."""

    config: MuLlamaTextConfig
    input_modalities = ("text",)

    def __init__(self, config: MuLlamaTextConfig):
        super().__init__(config)
        self.layers = nn.ModuleList([MuLlamaDecoderLayer(config, idx) for idx in range(config.num_hidden_layers)])
        self.post_init()

    def get_audio_prefix(self, audio_embeds: torch.Tensor) -> torch.Tensor | None:
        """
        What every adapted layer adds for this audio, computed once for any number of tokens.

        Args:
            audio_embeds (`torch.Tensor` of shape `(batch, width)`): what the projector makes of the audio.

        Returns a tensor of shape `(batch, adapted layers, heads * head_dim)`, or None if no layer is adapted.
        """
        audio_embeds = audio_embeds.to(self.dtype)
        values = [
            layer.self_attn.prefix_value(audio_embeds).squeeze(1).to(audio_embeds.device)
            for layer in self.layers
            if layer.is_adapted
        ]
        return torch.stack(values, dim=1) if values else None


class MuLlamaProjectorBlock(nn.Module):
    """A residual gated MLP: `x + W2(silu(W1 n) * (W3 n))`, `n = RMSNorm(x)`."""

    def __init__(self, config: MuLlamaConfig):
        super().__init__()
        hidden_size, intermediate_size = config.text_config.hidden_size, config.projector_intermediate_size
        self.norm = LlamaRMSNorm(hidden_size, eps=config.projector_norm_eps)
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        normed = self.norm(hidden_states)
        return hidden_states + self.down_proj(nn.functional.silu(self.gate_proj(normed)) * self.up_proj(normed))


class MuLlamaMultiModalProjector(nn.Module):
    """Mixes the layers' means to one vector of unit norm, and lifts it to the language model's width."""

    def __init__(self, config: MuLlamaConfig):
        super().__init__()
        self.layer_weights = nn.Linear(config.audio_config.num_hidden_layers + 1, 1)
        self.linear = nn.Linear(config.audio_config.hidden_size, config.text_config.hidden_size)
        self.blocks = nn.ModuleList([MuLlamaProjectorBlock(config) for _ in range(config.num_projector_layers)])

    def forward(self, layer_means: torch.Tensor) -> torch.Tensor:
        """
        From each layer's mean over time to one vector, `(batch, text width)`.

        Args:
            layer_means (`(batch, layers + 1, audio width)`, or `(batch, audios, layers + 1, audio width)`):
                Several audios of an item weigh the same, whatever their length, as in the released code: the mean of
                their unit vectors, of unit norm again. An audio of zeros is none.
        """
        layer_means = layer_means.to(next(p.dtype for p in self.parameters() if p.is_floating_point()))
        pooled = self.layer_weights(layer_means.transpose(-1, -2)).squeeze(-1)
        pooled = nn.functional.normalize(pooled, dim=-1)  # (batch, audio width) or (batch, audios, audio width)
        if layer_means.ndim == 4:
            present = layer_means.flatten(2).any(-1, keepdim=True)  # (batch, audios, 1)
            pooled = nn.functional.normalize((pooled * present).sum(1), dim=-1)
        audio_embeds = self.linear(pooled)
        for block in self.blocks:
            audio_embeds = block(audio_embeds)
        return audio_embeds


@dataclass
class MuLlamaAudioOutput(BaseModelOutputWithPooling):
    """
    Output of `get_audio_features`.

    pooler_output (`(batch, text width)`): the `audio_embeds` that any number of questions may be asked with.
    layer_means (`(batch, layers + 1, audio width)`, float32): each MERT layer's mean over time, the `audio_features`.
    hidden_states, attentions: MERT's, of every window (`batch * windows` first), on request only, for the windows are
        otherwise averaged away while they are encoded. There is no `last_hidden_state` for the same reason.
    """

    layer_means: torch.FloatTensor | None = None


@dataclass
class MuLlamaModelOutputWithPast(BaseModelOutputWithPast):
    """Output of [`MuLlamaModel`]; `audio_hidden_states` is the projected audio, `(batch, text width)`."""

    audio_hidden_states: torch.Tensor | None = None


@dataclass
class MuLlamaCausalLMOutputWithPast(CausalLMOutputWithPast):
    """Output of [`MuLlamaForConditionalGeneration`]; `audio_hidden_states` is the projected audio."""

    audio_hidden_states: torch.Tensor | None = None


class MuLlamaModel(MuLlamaPreTrainedModel):
    """MERT, the projector and the adapted LLaMA, without the language model's head."""

    def __init__(self, config: MuLlamaConfig):
        super().__init__(config)
        # First, so that the model's `device` and `dtype` are those of the text.
        self.language_model = MuLlamaTextModel._from_config(config.text_config)
        self.multi_modal_projector = MuLlamaMultiModalProjector(config)
        self.audio_tower = MertModel._from_config(config.audio_config)
        self.audio_tower.requires_grad_(False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The language model's token embeddings."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the language model's token embeddings."""
        self.language_model.set_input_embeddings(value)

    def train(self, mode: bool = True) -> "MuLlamaModel":
        """Sets the mode of all but a frozen encoder, which has no dropout, no layer-drop and no SpecAugment."""
        super().train(mode)
        if mode and not self._trains_audio_tower():
            self.audio_tower.eval()
        return self

    def _trains_audio_tower(self) -> bool:
        return any(parameter.requires_grad for parameter in self.audio_tower.parameters())

    @can_return_tuple
    def get_audio_features(
        self,
        input_values: torch.FloatTensor,
        input_values_mask: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple | MuLlamaAudioOutput:
        """
        Hears audio of any length: every window is encoded, and the windows' means are averaged by their frames.

        Args:
            input_values (`torch.FloatTensor` of shape `(batch, windows, samples)` or `(batch, samples)`):
                Mono waveforms at the encoder's sampling rate, each window normalised to zero mean and unit variance.
                Several audios of an item, to be heard as equals: `(batch, audios, windows, samples)`.
            input_values_mask (`torch.Tensor` of the same shape, *optional*):
                1 on samples, 0 on padding, which stands on the right. An audio of fewer windows has windows of zeros,
                and an item of fewer audios has audios of zeros.
            output_hidden_states, output_attentions (`bool`, *optional*):
                Keep the encoder's, which takes the memory of all windows at once.

        Raises `ValueError` if an item has no audio, or less than one frame of it.
        """
        tower = self.audio_tower
        if output_hidden_states is None:
            output_hidden_states = tower.config.output_hidden_states
        if output_attentions is None:
            output_attentions = tower.config.output_attentions
        if input_values_mask is not None and input_values_mask.shape != input_values.shape:
            raise ValueError(
                f"`input_values_mask` has shape {tuple(input_values_mask.shape)}, but `input_values` has "
                f"{tuple(input_values.shape)}."
            )
        audios = input_values.shape[:-2] or input_values.shape[:1]  # (batch,) or (batch, audios)
        rows = input_values.flatten(0, -2)  # (batch [* audios] * windows, samples)
        if input_values_mask is None:
            row_mask, lengths = None, torch.full((len(rows),), rows.shape[-1], device=rows.device)
        else:
            row_mask = input_values_mask.flatten(0, -2)
            lengths = row_mask.long().sum(-1)
        frames = tower.frame_lengths(lengths).view(*audios, -1)  # (batch [, audios], windows)
        if (frames.flatten(1).sum(-1) == 0).any():
            item = int((frames.flatten(1).sum(-1) == 0).nonzero()[0])
            raise ValueError(
                f"Audio {item} of the batch has not one frame of sound ({rows.shape[-1]} samples a window)."
            )

        # Where the encoder is offloaded, its own hooks bring its input to it.
        device = rows.device if tower.device.type == "meta" else tower.device
        rows = rows.to(device, tower.dtype)
        trains_tower = torch.is_grad_enabled() and (self._trains_audio_tower() or input_values.requires_grad)
        encoded = None
        # Sharded weights are gathered by all processes together, so all have to call the encoder equally often.
        if trains_tower or output_hidden_states or output_attentions or _is_sharded(tower):
            encoded = tower(
                rows,
                None if row_mask is None else row_mask.to(device),
                output_hidden_states=output_hidden_states,
                output_attentions=output_attentions,
            )
            row_means = encoded.layer_means
        else:
            row_means = self._encode_in_groups(rows, lengths.tolist())

        # An audio is as long as its frames, whichever window they fell in.
        weights = (frames / frames.sum(-1, keepdim=True).clamp(min=1)).to(row_means.device)
        row_means = row_means.unflatten(0, frames.shape)  # (batch [, audios], windows, layers + 1, audio width)
        layer_means = (row_means * weights[..., None, None]).sum(-3)
        return MuLlamaAudioOutput(
            pooler_output=self.multi_modal_projector(layer_means),
            hidden_states=None if encoded is None else encoded.hidden_states,
            attentions=None if encoded is None else encoded.attentions,
            layer_means=layer_means,
        )

    @torch.no_grad()
    def _encode_in_groups(self, rows: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        """Encodes windows of the same length together, without padding, in the memory of one long window."""
        config = self.audio_tower.config
        row_means = rows.new_zeros((len(rows), config.num_hidden_layers + 1, config.hidden_size), dtype=torch.float32)
        order = sorted(range(len(rows)), key=lengths.__getitem__)
        for length, same_length in groupby(order, key=lengths.__getitem__):
            if self.audio_tower.frame_lengths(length) == 0:
                continue
            indices = torch.tensor(list(same_length), device=rows.device)
            for group in indices.split(max(1, MAX_SAMPLES_AT_ONCE // length)):
                row_means[group] = self.audio_tower(rows[group, :length]).layer_means
        return row_means

    def get_audio_embeds(
        self,
        input_values: torch.FloatTensor | None = None,
        input_values_mask: torch.Tensor | None = None,
        audio_features: torch.FloatTensor | None = None,
        audio_embeds: torch.FloatTensor | None = None,
    ) -> torch.FloatTensor | None:
        """
        Audio through whichever of the three doors it comes, as `(batch, text width)`; None if there is none.

        Raises `ValueError` if it comes through two.
        """
        doors = {"input_values": input_values, "audio_features": audio_features, "audio_embeds": audio_embeds}
        given = [name for name, value in doors.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"Give the audio once: `{'` and `'.join(given)}` were given.")
        if input_values is not None:
            return self.get_audio_features(input_values, input_values_mask, return_dict=True).pooler_output
        if audio_features is not None:
            return self.multi_modal_projector(audio_features)
        return audio_embeds

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        use_cache: bool | None = None,
        input_values: torch.FloatTensor | None = None,
        input_values_mask: torch.Tensor | None = None,
        audio_features: torch.FloatTensor | None = None,
        audio_embeds: torch.FloatTensor | None = None,
        audio_prefix: torch.FloatTensor | None = None,
        cache: Cache | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple | MuLlamaModelOutputWithPast:
        """
        LLaMA's forward, on audio that comes through one of three doors; without audio it is plain LLaMA.

        Args:
            input_values, input_values_mask (`(batch, windows, samples)` or `(batch, samples)`):
                Waveforms: see `get_audio_features`.
            audio_features (`(batch, layers + 1, audio width)`):
                Each MERT layer's mean over time: `layer_means` of `get_audio_features`.
            audio_embeds (`(batch, text width)`):
                The projected audio: `pooler_output` of `get_audio_features`.
            audio_prefix (`(batch, adapted layers, heads * head_dim)`):
                What `generate` makes of any of these, once: see `MuLlamaTextModel.get_audio_prefix`.
            cache (`Cache`): `past_key_values` by the name that transformers gives it from 5.24 on.

        One audio serves a batch of texts. Raises `ValueError` if two doors are used, or the batches do not agree.
        """
        audio_embeds = self.get_audio_embeds(input_values, input_values_mask, audio_features, audio_embeds)
        text_batch_size = (input_ids if input_ids is not None else inputs_embeds).shape[0]
        for audio in (audio_embeds, audio_prefix):
            if audio is not None and audio.shape[0] not in (1, text_batch_size):
                raise ValueError(f"{audio.shape[0]} audios do not go with {text_batch_size} texts.")

        outputs = self.language_model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            audio_embeds=audio_embeds,
            audio_prefix=audio_prefix,
            **{CACHE: past_key_values if cache is None else cache},
            **kwargs,
        )
        return MuLlamaModelOutputWithPast(
            last_hidden_state=outputs.last_hidden_state,
            **{CACHE: outputs.get(CACHE)},
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            audio_hidden_states=audio_embeds,
        )


class MuLlamaForConditionalGeneration(MuLlamaPreTrainedModel, GenerationMixin):
    """MU-LLaMA with its language model's head: music and a question in, an answer out."""

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}

    def __init__(self, config: MuLlamaConfig):
        super().__init__(config)
        self.model = MuLlamaModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    @classmethod
    def from_audio_text_pretrained(
        cls,
        audio_model_name_or_path: str | os.PathLike,
        text_model_name_or_path: str | os.PathLike,
        num_adapter_layers: int | None = None,
        dtype: str | torch.dtype = "auto",
        **config_kwargs,
    ) -> "MuLlamaForConditionalGeneration":
        """
        A base to train, from a MERT and a language model, with a fresh adapter: at first it *is* that language model.

        Args:
            audio_model_name_or_path: Folder or Hub id of a MERT.
            text_model_name_or_path: Folder or Hub id of a causal language model of LLaMA's architecture.
            num_adapter_layers (`int`, *optional*): Number of upper layers that hear; 20, or all if there are fewer.
            dtype: Of the whole model; by default the language model's own.
            config_kwargs: More of [`MuLlamaConfig`]'s values, such as `num_projector_layers`.

        Raises `ValueError` if one of the two is another kind of model.
        """
        expected = ((audio_model_name_or_path, ("mert", "mert_model")), (text_model_name_or_path, ("llama",)))
        for name, model_types in expected:
            model_type = PreTrainedConfig.get_config_dict(name)[0].get("model_type")
            if model_type not in model_types:
                raise ValueError(f"{name} is a {model_type!r} model, but {model_types[0]!r} is expected.")
        text_model = LlamaForCausalLM.from_pretrained(text_model_name_or_path, dtype=dtype)
        audio_model = MertModel.from_pretrained(audio_model_name_or_path, dtype=text_model.dtype)
        text_config = text_model.config.to_dict()
        for name in ("model_type", "architectures", "auto_map", "dtype", "_name_or_path"):
            text_config.pop(name, None)
        if num_adapter_layers is None:
            num_adapter_layers = min(MuLlamaTextConfig.num_adapter_layers, text_config["num_hidden_layers"])
        config = MuLlamaConfig(
            audio_config=audio_model.config,
            text_config=MuLlamaTextConfig(**text_config, num_adapter_layers=num_adapter_layers),
            **config_kwargs,
        )
        weights = {f"model.audio_tower.{name}": tensor for name, tensor in audio_model.state_dict().items()}
        for name, tensor in text_model.state_dict().items():
            weights[re.sub(r"^model\.", "model.language_model.", name)] = tensor
        # The rest is initialised, as in any model whose checkpoint lacks some weights.
        model = cls.from_pretrained(None, config=config, state_dict=weights, dtype=text_model.dtype)
        model.generation_config = text_model.generation_config
        model.generation_config.update(**RELEASED_SAMPLING)
        return model

    def get_audio_features(self, *args, **kwargs) -> tuple | MuLlamaAudioOutput:
        """See `MuLlamaModel.get_audio_features`."""
        return self.model.get_audio_features(*args, **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        input_values: torch.FloatTensor | None = None,
        input_values_mask: torch.Tensor | None = None,
        audio_features: torch.FloatTensor | None = None,
        audio_embeds: torch.FloatTensor | None = None,
        audio_prefix: torch.FloatTensor | None = None,
        cache: Cache | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple | MuLlamaCausalLMOutputWithPast:
        """
        LLaMA's forward, on audio: see `MuLlamaModel.forward` for the audio's arguments.

        Args:
            labels (`torch.LongTensor` of shape `(batch, positions)`, *optional*):
                Targets of the cross-entropy, unshifted; -100 is not counted.
            logits_to_keep (`int` or `torch.Tensor`, *optional*, defaults to 0):
                Number of last positions whose logits are computed, 0 for all; or the positions themselves.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values if cache is None else cache,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            input_values=input_values,
            input_values_mask=input_values_mask,
            audio_features=audio_features,
            audio_embeds=audio_embeds,
            audio_prefix=audio_prefix,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept, :])

        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.text_config.vocab_size, **kwargs
            )
        return MuLlamaCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            **{CACHE: outputs.get(CACHE)},
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            audio_hidden_states=outputs.audio_hidden_states,
        )

    @torch.no_grad()
    def generate(self, inputs: torch.Tensor | None = None, *args, **kwargs):
        """
        transformers' `generate`, with the audio's arguments of `MuLlamaModel.forward`.

        The audio conditions every decoding step, not only the prefill, so it is heard once, up front: the encoder runs
        once, and each adapted layer's value is computed once per audio.
        """
        doors = ("input_values", "input_values_mask", "audio_features", "audio_embeds")
        audio = {name: value for name in doors if (value := kwargs.pop(name, None)) is not None}
        if audio:
            texts = next(
                (t for t in (inputs, kwargs.get("input_ids"), kwargs.get("inputs_embeds")) if t is not None), None
            )
            kwargs.update(self._hear_for_generation(texts, **audio))
            if isinstance(assistant := kwargs.get("assistant_model"), MuLlamaForConditionalGeneration):
                heard = assistant._hear_for_generation(texts, **audio)
                kwargs.update({f"assistant_{name}": value for name, value in heard.items()})
        return super().generate(inputs, *args, **kwargs)

    def _hear_for_generation(self, texts: torch.Tensor | None, **audio: torch.Tensor) -> dict[str, torch.Tensor]:
        """What every decoding step is given of the audio, with one row a text, which `generate` repeats over beams."""
        audio_embeds = self.model.get_audio_embeds(**audio)
        if texts is not None and audio_embeds.shape[0] == 1:
            audio_embeds = audio_embeds.expand(texts.shape[0], -1)
        # Sharded weights can only be used inside their layer's forward.
        if _is_sharded(self):
            return {"audio_embeds": audio_embeds}
        audio_prefix = self.model.language_model.get_audio_prefix(audio_embeds)
        return {} if audio_prefix is None else {"audio_prefix": audio_prefix}

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.LongTensor,
        inputs_embeds: torch.FloatTensor | None = None,
        assistant_audio_prefix: torch.FloatTensor | None = None,
        assistant_audio_embeds: torch.FloatTensor | None = None,
        **kwargs,
    ) -> dict[str, Any]:
        """transformers' own, less what an assistant model has heard."""
        return super().prepare_inputs_for_generation(input_ids, inputs_embeds=inputs_embeds, **kwargs)

    def _get_candidate_generator(self, *args, model_kwargs: dict[str, Any], **kwargs):
        # An assistant hears the audio with its own weights; one that is no MU-LLaMA drafts from the text alone.
        if kwargs.get("assistant_model") is not None:
            own = ("audio_prefix", "audio_embeds")
            model_kwargs = {k.removeprefix("assistant_"): v for k, v in model_kwargs.items() if k not in own}
        return super()._get_candidate_generator(*args, model_kwargs=model_kwargs, **kwargs)


__all__ = ["MuLlamaForConditionalGeneration", "MuLlamaModel", "MuLlamaPreTrainedModel", "MuLlamaTextModel"]

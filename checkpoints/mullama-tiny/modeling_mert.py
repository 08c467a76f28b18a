"""
MERT (arXiv 2306.00107), the music encoder of MU-LLaMA, on the modules of transformers' HuBERT.

Parameter names are `HubertModel`'s, so m-a-p/MERT-v1-95M and -330M load as they are. What is added: padding changes
nothing, and each hidden state's mean over time is taken while the encoder runs, so that a minute of audio never holds
all its hidden states at once.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.hubert.modeling_hubert import HubertModel
from transformers.utils import can_return_tuple

from .configuration_mert import MertConfig

# The convolutions' inner states are hundreds of times the audio's size, so without gradients they see it in pieces.
CONV_SAMPLES_AT_ONCE = 160_000


@dataclass
class MertModelOutput(BaseModelOutput):
    """
    Output of [`MertModel`].

    last_hidden_state (`(batch, frames, width)`): the last layer's output; normalised in a pre-norm encoder.
    hidden_states (`layers + 1` tensors of `(batch, frames, width)`, on request): the encoder's input and each layer's
        output, the last one *after* the final norm, as MERT's released code gives them.
    attentions (`layers` tensors of `(batch, heads, frames, frames)`, on request, eager attention only).
    layer_means (`(batch, layers + 1, width)`, float32): the mean over time of each of those hidden states.
    """

    layer_means: torch.FloatTensor | None = None


class MertModel(HubertModel):
    """The MERT encoder: 24 kHz mono waveform in, 75 frames a second (for the released shapes) out."""

    config: MertConfig
    config_class = MertConfig
    base_model_prefix = "mert"
    _no_split_modules = ["HubertEncoderLayer", "HubertEncoderLayerStableLayerNorm", "HubertPositionalConvEmbedding"]
    _can_record_outputs = None

    def frame_lengths(self, sample_lengths: torch.Tensor | int) -> torch.Tensor | int:
        """Number of frames that the encoder makes of so many samples; 0 for less than the convolutions span."""
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            sample_lengths = (sample_lengths - kernel) // stride + 1
            sample_lengths = sample_lengths.clamp(min=0) if torch.is_tensor(sample_lengths) else max(sample_lengths, 0)
        return sample_lengths

    @can_return_tuple
    def forward(
        self,
        input_values: torch.FloatTensor,
        input_values_mask: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **kwargs,
    ) -> tuple | MertModelOutput:
        """
        Args:
            input_values (`torch.FloatTensor` of shape `(batch, samples)`):
                Mono waveforms at `config.sample_rate`, each normalised to zero mean and unit variance.
            input_values_mask (`torch.Tensor` of shape `(batch, samples)`, *optional*):
                1 on samples, 0 on padding, which stands on the right. A row of zeros is no audio: its means are 0.
            output_hidden_states, output_attentions (`bool`, *optional*): keep them, at the cost of their memory.

        Raises `ValueError` if the audio is shorter than one frame.
        """
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        if self.frame_lengths(input_values.shape[-1]) == 0:
            raise ValueError(f"Audio of {input_values.shape[-1]} samples is too short for one frame of the encoder.")

        sample_lengths = None if input_values_mask is None else input_values_mask.long().sum(-1)  # (batch,)
        features = self._extract_features(input_values, sample_lengths).transpose(1, 2)  # (batch, frames, conv_dim)
        hidden_states = self.feature_projection(features)  # (batch, frames, width)
        del features

        frame_mask, frame_weights = None, None
        if sample_lengths is not None:
            frame_lengths = self.frame_lengths(sample_lengths)
            frames = torch.arange(hidden_states.shape[1], device=hidden_states.device)
            # An empty row attends to its first frame, so that nothing of it is NaN, and weighs nothing.
            frame_mask = frames < frame_lengths.clamp(min=1)[:, None]  # (batch, frames)
            frame_weights = (frames < frame_lengths[:, None]) / frame_lengths.clamp(min=1)[:, None]
            hidden_states = hidden_states * frame_mask[..., None].to(hidden_states.dtype)

        hidden_states = self._mask_hidden_states(hidden_states, attention_mask=frame_mask)
        return self._encode(hidden_states, frame_mask, frame_weights, output_hidden_states, output_attentions)

    def _extract_features(self, input_values: torch.Tensor, sample_lengths: torch.Tensor | None) -> torch.Tensor:
        """HuBERT's convolutions, from `(batch, samples)` to `(batch, channels, frames)`."""
        first, *others = self.feature_extractor.conv_layers
        is_masked = sample_lengths is not None and self.config.feat_extract_norm == "group"
        # Weights that Accelerate offloads are there in their own module's forward only.
        is_offloaded = first.conv.weight.device.type == "meta"
        is_long = input_values.numel() > CONV_SAMPLES_AT_ONCE
        if is_long and not (is_masked or is_offloaded or torch.is_grad_enabled()):
            return self._extract_features_in_pieces(input_values)

        hidden_states = input_values[:, None]  # (batch, 1, samples)
        # Reentrant checkpointing only trains what its inputs lead to; without it, a gradient for the audio is waste.
        if self.training and first.gradient_checkpointing:
            hidden_states.requires_grad_(True)
        if is_masked:
            hidden_states = self._masked_group_norm_layer(first, hidden_states, sample_lengths)
        else:
            hidden_states = first(hidden_states)
        for layer in others:
            hidden_states = layer(hidden_states)
        return hidden_states

    def _extract_features_in_pieces(self, input_values: torch.Tensor) -> torch.Tensor:
        """The same, some seconds at a time; what the pieces share, under the convolutions' span, is computed twice."""
        first, *others = self.feature_extractor.conv_layers
        hop, span = 1, 1  # samples from frame to frame, and under one frame
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            span, hop = span + (kernel - 1) * hop, hop * stride
        frames = self.frame_lengths(input_values.shape[-1])
        step = max(1, CONV_SAMPLES_AT_ONCE // (hop * input_values.shape[0]))
        pieces = [
            input_values[:, None, start * hop : (min(start + step, frames) - 1) * hop + span]
            for start in range(0, frames, step)
        ]
        if self.config.feat_extract_norm == "group":
            scale, shift = self._group_norm_over_pieces(first, input_values)

        features = []
        for piece in pieces:
            if self.config.feat_extract_norm == "group":
                hidden_states = first.activation(first.conv(piece).mul_(scale).add_(shift))
            else:
                hidden_states = first(piece)
            for layer in others:
                hidden_states = layer(hidden_states)
            features.append(hidden_states)
        return torch.cat(features, dim=-1)

    def _group_norm_over_pieces(
        self, layer: nn.Module, input_values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and shift, `(batch, channels, 1)`, of HuBERT's first GroupNorm, which runs over all of time."""
        kernel, stride = self.config.conv_kernel[0], self.config.conv_stride[0]
        frames = (input_values.shape[-1] - kernel) // stride + 1
        step = max(1, CONV_SAMPLES_AT_ONCE // (stride * input_values.shape[0]))
        shares, means, variances = [], [], []
        for start in range(0, frames, step):
            stop = min(start + step, frames)
            states = layer.conv(input_values[:, None, start * stride : (stop - 1) * stride + kernel])
            variance, mean = torch.var_mean(states.float(), dim=-1, keepdim=True, correction=0)
            shares.append((stop - start) / frames)
            means.append(mean)
            variances.append(variance)
        mean = sum(share * mean for share, mean in zip(shares, means, strict=True))
        variance = sum(
            share * (variance + (piece_mean - mean).square())
            for share, piece_mean, variance in zip(shares, means, variances, strict=True)
        )
        scale = layer.layer_norm.weight[:, None] * (variance + layer.layer_norm.eps).rsqrt()
        shift = layer.layer_norm.bias[:, None] - mean * scale
        return scale.to(input_values.dtype), shift.to(input_values.dtype)

    def _masked_group_norm_layer(
        self, layer: nn.Module, hidden_states: torch.Tensor, sample_lengths: torch.Tensor
    ) -> torch.Tensor:
        """HuBERT's first convolution, whose GroupNorm runs over all of time, without the padding."""
        hidden_states = layer.conv(hidden_states)  # (batch, channels, frames)
        lengths = ((sample_lengths - self.config.conv_kernel[0]) // self.config.conv_stride[0] + 1).clamp(min=1)
        mask = torch.arange(hidden_states.shape[-1], device=hidden_states.device) < lengths[:, None]
        weights = (mask / lengths[:, None])[:, None]  # (batch, 1, frames), float32
        norm = layer.layer_norm
        mean = (hidden_states * weights).sum(-1, keepdim=True)
        variance = ((hidden_states - mean).square() * weights).sum(-1, keepdim=True)
        scale = norm.weight[:, None] * (variance + norm.eps).rsqrt()
        shift = norm.bias[:, None] - mean * scale
        return layer.activation((hidden_states * scale + shift).to(hidden_states.dtype))

    def _encode(
        self,
        hidden_states: torch.Tensor,
        frame_mask: torch.Tensor | None,
        frame_weights: torch.Tensor | None,
        output_hidden_states: bool,
        output_attentions: bool,
    ) -> MertModelOutput:
        """HuBERT's two encoders in one loop, which keeps each hidden state's mean over time instead of the state."""
        encoder, pre_norm = self.encoder, self.config.do_stable_layer_norm
        hidden_states = hidden_states + encoder.pos_conv_embed(hidden_states)
        if not pre_norm:
            hidden_states = encoder.layer_norm(hidden_states)
        hidden_states = encoder.dropout(hidden_states)

        # Without padding, no mask: attention then takes its fastest kernel.
        attention_mask = None
        if frame_mask is not None:
            attention_mask = create_bidirectional_mask(self.config, hidden_states, frame_mask)

        def mean_over_time(states: torch.Tensor) -> torch.Tensor:
            if frame_weights is None:
                return states.mean(dim=1, dtype=torch.float32)
            return (states * frame_weights[..., None]).sum(dim=1)

        attentions, hooks = [], []
        if output_attentions:
            hooks = [
                layer.attention.register_forward_hook(lambda module, args, output: attentions.append(output[1]))
                for layer in encoder.layers
            ]
        layer_means = [mean_over_time(hidden_states)]
        all_hidden_states = (hidden_states,) if output_hidden_states else None
        # Processes that share the layers' weights have to call the same ones: layer-drop is for one process.
        layerdrop = self.config.layerdrop if self.training else 0.0
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            layerdrop = 0.0
        for index, layer in enumerate(encoder.layers):
            if layerdrop == 0 or torch.rand(()) >= layerdrop:
                hidden_states = layer(hidden_states, attention_mask=attention_mask)
                # Until transformers 5.6 a layer returned a tuple.
                if isinstance(hidden_states, tuple):
                    hidden_states = hidden_states[0]
            if pre_norm and index == len(encoder.layers) - 1:
                hidden_states = encoder.layer_norm(hidden_states)
            layer_means.append(mean_over_time(hidden_states))
            if output_hidden_states:
                all_hidden_states += (hidden_states,)
        for hook in hooks:
            hook.remove()

        return MertModelOutput(
            last_hidden_state=hidden_states,
            hidden_states=all_hidden_states,
            attentions=tuple(attentions) if output_attentions else None,
            layer_means=torch.stack(layer_means, dim=1),  # (batch, layers + 1, width)
        )


__all__ = ["MertModel", "MertModelOutput"]

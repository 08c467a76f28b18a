"""The model that a recipe starts from: a whole one, or a MERT and a language model with a fresh adapter between."""

import numpy as np
import torch
from mullama.modeling_mullama import MuLlamaConfig, MuLlamaForConditionalGeneration
from mullama.processing import MuLlamaFeatureExtractor, MuLlamaProcessor
from transformers import AutoTokenizer
from trl import ModelConfig

from .arguments import MuLlamaArguments
from .data import DataError
from .features import LayerMeans

STANDARDISING_CLIPS = 2048


def load_start(
    args: MuLlamaArguments, model_args: ModelConfig, seed: int
) -> tuple[MuLlamaForConditionalGeneration, MuLlamaProcessor]:
    """
    The model and processor of a recipe; what is fresh in the model is drawn by `seed`.

    Raises DataError if the recipe names neither `model` nor its two parts.
    """
    torch.manual_seed(seed)
    if args.model is None:
        if args.audio_model is None or args.text_model is None:
            raise DataError("the recipe names no `model`, nor an `audio_model` and a `text_model` to make one of")
        model = MuLlamaForConditionalGeneration.from_audio_text_pretrained(
            args.audio_model, args.text_model, args.num_adapter_layers, dtype=model_args.dtype
        )
        extractor = MuLlamaFeatureExtractor.from_pretrained(args.audio_model)
        processor = MuLlamaProcessor(extractor, AutoTokenizer.from_pretrained(args.text_model))
    else:
        config = MuLlamaConfig.from_pretrained(args.model)
        if args.add_biases:
            config.text_config.attention_bias = config.text_config.mlp_bias = True
        model = MuLlamaForConditionalGeneration.from_pretrained(
            args.model, config=config, dtype=model_args.dtype, attn_implementation=model_args.attn_implementation
        )
        processor = MuLlamaProcessor.from_pretrained(args.model)
    if args.start_gate is not None:
        open_gates(model, args.start_gate)
    return model, processor


@torch.no_grad()
def open_gates(model: MuLlamaForConditionalGeneration, gate: float) -> None:
    """Let every layer that hears hear at once: from gates at 0 nothing flows back to the projector at first."""
    for layer in model.model.language_model.layers:
        if layer.is_adapted:
            layer.self_attn.audio_prefix.gate.fill_(gate)


@torch.no_grad()
def standardise_audio(model: MuLlamaForConditionalGeneration, layer_means: LayerMeans, seed: int) -> None:
    """
    Let the projection begin by standardising what it gets over clips.

    The unit-norm vectors of different music differ little, and left as they are, a fresh adapter learns slowly.
    Raises DataError without cached features.
    """
    if not len(layer_means):
        raise DataError("`standardise_audio: true` needs cached features, to know what there is to hear")
    projector = model.model.multi_modal_projector
    rows = np.linspace(0, len(layer_means) - 1, min(STANDARDISING_CLIPS, len(layer_means))).astype(int)
    heard = torch.from_numpy(np.asarray(layer_means[rows.tolist()], np.float32)).to(projector.linear.weight.device)
    mixed = projector.layer_weights.float()(heard.transpose(1, 2)).squeeze(-1)  # (clips, audio width)
    unit = torch.nn.functional.normalize(mixed, dim=-1)
    mean, spread = unit.mean(0), unit.std(0) + 1e-5
    random = torch.randn(projector.linear.weight.shape, generator=torch.Generator().manual_seed(seed))
    weight = random.to(heard.device) / projector.linear.in_features**0.5
    projector.linear.weight.copy_(weight / spread)
    projector.linear.bias.copy_(-weight @ (mean / spread))
    projector.to(projector.linear.weight.dtype)

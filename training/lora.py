"""A LoRA merged into the model that it was trained on, so that the finished folder opens as any other.

The audio prefix meets the base value matrix (REFERENCE.md 1), so what is merged into `v_proj` of a layer that hears is
taken off again in the prefix: `value_correction_*`, as in converted released weights.
"""

from pathlib import Path

import torch
from mullama.modeling_mullama import MuLlamaForConditionalGeneration
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn

from .trainer import OTHER_WEIGHTS


def load_adapter(model: MuLlamaForConditionalGeneration, folder: str | Path) -> PeftModel:
    """A checkpoint of a LoRA run put on the model that it was trained from, with all that trained beside it."""
    tuned = PeftModel.from_pretrained(model, str(folder))
    other = Path(folder) / OTHER_WEIGHTS
    if other.is_file():
        trained = load_file(other)
        missing = set(trained) - set(dict(tuned.named_parameters()))
        if missing:
            raise ValueError(f"{other}: the model has no parameter {min(missing)}: is it the one trained from?")
        tuned.load_state_dict(trained, strict=False)
    return tuned


@torch.no_grad()
def merge_lora(tuned: PeftModel) -> MuLlamaForConditionalGeneration:
    """
    The model with its LoRA merged and all that trained in place: same answers, no PEFT.

    Raises ValueError for a LoRA whose value part is no plain product (DoRA).
    """
    model = tuned.get_base_model()
    text_config = model.config.text_config
    corrections = {}
    for number, layer in enumerate(model.model.language_model.layers):
        if layer.is_adapted and isinstance(layer.self_attn.v_proj, nn.Linear) is False:
            corrections[number] = _value_lora(layer.self_attn.v_proj)
    merged = tuned.merge_and_unload()
    if corrections:
        rank = max(a.shape[0] for a, _ in corrections.values())
        for number, layer in enumerate(merged.model.language_model.layers):
            if layer.is_adapted:
                _correct(layer.self_attn.audio_prefix, *corrections.get(number, (None, None)), rank)
        text_config.value_correction_rank += rank
    for parameter in merged.parameters():
        parameter.requires_grad_(False)
    return merged


def _value_lora(v_proj) -> tuple[torch.Tensor, torch.Tensor]:
    """A (rank, in) and B (out, rank), its scale in B, of all that PEFT merges into a value projection."""
    a, b = [], []
    for name in v_proj.active_adapters:
        if v_proj.use_dora.get(name):
            raise ValueError("DoRA on `v_proj` cannot be merged: the audio needs the base value matrix; leave it out")
        a.append(v_proj.lora_A[name].weight)
        b.append(v_proj.scaling[name] * v_proj.lora_B[name].weight)
    return torch.cat(a), torch.cat(b, dim=1)


def _correct(prefix: nn.Module, a: torch.Tensor | None, b: torch.Tensor | None, rank: int) -> None:
    """Add `b @ a` to what the prefix takes off, padded with zeros to `rank`."""
    hidden = prefix.query.shape[0]
    out = prefix.gate.shape[0] // prefix.num_key_value_groups * prefix.head_dim
    dtype, device = prefix.query.dtype, prefix.query.device
    whole_a = torch.zeros(rank, hidden, dtype=dtype, device=device)
    whole_b = torch.zeros(out, rank, dtype=dtype, device=device)
    if a is not None:
        whole_a[: len(a)], whole_b[:, : b.shape[1]] = a.to(dtype), b.to(dtype)
    if prefix.value_correction_a is not None:
        whole_a = torch.cat([prefix.value_correction_a, whole_a])
        whole_b = torch.cat([prefix.value_correction_b, whole_b], dim=1)
    prefix.value_correction_a, prefix.value_correction_b = nn.Parameter(whole_a), nn.Parameter(whole_b)

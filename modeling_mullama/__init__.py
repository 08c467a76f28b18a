"""
The model: MERT, the music encoder, and MU-LLaMA, the language model that hears through it.

Importing this package makes both known to transformers' Auto classes, and makes `save_pretrained` put the code beside
the weights, so that a saved folder loads with `trust_remote_code=True` where this package is not installed.
"""

from transformers import AutoConfig, AutoModel, AutoModelForMultimodalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from .configuration_mert import MertConfig
from .configuration_mullama import MuLlamaConfig, MuLlamaTextConfig
from .modeling_mert import MertModel
from .modeling_mullama import (
    MuLlamaForConditionalGeneration,
    MuLlamaModel,
    MuLlamaPreTrainedModel,
    MuLlamaTextModel,
)

for config_class in (MertConfig, MuLlamaTextConfig, MuLlamaConfig):
    AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
# The released checkpoints' own name for it, which no class of transformers has.
CONFIG_MAPPING.register("mert_model", MertConfig, exist_ok=True)
for model_class in (MertModel, MuLlamaTextModel, MuLlamaModel):
    AutoModel.register(model_class.config_class, model_class, exist_ok=True)
AutoModelForMultimodalLM.register(MuLlamaConfig, MuLlamaForConditionalGeneration, exist_ok=True)

for config_class in (MertConfig, MuLlamaConfig):
    config_class.register_for_auto_class()
for model_class in (MertModel, MuLlamaModel):
    model_class.register_for_auto_class("AutoModel")
MuLlamaForConditionalGeneration.register_for_auto_class("AutoModelForMultimodalLM")

__all__ = [
    "MertConfig",
    "MertModel",
    "MuLlamaConfig",
    "MuLlamaForConditionalGeneration",
    "MuLlamaModel",
    "MuLlamaPreTrainedModel",
    "MuLlamaTextConfig",
    "MuLlamaTextModel",
]

"""Configuration of MERT, the music encoder: HuBERT's architecture on 24 kHz audio."""

from typing import Any

import transformers
from packaging.version import Version

# Tested on 5.4.0 to 5.23.0. Checked before anything that an older version lacks is imported.
if not Version("5.4.0") <= Version(transformers.__version__) < Version("6.0.0"):
    raise ImportError(
        f"MU-LLaMA needs transformers>=5.4.0,<6, but {transformers.__version__} is installed: "
        'run `pip install "transformers>=5.4.0,<6"`.'
    )

from huggingface_hub.dataclasses import strict  # noqa: E402
from transformers import HubertConfig  # noqa: E402


@strict
class MertConfig(HubertConfig):
    r"""
    The configuration of a [`MertModel`]: HuBERT's, with the four values that MERT adds. Defaults are of the shape of
    m-a-p/MERT-v1-95M (12 layers of width 768, norm after the sublayer); m-a-p/MERT-v1-330M has 24 layers of width
    1024 and `do_stable_layer_norm=True`. A config.json of the released `model_type`, "mert_model", is read as well.

    sample_rate (`int`, *optional*, defaults to 24000):
        Sampling rate of the input, in Hz.
    attention_relax (`float`, *optional*, defaults to -1.0):
        Released configurations rescale the attention logits by it before and after subtracting their maximum, which
        is the softmax itself; it is kept for the round trip and has no effect.
    deepnorm (`bool`, *optional*, defaults to `False`):
        DeepNorm residuals. No released checkpoint has them; `True` is refused.
    feature_extractor_cqt (`bool`, *optional*, defaults to `False`):
        Constant-Q features beside the waveform's. No released checkpoint needs them; `True` is refused.

    Raises `ValueError` on `deepnorm`, `feature_extractor_cqt` or `conv_pos_batch_norm` set to true.
    """

    model_type = "mert"

    mask_time_prob: float | int = 0.0
    sample_rate: int = 24000
    attention_relax: float | int = -1.0
    deepnorm: bool = False
    feature_extractor_cqt: bool = False

    def __post_init__(self, **kwargs) -> None:
        super().__post_init__(**kwargs)
        # Here, not among the validators, which wrap what they raise in two lines that are no ValueError.
        for name in ("deepnorm", "feature_extractor_cqt", "conv_pos_batch_norm"):
            if getattr(self, name):
                raise ValueError(f"`{name}=True` is not supported by MertModel; no released MERT checkpoint uses it.")

    @classmethod
    def get_config_dict(cls, *args, **kwargs) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reads a released "mert_model" configuration as our own, without its pointers to remote code."""
        config_dict, kwargs = super().get_config_dict(*args, **kwargs)
        if config_dict.get("model_type") == "mert_model":
            released_only = ("model_type", "architectures", "auto_map")
            config_dict = {key: value for key, value in config_dict.items() if key not in released_only}
            config_dict["model_type"] = cls.model_type
        return config_dict, kwargs


__all__ = ["MertConfig"]

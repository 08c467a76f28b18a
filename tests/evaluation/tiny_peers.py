"""
Audio-language models of transformers in their real classes, shrunk: random weights, a byte-level tokenizer with the
special tokens of the released ones, processors as they are saved on the Hub.
"""

from pathlib import Path
from string import ascii_letters

import torch
from mullama.evaluation.peers import OmniListener
from tokenizers import pre_tokenizers
from transformers import (
    AudioFlamingo3Config,
    AudioFlamingo3ForConditionalGeneration,
    AudioFlamingo3Processor,
    MusicFlamingoConfig,
    MusicFlamingoForConditionalGeneration,
    MusicFlamingoProcessor,
    Qwen2_5OmniConfig,
    Qwen2_5OmniForConditionalGeneration,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    Qwen2Tokenizer,
    WhisperFeatureExtractor,
    set_seed,
)

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
FLAMINGO_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<sound>", "<|sound_bos|>", "<|sound_eos|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}AUDIO{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer(special: tuple[str, ...], **tokens: str) -> Qwen2Tokenizer:
    """A token for each byte, and the special ones after them."""
    vocabulary = {token: number for number, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary, merges=[], eos_token="<|im_end|>", pad_token="<|endoftext|>", **tokens
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return tokenizer


def _audio(kind: str) -> dict:
    """A Whisper-like encoder's shape."""
    sizes = (
        {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
        if kind.startswith("qwen")
        else {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    )
    return {"model_type": kind, "num_mel_bins": 16, **sizes}


def _save(model: torch.nn.Module, processor, folder: Path) -> Path:
    set_seed(0)
    letters = processor.tokenizer.convert_tokens_to_ids(list(ascii_letters))
    writer = getattr(model, "thinker", model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # loud enough that another audio gives another answer
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.5 if "embed" in name else 0.3)
        head = writer.get_output_embeddings().weight
        head[[number for number in range(len(head)) if number not in letters]] = 0  # gibberish, but of letters
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def make_qwen2_audio(folder: Path) -> Path:
    """Qwen2-Audio: hears the first 30 s of an audio at 16 kHz."""
    tokenizer = make_tokenizer(SPECIAL)
    extractor = WhisperFeatureExtractor(feature_size=16)
    processor = Qwen2AudioProcessor(extractor, tokenizer)  # with the template that its class carries
    config = Qwen2AudioConfig(
        audio_config=_audio("qwen2_audio_encoder"),
        text_config={"model_type": "qwen2", "vocab_size": len(tokenizer), **TEXT},
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    return _save(Qwen2AudioForConditionalGeneration(config), processor, folder)


def make_audio_flamingo3(folder: Path) -> Path:
    """Audio Flamingo 3: windows of 30 s, ten minutes at most."""
    tokenizer = make_tokenizer(FLAMINGO_SPECIAL)
    template = CHAT_TEMPLATE.replace("AUDIO", "<sound>")
    processor = AudioFlamingo3Processor(WhisperFeatureExtractor(feature_size=16), tokenizer, chat_template=template)
    config = AudioFlamingo3Config(
        audio_config=_audio("audioflamingo3_encoder"),
        text_config={"model_type": "qwen2", "vocab_size": len(tokenizer), **TEXT},
        audio_token_id=tokenizer.convert_tokens_to_ids("<sound>"),
    )
    return _save(AudioFlamingo3ForConditionalGeneration(config), processor, folder)


def make_music_flamingo(folder: Path) -> Path:
    """Music Flamingo: windows of 30 s, twenty minutes at most."""
    tokenizer = make_tokenizer(FLAMINGO_SPECIAL)
    template = CHAT_TEMPLATE.replace("AUDIO", "<sound>")
    processor = MusicFlamingoProcessor(WhisperFeatureExtractor(feature_size=16), tokenizer, chat_template=template)
    ids = {
        f"audio_{name}token_id": tokenizer.convert_tokens_to_ids(token)
        for name, token in {"": "<sound>", "bos_": "<|sound_bos|>", "eos_": "<|sound_eos|>"}.items()
    }
    config = MusicFlamingoConfig(
        audio_config=_audio("audioflamingo3_encoder"),
        text_config={"model_type": "qwen2", "vocab_size": len(tokenizer), **TEXT},
        **ids,
    )
    return _save(MusicFlamingoForConditionalGeneration(config), processor, folder)


def make_qwen2_5_omni(folder: Path) -> Path:
    """Qwen2.5-Omni whole: thinker, talker and voice. Hears 10 s, not 300; its eyes need torchvision, and are out."""
    tokens = {
        "image_token": "<|IMAGE|>",
        "audio_token": "<|AUDIO|>",
        "video_token": "<|VIDEO|>",
        "vision_bos_token": "<|vision_bos|>",
        "vision_eos_token": "<|vision_eos|>",
        "audio_bos_token": "<|audio_bos|>",
        "audio_eos_token": "<|audio_eos|>",
    }
    tokenizer = make_tokenizer(SPECIAL[:3], extra_special_tokens=tokens)
    token_id = tokenizer.convert_tokens_to_ids
    text_config = {"vocab_size": len(tokenizer), "tie_word_embeddings": False, **TEXT}
    rope = {"rope_type": "default", "mrope_section": [4, 2, 2], "rope_theta": 1e6}
    audio = {**_audio("qwen2_5_omni_audio_encoder"), "output_dim": 32, "n_window": 100}
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32}
    places = {
        "audio_token_index": token_id("<|AUDIO|>"),
        "image_token_index": token_id("<|IMAGE|>"),
        "video_token_index": token_id("<|VIDEO|>"),
        "audio_start_token_id": token_id("<|audio_bos|>"),
        "audio_end_token_id": token_id("<|audio_eos|>"),
        "vision_start_token_id": token_id("<|vision_bos|>"),
        "vision_end_token_id": token_id("<|vision_eos|>"),
    }
    config = Qwen2_5OmniConfig(
        thinker_config={
            "audio_config": audio,
            "vision_config": vision,
            "text_config": {"rope_parameters": rope, **text_config},
            **places,
        },
        talker_config={"vocab_size": 64, "embedding_size": 32, "head_dim": 16, "rope_parameters": rope, **TEXT},
        token2wav_config={
            "dit_config": {
                "hidden_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "head_dim": 16,
                "emb_dim": 16,
                "num_embeds": 64,
                "look_ahead_layers": [0],
                "look_backward_layers": [0],
                "mel_dim": 16,
                "enc_emb_dim": 16,
                "enc_dim": 16,
                "enc_channels": [16, 16, 16, 16, 48],
                "enc_attention_channels": 8,
                "enc_se_channels": 8,
            },
            "bigvgan_config": {"mel_dim": 16, "upsample_initial_channel": 64},
        },
    )
    template = CHAT_TEMPLATE.replace("AUDIO", "<|audio_bos|><|AUDIO|><|audio_eos|>")
    processor = OmniListener(WhisperFeatureExtractor(feature_size=16, chunk_length=10), tokenizer, template)
    return _save(Qwen2_5OmniForConditionalGeneration(config), processor, folder)

"""
Random MU-LLaMA releases of any shape, and what the original computes on them, from its description alone.

`make_release` writes the files; `Reference` computes in plain torch from the tensors in the layout of Meta: the
rotary embedding turns pairs of neighbours, LoRA is not merged, the audio prefix has a softmax of its own. It shares no
code with the package, so that a converted model can be checked against it.
"""

import argparse
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

TOKENIZER = Path(__file__).parents[1] / "fixtures/mullama_release_tiny/release/LLaMA/tokenizer.model"
TOKENIZER_PIECES = 600
SAMPLING_RATE = 24_000


@dataclass
class Shape:
    """Shape and spelling of a release."""

    dim: int = 48
    layers: int = 4
    heads: int = 4
    kv_heads: int = 4
    ffn: int = 96
    vocab: int = TOKENIZER_PIECES
    adapted: int = 2
    projector: int = 80
    blocks: int = 3
    rank: int = 4
    norm_eps: float = 1e-5
    mert_layers: int = 3
    mert_dim: int = 24
    mert_pre_norm: bool = True

    phase: str = "finetune"  # or "pretrain": neither LoRA nor biases nor norms
    is_full: bool = False  # the checkpoint also has LLaMA's and MERT's own weights
    prefix: str = "llama."
    llama_layout: str = "meta"  # "hf-safetensors" in two files, "hf-bin" in one
    tied: bool = False  # Hugging Face layout only
    shards: int = 1
    params: tuple = ()  # more entries of params.json
    tokenizer_inside: bool = False
    mert_format: str = "bin"  # or "safetensors"
    weight_norm: str = "old"  # or "new"
    zip_pickles: bool = True


def _tensor(generator: torch.Generator, *shape: int, scale: float | None = None) -> torch.Tensor:
    scale = scale if scale is not None else 1 / math.sqrt(shape[-1])
    return torch.randn(shape, generator=generator) * scale


def _norm(generator: torch.Generator, dim: int) -> torch.Tensor:
    return 1 + 0.2 * torch.randn(dim, generator=generator)


def make_weights(shape: Shape, seed: int) -> tuple[dict, dict, dict]:
    """LLaMA's weights under Meta's names, MERT's, and the trained part of MU-LLaMA."""
    g = torch.Generator().manual_seed(seed)
    dim, head_dim = shape.dim, shape.dim // shape.heads
    kv_dim = shape.kv_heads * head_dim
    sizes = {
        "attention.wq": (dim, dim),
        "attention.wk": (kv_dim, dim),
        "attention.wv": (kv_dim, dim),
        "attention.wo": (dim, dim),
        "feed_forward.w1": (shape.ffn, dim),
        "feed_forward.w2": (dim, shape.ffn),
        "feed_forward.w3": (shape.ffn, dim),
    }
    llama = {"tok_embeddings.weight": _tensor(g, shape.vocab, dim, scale=1.0).half()}
    for i in range(shape.layers):
        for name, size in sizes.items():
            llama[f"layers.{i}.{name}.weight"] = _tensor(g, *size).half()
        llama[f"layers.{i}.attention_norm.weight"] = _norm(g, dim).half()
        llama[f"layers.{i}.ffn_norm.weight"] = _norm(g, dim).half()
    llama["norm.weight"] = _norm(g, dim).half()
    embeddings = llama["tok_embeddings.weight"]
    llama["output.weight"] = embeddings.clone() if shape.tied else _tensor(g, shape.vocab, dim).half()

    trained = {
        "mu_mert_agg.weight": _tensor(g, 1, shape.mert_layers + 1, 1, scale=1.0),
        "mu_mert_agg.bias": _tensor(g, 1, scale=0.1),
        "mu_mert_proj.weight": _tensor(g, dim, shape.mert_dim, scale=1.0),
        "mu_mert_proj.bias": _tensor(g, dim, scale=0.1),
        "prefix_query.weight": _tensor(g, shape.adapted, dim, scale=1.0),
    }
    for block in range(1, shape.blocks + 1):
        trained[f"mu_mert_norm_{block}.weight"] = _norm(g, dim)
        trained[f"mu_mert_f1_{block}.weight"] = _tensor(g, shape.projector, dim)
        trained[f"mu_mert_f2_{block}.weight"] = _tensor(g, dim, shape.projector)
        trained[f"mu_mert_f3_{block}.weight"] = _tensor(g, shape.projector, dim)
    for i in range(shape.layers):
        layer = f"llama.layers.{i}."
        trained[f"{layer}attention.gate"] = _tensor(g, 1, shape.heads, 1, 1, scale=1.0)
        if shape.phase == "pretrain":
            continue
        for name, (rows, columns) in sizes.items():
            block, linear = name.split(".")
            trained[f"{layer}{block}.lora_{linear}_l1.weight"] = _tensor(g, shape.rank, columns)
            trained[f"{layer}{block}.lora_{linear}_l2.weight"] = _tensor(g, rows, shape.rank, scale=0.3)
            if linear not in ("wk", "wv"):
                trained[f"{layer}{name}.bias"] = _tensor(g, rows, scale=0.3)
        trained[f"{layer}attention_norm.weight"] = _norm(g, dim)
        trained[f"{layer}ffn_norm.weight"] = _norm(g, dim)
    if shape.phase == "finetune":
        trained["llama.norm.weight"] = _norm(g, dim)
    return llama, _make_mert(shape, g), trained


def mert_config(shape: Shape) -> dict:
    """A configuration in the spelling of m-a-p/MERT-v1."""
    return {
        "architectures": ["MERTModel"],
        "model_type": "mert_model",
        "auto_map": {"AutoConfig": "configuration_MERT.MERTConfig", "AutoModel": "modeling_MERT.MERTModel"},
        "hidden_size": shape.mert_dim,
        "num_hidden_layers": shape.mert_layers,
        "num_attention_heads": 4,
        "intermediate_size": 2 * shape.mert_dim,
        "hidden_act": "gelu",
        "hidden_dropout": 0.1,
        "attention_dropout": 0.1,
        "layer_norm_eps": 1e-5,
        "feat_extract_norm": "group",
        "feat_extract_activation": "gelu",
        "feat_proj_layer_norm": True,
        "conv_dim": [12] * 7,
        "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
        "conv_stride": [5, 2, 2, 2, 2, 2, 2],
        "conv_bias": False,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
        "do_stable_layer_norm": shape.mert_pre_norm,
        "attention_relax": 32.0,
        "deepnorm": False,
        "feature_extractor_cqt": False,
        "sample_rate": SAMPLING_RATE,
        "mask_time_prob": 0.0,
    }


def _make_mert(shape: Shape, g: torch.Generator) -> dict:
    config, dim = mert_config(shape), shape.mert_dim
    weights, before = {}, 1
    for i, (width, kernel) in enumerate(zip(config["conv_dim"], config["conv_kernel"], strict=True)):
        scale = 1.5 / math.sqrt(before * kernel)
        name = f"feature_extractor.conv_layers.{i}.conv.weight"
        weights[name] = _tensor(g, width, before, kernel, scale=scale)
        before = width
    weights["feature_extractor.conv_layers.0.layer_norm.weight"] = _norm(g, config["conv_dim"][0])
    weights["feature_extractor.conv_layers.0.layer_norm.bias"] = _tensor(g, config["conv_dim"][0], scale=0.1)

    def linear(name: str, rows: int, columns: int) -> None:
        weights[f"{name}.weight"] = _tensor(g, rows, columns)
        weights[f"{name}.bias"] = _tensor(g, rows, scale=0.1)

    def layer_norm(name: str, width: int) -> None:
        weights[f"{name}.weight"] = _norm(g, width)
        weights[f"{name}.bias"] = _tensor(g, width, scale=0.1)

    layer_norm("feature_projection.layer_norm", before)
    linear("feature_projection.projection", dim, before)
    positions = "encoder.pos_conv_embed.conv"
    kernel, groups = config["num_conv_pos_embeddings"], config["num_conv_pos_embedding_groups"]
    g_name, v_name = {
        "old": ("weight_g", "weight_v"),
        "new": ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    }[shape.weight_norm]
    weights[f"{positions}.bias"] = _tensor(g, dim, scale=0.1)
    weights[f"{positions}.{g_name}"] = 1 + 0.3 * torch.randn(1, 1, kernel, generator=g)
    weights[f"{positions}.{v_name}"] = _tensor(g, dim, dim // groups, kernel, scale=0.2)
    layer_norm("encoder.layer_norm", dim)
    for i in range(shape.mert_layers):
        layer = f"encoder.layers.{i}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(f"{layer}attention.{name}", dim, dim)
        layer_norm(f"{layer}layer_norm", dim)
        linear(f"{layer}feed_forward.intermediate_dense", config["intermediate_size"], dim)
        linear(f"{layer}feed_forward.output_dense", dim, config["intermediate_size"])
        layer_norm(f"{layer}final_layer_norm", dim)
    return weights


def make_release(folder: Path, shape: Shape, seed: int = 0) -> "Reference":
    """Writes LLaMA/, MERT/ and checkpoint.pth into `folder`; returns what computes as the original does."""
    llama, mert, trained = make_weights(shape, seed)
    folder.mkdir(parents=True, exist_ok=True)
    _write_llama(folder / "LLaMA", shape, llama)
    _write_mert(folder / "MERT", shape, mert)

    model = dict(trained)
    if shape.is_full:
        model = {f"mert_model.{name}": tensor for name, tensor in mert.items()}
        model |= {f"llama.{name}": tensor.float() for name, tensor in llama.items()} | trained
    model = {
        shape.prefix + name.removeprefix("llama.") if name.startswith("llama.") else name: tensor
        for name, tensor in model.items()
    }
    checkpoint = {"model": model}
    if shape.is_full:
        checkpoint |= {
            "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
            "epoch": 3,
            "scaler": {"scale": 65536.0},
            "args": argparse.Namespace(blr=1e-3, llama_type="7B"),
        }
    torch.save(checkpoint, folder / "checkpoint.pth", _use_new_zipfile_serialization=shape.zip_pickles)
    return Reference(shape, llama, mert, trained)


def _write_llama(folder: Path, shape: Shape, llama: dict) -> None:
    if shape.llama_layout != "meta":
        return _write_hugging_face_llama(folder, shape, llama)
    inner = folder / "7B"
    inner.mkdir(parents=True)
    params = {"dim": shape.dim, "multiple_of": 32, "n_heads": shape.heads, "n_layers": shape.layers}
    params |= {"norm_eps": shape.norm_eps, "vocab_size": -1}
    if shape.kv_heads != shape.heads:
        params["n_kv_heads"] = shape.kv_heads
    (inner / "params.json").write_text(json.dumps(params | dict(shape.params)))
    shutil.copy(TOKENIZER, inner if shape.tokenizer_inside else folder)
    by_column = ("wo.weight", "w2.weight", "tok_embeddings.weight")
    for shard in range(shape.shards):
        weights = {"rope.freqs": torch.ones(shape.dim // shape.heads // 2)}
        for name, tensor in llama.items():
            if shape.shards > 1 and "norm" not in name:
                tensor = tensor.chunk(shape.shards, dim=1 if name.endswith(by_column) else 0)[shard].clone()
            weights[name] = tensor
        path = inner / f"consolidated.{shard:02d}.pth"
        torch.save(weights, path, _use_new_zipfile_serialization=shape.zip_pickles)


def _write_hugging_face_llama(folder: Path, shape: Shape, llama: dict) -> None:
    folder.mkdir(parents=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.dim,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": shape.norm_eps,
        "vocab_size": shape.vocab,
        "max_position_embeddings": 4096,
        "hidden_act": "silu",
        "tie_word_embeddings": shape.tied,
        "rope_theta": 10000.0,
        "torch_dtype": "float16",
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer"}))
    shutil.copy(TOKENIZER, folder)
    names = {"tok_embeddings": "model.embed_tokens", "output": "lm_head", "norm": "model.norm"}
    inner = {
        "attention.wq": "self_attn.q_proj",
        "attention.wk": "self_attn.k_proj",
        "attention.wv": "self_attn.v_proj",
        "attention.wo": "self_attn.o_proj",
        "feed_forward.w1": "mlp.gate_proj",
        "feed_forward.w2": "mlp.down_proj",
        "feed_forward.w3": "mlp.up_proj",
        "attention_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
    }
    for i in range(shape.layers):
        names |= {f"layers.{i}.{theirs}": f"model.layers.{i}.{ours}" for theirs, ours in inner.items()}
    weights = {}
    for name, tensor in llama.items():
        if name.endswith(("wq.weight", "wk.weight")):
            tensor = tensor[_rows_of_halves(tensor.shape[0], shape.dim // shape.heads)]
        weights[f"{names[name.removesuffix('.weight')]}.weight"] = tensor.contiguous()
    if shape.tied:
        del weights["lm_head.weight"]
    if shape.llama_layout == "hf-bin":
        torch.save(weights, folder / "pytorch_model.bin", _use_new_zipfile_serialization=shape.zip_pickles)
        return
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    weight_map = {name: files[i % 2] for i, name in enumerate(weights)}
    for file in files:
        save_file({name: weights[name] for name in weights if weight_map[name] == file}, folder / file)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _rows_of_halves(rows: int, head_dim: int) -> list[int]:
    """For each row in Hugging Face's order, the row in Meta's: pair (2i, 2i + 1) becomes (i, i + head_dim / 2)."""
    half = head_dim // 2
    within = [2 * i if i < half else 2 * (i - half) + 1 for i in range(head_dim)]
    return [row // head_dim * head_dim + within[row % head_dim] for row in range(rows)]


def _write_mert(folder: Path, shape: Shape, mert: dict) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(mert_config(shape)))
    extractor = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True, "feature_size": 1}
    extractor |= {"sampling_rate": SAMPLING_RATE, "padding_value": 0, "return_attention_mask": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
    if shape.mert_format == "safetensors":
        save_file(mert, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        torch.save(mert, folder / "pytorch_model.bin", _use_new_zipfile_serialization=shape.zip_pickles)


class Reference:
    """What the original computes, in float32."""

    def __init__(self, shape: Shape, llama: dict, mert: dict, trained: dict):
        self.shape = shape
        self.llama = {name: tensor.float() for name, tensor in llama.items()}
        self.mert = mert
        self.trained = trained

    def layer_means(self, wav: torch.Tensor) -> torch.Tensor:
        """`(samples,)` at 24 kHz to `(layers + 1, width)`."""
        w, config = self.mert, mert_config(self.shape)
        x = ((wav - wav.mean()) / torch.sqrt(wav.var(unbiased=False) + 1e-7))[None, None]
        for i, stride in enumerate(config["conv_stride"]):
            x = F.conv1d(x, w[f"feature_extractor.conv_layers.{i}.conv.weight"], stride=stride)
            if i == 0:
                name = "feature_extractor.conv_layers.0.layer_norm."
                x = F.group_norm(x, x.shape[1], w[name + "weight"], w[name + "bias"])
            x = F.gelu(x)
        x = self._layer_norm("feature_projection.layer_norm", x[0].T)  # (frames, width)
        x = self._linear("feature_projection.projection", x)

        name = "encoder.pos_conv_embed.conv."
        old = self.shape.weight_norm == "old"
        magnitude = w[name + ("weight_g" if old else "parametrizations.weight.original0")]
        direction = w[name + ("weight_v" if old else "parametrizations.weight.original1")]
        kernel = magnitude * direction / direction.norm(dim=(0, 1), keepdim=True)
        size, groups = config["num_conv_pos_embeddings"], config["num_conv_pos_embedding_groups"]
        positions = F.conv1d(x.T[None], kernel, w[name + "bias"], padding=size // 2, groups=groups)
        x = x + F.gelu(positions[0, :, : len(x)].T)

        pre_norm = self.shape.mert_pre_norm
        if not pre_norm:
            x = self._layer_norm("encoder.layer_norm", x)
        states = [x]
        for i in range(self.shape.mert_layers):
            layer = f"encoder.layers.{i}."
            if pre_norm:
                x = x + self._mert_attention(layer, self._layer_norm(layer + "layer_norm", x))
                x = x + self._mert_feed_forward(layer, self._layer_norm(layer + "final_layer_norm", x))
            else:
                x = self._layer_norm(layer + "layer_norm", x + self._mert_attention(layer, x))
                x = self._layer_norm(layer + "final_layer_norm", x + self._mert_feed_forward(layer, x))
            states.append(x)
        if pre_norm:
            states[-1] = self._layer_norm("encoder.layer_norm", states[-1])
        return torch.stack([state.mean(0) for state in states])

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self.mert[f"{name}.weight"].T + self.mert[f"{name}.bias"]

    def _layer_norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self.mert[f"{name}.weight"], self.mert[f"{name}.bias"], eps=1e-5)

    def _mert_attention(self, layer: str, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            self._linear(f"{layer}attention.{name}", x).unflatten(-1, (4, -1)).transpose(0, 1)
            for name in ("q_proj", "k_proj", "v_proj")
        )  # (heads, frames, head_dim)
        weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
        return self._linear(f"{layer}attention.out_proj", (weights @ v).transpose(0, 1).flatten(1))

    def _mert_feed_forward(self, layer: str, x: torch.Tensor) -> torch.Tensor:
        x = F.gelu(self._linear(f"{layer}feed_forward.intermediate_dense", x))
        return self._linear(f"{layer}feed_forward.output_dense", x)

    def audio_vector(self, wav: torch.Tensor) -> torch.Tensor:
        """`(samples,)` to the projected audio, `(dim,)`."""
        t = self.trained
        mixed = F.conv1d(self.layer_means(wav)[None], t["mu_mert_agg.weight"], t["mu_mert_agg.bias"])[0, 0]
        a = t["mu_mert_proj.weight"] @ (mixed / mixed.norm()) + t["mu_mert_proj.bias"]
        for b in range(1, self.shape.blocks + 1):
            n = a / torch.sqrt((a**2).mean() + 1e-6) * t[f"mu_mert_norm_{b}.weight"]
            gated = F.silu(t[f"mu_mert_f1_{b}.weight"] @ n) * (t[f"mu_mert_f3_{b}.weight"] @ n)
            a = a + t[f"mu_mert_f2_{b}.weight"] @ gated
        return a

    def logits(self, ids: list[int], wav: torch.Tensor | None) -> torch.Tensor:
        """Logits at every position, `(positions, vocab)`."""
        shape, t = self.shape, self.trained
        audio = None if wav is None else self.audio_vector(wav)
        x = self.llama["tok_embeddings.weight"][ids]
        head_dim = shape.dim // shape.heads
        frequencies = 1.0 / 10000 ** (torch.arange(0, head_dim, 2) / head_dim)
        angles = torch.outer(torch.arange(len(ids)).float(), frequencies)
        rotation = torch.polar(torch.ones_like(angles), angles)[:, None]  # (positions, 1, head_dim / 2)
        future = torch.full((len(ids), len(ids)), float("-inf")).triu(1)
        for i in range(shape.layers):
            layer = f"layers.{i}."
            n = self._rms_norm(x, layer + "attention_norm")
            q = self._rotate(self._adapted(layer + "attention.wq", n).unflatten(-1, (shape.heads, -1)), rotation)
            k = self._rotate(self._adapted(layer + "attention.wk", n).unflatten(-1, (shape.kv_heads, -1)), rotation)
            v = self._adapted(layer + "attention.wv", n).unflatten(-1, (shape.kv_heads, -1))
            q, k, v = (self._all_heads(states) for states in (q, k, v))  # (heads, positions, head_dim)
            out = (q @ k.mT / math.sqrt(head_dim) + future).softmax(-1) @ v
            if audio is not None and i >= shape.layers - shape.adapted:
                prefix = (audio + t["prefix_query.weight"][i - (shape.layers - shape.adapted)])[None]
                base_k = (prefix @ self.llama[layer + "attention.wk.weight"].T).unflatten(-1, (shape.kv_heads, -1))
                base_v = (prefix @ self.llama[layer + "attention.wv.weight"].T).unflatten(-1, (shape.kv_heads, -1))
                base_k, base_v = self._all_heads(base_k), self._all_heads(base_v)
                scores = (q @ base_k.mT / math.sqrt(head_dim)).softmax(-1)  # over the one prefix token
                out = out + t[f"llama.{layer}attention.gate"][0].tanh() * scores @ base_v
            x = x + self._adapted(layer + "attention.wo", out.transpose(0, 1).flatten(1))
            n = self._rms_norm(x, layer + "ffn_norm")
            gated = F.silu(self._adapted(layer + "feed_forward.w1", n)) * self._adapted(layer + "feed_forward.w3", n)
            x = x + self._adapted(layer + "feed_forward.w2", gated)
        return self._rms_norm(x, "norm") @ self.llama["output.weight"].T

    def _all_heads(self, states: torch.Tensor) -> torch.Tensor:
        """`(positions, heads or key-value heads, head_dim)` to `(heads, positions, head_dim)`."""
        groups = self.shape.heads // states.shape[1]
        return torch.stack([states[:, head // groups] for head in range(self.shape.heads)])

    @staticmethod
    def _rotate(states: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
        pairs = torch.view_as_complex(states.unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * rotation).flatten(-2)

    def _rms_norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        weight = self.trained.get(f"llama.{name}.weight", self.llama[f"{name}.weight"])
        return x / torch.sqrt((x**2).mean(-1, keepdim=True) + self.shape.norm_eps) * weight

    def _adapted(self, name: str, x: torch.Tensor) -> torch.Tensor:
        y = x @ self.llama[f"{name}.weight"].T
        if self.shape.phase == "pretrain":
            return y
        block, linear = name.rsplit(".", 1)
        lora = f"llama.{block}.lora_{linear}_"
        y = y + (x @ self.trained[f"{lora}l1.weight"].T) @ self.trained[f"{lora}l2.weight"].T
        bias = self.trained.get(f"llama.{name}.bias")
        return y if bias is None else y + bias

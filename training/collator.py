"""Questions and answers -> a batch for SFTTrainer: loss on the answers only, the music as cached layer means."""

from dataclasses import dataclass

import numpy as np
import torch
from mullama.processing import MuLlamaProcessor

IGNORE_INDEX = -100


@dataclass
class AnswerCollator:
    """Collates rows {"question", "answer", "clip"} in the processor's chat template.

    `layer_means` (clips, layers + 1, width) is what the encoder heard of each clip, `clip` a row of it; None trains
    on text alone. `noise` is added to it in training as a multiple of `spread` (layers + 1, width), its standard
    deviation over clips, so that what is learned does not hang on one clip's exact numbers.
    """

    processor: MuLlamaProcessor
    layer_means: np.ndarray | None = None
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.layer_means is not None:
            self.spread = torch.from_numpy(np.asarray(self.layer_means, np.float32).std(axis=0))

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask`, `labels` (batch, tokens), and `audio_features` where there is music."""
        conversations = [
            [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": row["answer"]}]
            for row in rows
        ]
        batch = self.processor.apply_chat_template(
            conversations, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        answered = torch.as_tensor(batch.pop("assistant_masks"), dtype=torch.bool)
        batch = dict(batch)
        batch["labels"] = batch["input_ids"].masked_fill(~answered, IGNORE_INDEX)
        if self.layer_means is not None:
            heard = torch.from_numpy(np.asarray(self.layer_means[[row["clip"] for row in rows]], np.float32))
            batch["audio_features"] = heard + self.noise * self.spread * torch.randn_like(heard)
        return batch

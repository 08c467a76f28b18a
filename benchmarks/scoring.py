"""
What scoring costs: METEOR and ROUGE-L as the metric module runs them, beside the libraries called directly.

    python benchmarks/scoring.py EvalMusicQA.json

Both give the same numbers; the module looks each word and text up once. Processor time, one process.
"""

import argparse
import time

import numpy as np
from mullama.evaluation.baselines import other_references
from mullama.evaluation.metrics.musicqa import musicqa
from mullama.evaluation.references import read_references
from nltk.tokenize import wordpunct_tokenize
from nltk.translate.meteor_score import meteor_score
from rouge_score.rouge_scorer import RougeScorer


def main() -> None:
    """Print both's pairs a second and their ratio."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", help="released JSON")
    parser.add_argument("--pairs", type=int, default=1000)
    args = parser.parse_args()
    references = read_references(args.data)[: args.pairs]
    pairs = list(zip(other_references(references, 1, seed=0), [r.answer for r in references], strict=True))
    rouge = RougeScorer(["rougeL"], use_stemmer=True)
    direct = {
        "METEOR": lambda said, true: meteor_score([wordpunct_tokenize(true)], wordpunct_tokenize(said)),
        "ROUGE-L": lambda said, true: rouge.score(true, said)["rougeL"].recall,
    }
    ours = {"METEOR": musicqa.meteor, "ROUGE-L": lambda said, true: musicqa.rouge_l(said, true)[0]}
    for name in ours:
        seconds, values = {}, {}
        direct[name](*pairs[0])
        for pair in pairs:  # WordNet's entries are read when they are first looked up
            ours[name](*pair)
        for who, score in {"ours": ours[name], "directly": direct[name]}.items():
            start = time.process_time()
            values[who] = [score(*pair) for pair in pairs]
            seconds[who] = time.process_time() - start
        difference = np.abs(np.subtract(values["ours"], values["directly"])).max()
        print(
            f"{name}: {len(pairs) / seconds['ours']:.0f} pairs a second, {seconds['directly'] / seconds['ours']:.2f} "
            f"times the library's own speed, largest difference {difference:.1g}"
        )


if __name__ == "__main__":
    main()

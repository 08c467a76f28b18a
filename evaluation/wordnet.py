"""
WordNet for METEOR where nobody can download it: NLTK's corpus made of Debian's packages.

    apt install wordnet-base wordnet-sense-index
    python -m mullama.evaluation.wordnet

Elsewhere `python -m nltk.downloader wordnet` fetches it. Both leave it where NLTK looks for it by itself.
"""

import argparse
import shutil
from pathlib import Path

DEBIAN = Path("/usr/share/wordnet")
PACKAGES = "wordnet-base wordnet-sense-index"
FILES = (
    "adj.exc adv.exc noun.exc verb.exc cntlist.rev index.sense "
    "data.adj data.adv data.noun data.verb index.adj index.adv index.noun index.verb"
).split()
# WordNet's lexicographer files, in the order of their numbers (manual page lexnames(5WN)), by part of speech.
SYNTACTIC_CATEGORIES = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}
LEXICOGRAPHER_FILES = (
    "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition "
    "noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object "
    "noun.person noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape "
    "noun.state noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition "
    "verb.consumption verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession verb.social "
    "verb.stative verb.weather adj.ppl"
).split()


def build_wordnet(out: str | Path, source: str | Path = DEBIAN) -> Path:
    """
    Make NLTK's WordNet corpus below a folder of NLTK's data.

    Args:
        out (`str` or `Path`): A folder that `nltk.data.path` names, or `NLTK_DATA`.
        source (`str` or `Path`): WordNet's database files, by default where Debian's packages put them.

    Returns:
        `out/corpora/wordnet`, which is left as it is where it is there already.

    Raises:
        FileNotFoundError: the packages are not installed.
    """
    source, folder = Path(source), Path(out) / "corpora" / "wordnet"
    if folder.is_dir():
        return folder
    missing = [name for name in FILES if not (source / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{source} lacks {', '.join(missing)}: on Debian, apt install {PACKAGES}")
    partial = folder.with_name(".wordnet.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(source / name, partial / name)  # NLTK refuses symbolic links that lead out of its data
    lines = (
        f"{number:02d}\t{name}\t{SYNTACTIC_CATEGORIES[name.split('.')[0]]}\n"
        for number, name in enumerate(LEXICOGRAPHER_FILES)
    )
    (partial / "lexnames").write_text("".join(lines), encoding="ascii")
    partial.rename(folder)
    return folder


def main() -> None:
    """Command line: make NLTK's WordNet of Debian's packages."""
    parser = argparse.ArgumentParser(prog="python -m mullama.evaluation.wordnet", description=main.__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path.home() / "nltk_data", help="folder of NLTK's data (default: ~/nltk_data)"
    )
    args = parser.parse_args()
    try:
        print(build_wordnet(args.out))
    except OSError as error:
        raise SystemExit(f"mullama: {error}") from error


if __name__ == "__main__":
    main()

"""
The page that sets measured results beside published ones.

`published.csv` holds numbers as papers give them, each with where it stands: nothing in it was measured here, and its
column `protocol` says what it may be compared with. Measured rows come from `results.json` of `mullama evaluate`.
"""

import csv
import json
from pathlib import Path

from .report import TITLES
from .scoring import PROTOCOLS

PUBLISHED = Path(__file__).parent / "published.csv"
COLUMNS = ("system", "task", "dataset", "protocol", "quoted_from")
NOTES = {
    "legacy": "BLEU over characters, METEOR, ROUGE-L recall and BERTScore recall, as the paper computed them. Quoted "
    "rows are numbers of a paper, not checked here, made on the dataset that they name; rows on different data do not "
    "compare. *Blind* rows never heard the music: what does not beat them has not shown that it hears.",
    "standard": "Made here only: no paper gives these. With 95 % intervals, bootstrapped over tracks.",
}


Row = tuple[str, str, str, tuple[str, ...]]  # system, data, measured or quoted, its cells


class ResultsError(ValueError):
    """A file of results that cannot be read, in one line."""


def read_published(path: str | Path = PUBLISHED) -> list[dict[str, str]]:
    """
    The quoted rows, as text: `system`, `task`, `dataset`, `protocol`, `quoted_from`, and the metrics of the protocol.

    Raises:
        ResultsError: a row without its source, of no known protocol, or with a number that is none.
    """
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values() or not all(row.get(column) for column in COLUMNS):
            raise ResultsError(f"{path}, line {line}: needs {', '.join(COLUMNS)}")
        if row["protocol"] not in PROTOCOLS:
            raise ResultsError(f"{path}, line {line}: no protocol {row['protocol']!r}")
        for metric in PROTOCOLS[row["protocol"]]:
            try:
                float(row.get(metric) or 0)
            except ValueError:
                raise ResultsError(f"{path}, line {line}: {metric} is no number: {row[metric]!r}") from None
    return rows


def read_results(path: str | Path) -> dict:
    """
    A `results.json` of `mullama evaluate`, or of the folder that holds it.

    Raises:
        ResultsError: there is none, or it is something else.
    """
    path = Path(path)
    path = path / "results.json" if path.is_dir() else path
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        systems = [table["systems"] for table in results["protocols"].values()]
        if not all(systems) or set(results["protocols"]) - set(PROTOCOLS):
            raise KeyError("systems")
    except OSError as error:
        raise ResultsError(
            f"{path}: cannot be read ({error.strerror}); give results.json of mullama evaluate"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ResultsError(f"{path}: not a results.json of mullama evaluate") from None
    return results


def results_page(results: list[dict], published: list[dict[str, str]]) -> str:
    """Markdown: a table for each protocol, measured rows above the quoted ones, blind ones beside what they judge."""
    lines = ["# Results, measured and quoted", ""]
    for protocol, metrics in PROTOCOLS.items():
        # Results on the same data share their blind rows.
        measured = list(dict.fromkeys(row for each in results for row in _measured_rows(each, protocol, metrics)))
        quoted = [_quoted_row(row, metrics) for row in published if row["protocol"] == protocol]
        if not measured:
            continue
        shown = [at for at in range(len(metrics)) if any(cells[at] != "-" for *_, cells in measured + quoted)]
        titles = " | ".join(TITLES[metrics[at]] for at in shown)
        lines += [f"## Protocol `{protocol}`", "", NOTES[protocol], ""]
        lines += [f"| system | on | {titles} | number is |", "|---|---|" + "---|" * len(shown) + "---|"]
        for system, data, source, cells in measured + quoted:
            lines.append(f"| {system} | {data} | {' | '.join(cells[at] for at in shown)} | {source} |")
        lines.append("")
        for each in results:
            lines += [f"- {each['name']}: {reason}" for reason in _how(each, protocol)]
        lines.append("")
    return "\n".join(lines)


def _measured_rows(results: dict, protocol: str, metrics: tuple[str, ...]) -> list[Row]:
    table = results["protocols"].get(protocol, {"systems": {}})
    # A file's name is enough: where it lay on the machine that measured it is nobody's business.
    data = Path(results["data"]).name if results["data"].startswith(("/", ".", "~")) else results["data"]
    data = f"{data} ({results['questions']:,} questions)"
    rows = []
    for name, groups in table["systems"].items():
        label = f"*blind:* {name}" if groups["blind"] else f"**{name}**"
        rows.append((label, data, "measured", tuple(_cell(groups["overall"].get(m), m) for m in metrics)))
    return rows


def _quoted_row(row: dict[str, str], metrics: tuple[str, ...]) -> Row:
    cells = tuple(f"{float(row[metric]):.3f}" if row.get(metric) else "-" for metric in metrics)
    return row["system"], row["dataset"], f"quoted: {row['quoted_from']}", cells


def _cell(estimate: dict | None, metric: str) -> str:
    if not estimate:
        return "-"
    digits = 1 if metric == "sacrebleu" else 3
    ends = [f"{estimate[end]:.{digits}f}" for end in ("low", "high") if end in estimate]  # none of a few tracks
    return f"{estimate['value']:.{digits}f}" + (f" [{', '.join(ends)}]" if ends else "")


def _how(results: dict, protocol: str) -> list[str]:
    """What one has to know of how a measured row was made, to compare it."""
    told = [f"{metric} is missing: {reason}" for metric, reason in results["missing"].items()]
    made = results["made"]
    if made.get("BERTScore_model"):
        told.append(f"BERTScore by {made['BERTScore_model']}")
    if protocol == "standard":
        told.append(f"sacreBLEU {made['sacreBLEU_signature']}")
    for problem, found in results["problems"].items():
        told.append(f"{problem}: {found['count']:,}")
    return told

"""Results for people: a Markdown page of tables, and plots."""

from pathlib import Path

from .scoring import PROPERTIES, PROTOCOLS

TITLES = {
    "character_bleu": "BLEU (characters)",
    "meteor": "METEOR",
    "rouge_l_recall": "ROUGE-L recall",
    "rouge_l_f1": "ROUGE-L F1",
    "bertscore_recall": "BERTScore recall",
    "bertscore_f1": "BERTScore F1",
    "sacrebleu": "sacreBLEU",
    "cider_d": "CIDEr-D (captions)",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "length_ratio": "length ratio",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "within_4_percent": "within 4 %",
    "octave_errors": "octave errors",
    "weighted": "weighted (MIREX)",
    "unreadable": "unreadable",
}
MEANINGS = {
    "legacy": "The published protocol: BLEU over characters (NLTK, no smoothing), METEOR, ROUGE-L recall, BERTScore "
    "recall; of tracks over a minute the joined answers to every second minute.",
    "standard": "sacreBLEU over words, METEOR, ROUGE-L F1, BERTScore F1, CIDEr-D of the captions; tracks heard whole.",
}


def write_report(results: dict, out: Path) -> list[Path]:
    """Write `results.md` and the plots into `out`, and return their paths."""
    plots = _plot(results, out)
    page = out / "results.md"
    partial = page.with_name(f"{page.name}.partial")
    partial.write_text(to_markdown(results, [path.name for path in plots]), encoding="utf-8")
    partial.rename(page)
    return [page, *plots]


def to_markdown(results: dict, plots: list[str] | None = None) -> str:
    """The tables of results, with how they were made."""
    made = results["made"]
    lines = [
        f"# {results['name']} on {results['data']}",
        "",
        f"{results['questions']:,} questions about {results['tracks']:,} tracks. In brackets: 95 % intervals, "
        "bootstrapped over tracks. *Blind* rows do not hear the track.",
        "",
    ]
    lines += _problem_lines(results)
    for protocol, table in results["protocols"].items():
        lines += [f"## Protocol `{protocol}`", "", MEANINGS[protocol], "", *_table(table, PROTOCOLS[protocol]), ""]
        for metric, reason in results["missing"].items():
            if metric in PROTOCOLS[protocol] or metric == "bertscore":
                lines += [f"Missing, {metric}: {reason}.", ""]
    if results["closed"]:
        lines += ["## Closed-form questions", "", *_closed_table(results), ""]
    if len(results["kinds"]) > 1:
        lines += ["## By kind of question", ""]
        for protocol, table in results["protocols"].items():
            lines += [f"### `{protocol}`", "", *_kind_table(results, table, PROTOCOLS[protocol]), ""]
    lines += ["## How it was made", ""]
    lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in made.items() if value is not None]
    lines += ["", *(f"![{name}]({name})" for name in plots or ()), ""]
    return "\n".join(lines)


def _problem_lines(results: dict) -> list[str]:
    if not results["problems"]:
        return ["Every question was answered, and nothing was left out.", ""]
    lines = ["| wrong with the answers | count | for example |", "|---|---|---|"]
    for problem, found in results["problems"].items():
        example = found["examples"][0].replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {problem} | {found['count']:,} of {results['questions']:,} | {example} |")
    return [
        *lines,
        "",
        "A missing or empty answer scores 0 and stays in every mean; of two answers the first counts.",
        "",
    ]


def _cell(estimate: dict | None, sign: bool = False) -> str:
    if not estimate:
        return "-"
    value = estimate["difference"] if sign else estimate["value"]
    mark = "+" if sign and value >= 0 else ""
    digits = 1 if max(abs(value), abs(estimate.get("high", 0))) > 10 else 3
    text = f"{mark}{value:.{digits}f}"
    return f"{text} [{estimate['low']:.{digits}f}, {estimate['high']:.{digits}f}]" if "low" in estimate else text


def _header(first: str, metrics: list[str]) -> list[str]:
    return [
        f"| {first} | {' | '.join(TITLES[metric] for metric in metrics)} |",
        "|---|" + "---|" * len(metrics),
    ]


def _present(table: dict, metrics) -> list[str]:
    rows = [groups["overall"] for groups in table["systems"].values()]
    return [metric for metric in metrics if any(metric in row for row in rows)]


def _table(table: dict, metrics) -> list[str]:
    metrics = _present(table, metrics)
    lines = _header("", metrics)
    for name, groups in table["systems"].items():
        label = f"*blind:* {name}" if groups["blind"] else f"**{name}**"
        lines.append(f"| {label} | {' | '.join(_cell(groups['overall'].get(metric)) for metric in metrics)} |")
    return lines + _gain_lines(table, metrics)


def _gain_lines(table: dict, metrics: list[str]) -> list[str]:
    """Gains over the best blind one and over itself hearing another track, and the test against another system."""
    lines = []
    if gains := table.get("gain_over_blind"):
        cells = [
            f"{_cell(gains[metric], sign=True)} over {gains[metric]['over']}" if metric in gains else "-"
            for metric in metrics
        ]
        lines.append(f"| **gain over the best blind** | {' | '.join(cells)} |")
    if gains := table.get("gain_by_hearing"):
        cells = [_cell(gains.get(metric), sign=True) for metric in metrics]
        lines.append(f"| **gain by hearing its track, not another** | {' | '.join(cells)} |")
    if test := table.get("against"):
        cells = [
            f"{_cell(test[metric], sign=True)}, p = {test[metric]['p']:.3f}" if metric in test else "-"
            for metric in metrics
        ]
        name = next(iter(test.values()))["over"]
        lines.append(f"| **difference from {name}** | {' | '.join(cells)} |")
    return lines


def _closed_table(results: dict) -> list[str]:
    lines = [
        "Accuracy by kind (of tempi in beats per minute, the share within 4 %). What cannot be read is wrong.",
        "",
    ]
    names = list(next(iter(results["closed"].values()))["systems"])
    lines += [
        f"| kind (questions, labels) | {' | '.join(names)} | gain over the best blind |",
        "|---|" + "---|" * (len(names) + 1),
    ]
    for kind, table in results["closed"].items():
        first = _present(table, ("accuracy", "within_4_percent"))[0]
        cells = [_cell(table["systems"][name]["overall"][first]) for name in names]
        gain = table.get("gain_over_blind", {}).get(first)
        cells.append(f"{_cell(gain, sign=True)} over {gain['over']}" if gain else "-")
        lines.append(f"| {kind} ({table['questions']}, {table['labels']}) | {' | '.join(cells)} |")
    ours = names[0]
    lines += ["", f"Everything about {ours}:", ""]
    metrics = [
        m for m in TITLES if any(m in table["systems"][ours]["overall"] for table in results["closed"].values())
    ]
    lines += _header("kind", metrics)
    for kind, table in results["closed"].items():
        row = table["systems"][ours]["overall"]
        lines.append(f"| {kind} | {' | '.join(_cell(row.get(metric)) for metric in metrics)} |")
    return lines


def _kind_table(results: dict, table: dict, metrics) -> list[str]:
    """The judged system's scores by kind beside the best blind ones; without one to judge, everybody's."""
    metrics = _present(table, metrics)
    systems = table["systems"]
    ours, row = next(iter(systems.items()))
    blind = [groups for groups in systems.values() if groups["blind"]]
    if row["blind"]:
        lines = _header("kind (questions), system", metrics)
        for kind, count in results["kinds"].items():
            for name, groups in systems.items():
                cells = [_cell(groups[kind].get(metric)) for metric in metrics]
                lines.append(f"| {kind} ({count}), {name} | {' | '.join(cells)} |")
        return lines
    lines = [f"{ours}, and behind the stroke the best blind row.", "", *_header("kind (questions)", metrics)]
    for kind, count in results["kinds"].items():
        cells = []
        for metric in metrics:
            best = max((g[kind][metric]["value"] for g in blind if g[kind].get(metric)), default=None)
            text = _cell(row[kind].get(metric))
            known = best is not None and metric not in PROPERTIES
            cells.append(f"{text} / {_cell({'value': best})}" if known else text)
        lines.append(f"| {kind} ({count}) | {' | '.join(cells)} |")
    return lines


def _plot(results: dict, out: Path) -> list[Path]:
    paths = []
    for protocol, table in results["protocols"].items():
        metrics = [m for m in _present(table, PROTOCOLS[protocol]) if m not in PROPERTIES]
        panels = {
            TITLES[metric]: {name: groups["overall"].get(metric) for name, groups in table["systems"].items()}
            for metric in metrics
        }
        paths.append(_draw(panels, results["name"], out / f"{protocol}.png"))
    if results["closed"]:
        panels = {}
        for kind, table in results["closed"].items():
            first = _present(table, ("accuracy", "within_4_percent"))[0]
            panels[kind] = {name: groups["overall"][first] for name, groups in table["systems"].items()}
        paths.append(_draw(panels, results["name"], out / "closed.png"))
    return paths


def _draw(panels: dict[str, dict[str, dict | None]], name: str, path: Path) -> Path:
    """A panel of horizontal bars a score: systems with their intervals, the judged one in another colour."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = {title: {who: e for who, e in bars.items() if e} for title, bars in panels.items()}
    panels = {title: bars for title, bars in panels.items() if bars}
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    longest = max(len(bars) for bars in panels.values())
    figure = Figure(figsize=(4.6 * columns, rows * (0.9 + 0.3 * longest)), layout="constrained")
    FigureCanvasAgg(figure)  # no display is needed, and no global state left
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for (title, bars), place in zip(panels.items(), axes, strict=False):
        values = [estimate["value"] for estimate in bars.values()]
        errors = [
            [value - e["low"] for value, e in zip(values, bars.values(), strict=True)],
            [e["high"] - value for value, e in zip(values, bars.values(), strict=True)],
        ]
        errors = [[max(0.0, error) for error in side] for side in errors]
        colours = ["tab:blue" if who == name else "lightgrey" for who in bars]
        place.barh(list(bars), values, xerr=errors, color=colours, capsize=2)
        place.invert_yaxis()
        place.set_title(title, fontsize=9)
        place.tick_params(labelsize=7)
    for place in list(axes):
        place.set_axis_off()
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, dpi=120, format="png")
    partial.rename(path)
    return path

"""The files of a finished run, and what is in them whenever and wherever it was made."""

from recsae.core.files import read_json

FILES = {
    *("together.parquet", "firing.parquet", "counterexamples.parquet"),
    *("baselines.parquet", "obeyed.parquet"),
    *("active_items.parquet", "active_cases.parquet"),
    *("stability.json", "language.json", "supervised.json"),
    *("run.json", "report.json", "report.html", "card.md", "concepts.csv", "turn.json"),
    "figures.json",
    *("concepts.parquet", "scores.parquet", "examples.parquet"),
    *("attributes.parquet", "latents.parquet", "core.json", "core.safetensors"),
    *("scoring.json", "accuracy.json", "steering.json", "goals.json"),
    *("sae/cfg.json", "sae/sae.safetensors", "sae/quality.json", "sae/tried.json"),
    *("activations/manifest.json", "heldout/manifest.json"),
    *("recommender/facts.json", "recommender/arrays.safetensors"),
    *("recommender/items.parquet", "recommender/ids.parquet"),
}
CLOCKS = ("timings", "cpu_seconds", "memory", "created")


def contents(folder):
    """Every file of a run as bytes, less what measures time and memory."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        if name == "report.html":
            found[name] = bool(path.stat().st_size)
        elif name == "run.json":
            record = read_json(path)
            made_from = {s: v["made_from"] for s, v in record["stages"].items()}
            found[name] = {**record, "stages": made_from}
        elif name in ("report.json", "sae/cfg.json", "plain/cfg.json"):
            content = {k: v for k, v in read_json(path).items() if k not in (*CLOCKS, "seconds")}
            content.get("sae", {}).pop("seconds", None)
            found[name] = content
        else:
            found[name] = path.read_bytes()
    return found

"""Train RecTools' SASRec on a data set in RecBole's atomic files, to be opened by recsae.

Each user's last interaction is left out of the training. In the folder are then the model, all
interactions and the table of items, as `recsae run OUT/model.pkl --trust --items OUT/items.csv`
reads them.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import pandas as pd


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--epochs", default=20, show_default=True)
def main(folder: Path, out: Path, epochs: int) -> None:
    """Train on FOLDER/NAME.inter, weighed by ratings; NAME is that of the folder."""
    import pandas as pd
    import torch
    from rectools.dataset import Dataset
    from rectools.metrics import NDCG, Recall
    from rectools.models import SASRecModel

    torch.manual_seed(0)
    out.mkdir(parents=True, exist_ok=True)
    columns = ["user_id", "item_id", "weight", "datetime"]
    rows = _atomic(folder / f"{folder.name}.inter")
    rows = rows.rename(columns={"rating": "weight", "timestamp": "datetime"})[columns]
    rows["weight"] = rows["weight"].astype(float)
    rows["datetime"] = pd.to_datetime(rows["datetime"].astype(float), unit="s")
    rows = rows.sort_values("datetime", kind="stable").reset_index(drop=True)
    rows.to_parquet(out / "interactions.parquet", index=False)
    _atomic(folder / f"{folder.name}.item").to_csv(out / "items.csv", index=False)
    last = rows.groupby("user_id").tail(1).index
    dataset = Dataset.construct(rows.drop(last).reset_index(drop=True))
    model = SASRecModel(
        n_factors=64, n_blocks=2, n_heads=2, session_max_len=50, lr=3e-3, epochs=epochs
    )
    started, cpu = time.perf_counter(), time.process_time()
    model.fit(dataset)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    click.echo(f"{epochs} epochs: {seconds:.0f} s, {cpu:.0f} CPU s")
    model.save(out / "model.pkl")
    asked = rows.loc[last]
    lists = model.recommend(asked["user_id"].unique(), dataset, 10, filter_viewed=False)
    for name, metric in (("NDCG", NDCG(10, divide_by_achievable=True)), ("recall", Recall(10))):
        click.echo(f"{name}@10 {metric.calc(lists, asked):.4f}")


def _atomic(path: Path) -> pd.DataFrame:
    import pandas as pd

    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8")
    return table.set_axis([name.partition(":")[0] for name in table.columns], axis=1)


if __name__ == "__main__":
    main()

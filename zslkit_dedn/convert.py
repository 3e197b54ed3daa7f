"""`python -m zslkit_dedn.convert` makes a run folder from a checkpoint of the authors' program.

The folder can be evaluated, compared and explained like any run; its record says that another
program trained the weights.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from zslkit.cli.failure import State, exit_code_of


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--dataset",
    "-d",
    required=True,
    metavar="NAME",
    help="The dataset it was trained on: cub, sun, awa2, or a card FILE.yaml.",
)
@click.option(
    "--clusters",
    type=click.Choice(["paper", "released"]),
    default="paper",
    show_default=True,
    help="Clusters of its fExp.",
)
@click.option(
    "--preset",
    metavar="NAME",
    help="Preset with its mixes, such as sun-zsl; default: the dataset's.",
)
@click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    default=Path("data"),
    show_default=True,
    help="Folder of the data.",
)
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="A setting, such as c_mix=0.6 or features.size=224.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of the run folders.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
def convert(
    checkpoint: Path,
    dataset: str,
    clusters: str,
    preset: str | None,
    data_root: Path,
    settings: tuple[str, ...],
    out: Path,
    device: str,
) -> None:
    """Make a run folder of a CHECKPOINT that the authors' program saved, and print its figures."""
    from zslkit.cli.present import print_run
    from zslkit.model import Model
    from zslkit.runs import api
    from zslkit.utils.progress import reporter_for
    from zslkit_dedn import official
    from zslkit_dedn.model import DEDN

    state = official.read(checkpoint)
    digest = hashlib.sha256(
        b"".join(k.encode() + state[k].contiguous().numpy().tobytes() for k in sorted(state))
    ).hexdigest()[:16]

    def fill(model: Model) -> None:
        assert isinstance(model, DEDN)
        official.fill(model, state)

    rank = state["GNet.H_1"].shape[1] if "GNet.H_5" in state else None
    result = api.run(
        "dedn",
        dataset,
        data_root=data_root,
        preset=preset,
        settings=settings,
        overrides={"clusters": clusters, "rank": rank},
        out=out,
        device=device,
        reporter=reporter_for(),
        trained=api.ExternalWeights(fill, f"{checkpoint.name}, {digest}", digest),
    )
    print_run(result.record, result.folder, result.reused)


def main() -> int:
    """Run the command and return its exit code."""
    try:
        convert.main(standalone_mode=False)
    except BaseException as error:
        return exit_code_of(error, State())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""`python -P -m cloud.training --dataset FILE --out DIR [--algorithms pca,lstm-ae] [--champion DIR]`.

Prints one JSON object per line for progress. Exit code 0 when a model was chosen, 3 when none was (see
`DIR/result.json`), 2 for a wrong request or missing training libraries.
"""

import argparse
import json
import sys
from pathlib import Path

from shared.clock import SystemClock
from shared.errors import ArtifactError

EXIT_NONE_CHOSEN = 3


def say(stage: str, facts: dict[str, object]) -> None:
    """One progress line, at once."""
    sys.stdout.write(json.dumps({"stage": stage, **facts}) + "\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, and say what came out."""
    parser = argparse.ArgumentParser(
        prog="python -P -m cloud.training", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--algorithms", default="pca,lstm-ae")
    parser.add_argument("--champion", type=Path, help="folder with model.onnx and manifest.json")
    given = parser.parse_args(arguments)
    try:
        from cloud.training.run import train  # noqa: PLC0415  # its absence has a message of its own
    except ModuleNotFoundError as error:
        say("failed", {"detail": f"{error.name} is missing: pip install minewarden[train]"})
        return 2
    try:
        result = train(
            given.dataset,
            given.out,
            algorithms=[name for name in given.algorithms.split(",") if name],
            champion_folder=given.champion,
            clock=SystemClock(),
            say=say,
        )
    except ArtifactError as error:
        say("failed", {"detail": str(error)})
        return 2
    return 0 if result.chosen is not None else EXIT_NONE_CHOSEN


if __name__ == "__main__":
    sys.exit(main())

"""What a stage reports its progress to; this one keeps nothing (`tracking` has MLflow's)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


class NullTracker:
    """Takes everything, keeps nothing."""

    run_id: str | None = None

    def params(self, params: Mapping[str, Any]) -> None:
        """Nested params of the run; flattened with dots."""

    def metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Numbers at a step."""

    def tags(self, tags: Mapping[str, str]) -> None:
        """Words to find the run by."""

    def artifact(self, path: Path | str, folder: str | None = None) -> None:
        """A file to keep with the run, in a folder of the run's own."""

    def end(self, status: str = "FINISHED") -> None:
        """`FINISHED`, `FAILED` or `KILLED`."""

    def stage_links(self, outputs: Mapping[str, str]) -> dict[str, tuple[str, str]]:
        """The run id and the page's address of the newest run of each stage that made the output
        with the given hash, by stage; stages without such a run are left out."""
        return {}

    def link(self, outputs: Mapping[str, str], why: str, rows: Sequence[Sequence[str]]) -> None:
        """Describe a pipeline's run by its models, with links to the runs of its stages.

        Args:
            outputs: the hash of what each stage made, by stage.
            why: what ships, and why.
            rows: of each model its name, what taught it, its value on val, its stage.
        """

    def attempt(self, call: Callable[[Any], Any]) -> Any:
        """`call(client)`; None if there is no client or the call fails."""
        return None

    def __enter__(self):
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        stopped = kind is not None and issubclass(kind, (KeyboardInterrupt, SystemExit))
        self.end("KILLED" if stopped else "FAILED" if kind else "FINISHED")

"""What `recog bench` is asked to measure of a recipe."""

from typing import NamedTuple


class Asked(NamedTuple):
    """The recipe, its programs to measure, batch sizes, time per figure, and where to write the figures."""

    recipe: str  # FILE:VARIANT
    overrides: tuple[str, ...] = ()
    only: tuple[str, ...] = ()  # some of infer, train and data; empty: all of them
    batch: int = 32  # size of the larger inference batch; the smaller one is 1
    # Batch size of the training step; 0: the recipe's for its largest canvas, on a CPU at most 16.
    train_batch: int = 0
    seconds: float = 5.0  # for each figure
    profile: str = ''  # a folder for a trace
    json: str = ''  # a file for the figures

    def wants(self, part: str) -> bool:
        """Whether to measure this part: infer, train or data."""
        return not self.only or part in self.only

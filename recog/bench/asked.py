"""What `recog bench` was asked to measure of a recipe."""

from typing import NamedTuple


class Asked(NamedTuple):
    """The recipe, which of its programs, at which batches and for how long, and where the figures go."""

    recipe: str  # FILE:VARIANT
    overrides: tuple[str, ...] = ()
    only: tuple[str, ...] = ()  # of infer, train and data; all of them if none
    batch: int = 32  # images of the larger inference batch
    # Images of the training step; 0: the recipe's, on a CPU at most so many as are usual there.
    train_batch: int = 0
    seconds: float = 5.0  # for each figure
    profile: str = ''  # a folder for a trace
    json: str = ''  # a file for the figures

    def wants(self, part: str) -> bool:
        """Whether this is to be measured: infer, train or data."""
        return not self.only or part in self.only

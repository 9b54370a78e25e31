"""Before and after a fine-tuning: the model that it started from and what came of it, on the same sets."""

import json
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from recog.config.recipe import changed
from recog.config.values import flat
from recog.data.sets import open_set
from recog.evaluation import markdown, measure
from recog.evaluation.results import Result
from recog.evaluation.terminal import shown
from recog.reading.compiled import decoder
from recog.reading.named import find
from recog.workdir.files import BEFORE, BEFORE_PAGE
from recog.workdir.folder import Mirror, workdir_path, write_whole
from recog.workdir.opened import open_workdir

# Fields of the new recipe that the old model is measured by: what is read, and how it is judged.
JUDGED = ('eval.', 'render.', 'formulas.', 'seed', 'data.threads', 'data.workers')


def compare(after: Sequence[Result], config: ConfigDict, mesh: Mesh, root: str, folder: Any) -> None:
    """Measure the model that `config.init` names on the sets of these results; print and write the table."""
    opened = open_workdir(workdir_path(find(config.init)), mesh=mesh)
    old = _judged_alike(opened.config, config)
    decode = decoder(opened.model, mesh, config.eval.beam)
    before = [measure.measure_set(decode, opened.variables, open_set(result.name, old, root), opened.vocab,
                                  old, mesh, progress=jax.process_index() == 0) for result in after]
    if jax.process_index() == 0:
        rows = [row(*pair) for pair in zip(before, after, strict=True)]
        mirror, page = Mirror(folder), table(rows)
        print(shown(f'Before ({config.init}) and after:\n\n{page}'))
        write_whole(mirror.here / BEFORE, json.dumps({'start': config.init, 'sets': rows}, indent=2) + '\n')
        write_whole(mirror.here / BEFORE_PAGE, page + '\n')
        mirror.close()


def _judged_alike(old: ConfigDict, new: ConfigDict) -> ConfigDict:
    """The old model's recipe, which reads the sets of the new one and judges as that does."""
    old = old.copy_and_resolve_references()
    with old.unlocked():
        return changed(old, {name: value for name, value in flat(new).items() if name.startswith(JUDGED)})


def row(before: Result, after: Result) -> dict[str, Any]:
    """A set's accuracies, and how many of its examples only one of the two models reads rightly."""
    right = [{each.id for each in result.predictions if each.right} for result in (before, after)]
    return {'set': before.name, 'count': int(after.figures['count']),
            'before': before.figures['accuracy'], 'after': after.figures['accuracy'],
            'ned_before': before.figures['one_minus_ned'], 'ned_after': after.figures['one_minus_ned'],
            'won': len(right[1] - right[0]), 'lost': len(right[0] - right[1])}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    heads = ('set', 'examples', 'before', 'after', 'points', '1-NED before', 'after', 'newly right',
             'newly wrong')
    return markdown.table(heads, [
        (each['set'], f'{each["count"]:,}', f'{each["before"]:.2%}', f'{each["after"]:.2%}',
         f'{100 * (each["after"] - each["before"]):+.2f}', f'{each["ned_before"]:.4f}',
         f'{each["ned_after"]:.4f}', str(each['won']), str(each['lost'])) for each in rows])

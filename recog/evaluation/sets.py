"""Measures the sets of a recipe one after another, and writes the table with its provenance."""

import shlex
import sys
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from recog import __version__
from recog.config import recipe, values
from recog.config.test_sets import expanded, is_test
from recog.data.rows import Source
from recog.data.sets import open_set
from recog.devices import cost
from recog.errors import ConfigError
from recog.evaluation import measure, measurements
from recog.evaluation.protocols import compared
from recog.evaluation.results import Result
from recog.evaluation.terminal import shown
from recog.evaluation.write import write_results
from recog.metrics.words import protocol_id
from recog.reading.adapt import adapted_source
from recog.reading.compiled import searching
from recog.workdir import provenance
from recog.workdir.folder import Mirror
from recog.workdir.opened import Opened


def measure_sets(opened: Opened, config: ConfigDict, mesh: Mesh, root: str, folder: Any,
                 own: bool = False, adapt: bool = False) -> list[Result]:
    """Measure the sets of eval.report, print the table and add it to the results in the folder.

    Sets that are not there are listed. `own`: the training of the run reports. `adapt`: images are brought to
    the form of the training images first, as prediction does it.
    """
    sources, missing = sources_of(config, root)
    sources = [adapted_source(source, config.image) for source in sources] if adapt else sources
    about = provenance_of(opened, config, mesh, adapt)
    stored = measurements.read(folder)
    if folder != opened.workdir:
        measurements.refuse_another_run(stored, about, folder)
    known = measure.trained(opened.config, root) if config.eval.protocol == 'latex' else ()
    decode, lexicon = searching(opened, mesh, config.eval.beam)
    results = [measure.measure_set(decode, opened.variables, source, opened.vocab, config, mesh,
                                   progress=jax.process_index() == 0, known=known,
                                   temperature=opened.temperature, lexicon=lexicon) for source in sources]
    if jax.process_index() == 0:
        mirror = Mirror(folder)
        print(shown(write_results(mirror.here, results, missing, about, own)))
        mirror.close()
        for result in results:
            for name, reason in result.unreadable:
                print(f'recog: left out: {name}: {reason}', file=sys.stderr)
            for name, reason in result.shrunk:
                print(f'recog: too large: {name}: {reason}', file=sys.stderr)
    return results


def sources_of(config: ConfigDict, root: str) -> tuple[list[Source], list[str]]:
    """The sets to measure, and the names of those that are missing.

    If all of eval.report are missing, the first of eval.sets is measured, so that every trained model has a
    result.
    """
    sources: list[Source] = []
    missing: dict[str, str] = {}
    wanted = expanded(config.eval.report or config.eval.sets)
    instead = [name for name in config.eval.sets if name not in wanted]
    for name in (*wanted, *instead):
        if sources and name in instead:
            break
        try:
            sources.append(open_set(name, config, root))
        except ConfigError as error:
            missing[name] = str(error)
    if not sources:
        raise ConfigError(next(iter(missing.values())))
    return sources, list(missing)


def provenance_of(opened: Opened, config: ConfigDict, mesh: Mesh, adapt: bool = False) -> dict[str, Any]:
    """The provenance of results, with all conditions of `measurements`."""
    by_test = ' (a test set)' if any(map(is_test, opened.config.eval.sets)) else ''
    own = {stream: seed for stream, seed in config.seeds.items() if seed is not None}
    return {
        'model': opened.config.model.name, 'step': opened.step,
        'parameters': cost.parameters(opened.variables['params']),
        'protocol': protocol_id(config.eval.protocol, config.eval.nfkd),
        'characters': ' '.join(compared(opened.vocab.tokens)), 'beam': config.eval.beam,
        'precision': recipe.evaluated(config).train.precision,
        'max length': config.text.max_length,
        'width rule': config.image.width_rule, **({'images': 'adapted'} if adapt else {}),
        **({'lexicon': opened.lexicon.mark} if opened.lexicon and config.eval.beam > 1 else {}),
        **({'temperature': round(opened.temperature, 4)} if opened.calibration else {}),
        **({'imported from': opened.imported} if opened.imported else
           {'checkpoint chosen by': ', '.join(opened.config.eval.sets) + by_test}),
        'seed': config.seed, **({'seeds': own} if own else {}),
        'run': values.digest(opened.config.to_dict()), 'config': values.digest(config.to_dict()),
        'recipe': provenance.recipe(config),
        'device': f'{mesh.size} x {mesh.devices.flat[0].device_kind}', 'host': provenance.host(),
        'versions': f'recog {__version__}, jax {jax.__version__}', 'commit': provenance.commit(),
        'command': shlex.join(['recog', *sys.argv[1:]]),
    }

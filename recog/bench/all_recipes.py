"""All reference recipes: measured one after another, saved as JSON and shown as a Markdown table."""

import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

from recog.bench.asked import Asked
from recog.bench.rivals import listed
from recog.bench.rivals.frameworks import PYTORCH
from recog.config import experiments
from recog.errors import ConfigError, chosen
from recog.evaluation import markdown

BEAM = 10
TRAINED = 'trained'
RIVAL = '-pytorch'  # suffix of the files for rivals: the same networks in PyTorch
FASTER = '--config.train.precision=bfloat16'
READ = 64  # batch size of decoding on an accelerator
RACED = 32  # batch size of decoding when compared with PyTorch
HEAD = ('recipe', 'arithmetic', 'trainable parameters', 'inference, images/s', f'beam {BEAM}, images/s',
        'training, images/s', "time / PyTorch's", 'GFLOP per image, inference / training', 'bound by')


class Measurement(NamedTuple):
    """What to measure of a recipe: the batch sizes of greedy decoding, beam search and training, and
    whether there is a rival to compare with."""

    name: str  # of the file with its figures
    recipe: str
    overrides: tuple[str, ...]
    read: tuple[int, ...]
    searched: tuple[int, ...]
    trained: int
    rival: bool


def measurements(on_cpu: bool, overrides: Sequence[str] = ()) -> Iterator[Measurement]:
    """The measurements for a device: small batches in float32 on a CPU, larger ones in bfloat16 elsewhere."""
    for each in experiments.every():
        sizes = (each.bench.on_cpu if on_cpu else each.bench.elsewhere).items()
        fields = (*(f'--config.{field}={value}' for field, value in sizes), *(() if on_cpu else (FASTER,)),
                  *overrides)
        beams = () if not each.bench.beam else (1, 8) if on_cpu else (READ,)
        rival = on_cpu and listed.fields(PYTORCH, each.name) is not None
        for variant in each.published:
            yield Measurement(f'{each.name}-{variant}', f'{each.file}:{variant}', fields,
                              (1, 32) if on_cpu else (READ,), beams, 16 if on_cpu else each.bench.rows, rival)


def run(folder: Path, recipes: str, overrides: Sequence[str], seconds: float, profile: str,
        devices: list[Any]) -> int:
    """Measure all recipes, or those named, and print the table of all figures in the folder."""
    known = {each.name: each for each in measurements(devices[0].platform == 'cpu', overrides)}
    every, failed = [known[name] for name in chosen('--recipes', recipes, known)], []
    place = folder / devices[0].device_kind.replace(' ', '_')
    place.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)) // 2)) as pool:
        drafted = [_drafted(each, devices, pool) for each in every]
        # All compilation must end before anything is timed: it would disturb the
        # timing, and on GPUs it times kernels itself.
        wait([future for drafts in drafted for _, _, future in drafts.values()])
    for each, drafts in zip(every, drafted, strict=True):
        print(f'{each.recipe} {" ".join(each.overrides)}', file=sys.stderr, flush=True)
        try:
            _measure(each, drafts, devices, seconds, profile and str(Path(profile) / each.name), place)
        except (RuntimeError, ConfigError) as error:
            failed.append(f'{each.name} ({str(error).splitlines()[0]})')
    show(folder)
    if failed:
        print(f'recog bench: not measured: {", ".join(failed)}', file=sys.stderr)
    return 1 if failed else 0


def _drafted(each: Measurement, devices: list[Any],
             pool: ThreadPoolExecutor) -> dict[str, tuple[int, Any, Future]]:
    """The programs of a recipe by name: batch size, draft, and the
    compilation that runs in the background."""
    from recog import models
    from recog.bench import programs
    from recog.devices.mesh import make_mesh, rounded
    from recog.text import vocabulary

    plans: list[tuple[str, Callable, int, tuple[str, ...]]] = [('infer', programs.inference, rows, ())
                                                               for rows in each.read]
    beam = (f'--config.eval.beam={BEAM}',)
    plans += [(f'beam{BEAM}', programs.inference, rows, beam) for rows in each.searched]
    plans += [('train', programs.training_step, each.trained, ())]
    found = {}
    for name, make, rows, more in plans:
        config = experiments.load(each.recipe, [*each.overrides, *more])
        mesh = make_mesh(config.mesh, devices)
        draft = make(models.build(config, vocabulary.from_config(config.text)), config, mesh,
                     rounded(mesh, rows))
        found[f'{name}_{rows}'] = rows, draft, pool.submit(_compiled, draft.lower())
    return found


def _compiled(lowered: Any) -> tuple[Any, Any]:
    """A compiled program and its operations."""
    from recog.bench import hlo

    compiled = lowered.compile()
    return compiled, hlo.parse(compiled.as_text())


def _measure(each: Measurement, drafts: dict[str, tuple[int, Any, Future]], devices: list[Any],
             seconds: float, profile: str, place: Path) -> None:
    """Measure a recipe's programs and write their figures."""
    from recog.bench import costliest, recipe
    from recog.devices import measured
    from recog.devices.mesh import make_mesh

    config = experiments.load(each.recipe, each.overrides)
    mesh = make_mesh(config.mesh, devices)
    figures = recipe.about(each.recipe, each.overrides, config, devices)
    for name, (rows, draft, future) in drafts.items():
        compiled, operations = future.result()
        program = draft.program(compiled, {})
        figures[name] = recipe.measure(program, operations, mesh, rows, seconds)
        if profile and name.startswith('train'):
            costs = costliest.profile(program.call, operations, Path(profile))
            figures[name]['costliest'] = costliest.figures(costs)
        del program  # frees its arrays before the next are made
    recipe.limit(figures, config.train.precision, devices)
    measured.keep(figures, str(place / f'{each.name}.json'))
    if each.rival and importlib.util.find_spec('torch'):
        from recog.bench.rivals import race

        asked = Asked(each.recipe, each.overrides, batch=RACED, seconds=seconds,
                      json=str(place / f'{each.name}{RIVAL}.json'))
        with contextlib.redirect_stdout(sys.stderr):
            race.run(PYTORCH, config, asked, devices)


def show(folder: Path) -> int:
    """Print the table of a folder."""
    print('\n'.join(lines(folder)))
    return 0


def lines(folder: Path) -> Iterator[str]:
    """The table of each device, and where and when it was measured."""
    # Beside the folders of devices stands that of the trainings' records.
    kinds = sorted({file.parent for file in folder.glob('*/*.json')} - {folder / TRAINED})
    if not kinds:
        raise ConfigError(f'folder {str(folder)!r} holds no figures (DEVICE/*.json)')
    for kind in kinds:
        figures = {file.stem: json.loads(file.read_text(encoding='utf-8'))
                   for file in sorted(kind.glob('*.json'))}
        found = {name: each for name, each in figures.items() if not name.endswith(RIVAL)}
        dates = [each['date'] for each in found.values()]
        when = ' to '.join(sorted({min(dates), max(dates)}))
        peaks = [each['peak_GFLOP_per_second'] for each in found.values()]
        first = next(iter(found.values()))
        yield (f'{first["device"]} ({first["processor"]}, {first["cpus"]} CPUs), {when}, recog '
               f'{first["recog"]}, jax {first["jax"]}; a matrix product '
               f'gave {min(peaks):,.0f} to {max(peaks):,.0f} GFLOP/s:')
        yield ''
        yield markdown.table(HEAD, [_row(each, figures.get(name + RIVAL)) for name, each in found.items()])
        yield ''


def _row(figures: dict[str, Any], rival: dict[str, Any] | None) -> Sequence[str]:
    inference, searched, training = (_programs(figures, kind)
                                     for kind in ('infer_', f'beam{BEAM}_', 'train_'))
    every = [*inference.values(), *training.values()]
    ratios = [f'{each["ratio_of_times"]:.2f}' for each in (rival or {}).values() if isinstance(each, dict)]
    return (_title(figures), figures['precision'], f'{figures["trainable_parameters"]:,}',
            _speeds(inference), _speeds(searched) or '-', _speeds(training),
            ' / '.join(ratios) or '-', ' / '.join(f'{each["GFLOP_per_image"]:.3g}' for each in every[-2:]),
            ', '.join(sorted({each['bound_by'] for each in every})))


def _title(figures: dict[str, Any]) -> str:
    """The name of the recipe, with image size and number of tokens if these were overridden."""
    changed = any('image.' in override or 'text.' in override for override in figures['overrides'])
    return (f'`{Path(figures["config"]).name}`'
            + (f', {figures["image"]}, {figures["tokens"]} tokens' if changed else ''))


def _programs(figures: dict[str, Any], prefix: str) -> dict[int, dict[str, Any]]:
    return {int(name.removeprefix(prefix)): each for name, each in figures.items() if name.startswith(prefix)}


def _speeds(programs: dict[int, dict[str, Any]]) -> str:
    speeds = {rows: each['images_per_second'] for rows, each in sorted(programs.items())}
    return ', '.join(f'{speed:{",.0f" if speed >= 100 else ".3g"}} (batch {rows})'
                     for rows, speed in speeds.items())

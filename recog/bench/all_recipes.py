"""All reference recipes: measured one after another, kept as JSON, and shown as Markdown."""

import argparse
import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

from recog.config import experiments
from recog.errors import ConfigError, chosen
from recog.evaluation import markdown

EXPERIMENTS = ('crnn', 'rare', 'srn', 'can', 'latex_ocr')
RIVALLED = ('crnn', 'rare', 'srn')  # there is the same network in PyTorch
SEARCHING = ('rare', 'can', 'latex_ocr')  # their beams take longer than greedy decoding
BEAM = 10
RIVAL = '-pytorch'  # how files are called whose figures stand in another's row
FASTER = '--config.train.precision=bfloat16'
# Images of a training step and of decoding on an accelerator; the recipes' own leave it idle.
ROWS, READ = {'crnn': 1024, 'rare': 1024, 'srn': 256, 'can': 512, 'latex_ocr': 512}, 64
# Formulas as most are: on CPUs the sizes that the reference implementations were timed at, on accelerators one of the canvases
# and one of the lengths that training puts its batches into.
ON_CPU = {'can': ('image.height=128', 'image.width=512', 'text.max_length=36'), 'latex_ocr': ('text.max_length=40',)}
THERE = {'can': ('image.height=112', 'image.width=400', 'text.max_length=40'), 'latex_ocr': ('text.max_length=31',)}
HEAD = ('recipe', 'arithmetic', 'trainable parameters', 'inference, images/s', f'beam {BEAM}, images/s', 'training, images/s',
        "time / PyTorch's", 'GFLOP per image, inference / training', 'bound by')


class Measurement(NamedTuple):
    """What is measured of a recipe: the batches of greedy decoding, of the beam and of training, and whether it has a rival."""

    name: str  # of its file
    recipe: str
    overrides: tuple[str, ...]
    read: tuple[int, ...]
    searched: tuple[int, ...]
    trained: int
    rival: bool


def measurements(on_cpu: bool, overrides: Sequence[str] = ()) -> Iterator[Measurement]:
    """What is measured on such a device: on a CPU batch 32 and 16 in float32; else larger ones in bfloat16."""
    for name in EXPERIMENTS:
        sizes = tuple(f'--config.{field}' for field in (ON_CPU if on_cpu else THERE).get(name, ()))
        fields = (*sizes, *(() if on_cpu else (FASTER,)), *overrides)
        for variant in experiments.published(f'experiments/{name}.py'):
            beams = (1, 8) if on_cpu else (READ,)
            yield Measurement(f'{name}-{variant}', f'experiments/{name}.py:{variant}', fields, (1, 32) if on_cpu else (READ,),
                              beams if name in SEARCHING else (), 16 if on_cpu else ROWS[name], on_cpu and name in RIVALLED)


def run(folder: Path, arguments: argparse.Namespace) -> int:
    """Measure every recipe here, and print the table of all that the folder then holds."""
    from recog.devices import setup

    devices = setup.start(arguments.devices)
    known = {each.name: each for each in measurements(devices[0].platform == 'cpu', arguments.overrides)}
    every, failed = [known[name] for name in chosen('--recipes', arguments.recipes, known)], []
    place = folder / devices[0].device_kind.replace(' ', '_')
    place.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)) // 2)) as pool:
        drafted = [_drafted(each, devices, pool) for each in every]
        # Compiling would disturb what is timed, all the more where it times kernels itself.
        wait([future for drafts in drafted for _, _, future in drafts.values()])
    for each, drafts in zip(every, drafted, strict=True):
        print(f'{each.recipe} {" ".join(each.overrides)}', file=sys.stderr, flush=True)
        try:
            _measure(each, drafts, devices, arguments, place)
        except (RuntimeError, ConfigError) as error:
            failed.append(f'{each.name} ({str(error).splitlines()[0]})')
    show(folder)
    if failed:
        print(f'recog bench: not measured: {", ".join(failed)}', file=sys.stderr)
    return 1 if failed else 0


def _drafted(each: Measurement, devices: list[Any], pool: ThreadPoolExecutor) -> dict[str, tuple[int, Any, Future]]:
    """Each program of a recipe, its batch, and its compilation, which goes on meanwhile."""
    from recog import models
    from recog.bench import programs
    from recog.devices.mesh import make_mesh, rounded
    from recog.text import vocabulary

    plans: list[tuple[str, Callable, int, tuple[str, ...]]] = [('infer', programs.inference, rows, ()) for rows in each.read]
    beam = (f'--config.eval.beam={BEAM}',)
    plans += [(f'beam{BEAM}', programs.inference, rows, beam) for rows in each.searched]
    plans += [('train', programs.training_step, each.trained, ())]
    found = {}
    for name, make, rows, more in plans:
        config = experiments.load(each.recipe, [*each.overrides, *more])
        mesh = make_mesh(config.mesh, devices)
        draft = make(models.build(config, vocabulary.from_config(config.text)), config, mesh, rounded(mesh, rows))
        found[f'{name}_{rows}'] = rows, draft, pool.submit(_compiled, draft.lower())
    return found


def _compiled(lowered: Any) -> tuple[Any, Any]:
    """A compiled program and its operations."""
    from recog.bench import hlo

    compiled = lowered.compile()
    return compiled, hlo.parse(compiled.as_text())


def _measure(each: Measurement, drafts: dict[str, tuple[int, Any, Future]], devices: list[Any], arguments: argparse.Namespace,
             place: Path) -> None:
    """Measure a recipe's programs, and write their figures."""
    from recog.bench import costliest, recipe
    from recog.devices import measured
    from recog.devices.mesh import make_mesh

    config = experiments.load(each.recipe, each.overrides)
    mesh = make_mesh(config.mesh, devices)
    figures = recipe.about(each.recipe, each.overrides, config, devices)
    for name, (rows, draft, future) in drafts.items():
        compiled, operations = future.result()
        program = draft.program(compiled, {})
        figures[name] = recipe.measure(program, operations, mesh, rows, arguments.seconds)
        if arguments.profile and name.startswith('train'):
            costs = costliest.profile(program.call, operations, Path(arguments.profile) / each.name)
            figures[name]['costliest'] = costliest.figures(costs)
        del program  # its arrays are given back before the next are made
    recipe.limit(figures, config.train.precision, devices)
    measured.keep(figures, str(place / f'{each.name}.json'))
    if each.rival and importlib.util.find_spec('torch'):
        from recog.bench.pytorch import race

        asked = argparse.Namespace(**vars(arguments) | {'config': each.recipe, 'overrides': list(each.overrides), 'only': [],
                                                        'batch': 32, 'train_batch': 0,
                                                        'json': str(place / f'{each.name}{RIVAL}.json')})
        with contextlib.redirect_stdout(sys.stderr):
            race.run(config, asked, devices)


def show(folder: Path) -> int:
    """Print the table of a folder."""
    print('\n'.join(lines(folder)))
    return 0


def lines(folder: Path) -> Iterator[str]:
    """The table of each device, and where and when it was measured."""
    kinds = sorted({file.parent for file in folder.glob('*/*.json')})
    if not kinds:
        raise ConfigError(f'folder {str(folder)!r} holds no figures (DEVICE/*.json)')
    for kind in kinds:
        figures = {file.stem: json.loads(file.read_text(encoding='utf-8')) for file in sorted(kind.glob('*.json'))}
        found = {name: each for name, each in figures.items() if not name.endswith(RIVAL)}
        dates = [each['date'] for each in found.values()]
        when = ' to '.join(sorted({min(dates), max(dates)}))
        peaks = [each['peak_GFLOP_per_second'] for each in found.values()]
        first = next(iter(found.values()))
        yield (f'{first["device"]} ({first["processor"]}, {first["cpus"]} CPUs), {when}, recog '
               f'{first["recog"]}, jax {first["jax"]}; a matrix product gave {min(peaks):,.0f} to {max(peaks):,.0f} GFLOP/s:')
        yield ''
        yield markdown.table(HEAD, [_row(each, figures.get(name + RIVAL)) for name, each in found.items()])
        yield ''


def _row(figures: dict[str, Any], rival: dict[str, Any] | None) -> Sequence[str]:
    inference, searched, training = (_programs(figures, kind) for kind in ('infer_', f'beam{BEAM}_', 'train_'))
    every = [*inference.values(), *training.values()]
    ratios = [f'{each["ratio_of_times"]:.2f}' for each in (rival or {}).values() if isinstance(each, dict)]
    return (_title(figures), figures['precision'], f'{figures["trainable_parameters"]:,}',
            _speeds(inference), _speeds(searched) or '-', _speeds(training),
            ' / '.join(ratios) or '-', ' / '.join(f'{each["GFLOP_per_image"]:.3g}' for each in every[-2:]),
            ', '.join(sorted({each['bound_by'] for each in every})))


def _title(figures: dict[str, Any]) -> str:
    """The recipe and, where it was changed, its sizes."""
    changed = any('image.' in override or 'text.' in override for override in figures['overrides'])
    return (f'`{figures["config"].removeprefix("experiments/")}`'
            + (f', {figures["image"]}, {figures["tokens"]} tokens' if changed else ''))


def _programs(figures: dict[str, Any], prefix: str) -> dict[int, dict[str, Any]]:
    return {int(name.removeprefix(prefix)): each for name, each in figures.items() if name.startswith(prefix)}


def _speeds(programs: dict[int, dict[str, Any]]) -> str:
    speeds = {rows: each['images_per_second'] for rows, each in sorted(programs.items())}
    return ', '.join(f'{speed:{",.0f" if speed >= 100 else ".3g"}} (batch {rows})' for rows, speed in speeds.items())

"""All reference recipes: measured one after another, each in a process of its own, kept as JSON, and shown as Markdown."""

import argparse
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recog import config as configs
from recog import markdown

EXPERIMENTS = ('crnn', 'rare', 'srn', 'can', 'latex_ocr')
RIVALLED = ('crnn', 'rare')  # there is the same network in PyTorch
SEARCHING = ('rare', 'can', 'latex_ocr')  # their beams take longer than greedy decoding
BESIDE = ('-beam10', '-pytorch')  # how files are called whose figures stand in another's row
BEAM = '--config.eval.beam=10'
FASTER = '--config.train.precision=bfloat16'
# Images of a training step on an accelerator; the recipes' own leave it idle.
ROWS = {'crnn': 2048, 'rare': 1024, 'srn': 512, 'can': 64, 'latex_ocr': 128}
HEAD = ('recipe', 'arithmetic', 'trainable parameters', 'inference, images/s', 'beam 10, images/s', 'training, images/s',
        "time / PyTorch's", 'GFLOP per image, inference / training', 'bound by')


class Measurement(NamedTuple):
    """One call of `recog bench`."""

    name: str  # of its file
    recipe: str
    options: tuple[str, ...]


def run(folder: Path, arguments: argparse.Namespace) -> int:
    """Measure every recipe here, and print the table of all that the folder then holds."""
    platform, kind = _device()
    every, failed = list(measurements(platform == 'cpu')), []
    for number, each in enumerate(every, 1):
        file = folder / kind.replace(' ', '_') / f'{each.name}.json'
        file.parent.mkdir(parents=True, exist_ok=True)
        command = ['bench', '--config', each.recipe, *each.options, '--seconds', str(arguments.seconds), '--json', str(file)]
        print(f'{number} of {len(every)}: recog {" ".join(command)}', file=sys.stderr, flush=True)
        command += ['--devices', arguments.devices] if arguments.devices else []
        if subprocess.run([sys.executable, '-m', 'recog', *command], stdout=subprocess.DEVNULL).returncode:
            failed.append(each.name)
    show(folder)
    if failed:
        print(f'recog bench: not measured: {", ".join(failed)}', file=sys.stderr)
    return 1 if failed else 0


def _device() -> list[str]:
    """Platform and kind of the devices, from a process of its own: one that knows a GPU takes most of its memory."""
    say = 'import jax; device = jax.devices()[0]; print(device.platform, device.device_kind, sep="\\n")'
    return subprocess.run([sys.executable, '-c', say], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-2:]


def show(folder: Path) -> int:
    """Print the table of a folder."""
    print('\n'.join(lines(folder)))
    return 0


def measurements(on_cpu: bool) -> Iterator[Measurement]:
    """What is measured on such a device: batch 32 and 16 on a CPU; else larger ones, in both precisions."""
    for name in EXPERIMENTS:
        for variant in configs.published(f'experiments/{name}.py'):
            recipe = f'experiments/{name}.py:{variant}'
            for extra in ((),) if on_cpu else ((), (FASTER,)):
                sizes = () if on_cpu else ('--batch', '64', '--train-batch', str(ROWS[name]))
                title = '-'.join([name, variant, *(['bfloat16'] if extra else [])])
                yield Measurement(title, recipe, ('--only', 'infer', '--only', 'train', *sizes, *extra))
                if on_cpu and name in RIVALLED and importlib.util.find_spec('torch'):
                    yield Measurement(f'{title}-pytorch', recipe, ('--pytorch',))
                if name in SEARCHING:
                    rows = '8' if on_cpu else '64'
                    yield Measurement(f'{title}-beam10', recipe, ('--only', 'infer', '--batch', rows, BEAM, *extra))


def lines(folder: Path) -> Iterator[str]:
    """The table of each device, and where and when it was measured."""
    kinds = sorted({file.parent for file in folder.glob('*/*.json')})
    if not kinds:
        raise configs.ConfigError(f'folder {str(folder)!r} holds no figures (DEVICE/*.json)')
    for kind in kinds:
        figures = {file.stem: json.loads(file.read_text(encoding='utf-8')) for file in sorted(kind.glob('*.json'))}
        found = {name: each for name, each in figures.items() if not name.endswith(BESIDE)}
        dates = [each['date'] for each in found.values()]
        when = ' to '.join(sorted({min(dates), max(dates)}))
        peaks = [each['peak_GFLOP_per_second'] for each in found.values()]
        first = next(iter(found.values()))
        yield (f'{first["device"]} ({first["processor"]}, {first["cpus"]} CPUs), {when}, recog '
               f'{first["recog"]}, jax {first["jax"]}; a matrix product gave {min(peaks):,.0f} to {max(peaks):,.0f} GFLOP/s:')
        yield ''
        yield markdown.table(HEAD, [_row(each, *(figures.get(name + end) for end in BESIDE)) for name, each in found.items()])
        yield ''


def _row(figures: dict[str, Any], searched: dict[str, Any] | None, rival: dict[str, Any] | None) -> Sequence[str]:
    inference, training = _programs(figures, 'infer_'), _programs(figures, 'train_')
    every = [*inference.values(), *training.values()]
    ratios = [f'{each["ratio_of_times"]:.2f}' for each in (rival or {}).values() if isinstance(each, dict)]
    return (f'`{figures["config"].removeprefix("experiments/")}`', figures['precision'], f'{figures["trainable_parameters"]:,}',
            _speeds(inference), _speeds(_programs(searched, 'infer_')) if searched else '-', _speeds(training),
            ' / '.join(ratios) or '-', ' / '.join(f'{each["GFLOP_per_image"]:.3g}' for each in every[1:]),
            ', '.join(sorted({each['bound_by'] for each in every})))


def _programs(figures: dict[str, Any], prefix: str) -> dict[int, dict[str, Any]]:
    return {int(name.removeprefix(prefix)): each for name, each in figures.items() if name.startswith(prefix)}


def _speeds(programs: dict[int, dict[str, Any]]) -> str:
    speeds = {rows: each['images_per_second'] for rows, each in sorted(programs.items())}
    return ', '.join(f'{speed:{",.0f" if speed >= 100 else ".3g"}} (batch {rows})' for rows, speed in speeds.items())

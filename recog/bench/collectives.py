"""What devices send one another in a training step, read from the
program compiled for eight simulated devices.

On CPUs XLA generates no reduce-scatter: where fsdp shards the state, gradients are all-reduced whole,
then sliced. This runs in a separate process (`python -m recog.bench.collectives`), because the number
of devices is fixed once jax has started.
"""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from recog.bench import hlo
from recog.config import experiments
from recog.devices import measured
from recog.errors import ConfigError

DEVICES = 8
MESHES = ((8, 1), (1, 8), (4, 2))  # data, fsdp
ROWS = 2  # images per device; it does not change the size of weights and gradients
KINDS = ('all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'ragged-all-to-all',
         'collective-permute', 'collective-broadcast')
LARGEST = 3  # transfers that are shown with their place in the model


class Collective(NamedTuple):
    """A transfer between devices."""

    kind: str
    times: int  # runs in one step
    bytes: int  # of the array in one run: the reduced one, or the whole gathered one
    sent: int  # bytes that one device sends in one run, if the devices form a ring
    asynchronous: bool
    overlapped: bool  # something is computed while it runs
    place: str  # in the model


def collectives(program: hlo.Program, devices: int) -> list[Collective]:
    """The transfers of a program."""
    found, wrapped = [], {}
    for operation, computation, times in hlo.executed(program):
        if operation.kind == 'async-start':
            wrapped.update(dict.fromkeys(operation.computations('calls'), (operation, computation)))
        kind = operation.kind.removesuffix('-start')
        if kind in KINDS:
            size = _size(operation, kind, group := _group(operation.rest, devices))
            start, beside = wrapped.get(computation, (operation, computation))
            asynchronous = start.kind.endswith('-start')
            overlapped = asynchronous and _overlapped(start, program.computations[beside])
            found.append(Collective(kind, times, size, _sent(kind, size, group), asynchronous, overlapped,
                                    operation.place))
    return found


def _size(operation: hlo.Operation, kind: str, group: int) -> int:
    results = operation.results
    if operation.kind == 'all-gather-start':  # operands, then results
        results = results[len(results) // 2:]
    elif operation.kind == 'collective-permute-start':  # operand, result, two context values
        results = results[1:2]
    return sum(results) * (group if kind == 'reduce-scatter' else 1)


def _sent(kind: str, size: int, group: int) -> int:
    """Bytes that a device sends in a ring; an all-reduce counts as a reduce-scatter and an all-gather."""
    if kind in ('collective-permute', 'collective-broadcast'):
        return size
    return (2 if kind == 'all-reduce' else 1) * size * (group - 1) // group


def _group(rest: str, devices: int) -> int:
    """The number of devices in a replica group, from any of XLA's three notations."""
    if meshed := re.search(r'replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}', rest):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", meshed[1]))
        parts = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", meshed[2])  # an axis, or a part of it
        return math.prod(int(part or sizes[axis]) for axis, part in parts)
    if tiled := re.search(r'replica_groups=\[(\d+),(\d+)\]<=', rest):
        return int(tiled[2])
    listed = re.search(r'replica_groups=\{\{([\d,]+)\}', rest)
    return len(listed[1].split(',')) if listed else devices


def _overlapped(start: hlo.Operation, around: Sequence[hlo.Operation]) -> bool:
    """Whether anything is computed between the start of a transfer and its end."""
    begun = around.index(start)
    for operation in around[begun + 1:]:
        if start.name in operation.operands and operation.kind.endswith('-done'):
            return False
        computes = operation.kind not in hlo.IDLE and operation.kind not in KINDS
        if computes and not operation.kind.endswith(('-start', '-done')):
            return True
    return False


def summary(found: Iterable[Collective]) -> dict[str, Any]:
    """For each kind of transfer: operations in the program, runs per step
    and bytes; and the largest transfers."""
    kinds: dict[str, Any] = {}
    every = list(found)
    for each in every:
        figures = kinds.setdefault(each.kind, dict.fromkeys(
            ('operations', 'runs', 'in_loops', 'bytes', 'sent', 'asynchronous', 'overlapped'), 0))
        figures['operations'] += 1
        figures['runs'] += each.times
        figures['in_loops'] += each.times > 1
        figures['bytes'] += each.times * each.bytes
        figures['sent'] += each.times * each.sent
        figures['asynchronous'] += each.asynchronous
        figures['overlapped'] += each.overlapped
    largest = sorted(every, key=lambda each: -each.times * each.sent)[:LARGEST]
    return {'kinds': kinds, 'largest': [{'kind': each.kind, 'times': each.times, 'bytes': each.bytes,
                                         'place': each.place}
                                        for each in largest]}


def lines(meshes: dict[str, Any]) -> Iterator[str]:
    """The table of all meshes as text."""
    yield (f'{"mesh":14} {"collective":20} {"operations":>10} {"runs":>6} {"MB/step":>9} {"sent/device":>11} '
           f'{"asynchronous":>12} {"overlapped":>10}')
    for mesh, found in meshes.items():
        for kind, figures in found['kinds'].items():
            yield (f'{mesh:14} {kind:20} {figures["operations"]:10,} {figures["runs"]:6,} '
                   f'{figures["bytes"] / 1e6:9,.3f} {figures["sent"] / 1e6:11,.3f} '
                   f'{figures["asynchronous"]:12,} {figures["overlapped"]:10,}')
        for each in found['largest']:
            times = f'{each["times"]} x ' if each['times'] > 1 else ''
            place = each['place'][:90] or 'not named'
            yield f'{"":14}   {times}{each["bytes"] / 1e6:,.3f} MB {each["kind"]}: {place}'
    if not any(figures['asynchronous'] for found in meshes.values() for figures in found['kinds'].values()):
        yield ('No transfer is asynchronous: for CPUs XLA makes none so. '
               'What overlaps elsewhere does not show here.')


def run(recipe: str, overrides: Sequence[str], batch: int, json_file: str) -> int:
    """Print the table of a recipe, computed in a process that has eight simulated devices."""
    flags = re.sub(r'--xla_force_host_platform_device_count=\d+', '', os.environ.get('XLA_FLAGS', ''))
    environment = os.environ | {'JAX_PLATFORMS': 'cpu',
                                'XLA_FLAGS': f'{flags} --xla_force_host_platform_device_count={DEVICES}'}
    command = [sys.executable, '-m', 'recog.bench.collectives', recipe, str(batch), *overrides]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return 1
    figures = json.loads(done.stdout.splitlines()[-1])
    print(f'training step of {recipe}, batch {figures["batch"]}, on {DEVICES} simulated devices')
    print('\n'.join(lines(figures['meshes'])))
    measured.keep(figures, json_file)
    return 0


def main(recipe: str, batch: str, *overrides: str) -> None:
    """Compile the training step for each mesh and print what it sends as one line of JSON."""
    from recog.bench import programs

    config = experiments.load(recipe, overrides)
    rows = int(batch) or DEVICES * ROWS * config.train.accumulate
    found = {}
    for data, fsdp in MESHES:
        config.mesh.data, config.mesh.fsdp = data, fsdp
        try:
            program = hlo.parse(programs.lowered_step(config, rows).compile().as_text())
        except ConfigError as error:
            sys.exit(f'{recipe}: {error}')
        found[f'data={data} fsdp={fsdp}'] = summary(collectives(program, DEVICES))
    print(json.dumps({'batch': rows, 'meshes': found}))


if __name__ == '__main__':
    main(*sys.argv[1:])

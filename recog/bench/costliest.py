"""Where time goes: the costliest operations of a program, from a trace of its steps."""

import bisect
import collections
import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recog.bench import hlo

STEPS, COSTLIEST = 3, 10
MOST = 1_000_000  # events that the profiler writes as JSON; it leaves out the rest


class Cost(NamedTuple):
    """What an operation takes in one step, on all devices together."""

    name: str
    seconds: float
    runs: float
    share: float  # of the total time of all operations, some of which may run in parallel
    place: str  # in the model


def profile(call: Callable[[], Any], program: hlo.Program, folder: Path) -> list[Cost]:
    """Write a trace of a few calls to the folder; returns the operations by falling cost,
    or none if the trace may be incomplete."""
    import jax

    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # Python's own calls would be most of the trace
    jax.block_until_ready(call())
    before = set(folder.glob('plugins/profile/*/*.trace.json.gz'))
    with jax.profiler.trace(str(folder), profiler_options=options):
        for _ in range(STEPS):
            jax.block_until_ready(call())
    files = set(folder.glob('plugins/profile/*/*.trace.json.gz')) - before
    events = [event for file in sorted(files) for event in read(file)]
    return costs(events, program, STEPS) if len(events) < MOST else []


def read(file: Path) -> list[dict[str, Any]]:
    """The events of a trace as the profiler writes it for browsers."""
    with gzip.open(file, 'rt', encoding='utf-8') as opened:
        return json.load(opened)['traceEvents']


def costs(events: Sequence[dict[str, Any]], program: hlo.Program, steps: int) -> list[Cost]:
    """The time of each operation. Loops and conditionals are left out, because the
    operations inside them are listed themselves."""
    known = {operation.name: operation for around in program.computations.values() for operation in around}
    kernels = {re.sub(r'[.\-]', '_', name): name for name in known}
    spent: dict[str, float] = collections.defaultdict(float)
    runs: collections.Counter[str] = collections.Counter()
    for name, microseconds in _runs(events, program):
        name = kernels.get(name, name)
        if name not in known or known[name].kind not in hlo.INSIDE:
            spent[name] += microseconds * 1e-6
            runs[name] += 1
    whole = sum(spent.values())
    return [Cost(name, seconds / steps, runs[name] / steps, seconds / whole,
                 known[name].place if name in known else '')
            for name, seconds in sorted(spent.items(), key=lambda item: -item[1]) if whole]


def _runs(events: Sequence[dict[str, Any]], program: hlo.Program) -> Iterator[tuple[str, float]]:
    """Every run of an operation: its name and microseconds."""
    named = {kind: {(event['pid'], event.get('tid') if kind == 'thread_name' else None): event['args']['name']
                    for event in events if event.get('ph') == 'M' and event['name'] == kind}
             for kind in ('process_name', 'thread_name')}
    devices = {pid for (pid, _), name in named['process_name'].items() if name.startswith('/device:')}
    timed = [event for event in events if event.get('ph') == 'X']
    # TPUs have lanes of the first kind, GPUs of the second and perhaps of
    # both; the first is complete by itself.
    for lane in ('XLA Ops', 'Stream'):
        lanes = {key for key, name in named['thread_name'].items() if key[0] in devices
                 and name.startswith(lane)}
        found = [event for event in timed if (event['pid'], event['tid']) in lanes]
        if found:
            yield from ((_operation(event), event['dur']) for event in found)
            return
    yield from _runs_on_host(timed, _readers(program))


def _operation(event: dict[str, Any]) -> str:
    """The operation of an event. A command buffer starts several at once, so
    there the kernel's own name tells which."""
    name = event.get('args', {}).get('hlo_op', event['name'])
    return event['name'] if name.startswith('command_buffer') else name


def _readers(program: hlo.Program) -> dict[str, set[str]]:
    """For each operation, those that read its result, directly or through operations that take no time."""
    found: dict[str, set[str]] = collections.defaultdict(set)
    for around in program.computations.values():
        idle = {operation.name: operation.operands for operation in around if operation.kind in hlo.IDLE}
        for operation in around:
            given = [] if operation.name in idle else list(operation.operands)
            while given:
                name = given.pop()
                found[name].add(operation.name)
                given += idle.get(name, ())
    return found


def _runs_on_host(timed: Sequence[dict[str, Any]],
                  readers: Mapping[str, set[str]]) -> Iterator[tuple[str, float]]:
    """The same on a CPU, where an operation whose threads outlast its
    event ends with a second event, `end: NAME`.

    The second event may be late, because the thread that ends an operation may start the next one first. So
    the operation has ended, at the latest, when another one that reads its result starts.
    """
    ends: dict[str, list[float]] = collections.defaultdict(list)
    begun: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    for event in sorted(timed, key=lambda event: event['ts']):
        if event['name'].startswith('end: '):
            ends[event['name'].removeprefix('end: ')].append(event['ts'])
        if 'hlo_op' in event.get('args', {}):
            begun[event['args']['hlo_op']].append(event)
    starts = {name: [event['ts'] for event in found] for name, found in begun.items()}
    for name, found in begun.items():
        paired = len(found) == len(ends[name])
        for number, event in enumerate(found):
            read = [times[place] for times in (starts.get(reader, []) for reader in readers.get(name, ()))
                    if (place := bisect.bisect_left(times, event['ts'])) < len(times)]
            yield name, max(event['dur'], min([ends[name][number], *read]) - event['ts'] if paired else 0)


def figures(found: Sequence[Cost]) -> list[dict[str, Any]]:
    """The costliest operations, for the JSON file."""
    return [cost._asdict() for cost in found[:COSTLIEST]]


def lines(found: Sequence[Cost], folder: Path) -> Iterator[str]:
    """The table of the costliest operations, or why there is none."""
    if not found:
        yield (f'the trace in {folder} names no operations, or too many to be written out: '
               'their costs cannot be listed; see xprof')
        return
    yield f'{"share":>6} {"ms/step":>9} {"runs/step":>9}  operation'
    for cost in found[:COSTLIEST]:
        yield (f'{cost.share:6.1%} {cost.seconds * 1e3:9.3f} {cost.runs:9,.1f}  {cost.name}'
               + (f'  ({cost.place[:90]})' if cost.place else ''))
    rest = found[COSTLIEST:]
    yield (f'{sum(cost.share for cost in rest):6.1%} {sum(cost.seconds for cost in rest) * 1e3:9.3f} '
           f'{sum(cost.runs for cost in rest):9,.1f}  {len(rest)} others; the trace is in {folder}')

"""The limits of a device, the traffic of a program, and the costliest operations of a trace."""

import gzip
import json

import jax
import jax.numpy as jnp
import pytest
from small import DEMO, NARROW

from recog.bench import costliest, hlo, limits, startup
from recog.commands import command_line


def compiled(function, *arguments):
    return jax.jit(function).lower(*arguments).compile()


def moved(function, *arguments):
    return limits.moved(hlo.parse(compiled(function, *arguments).as_text()))


def test_the_larger_share_bounds():
    assert limits.shares(0.6, 0.2) == {'share_of_peak': 0.6, 'share_of_bandwidth': 0.2,
                                       'bound_by': 'arithmetic'}
    assert limits.shares(0.1, 0.2)['bound_by'] == 'memory'


def test_peak_and_bandwidth_are_measured_once():
    devices = jax.devices()[:1]
    assert limits.peak('float32', devices) > 1e8 and limits.bandwidth(devices) > 1e7
    assert limits.peak('float32', devices) == limits.peak('float32', devices)


def test_without_loops_the_traffic_is_what_xla_counts():
    def function(left, right):
        return jnp.tanh(left @ right).sum(0) * 2, jnp.concatenate([left, right.T])[3:9]

    arguments = jnp.ones((64, 32)), jnp.ones((32, 48))
    arguments = (arguments[0], arguments[1][:, :32])
    program = compiled(function, *arguments)
    counted = limits.moved(hlo.parse(program.as_text()))
    assert counted == pytest.approx(program.cost_analysis()['bytes accessed'], rel=0.02)


def test_a_loop_counts_every_step_and_only_the_slices_that_it_reads():
    def recur(weights, rows):
        return jax.lax.scan(lambda carry, row: (jnp.tanh(carry @ weights + row), carry.sum()), jnp.zeros(128),
                            rows)

    short, long = (moved(recur, jnp.ones((128, 128)), jnp.ones((length, 128))) for length in (100, 400))
    assert 3.5 < long / short < 4.5
    # Each step reads all weights, but only one of the 400 rows.
    assert 400 * 128 * 128 * 4 < long < 1.1 * 400 * 128 * 128 * 4


FUSED = '''HloModule jit_f, is_scheduled=true

%fused (whole: f32[100,8], row: f32[1,8], other: f32[50,8], place: s32[]) -> f32[100,8] {
  %whole = f32[100,8]{1,0} parameter(0)
  %row = f32[1,8]{1,0} parameter(1)
  %other = f32[50,8]{1,0} parameter(2)
  %place = s32[] parameter(3)
  %part = f32[1,8]{1,0} dynamic-slice(%other, %place, %place), dynamic_slice_sizes={1,8}
  %sum = f32[1,8]{1,0} add(%row, %part)
  ROOT %updated = f32[100,8]{1,0} dynamic-update-slice(%whole, %sum, %place, %place)
}

ENTRY %main (whole.1: f32[100,8], row.1: f32[1,8], other.1: f32[50,8], place.1: s32[]) -> f32[100,8] {
  %whole.1 = f32[100,8]{1,0} parameter(0)
  %row.1 = f32[1,8]{1,0} parameter(1)
  %other.1 = f32[50,8]{1,0} parameter(2)
  %place.1 = s32[] parameter(3)
  ROOT %fusion = f32[100,8]{1,0} fusion(%whole.1, %row.1, %other.1, %place.1), kind=kLoop, calls=%fused, \
metadata={op_name="jit(f)/jvp(Net)/backbone/conv_1/jit(conv)/add"}
}
'''


def test_a_fusion_that_updates_in_place_moves_the_update_alone():
    # Read: row, slice and index; written: the update.
    assert limits.moved(hlo.parse(FUSED)) == 4 * 8 + 4 * 8 + 4 + 4 * 8


def test_the_scratch_space_of_a_library_is_not_traffic():
    text = ('ENTRY %main (left: f32[4,8], right: f32[8,2]) -> f32[4,2] {\n'
            '  %left = f32[4,8]{1,0} parameter(0)\n  %right = f32[8,2]{1,0} parameter(1)\n'
            '  %both = (f32[4,2]{1,0}, s8[33554432]{0}) custom-call(%left, %right), '
            'custom_call_target="__cublas$lt$matmul"\n'
            '  ROOT %out = f32[4,2]{1,0} get-tuple-element(%both), index=0\n}\n')
    assert limits.moved(hlo.parse(text)) == 4 * (4 * 8 + 8 * 2 + 4 * 2)


def event(name, start, length, thread=1, process=7, **arguments):
    return {'ph': 'X', 'pid': process, 'tid': thread, 'ts': start, 'dur': length, 'name': name,
            'args': arguments}


def named(kind, name, process=7, thread=1):
    return {'ph': 'M', 'pid': process, 'tid': thread, 'name': kind, 'args': {'name': name}}


HOST = [
    named('process_name', '/host:CPU'), named('thread_name', 'tf_XLAEigen/1'),
    event('fusion', 0, 3, hlo_op='fusion'), event('end: fusion', 3, 0),
    event('dot.1', 10, 1, hlo_op='dot.1'), event('end: dot.1', 16, 0, thread=2),  # its threads go on
    event('fusion', 20, 5, hlo_op='fusion'), event('end: fusion', 25, 0),
    event('ThunkExecutor::Execute', 0, 30), event('python', 0, 100, thread=3),
]


def test_operations_of_a_cpu_trace_last_until_their_end():
    dearest, other = costliest.costs(HOST, hlo.parse(FUSED), 2)
    assert (dearest.name, dearest.runs, dearest.place) == ('fusion', 1, 'forward: backbone/conv_1/add')
    assert dearest.seconds == pytest.approx(4e-6) and dearest.share == pytest.approx(8 / 14)
    assert other.name == 'dot.1'
    assert (other.seconds, other.share) == (pytest.approx(3e-6), pytest.approx(6 / 14))


def test_an_operation_of_a_cpu_trace_ends_when_another_reads_it_even_if_its_end_is_logged_later():
    text = ('ENTRY %main (input: f32[2]) -> f32[2] {\n  %input = f32[2]{0} parameter(0)\n'
            '  %first.1 = f32[2]{0} add(%input, %input)\n  %turned = f32[2]{0} bitcast(%first.1)\n'
            '  ROOT %then.2 = f32[2]{0} multiply(%turned, %turned)\n}\n')
    run = [event('first.1', 0, 1, hlo_op='first.1'), event('then.2', 4, 5, hlo_op='then.2'),
           event('end: first.1', 9, 0), event('end: then.2', 9, 0)]
    again = [event | {'ts': event['ts'] + 100} for event in run]
    found = costliest.costs([*run, *again], hlo.parse(text), 2)
    assert [(cost.name, round(cost.seconds * 1e6)) for cost in found] == [('then.2', 5), ('first.1', 4)]


def test_in_a_trace_of_a_device_only_its_own_lane_counts():
    def lane(name, thread):
        return [named('thread_name', name, 1, thread), event('kernel', 0, 4, thread, 1, hlo_op='fusion.2')]

    device = [named('process_name', '/device:GPU:0', 1), named('thread_name', 'Steps', 1, 5),
              event('0', 0, 90, 5, 1)]
    for lanes in ([*lane('Stream #13(Compute)', 3)], [*lane('Stream #13(Compute)', 3), *lane('XLA Ops', 4)]):
        [only] = costliest.costs([*HOST, *device, *lanes], hlo.parse(FUSED), 1)
        assert (only.name, only.runs, only.share, only.seconds) == ('fusion.2', 1, 1, pytest.approx(4e-6))


def test_loops_are_not_listed_beside_what_they_run():
    text = ('ENTRY %main (input: f32[2]) -> f32[2] {\n  %input = f32[2]{0} parameter(0)\n'
            '  ROOT %while.1 = f32[2]{0} while(%input), condition=%no, body=%none\n}\n')
    events = [event('while.1', 0, 9, hlo_op='while.1'), event('add.3', 1, 2, hlo_op='add.3')]
    assert [cost.name for cost in costliest.costs(events, hlo.parse(text), 1)] == ['add.3']


def test_a_trace_that_names_no_operation_is_said_in_one_line(tmp_path):
    file = tmp_path / 'vm.trace.json.gz'
    file.write_bytes(gzip.compress(json.dumps({'traceEvents': [named('process_name', '/host:CPU'),
                                                               event('x', 0, 1)]}).encode()))
    found = costliest.costs(costliest.read(file), hlo.parse(FUSED), 3)
    [line] = costliest.lines(found, tmp_path)
    assert 'names no operations' in line


def test_a_file_stands_for_all_its_variants():
    path = DEMO.partition(':')[0]
    assert startup.recipes([DEMO]) == [DEMO]
    assert f'{path}:r34' in startup.recipes([path]) and len(startup.recipes([path])) > 5


def test_a_mistake_in_a_recipe_is_said_before_anything_starts(capsys):
    assert command_line.main(['bench', '--startup', DEMO, DEMO + 'x']) == 2
    out, err = capsys.readouterr()
    assert not out and 'demox' in err and err.count('\n') == 1


def test_starts_are_listed_cold_and_warm(capsys, tmp_path):
    file = tmp_path / 'figures.json'
    arguments = ['bench', '--startup', DEMO, *NARROW, '--config.model.lstm_layers=0', '--json', str(file)]
    assert command_line.main(arguments) == 0
    figures = json.loads(file.read_text())[DEMO]
    assert set(figures) == {'cold', 'warm'}
    assert set(figures['cold']) == set(figures['warm']) == {'import', 'trace', 'compile', 'whole'}
    assert 'cold compile' in capsys.readouterr().out


def test_bench_names_the_limit_and_the_costliest_operations(capsys, tmp_path):
    file, folder = tmp_path / 'figures.json', tmp_path / 'trace'
    status = command_line.main(['bench', '--config', DEMO, *NARROW, '--devices', '0', '--seconds', '0.1',
                                '--batch', '1', '--only',
                           'infer', '--profile', str(folder), '--json', str(file)])
    figures, out = json.loads(file.read_text()), capsys.readouterr().out
    assert status == 0 and figures['peak_GFLOP_per_second'] > 0 and figures['bandwidth_GB_per_second'] > 0
    measured = figures['infer_1']
    assert measured['bound_by'] in ('arithmetic', 'memory') and 'bound_by' in out
    assert measured['MB_per_image'] > 0
    flops = measured['images_per_second'] * measured['GFLOP_per_image']
    assert measured['share_of_peak'] == pytest.approx(flops / figures['peak_GFLOP_per_second'])
    assert len(figures['costliest']) == 10 and 0 < sum(cost['share'] for cost in figures['costliest']) <= 1
    assert list(folder.glob('plugins/profile/*/*.xplane.pb')) and 'ms/step' in out


def test_a_trace_of_no_program_is_refused(capsys, tmp_path):
    assert command_line.main(['bench', '--config', DEMO, '--only', 'data', '--profile', str(tmp_path)]) == 2
    assert '--profile' in capsys.readouterr().err

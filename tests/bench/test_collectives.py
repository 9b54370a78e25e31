"""The text of compiled programs, and what devices send to each other in them."""

import json

import pytest
from small import DEMO, NARROW

from recog.bench import collectives, hlo
from recog.commands import command_line

TEXT = '''HloModule jit_step, is_scheduled=true, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

%add (left: f32[], right: f32[]) -> f32[] {
  %left = f32[] parameter(0)
  %right = f32[] parameter(1)
  ROOT %sum = f32[] add(%left, %right)
}

%body (state: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %state = (s32[], f32[4,8]{1,0}) parameter(0)
  %number = s32[] get-tuple-element(%state), index=0
  %values = f32[4,8]{1,0:T(8,128)} get-tuple-element(%state), index=1
  %inner = f32[4,8]{1,0} all-reduce(%values), channel_id=1, \
replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add, \
metadata={op_name="jit(step)/transpose(jvp(Net))/lstm_0/jit(lstm)/while/body/dot_general" stack_frame_id=3}
  ROOT %next = (s32[], f32[4,8]{1,0}) tuple(%number, /*index=1*/%inner)
}

%condition (state.1: (s32[], f32[4,8])) -> pred[] {
  %state.1 = (s32[], f32[4,8]{1,0}) parameter(0)
  ROOT %true = pred[] constant(true)
}

ENTRY %main (input: f32[4,8]) -> f32[32,8] {
  %input = f32[4,8]{1,0} parameter(0)
  %zero = s32[] constant(0)
  %start = (s32[], f32[4,8]{1,0}) tuple(%zero, %input)
  %loop = (s32[], f32[4,8]{1,0}) while(%start), condition=%condition, body=%body, \
backend_config={"known_trip_count":{"n":"12"}}
  %result = f32[4,8]{1,0} get-tuple-element(%loop), index=1
  %several = (f32[16]{0}, bf16[3,2]{1,0}, pred[5]{0}) all-reduce(%result, %result, %result), \
replica_groups=mesh['a'=2,'b'=4] {'a','b'}, to_apply=%add
  %parts = f32[1,8]{1,0} reduce-scatter(%result), replica_groups=[2,4]<=[8], dimensions={0}, to_apply=%add
  ROOT %whole = f32[32,8]{1,0} all-gather(%result), replica_groups={}, dimensions={0}
}
'''

ASYNCHRONOUS = '''HloModule jit_step, is_scheduled=true

%wrapped (part: f32[8,4]) -> f32[1,4] {
  %part = f32[8,4]{1,0} parameter(0)
  ROOT %scattered = f32[1,4]{1,0} reduce-scatter(%part), replica_groups=[1,8]<=[8], \
dimensions={0}, to_apply=%add
}

ENTRY %main (input: f32[8,4]) -> f32[8,4] {
  %input = f32[8,4]{1,0} parameter(0)
  %gather = (f32[8,4]{1,0}, f32[64,4]{1,0}) all-gather-start(%input), \
replica_groups=[1,8]<=[8], dimensions={0}
  %heavy = f32[8,4]{1,0} multiply(%input, %input)
  %gathered = f32[64,4]{1,0} all-gather-done(%gather)
  %reduce = f32[8,4]{1,0} all-reduce-start(%heavy), replica_groups=[1,8]<=[8], to_apply=%add
  %same = f32[8,4]{1,0} bitcast(%heavy)
  %reduced = f32[8,4]{1,0} all-reduce-done(%reduce)
  %scatter = ((f32[8,4]{1,0}), f32[1,4]{1,0}) async-start(%reduced), calls=%wrapped
  %more = f32[8,4]{1,0} add(%heavy, %heavy)
  %scattered.1 = f32[1,4]{1,0} async-done(%scatter)
  %shift = (f32[8,4]{1,0}, f32[8,4]{1,0}, u32[], u32[]) collective-permute-start(%more), \
source_target_pairs={{0,1},{1,0}}
  ROOT %shifted = f32[8,4]{1,0} collective-permute-done(%shift)
}
'''


def found(text):
    return collectives.collectives(hlo.parse(text), 8)


def test_every_collective_is_found_with_its_bytes_and_its_group():
    inner, several, parts, whole = found(TEXT)
    assert (several.kind, several.bytes) == ('all-reduce', 16 * 4 + 3 * 2 * 2 + 5)
    assert several.sent == 2 * several.bytes * 7 // 8
    assert (parts.kind, parts.bytes, parts.sent) == ('reduce-scatter', 4 * 8 * 4, 3 * 8 * 4)  # groups of four
    assert (whole.kind, whole.bytes, whole.sent) == ('all-gather', 32 * 8 * 4, 28 * 8 * 4)
    assert inner.sent == 2 * inner.bytes * 3 // 4


def test_a_collective_in_a_loop_counts_once_a_step():
    inner = found(TEXT)[0]
    assert (inner.times, inner.bytes) == (12, 4 * 8 * 4)
    kinds = collectives.summary(found(TEXT))['kinds']
    assert kinds['all-reduce']['operations'] == 2 and kinds['all-reduce']['runs'] == 13
    assert kinds['all-reduce']['in_loops'] == 1
    assert kinds['all-reduce']['bytes'] == 12 * 4 * 8 * 4 + 81


def test_the_largest_are_named_by_their_place_in_the_model():
    largest = collectives.summary(found(TEXT))['largest'][0]
    assert largest['times'] == 12 and largest['place'] == 'backward: lstm_0/while/body/dot_general'


def test_a_transfer_overlaps_only_where_something_is_computed_before_its_end():
    gather, reduce, scatter, shift = found(ASYNCHRONOUS)
    assert all(each.asynchronous for each in (gather, reduce, scatter, shift))
    assert [each.overlapped for each in (gather, reduce, scatter, shift)] == [True, False, True, False]
    assert not any(each.asynchronous or each.overlapped for each in found(TEXT))


def test_what_is_started_and_ended_counts_once_and_without_its_operands():
    gather, reduce, scatter, shift = found(ASYNCHRONOUS)
    assert gather.bytes == 64 * 4 * 4 and reduce.bytes == 8 * 4 * 4
    assert scatter.bytes == 8 * 4 * 4 and scatter.sent == 7 * 4 * 4
    assert shift.bytes == shift.sent == 8 * 4 * 4


@pytest.mark.parametrize('groups, size', [
    ('replica_groups={{0,2},{1,3}}', 2), ('replica_groups=[4,2]<=[2,4]T(1,0)', 2), ('replica_groups={}', 8),
    ("replica_groups=mesh['a'=2,'b'=4] {'b'}", 4), ("replica_groups=mesh['a'=8] {'a':(1)2}", 2), ('', 8),
])
def test_groups_are_read_in_every_notation(groups, size):
    [each] = found(f'ENTRY %main (input: f32[16]) -> f32[16] {{\n  %input = f32[16]{{0}} parameter(0)\n'
                   f'  ROOT %out = f32[16]{{0}} all-to-all(%input), {groups}, dimensions={{0}}\n}}\n')
    assert each.sent == 64 * (size - 1) // size


def test_a_program_without_transfers_has_an_empty_table():
    text = 'ENTRY %main (input: f32[16]) -> f32[16] {\n  ROOT %input = f32[16]{0} parameter(0)\n}\n'
    assert collectives.summary(found(text)) == {'kinds': {}, 'largest': []}


def test_bench_lists_what_eight_simulated_devices_send(capsys, tmp_path):
    file = tmp_path / 'figures.json'
    status = command_line.main(['bench', '--config', DEMO, *NARROW, '--collectives',
                           '--json', str(file)])
    figures = json.loads(file.read_text())
    assert status == 0 and figures['batch'] == 16 and 'MB/step' in capsys.readouterr().out
    data, fsdp, both = (figures['meshes'][mesh]['kinds']
                        for mesh in ('data=8 fsdp=1', 'data=1 fsdp=8', 'data=4 fsdp=2'))
    assert set(data) == {'all-reduce'} and data['all-reduce']['bytes'] > 4 * 500_000  # every gradient, once
    assert fsdp['all-gather']['bytes'] > 0 and both['all-gather']['bytes'] > 0
    assert not any(each['in_loops'] for each in (data['all-reduce'], fsdp['all-gather'], both['all-gather']))

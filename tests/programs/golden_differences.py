"""How far our numbers are from the references', array by array, beside what the tests allow.

    python tests/programs/golden_differences.py [GOLDEN ...]

prints a table for each golden (by default all): the largest difference, relative to the largest value of the
array; of losses and of norms of gradients relative to themselves, of the latter those above a thousandth of
the largest. The last digits depend on the processor and on the number of its threads.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / 'models'))

import golden
import numpy as np
import test_goldens as goldens

from recog.evaluation import markdown

SMALL = 1e-3  # of the largest norm: below it, norms are not listed


def rows(ours):
    """What was compared, the largest difference, and what the tests allow."""
    facts, training = ours.facts, ours.training
    for name, rule in facts['stages'].items():
        yield name, golden.difference(*goldens.stage(ours, name)), rule['within']
    allowed = facts['loss']['first'], *facts['loss']['later']
    for number, near in enumerate(allowed):
        mine, want = training.losses[number], ours.want['train.losses'][number]
        yield f'loss {number + 1}', abs(mine - want) / abs(want), near
    yield from norms(ours)
    for kind, rules, mine in (('grad', facts['gradients']['whole'], training.gradients),
                              ('stat', facts['statistics'], training.statistics),
                              ('after', facts.get('after', {}), training.after)):
        for name in sorted(ours.want):
            key = name.removeprefix(f'train.{kind}/')
            if key != name and (near := goldens.within(rules, key)) is not None:
                yield name, golden.difference(mine[key], ours.want[name]), near


def norms(ours):
    """The gradient norms: over all of them, and of those that are not small."""
    rule = ours.facts['gradients']
    want = dict(zip(map(str, ours.want['train.grad_keys']), ours.want['train.grad_norms'], strict=True))
    want = {key: norm for key, norm in want.items() if np.isfinite(norm)}
    mine, largest = ours.training.gradients, max(want.values())
    apart = {key: abs(float(np.linalg.norm(mine[key])) - norm) for key, norm in want.items()}
    yield 'gradient norms, of the largest', max(apart.values()) / largest, rule['norms']
    each = max(apart[key] / norm for key, norm in want.items() if norm > SMALL * largest)
    yield 'gradient norms, each', each, rule.get('each', {}).get('*')


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('goldens', nargs='*', help='names, such as comer')
    for name in parser.parse_args().goldens or golden.names():
        lines = [(what, f'{apart:.1e}', f'{near:g}' if near else '-') for what, apart, near in
                 rows(goldens.computed(name))]
        print(f'## {name}\n\n{markdown.table(("what", "difference", "allowed"), lines)}\n', flush=True)


if __name__ == '__main__':
    main()

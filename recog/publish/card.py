"""The card of a published reader: what it is, where it comes from, what it can do and what it cannot."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from recog.evaluation import calibrate, markdown, measurements, preferred
from recog.evaluation.measurements import Measurement
from recog.publish.facts import Row, characters, licences, rows, speed
from recog.text.vocabulary import Vocab
from recog.workdir import files, lexicon

UNKNOWN = 'not recorded'
OF_TRAINING = ('command', 'device', 'host', 'versions', 'commit')  # what results say of the training


def provenance(workdir: Any, config: ConfigDict) -> dict[str, str]:
    """Where the weights come from, as the workdir's report and its log say; of a mean, as it was noted."""
    if (workdir / files.AVERAGED).is_file():
        record = json.loads((workdir / files.AVERAGED).read_text(encoding='utf-8'))
        return record['provenance'] | {
            'averaged': f'{record["share"]:g} of these weights and {1 - record["share"]:g} of those of '
                        f'{record["with"]}, where the training started; the shares are chosen by '
                        + ', '.join(record['sets'])}
    report = next((each for each in measurements.read(workdir) if each.own), None)
    steps = [line for line in files.read_log(workdir) if 'loss' in line]
    weights = config.data.weights or [1] * len(config.data.train)
    mixed = ', '.join(f'{name} ({weight:g})' if len(weights) > 1 else name
                      for name, weight in zip(config.data.train, weights, strict=True))
    own = {stream: seed for stream, seed in config.seeds.items() if seed is not None}
    last = steps[-1] if steps else {}  # an older version wrote less of it
    length = [f'{last[what]:,} {words}' for what, words in (('step', 'steps'), ('images', 'images'))
              if what in last]
    length += [f'{last["seconds"] / 3600:.2f} hours'] if 'seconds' in last else []
    return {**{name: str(report.document.get(name, UNKNOWN)) if report else UNKNOWN for name in OF_TRAINING},
            'data': mixed, 'chosen by': ', '.join(config.eval.sets) if config.checkpoint.keep else 'its end',
            'seed': ', '.join([str(config.seed), *(f'{stream} {seed}' for stream, seed in own.items())]),
            'length': ', '.join(length) or UNKNOWN}


def write(name: str, manifest: Mapping[str, Any], vocab: Vocab, measured: Sequence[Measurement],
          folder: Any) -> str:
    """The card in Markdown."""
    found = rows(folder)
    weak = {each: text for text, each in manifest['weaknesses'].items()}
    came = manifest['provenance']
    start = [f'The weights were imported: {manifest["imported"]}.'] if manifest['imported'] else []
    parts = [
        f'# {name}',
        f'A reader for recog: {manifest["model"]}, '
        f'{manifest["parameters"]:,} parameters, in {manifest["kind"]}. It writes '
        f'{characters(vocab)}.' + (f' Languages: {manifest["languages"]}.' if manifest['languages'] else ''),
        f'    recog predict {name} IMAGES',
        '## Licences', _list(licences(manifest)),
        '## Measured', _basis(manifest, measured), _table([row for row in found if row.set not in weak]),
        '## Known weaknesses',
        _table([row._replace(set=f'{weak[row.set]}: {row.set}') for row in found if row.set in weak])
        if weak else 'None were measured.',
        *_lexicon(folder), *_beam(manifest),
        '## Confidence', _confidence(manifest),
        '## Rounding and speed', _rounding(manifest), f'It takes {speed(manifest)}.',
        '## Where it comes from', *start,
        _list([f'{what}: `{said}`' if what == 'command' else f'{what}: {said}'
               for what, said in came.items()] + [f'step: {manifest["step"]}']),
        'All fields of the recipe stand in `config.json`; `reader.json` holds the SHA-256 of each file.']
    return '\n\n'.join(part for part in parts if part) + '\n'


def _basis(manifest: Mapping[str, Any], measured: Sequence[Measurement]) -> str:
    """What the table is of."""
    if not measured:
        return ''
    first = measured[0].document
    where = ', '.join(str(first[name]) for name in ('device', 'host', 'versions') if name in first)
    what = f'these weights, in {manifest["kind"]}' if manifest['measured'] else \
        'the weights as they were trained, in float32, before they were rounded'
    return f'Measured with {what}; {where}.'


def _table(found: Sequence[Row]) -> str:
    if not found:
        return 'Nothing was measured of these weights.'
    return markdown.table(['set', 'right', 'of', 'accuracy', '95 % interval', 'how'],
                          [[row.set, f'{row.right:,}', f'{row.total:,}', f'{row.accuracy:.2%}',
                            f'{row.low:.2%} to {row.high:.2%}', row.way] for row in found])


def _lexicon(folder: Any) -> list[str]:
    """The words that the reader prefers, if it has a list."""
    words = lexicon.read(folder)
    if not words:
        return []
    record = json.loads((folder / files.LEXICON).read_text(encoding='utf-8'))
    return ['## Words that it prefers', preferred.described(words, record),
            '`--beam 1` reads without the list.']


def _beam(manifest: Mapping[str, Any]) -> list[str]:
    """The beam that it was published with."""
    beam = manifest.get('beam', 0)
    return [f'It searches with a beam of {beam}; `--beam 1` is faster and reads less.'] if beam > 1 else []


def _rounding(manifest: Mapping[str, Any]) -> str:
    """How the rounded weights read beside those that were trained."""
    parts = [f'{found["alike"]} of {found["images"]} {what}'
             for what, found in manifest['rounding'].items() if found['images']]
    return (f'In {manifest["kind"]} it reads {" and ".join(parts)} as it does with the weights as they were '
            'trained.')


def _confidence(manifest: Mapping[str, Any]) -> str:
    """How confidences were made probabilities, if they were."""
    if 'calibration' not in manifest:
        return 'Confidences are those of the model as it was trained; nothing was fitted to them.'
    return (f'{calibrate.described(manifest["calibration"])}\n\nA threshold is asked for by `recog predict '
            '--at-least 0.9`.')


def _list(lines: Sequence[str]) -> str:
    return '\n'.join(f'- {line}' for line in lines)

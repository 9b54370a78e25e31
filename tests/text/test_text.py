"""Vocabularies: texts to ids and back, charsets, dictionary files, and labels that are refused."""

import json
import random
import string
from pathlib import Path

import golden
import pytest

from recog.config import recipe
from recog.errors import ConfigError
from recog.text import vocabulary
from recog.text.vocabulary import Unencodable, Vocab

GOLDENS = json.loads((golden.GOLDENS / 'data.json').read_text(encoding='utf-8'))


def vocab(**fields) -> Vocab:
    rule = recipe.base(name='crnn').text
    rule.update(fields)
    return vocabulary.from_config(rule)


def dictionary(folder: Path, content: bytes | str) -> str:
    path = folder / 'tokens.txt'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def refusal(**fields) -> str:
    with pytest.raises(ConfigError) as caught:
        vocab(**fields)
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('label, encoded', list(zip(GOLDENS['texts'], GOLDENS['ctc_encoded'], strict=True)))
def test_labels_are_coded_as_the_reference_codes_them(label, encoded):
    if encoded is None:
        with pytest.raises(Unencodable):
            vocab().encode(label, max_length=25)
    else:
        ids = vocab().encode(label, max_length=25).ids
        # The reference's labels are CTC classes (id + 1), padded with blanks to 25.
        assert [index + 1 for index in ids] + [0] * (25 - len(ids)) == encoded


@pytest.mark.parametrize('charset, characters', [
    ('36', '0123456789abcdefghijklmnopqrstuvwxyz'),
    ('62', '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'),
    ('94', string.printable[:94]),
    ('95', string.printable[:95]),
])
def test_the_charsets_are_printable_ascii_in_order(charset, characters):
    assert vocab(charset=charset).tokens == tuple(characters)
    assert len(vocab(charset=charset)) == int(charset)


@pytest.mark.parametrize('charset', ['36', '62', '94', '95'])
def test_decoding_undoes_encoding(charset):
    kept, draw = vocab(charset=charset, case='keep'), random.Random(int(charset))
    for _ in range(200):
        label = ''.join(draw.choices(kept.tokens, k=draw.randint(1, 25)))
        assert kept.decode(kept.encode(label, max_length=25).ids) == label


def test_folding_case_is_str_lower():
    assert vocab().decode(vocab().encode('HeLLo').ids) == 'hello'
    kept = vocab(charset='62', case='keep')
    assert kept.decode(kept.encode('HeLLo').ids) == 'HeLLo'
    assert vocab(case='keep').encode('HeLLo') == (vocab().encode('eo').ids, ('H', 'L', 'L'))


def test_dropped_characters_are_reported_in_order():
    encoding = vocab().encode("Don't, é")
    assert encoding.ids == vocab().encode('dont').ids
    assert encoding.dropped == ("'", ',', ' ', 'é')


def test_refusing_unknown_characters_names_the_character():
    strict = vocab(unknown='refuse')
    assert strict.encode('abc').dropped == ()
    with pytest.raises(Unencodable, match="unknown character: 'é'") as caught:
        strict.encode('café')
    assert caught.value.reason == 'unknown character'


@pytest.mark.parametrize('label', ['', '???', ' '])
def test_an_empty_label_is_refused(label):
    with pytest.raises(Unencodable) as caught:
        vocab().encode(label)
    assert caught.value.reason == 'empty'


# The second keeps 25 characters; the third has 26 in lower case, where the dot above is a token of its own.
@pytest.mark.parametrize('label, tokens', [('a' * 26, 'a'), ('a' * 25 + '!', 'a'), ('İ' * 13, 'i\u0307')])
def test_a_label_that_is_too_long_is_refused(label, tokens):
    with pytest.raises(Unencodable) as caught:
        Vocab(tuple(tokens)).encode(label, max_length=25)
    assert caught.value.reason == 'too long'
    assert len(Vocab(tuple(tokens)).encode(label).ids) >= 25


def test_a_negative_id_ends_the_text():
    assert vocab().decode([10, 11, -1, 12]) == 'ab'
    assert vocab().decode([]) == ''


def test_tokens_between_blanks_are_coded_whole(tmp_path):
    formula = vocab(charset=dictionary(tmp_path, '\\frac\n{\n}\nx\n1\n'), separator=' ', case='keep')
    label = '\\frac { x } { 1 }'
    assert formula.encode(label).ids == (0, 1, 3, 2, 1, 4, 2)
    assert formula.decode(formula.encode(label).ids) == label
    assert formula.encode('x  \\alpha 1') == ((3, 4), ('\\alpha',))
    with pytest.raises(Unencodable, match='too long'):
        formula.encode(label, max_length=6)
    assert len(formula.encode(label, max_length=7).ids) == 7


def test_a_dictionary_file_gives_its_lines_in_order(tmp_path):
    tokens = ('b', 'a', ' ', 'é', '\u2028', '\u3000')
    assert vocab(charset=dictionary(tmp_path, '\n'.join(tokens))).tokens == tokens
    assert vocab(charset=dictionary(tmp_path, '\r\n'.join(tokens) + '\r\n')).tokens == tokens
    assert vocab(charset=dictionary(tmp_path, '\ufeff' + '\n'.join(tokens) + '\n')).tokens == tokens


@pytest.mark.parametrize('content, separator, message', [
    ('a\nb\na\n', '', "line 3: 'a' is already in line 1"),
    ('a\n\nb\n', '', 'line 2 is empty'),
    ('a\n\n', '', 'line 2 is empty'),
    ('', '', 'line 1 is empty'),
    ('a\nbc\n', '', "line 2: 'bc' is more than one character"),
    ('a\nb c\n', ' ', "line 2: 'b c' contains config.text.separator=' '"),
    (b'a\n\xff\n', '', 'must be UTF-8; byte 2 is not'),
])
def test_a_bad_dictionary_is_refused_with_file_and_line(tmp_path, content, separator, message):
    path = dictionary(tmp_path, content)
    line = refusal(charset=path, separator=separator)
    assert message in line and path in line


def test_an_unknown_charset_is_refused_with_what_is_allowed():
    assert '36, 62, 94, 95' in refusal(charset='nowhere/tokens.txt')
    assert "did you mean '36'?" in refusal(charset='336')
    assert 'neither' in refusal(charset='')


def test_a_vocabulary_survives_its_file(tmp_path):
    for fields in ({}, {'charset': '95', 'case': 'keep', 'unknown': 'refuse'},
                   {'charset': dictionary(tmp_path, 'é\n\u2028\n'), 'separator': ' '}):
        written = vocab(**fields)
        written.save(tmp_path / 'vocab.json')
        assert Vocab.load(tmp_path / 'vocab.json') == written
        assert Vocab.from_json(written.to_json()).hash == written.hash


def test_the_hash_tells_every_field_apart_and_stays():
    others = [vocab(), vocab(charset='62'), vocab(case='keep'), vocab(unknown='refuse'), vocab(separator=' '),
              Vocab(tuple(reversed(vocab().tokens)))]
    assert len({other.hash for other in others}) == len(others)
    assert vocab().hash == 'fb4c09909e1aac2f'


@pytest.mark.parametrize('content', [
    '{', '[]', '{"tokens": ["a"]}', '{"tokens": [1], "case": "", "unknown": "", "separator": ""}'])
def test_a_file_that_is_no_vocabulary_is_refused_by_name(tmp_path, content):
    path = tmp_path / 'vocab.json'
    with pytest.raises(ConfigError, match='vocab.json: no vocabulary can be read'):
        Vocab.load(path)
    path.write_text(content)
    with pytest.raises(ConfigError, match='vocab.json: a vocabulary is a JSON object of tokens, case'):
        Vocab.load(path)


def test_latex_tokens_stand_between_blanks_or_are_cut_out_of_raw_latex():
    can = vocab(charset='can', separator=' ', case='keep')
    assert len(can) == 109 and can.decode(can.encode(r'\frac { a } { 2 }').ids) == r'\frac { a } { 2 }'
    ocr = vocab(charset='latex_ocr', case='keep')
    assert len(ocr) == 133 and ocr.tokens[0] == ' '
    assert [ocr.tokens[index] for index in ocr.encode(r'\frac { a } { 2 } \Delta').ids] == [
        r'\frac', ' ', '{', 'a', '}', '{', '2', '}', r'\Delta']
    assert ocr.decode(ocr.encode(r'2 \pi i').ids) == r'2\pi i'
    assert len(ocr.encode(r'\foo').ids) == 4  # an unknown command is cut into characters


@pytest.mark.parametrize(('charset', 'separator', 'wanted'), [('can', '', ' '), ('latex_ocr', ' ', '')])
def test_latex_tokens_with_another_separator_are_refused(charset, separator, wanted):
    said = refusal(charset=charset, separator=separator)
    assert said == f'config.text.separator={separator!r} must be {wanted!r} for config.text.charset={charset}'

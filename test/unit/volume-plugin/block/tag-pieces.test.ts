import t from 'tap';
import { fromPieces, leftoverPieces, toPieces } from '../../../../volume-plugin/block/tag-pieces.ts';

const LONGEST = 128;

t.test('whatever tags there are, they are read as they were written, and none is too long', async (t) => {
  const values = [
    '',
    'ext4',
    '2|of us',
    '12|',
    '|',
    'x'.repeat(128),
    'y'.repeat(129),
    'z'.repeat(1_000),
    '3|'.repeat(300),
  ];
  for (const value of values) {
    const tags = { options: value, formatted: 'ext4', 'options.2': 'of its own' };
    const kept = toPieces(value.length > LONGEST ? { options: value, formatted: 'ext4' } : tags, LONGEST);
    for (const piece of Object.values(kept)) t.ok(piece.length <= LONGEST, `${piece.length} characters`);
    t.match(fromPieces(kept), { options: value, formatted: 'ext4' });
  }
  t.same(fromPieces(toPieces({ a: 'b', 'a.2': 'c' }, LONGEST)), { a: 'b', 'a.2': 'c' });
});

t.test('a value of which somebody has taken a piece away is no value, rather than a wrong one', async (t) => {
  const { 'options.3': _, ...kept } = toPieces({ options: 'x'.repeat(400), uuid: '1' }, LONGEST);
  t.same(fromPieces(kept), { uuid: '1' });
});

t.test('pieces of an earlier, longer value are found, so that they can go', async (t) => {
  const kept = toPieces({ options: 'x'.repeat(400), 'optional.2': 'y', 'options.size': 'z' }, LONGEST);
  t.same(leftoverPieces(['options'], kept), ['options.2', 'options.3', 'options.4']);
});

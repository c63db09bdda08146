import t from 'tap';
import { distance, nearest } from '../../../shared/nearest.ts';

t.test('distance counts inserts, deletes, replacements and swaps', async (t) => {
  const cases: [string, string, number][] = [
    ['', 'abc', 3],
    ['mtu', 'mtu', 0],
    ['mut', 'mtu', 1],
    ['masqerade', 'masquerade', 1],
    ['kitten', 'sitting', 3],
    ['ca', 'abc', 3],
  ];
  for (const [a, b, away] of cases) {
    t.equal(distance(a, b), away, `${a} ${b}`);
    t.equal(distance(b, a), away, `${b} ${a}`);
  }
});

t.test('only a close name is offered', async (t) => {
  const known = ['mtu', 'masquerade', 'ingress', 'allow'];
  t.equal(nearest('MTU', known), 'mtu');
  t.equal(nearest('mt', known), 'mtu');
  t.equal(nearest('masqarade', known), 'masquerade');
  t.equal(nearest('colour', known), undefined);
  t.equal(nearest('', known), undefined);
  t.equal(nearest('x', ['y']), undefined);
  t.equal(nearest('of', ['auto', 'on', 'off']), 'off', 'of two as near, the one that begins alike');
  t.equal(nearest('x'.repeat(100_000), known), undefined);
});

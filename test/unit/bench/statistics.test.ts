import t from 'tap';
import { table } from '../../bench/report.ts';
import { median, percentile, rounded, spanned } from '../../bench/statistics.ts';

t.test('the median is the middle, or the mean of the two in the middle', async (t) => {
  t.equal(median([3]), 3);
  t.equal(median([9, 1, 5]), 5);
  t.equal(median([10, 1, 2, 4]), 3);
  t.ok(Number.isNaN(median([])));
});

t.test('a percentile is a value that was measured', async (t) => {
  const values = Array.from({ length: 200 }, (_, i) => 200 - i);
  t.equal(percentile(values, 0.5), 100);
  t.equal(percentile(values, 0.99), 198);
  t.equal(percentile(values, 1), 200);
  t.equal(percentile([7], 0.99), 7);
  t.ok(Number.isNaN(percentile([], 0.5)));
});

t.test('figures have no more digits than they deserve', async (t) => {
  t.equal(rounded(12345.678), 12350);
  t.equal(rounded(0.0123456), 0.01235);
});

t.test('a table lines up', async (t) => {
  t.equal(
    table([
      ['path', 'rate'],
      ['host', '9.5'],
      ['overlay', '12.25'],
    ]),
    'path      rate\nhost       9.5\noverlay  12.25',
  );
});

t.test('what goes on at the same time counts once', async (t) => {
  t.equal(spanned([]), 0);
  t.equal(
    spanned([
      [10, 20],
      [0, 5],
      [12, 15],
      [18, 30],
    ]),
    25,
  );
});

import t from 'tap';
import { ClockSkew } from '../../../../shared/cloud/clock.ts';

const noon = Date.parse('2026-11-22T12:00:00Z');
const header = 'Sun, 22 Nov 2026 12:00:00 GMT';

t.test('nothing is known before the first answer, nor from a broken one', async (t) => {
  const skew = new ClockSkew();
  t.equal(skew.ms, undefined);
  t.equal(skew.text, undefined);
  skew.observe(undefined, noon, noon);
  skew.observe('soon', noon, noon);
  t.equal(skew.ms, undefined);
});

t.test('the middle of request and answer is compared with the header', async (t) => {
  const skew = new ClockSkew();
  skew.observe(header, noon + 400, noon + 600);
  t.equal(skew.ms, 0);
  t.equal(skew.text, 'exact');
  skew.observe(header, noon + 300_400, noon + 300_600);
  t.equal(skew.text, '300 s ahead');
  skew.observe(header, noon - 59_600, noon - 59_400);
  t.equal(skew.text, '60 s behind');
});

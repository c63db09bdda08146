import t from 'tap';
import { Pace } from '../../../../shared/state/pace.ts';

t.test('several quick writes in a row come before one on the spot, and a slow one ends it', async (t) => {
  const pace = new Pace(2, 3);
  const after = (...times: number[]): boolean => {
    for (const ms of times) pace.took(ms);
    return pace.onTheSpot;
  };
  t.equal(pace.onTheSpot, false, 'an unknown disk');
  t.equal(after(1, 1), false);
  t.equal(after(2), true);
  t.equal(after(...Array<number>(1_000).fill(0.1)), true);
  t.equal(after(2.1), false, 'however many quick ones there were');
  t.equal(after(1, 1, 9, 1, 1), false);
  t.equal(after(1), true);
});

import t from 'tap';
import { LeaseWatch } from '../../../../volume-plugin/nfs/lease-watch.ts';

const look = (began: number, ended: number, sign = 'a', token = 'first') => ({ token, sign, began, ended });

t.test('only what surely passed counts: from the end of the first look to the beginning of the last', async (t) => {
  const watch = new LeaseWatch(100);
  t.same(watch.see('v', look(0, 10)), { stillMs: 0, moved: false });
  t.same(watch.see('v', look(40, 70)), { stillMs: 30, moved: false });
  t.same(watch.see('v', look(150, 151)), { stillMs: 140, moved: false });
});

t.test('a sign of life is seen, and time is counted from there', async (t) => {
  const watch = new LeaseWatch(100);
  watch.see('v', look(0, 1));
  t.same(watch.see('v', look(50, 51, 'b')), { stillMs: 0, moved: true });
  t.same(watch.see('v', look(90, 91, 'b')), { stillMs: 39, moved: true });
  t.same(watch.see('v', look(120, 121, 'a')), { stillMs: 0, moved: true }, 'an old one that comes late is one, too');
});

t.test('another lease, a long time without a look, and another volume begin anew', async (t) => {
  const watch = new LeaseWatch(100);
  watch.see('v', look(0, 1));
  t.same(watch.see('v', look(50, 51, 'b', 'second')), { stillMs: 0, moved: false });
  t.same(watch.see('v', look(152, 153, 'b', 'second')), { stillMs: 0, moved: false });
  t.same(watch.see('w', look(152, 153, 'b', 'second')), { stillMs: 0, moved: false });
  watch.forget('v');
  t.same(watch.see('v', look(160, 161, 'b', 'second')), { stillMs: 0, moved: false });
});

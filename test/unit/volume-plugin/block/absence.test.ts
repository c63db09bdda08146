import t from 'tap';
import { Absence } from '../../../../volume-plugin/block/absence.ts';

const looks = (goneMs: number) => {
  const clock = { ms: 0 };
  const absence = new Absence(goneMs, () => clock.ms);
  return {
    absence,
    after: (ms: number) => {
      clock.ms += ms;
      return absence.missed('i-1');
    },
  };
};

t.test('a host is gone when look after look does not find it for a while', async (t) => {
  const { after } = looks(60_000);
  t.equal(after(0), 'unknown');
  t.equal(after(59_000), 'unknown');
  t.equal(after(1_000), 'gone');
  t.equal(after(500_000), 'gone', 'and stays so');
});

t.test('a look that finds it begins anew', async (t) => {
  const { absence, after } = looks(60_000);
  after(0);
  absence.found('i-1');
  t.equal(after(61_000), 'unknown');
  t.equal(absence.missed('i-2'), 'unknown', 'each host by itself');
});

t.test('two late answers a long time apart do not make a running host gone', async (t) => {
  const { after } = looks(60_000);
  t.equal(after(0), 'unknown', 'when it was new');
  t.equal(after(3_600_000), 'unknown', 'an hour later');
  t.equal(after(60_000), 'gone');
});

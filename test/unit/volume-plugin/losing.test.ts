import t from 'tap';
import { Losing } from '../../../volume-plugin/losing.ts';
import { codeOf } from './block/scratch.ts';
import { bench, context } from './fakes.ts';

const setUp = async () => {
  const made = await bench();
  const { driver, backend } = made;
  const cut: string[] = [];
  let says: (string | undefined)[] = [];
  Object.assign(backend, {
    lost: (): string | undefined => (says.length > 1 ? says.shift() : says[0]),
    cutOff: async (target: string) => {
      cut.push(target);
    },
  });
  await driver.create('data', {}, context());
  await driver.mount('data', 'id-1', context());
  return {
    ...made,
    cut,
    losing: new Losing(made.deps),
    say: (...words: (string | undefined)[]): void => {
      says = words;
    },
  };
};

t.test('a volume that this host has lost is marked at once, cut off, and handed to nobody', async (t) => {
  const { driver, losing, cut, say, store, stop } = await setUp();
  say(undefined);
  t.same(await losing.check(context()), []);
  say('host host-2 has it');
  t.same(await losing.check(context()), ['data']);
  t.same(cut, [store.get('mounts', 'data')?.target]);
  const { status } = await driver.get('data', context());
  t.match(status, {
    state: 'lost: host host-2 has it',
    lastError: /^VOLUME_LOST: Volume data does not belong to this host/,
  });
  t.equal(await codeOf(driver.mount('data', 'id-2', context())), 'VOLUME_LOST');
  t.same(await losing.check(context()), [], 'once');
  t.equal(cut.length, 1);
  await driver.unmount('data', 'id-1', context());
  say(undefined);
  t.equal(await codeOf(driver.mount('data', 'id-3', context())), 'none', 'and once it is gone it may come again');
  t.equal((await driver.get('data', context())).status['state'], 'mounted');
  await stop();
});

t.test('a list that is behind takes no volume away from its containers', async (t) => {
  const { driver, losing, cut, say, stop } = await setUp();
  // Asked again by name, it is this host's.
  say('its disk is attached to no host', undefined);
  t.same(await losing.check(context()), []);
  t.same(cut, []);
  t.equal(await codeOf(driver.mount('data', 'id-2', context())), 'none');
  await stop();
});

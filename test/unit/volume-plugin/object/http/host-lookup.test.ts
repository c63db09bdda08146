import type { LookupAddress, LookupOptions } from 'node:dns';
import t from 'tap';
import { HostLookup } from '../../../../../volume-plugin/object/http/host-lookup.ts';

const four = (address: string): LookupAddress => ({ address, family: 4 });
const six = (address: string): LookupAddress => ({ address, family: 6 });

/** A resolver that can be told what to say, with a clock to be set. */
class World {
  asked = 0;
  time = 0;
  answer: readonly LookupAddress[] | Error = [four('192.0.2.1'), four('192.0.2.2'), six('2001:db8::1')];
  readonly hosts = new HostLookup(
    async () => {
      this.asked += 1;
      await Promise.resolve();
      if (this.answer instanceof Error) throw this.answer;
      return this.answer;
    },
    () => this.time,
  );

  lookup(options: LookupOptions): Promise<string[]> {
    return new Promise((resolve, reject) => {
      this.hosts.lookup('store.test', options, (error, address) => {
        if (error !== null) reject(error);
        else resolve(typeof address === 'string' ? [address] : address.map((one) => one.address));
      });
    });
  }
}

t.test('many connections at once ask once, and are spread over the addresses', async (t) => {
  const world = new World();
  const found = await Promise.all(Array.from({ length: 6 }, () => world.lookup({ all: true })));
  t.equal(world.asked, 1);
  t.same(new Set(found.map(([first]) => first)), new Set(['192.0.2.1', '192.0.2.2']));
  for (const all of found) t.same(all.toSorted(), ['192.0.2.1', '192.0.2.2', '2001:db8::1']);
  t.ok(
    found.every((all) => all[2] === '2001:db8::1'),
    'the family that the system prefers stays in front',
  );
});

t.test('addresses are asked for again after some seconds, for stores change them', async (t) => {
  const world = new World();
  await world.lookup({ all: true });
  world.answer = [four('198.51.100.7')];
  world.time = 4_000;
  t.notSame(await world.lookup({ all: true }), ['198.51.100.7']);
  world.time = 6_000;
  t.same(await world.lookup({ all: true }), ['198.51.100.7']);
});

t.test('while names cannot be resolved, what was known is used, for minutes', async (t) => {
  const world = new World();
  await world.lookup({ all: true });
  world.answer = Object.assign(new Error('EAI_AGAIN'), { code: 'EAI_AGAIN' });
  world.time = 120_000;
  t.equal((await world.lookup({ all: true })).length, 3);
  world.time = 3_600_000;
  await t.rejects(world.lookup({ all: true }), { code: 'EAI_AGAIN' });
});

t.test('one address, or one family, for those who want that', async (t) => {
  const world = new World();
  t.match((await world.lookup({}))[0], /^192\.0\.2\./);
  t.same(await world.lookup({ family: 6 }), ['2001:db8::1']);
  world.answer = [four('192.0.2.1')];
  world.time = 10_000;
  await t.rejects(world.lookup({ all: true, family: 6 }), { code: 'ENOTFOUND' });
});

import t from 'tap';
import type { ClaimRecord } from '../../../../network-plugin/state.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { createLogger } from '../../../../shared/log.ts';
import { codeOf, context } from '../../../conformance/route-provider.ts';
import { errorOf } from './engine-cloud.ts';
import { makeWorld, startedWorld as started, type World } from './engine-fakes.ts';
import { until } from './etcd-world.ts';

const POOL = '10.64.0.0/12';

const record = ({ store }: World, prefix: string): ClaimRecord | undefined => store.get('claims', prefix);
const remember = ({ store }: World, prefix: string, phase: ClaimRecord['phase']): Promise<void> =>
  store.update((tx) => tx.put('claims', prefix, { prefix, pool: POOL, phase, since: new Date(0).toISOString() }));
const creations = ({ provider }: World): string[] => provider.calls.filter((call) => call.startsWith('create'));

t.test('claims', async (t) => {
  t.test('the intent is on record before the provider is asked, and the claim after', async (t) => {
    const world = await started(t);
    let during: string | undefined;
    world.provider.beforeCreate = (prefix) => {
      during = record(world, prefix)?.phase;
    };
    await world.engine.claim('10.64.3.0/24', POOL, context());
    t.equal(during, 'claiming');
    t.match(record(world, '10.64.3.0/24'), { phase: 'held', pool: POOL });
  });

  t.test('a claim that is held costs nothing, also while the provider is down', async (t) => {
    const world = await started(t);
    await world.engine.claim('10.64.3.0/24', POOL, context());
    world.provider.fail();
    await world.engine.claim('10.64.3.0/24', POOL, context());
    t.equal(creations(world).length, 1);
  });

  t.test('a refused claim leaves no record, and names the owner', async (t) => {
    const world = await started(t);
    world.provider.other('host-2', '10.64.0.0/16');
    t.match(await world.engine.claim('10.64.3.0/24', POOL, context()).catch((error: unknown) => error), {
      code: 'PREFIX_OWNED',
      message: /host-2/,
    });
    t.equal(world.store.all('claims').size, 0);
  });

  t.test('a claim whose answer got lost is withdrawn', async (t) => {
    const world = await started(t);
    world.provider.afterCreate = () => {
      world.provider.afterCreate = undefined;
      throw new PluginError('PROVIDER_UNREACHABLE', { provider: 'fake' });
    };
    t.equal(await codeOf(world.engine.claim('10.64.3.0/24', POOL, context())), 'PROVIDER_UNREACHABLE');
    await until('it is withdrawn', () => world.store.all('claims').size === 0);
    t.equal(world.provider.routes.size, 0);
  });

  t.test('a claim repeated after its answer got lost succeeds', async (t) => {
    const world = await started(t);
    world.provider.afterCreate = () => {
      world.provider.afterCreate = undefined;
      throw new PluginError('PROVIDER_UNREACHABLE', { provider: 'fake' });
    };
    t.equal(await codeOf(world.engine.claim('10.64.3.0/24', POOL, context())), 'PROVIDER_UNREACHABLE');
    await world.engine.claim('10.64.3.0/24', POOL, context());
    t.equal(record(world, '10.64.3.0/24')?.phase, 'held');
    await world.engine.reconcile(true, context());
    t.ok(world.provider.routes.has('10.64.3.0/24'));
  });

  t.test('a claim under way is neither waited for nor undone by reconcile', async (t) => {
    const world = await started(t);
    let go = (): void => undefined;
    world.provider.beforeCreate = () =>
      new Promise<void>((resolve) => {
        go = resolve;
      });
    const claim = world.engine.claim('10.64.3.0/24', POOL, context());
    await until('it is under way', () => creations(world).length === 1);
    t.same(await world.engine.reconcile(true, context(1000)), []);
    t.equal(record(world, '10.64.3.0/24')?.phase, 'claiming');
    go();
    await claim;
    t.equal(record(world, '10.64.3.0/24')?.phase, 'held');
  });

  t.test("the host's own and the provider's local addresses are refused", async (t) => {
    const world = await started(t);
    world.kernel.localUses = [{ prefix: '10.64.9.0/24', kind: 'address', gateway: false, what: 'the subnet of eth0' }];
    world.provider.localPrefixes = ['10.65.0.7/32'];
    t.match(await world.engine.claim('10.64.0.0/16', POOL, context()).catch((error: unknown) => error), {
      code: 'PREFIX_IS_LOCAL',
      message: /10\.64\.9\.0\/24, which is the subnet of eth0/,
    });
    t.equal(await codeOf(world.engine.claim('10.65.0.0/24', POOL, context())), 'PREFIX_IS_LOCAL');
    t.same(creations(world), []);
  });

  t.test('a prefix may be cut out of a wide route to a gateway where the provider allows it', async (t) => {
    const world = await started(t);
    world.kernel.localUses = [{ prefix: '10.0.0.0/8', kind: 'route', gateway: true, what: 'the route 10.0.0.0/8' }];
    await world.engine.claim('10.64.3.0/24', POOL, context());
    t.equal(await world.engine.claimFree({ pool: POOL, length: 24 }, context()), '10.64.0.0/24');
    world.provider.allowsNarrower = false;
    t.equal(await codeOf(world.engine.claim('10.64.5.0/24', POOL, context())), 'ROUTE_CONFLICT');
  });

  t.test('while the provider is down a new claim says so and nothing is kept', async (t) => {
    const world = await started(t);
    world.provider.fail();
    t.equal(await codeOf(world.engine.claim('10.64.3.0/24', POOL, context())), 'PROVIDER_UNREACHABLE');
    t.equal(await codeOf(world.engine.claimFree({ pool: POOL, length: 24 }, context())), 'PROVIDER_UNREACHABLE');
    world.provider.recover();
    await until('nothing is left', () => world.store.all('claims').size === 0);
  });
});

t.test('free prefixes', async (t) => {
  t.test('the first that overlaps nothing: not peers, not own ones, not local networks', async (t) => {
    const world = await started(t);
    world.provider.other('host-2', '10.64.0.0/24');
    world.provider.other('host-3', '10.64.2.128/25');
    world.kernel.localUses = [{ prefix: '10.64.3.0/28', kind: 'address', gateway: false, what: 'the subnet of br0' }];
    t.equal(await world.engine.claimFree({ pool: POOL, length: 24 }, context()), '10.64.1.0/24');
    t.equal(await world.engine.claimFree({ pool: POOL, length: 24 }, context()), '10.64.4.0/24');
    t.equal(
      await world.engine.claimFree({ pool: 'fd64:6472:7961::/48', length: 64 }, context()),
      'fd64:6472:7961::/64',
    );
  });

  t.test('the one held before is preferred, unless it is taken or does not fit', async (t) => {
    const world = await started(t);
    t.equal(
      await world.engine.claimFree({ pool: POOL, length: 24, preferred: '10.64.77.0/24' }, context()),
      '10.64.77.0/24',
    );
    world.provider.other('host-2', '10.64.78.0/24');
    t.equal(
      await world.engine.claimFree({ pool: POOL, length: 24, preferred: '10.64.78.0/24' }, context()),
      '10.64.0.0/24',
    );
    t.equal(
      await world.engine.claimFree({ pool: POOL, length: 24, preferred: '10.99.0.0/24' }, context()),
      '10.64.1.0/24',
    );
    t.equal(
      await world.engine.claimFree({ pool: POOL, length: 25, preferred: '10.64.80.0/24' }, context()),
      '10.64.2.0/25',
    );
  });

  t.test('a lost race means the next one', async (t) => {
    const world = await started(t);
    world.provider.beforeCreate = (prefix) => {
      if (prefix === '10.64.0.0/24' || prefix === '10.64.1.0/24') world.provider.other('host-2', prefix);
    };
    t.equal(await world.engine.claimFree({ pool: POOL, length: 24 }, context()), '10.64.2.0/24');
  });

  t.test('calls at once on one host get different ones', async (t) => {
    const world = await started(t);
    const got = await Promise.all(
      Array.from({ length: 5 }, () => world.engine.claimFree({ pool: POOL, length: 24 }, context())),
    );
    t.equal(new Set(got).size, 5);
  });

  t.test('an exhausted pool is named with its numbers', async (t) => {
    const world = await started(t);
    for (let n = 0; n < 3; n += 1) world.provider.other(`host-${n}`, `10.70.0.${n * 64}/26`);
    world.kernel.localUses = [{ prefix: '10.70.0.192/28', kind: 'address', gateway: false, what: 'the subnet of br0' }];
    t.match(
      await world.engine.claimFree({ pool: '10.70.0.0/24', length: 26 }, context()).catch((error: unknown) => error),
      {
        code: 'POOL_EXHAUSTED',
        message:
          /10\.70\.0\.0\/24 has no free prefix of length \/26 left: it has room for 4; 3 are held by hosts and 1 network/,
      },
    );
  });
});

t.test('release', async (t) => {
  t.test('it is idempotent, and the intent is on record before', async (t) => {
    const world = await started(t);
    await world.engine.claim('10.64.3.0/24', POOL, context());
    await world.engine.release('10.64.3.0/24', context());
    await world.engine.release('10.64.3.0/24', context());
    t.equal(world.provider.routes.size, 0);
    t.equal(world.store.all('claims').size, 0);
  });

  t.test('while the provider is down the intent is kept, and finished when it is back', async (t) => {
    const world = await started(t);
    await world.engine.claim('10.64.3.0/24', POOL, context());
    world.provider.fail();
    await world.engine.release('10.64.3.0/24', context());
    t.equal(record(world, '10.64.3.0/24')?.phase, 'releasing');
    world.provider.recover();
    await until('it is finished', () => world.store.all('claims').size === 0);
    t.equal(world.provider.routes.size, 0);
  });
});

t.test('after a crash', async (t) => {
  t.test('what was granted is held, what was held is claimed again, and the rest is withdrawn', async (t) => {
    const world = await started(t, async (world) => {
      await remember(world, '10.64.0.0/24', 'claiming');
      await remember(world, '10.64.1.0/24', 'claiming');
      await remember(world, '10.64.2.0/24', 'releasing');
      await remember(world, '10.64.3.0/24', 'held');
      for (const n of [1, 2]) {
        const prefix = `10.64.${n}.0/24`;
        world.provider.routes.set(prefix, { prefix, nextHop: { host: 'me' }, state: 'active', ours: true });
      }
    });
    const held = (): string[] =>
      [...world.store.all('claims').values()].map(({ prefix, phase }) => `${prefix} ${phase}`);
    await until('all is settled', () => held().length === 2 && world.provider.routes.size === 2);
    t.same(held().sort(), ['10.64.1.0/24 held', '10.64.3.0/24 held']);
    t.same([...world.provider.routes.keys()].sort(), ['10.64.1.0/24', '10.64.3.0/24']);
  });

  t.test('a route of ours without a record is given back', async (t) => {
    const prefix = '10.64.1.0/24';
    const world = await started(t, (world) =>
      world.provider.routes.set(prefix, { prefix, nextHop: { host: 'me' }, state: 'active', ours: true }),
    );
    await until('it is gone', () => world.provider.routes.size === 0);
    t.same(await world.engine.reconcile(true, context()), [], 'and that was all');
  });

  t.test('without repair drift is only told', async (t) => {
    const world = await started(t);
    await world.engine.claim('10.64.3.0/24', POOL, context());
    world.kernel.peerRoutes.set('10.64.9.0/24', '192.0.2.9');
    t.match(await world.engine.reconcile(false, context()), [
      { what: /stale route 10\.64\.9\.0\/24/, repaired: false },
    ]);
    t.equal(world.kernel.peerRoutes.size, 1);
  });
});

t.test('a prefix that another host took meanwhile', async (t) => {
  const lines: string[] = [];
  const world = makeWorld({ log: createLogger({ level: 'error', write: (line) => lines.push(line) }) });
  t.teardown(() => world.engine.close(context()));
  await remember(world, '10.64.3.0/24', 'held');
  world.provider.other('host-2', '10.64.0.0/16');
  await world.engine.start(context());
  await until('it is found out', () => lines.length > 0);

  t.test('is called lost, loudly, once, with the owner', async (t) => {
    t.same(world.engine.lost(), [{ prefix: '10.64.3.0/24', owner: 'host-2', other: '10.64.0.0/16' }]);
    await world.engine.reconcile(true, context());
    t.equal(lines.length, 1);
    t.match(lines[0], /PREFIX LOST.*host-2/);
  });

  t.test('is refused to new networks, and its addresses belong to the other host', async (t) => {
    t.equal(await codeOf(world.engine.claim('10.64.3.0/24', POOL, context())), 'PREFIX_OWNED');
    t.match(world.engine.ownerOf('10.64.3.9'), { host: 'host-2', ours: false });
  });

  t.test('is not stolen, and not routed away from the containers that still run', async (t) => {
    t.equal(world.provider.routes.get('10.64.0.0/16')?.nextHop.host, 'host-2');
    t.same(world.kernel.writes, []);
  });

  t.test('is claimed again when it is free', async (t) => {
    world.provider.vanish('10.64.0.0/16');
    await until('it is ours', () => world.provider.routes.get('10.64.3.0/24')?.ours === true);
    t.same(world.engine.lost(), []);
    t.same(await world.engine.reconcile(true, context()), []);
  });
});

t.test('a claim of ours that vanishes at the provider is made again at once', async (t) => {
  const world = await started(t);
  await world.engine.claim('10.64.3.0/24', POOL, context());
  world.provider.vanish('10.64.3.0/24');
  await until('it is back', () => world.provider.routes.has('10.64.3.0/24'));
  t.same(world.engine.lost(), [], 'nothing is lost by it');
});

t.test('starting', async (t) => {
  t.test('does not wait for a provider that hangs, and closing does not either', async (t) => {
    const world = makeWorld();
    world.provider.start = (c) =>
      new Promise<void>((_, reject) => c.signal.addEventListener('abort', () => reject(c.signal.reason)));
    // Deadlines do not keep a process alive; a plugin's socket does.
    const alive = setInterval(() => undefined, 1000);
    t.teardown(() => clearInterval(alive));
    const begun = Date.now();
    await world.engine.start(context());
    t.match(await errorOf(world.engine.claim('10.64.0.0/24', POOL, context(200))), {
      code: 'STILL_WORKING',
      message: /bringing the route provider fake to work takes longer than 0\.\d s/,
    });
    t.match(world.engine.status(), { reachable: false, why: String });
    await world.engine.close(context());
    t.ok(Date.now() - begun < 1500, `took ${Date.now() - begun} ms`);
  });

  t.test('goes on trying until the provider is there', async (t) => {
    const world = await started(t, (world) => {
      world.provider.down = true;
    });
    await until('an attempt was made', () => world.provider.calls.includes('start'));
    world.provider.down = false;
    await until('it works', () => world.engine.status().reachable);
    t.notOk(world.engine.status().why);
  });
});

t.test('a dry run claims and changes nothing, and says what it would do', async (t) => {
  const world = makeWorld({ dryRun: true });
  t.teardown(() => world.engine.close(context()));
  await remember(world, '10.64.1.0/24', 'held');
  world.provider.other('host-2', '10.64.2.0/24');
  await world.engine.start(context());
  await until('it works', () => world.engine.status().reachable);
  t.match(await world.engine.claimFree({ pool: POOL, length: 24 }, context()).catch((error: unknown) => error), {
    code: 'DRY_RUN',
    message: /would claim 10\.64\.0\.0\/24 at fake/,
  });
  t.equal(await codeOf(world.engine.release('10.64.1.0/24', context())), 'DRY_RUN');
  t.match(await world.engine.reconcile(true, context()), [
    { what: /10\.64\.1\.0\/24 is not at fake any more/, repaired: false },
    { what: /missing route 10\.64\.2\.0\/24/, repaired: false },
  ]);
  t.same(world.kernel.writes, []);
  t.same(creations(world), []);
});

t.test('pools and owners are answered from what is known', async (t) => {
  const world = await started(t);
  await world.engine.claim('10.64.3.0/24', POOL, context());
  world.provider.other('host-2', '10.80.0.0/16');
  t.same(world.engine.pools(), ['10.64.0.0/12', '10.80.0.0/16']);
  t.match(world.engine.ownerOf('10.64.3.200'), { ours: true, prefix: '10.64.3.0/24' });
  t.match(world.engine.ownerOf('10.80.0.1'), { ours: false, host: 'host-2' });
  t.equal(world.engine.ownerOf('10.64.4.1'), undefined);
});

t.test('those who listen are told of changes', async (t) => {
  const world = await started(t);
  let told = 0;
  const stop = world.engine.onChange(() => {
    told += 1;
  });
  world.provider.other('host-2', '10.80.0.0/16');
  await until('it is told', () => told > 0);
  stop();
  const before = told;
  world.provider.other('host-2', '10.81.0.0/16');
  await until('the engine knows', () => world.engine.ownerOf('10.81.0.1')?.host === 'host-2');
  t.equal(told, before, 'and not after they stopped');
});

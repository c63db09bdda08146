// What a claim on Aliyun costs while it waits for its turn, and what is believed of a write whose answer was lost.
import t from 'tap';
import { codeOf, context } from '../../../conformance/route-provider.ts';
import { oneHost } from './aliyun-world.ts';

t.setTimeout(60_000);

const POOL = '10.64.0.0/12';
const prefix = '10.64.3.0/24';
const request = { prefix, pool: POOL };

t.test(
  'a claim that waits for its turn looks at its table once before it is written, and not with each try',
  async (t) => {
    const { world, provider, table } = await oneHost(t);
    await provider.create(table, { ...request, prefix: '10.64.9.0/24' }, context());
    world.sim.faults.fail('CreateRouteEntry', 'TaskConflict', { times: 6 });
    world.sim.clearCalls();
    await provider.create(table, request, context());
    const actions = world.sim.calls().map(({ action }) => action);
    t.equal(actions.filter((action) => action === 'CreateRouteEntry').length, 7);
    t.equal(
      actions.lastIndexOf('DescribeRouteEntryList', actions.lastIndexOf('CreateRouteEntry')) <= 0,
      true,
      `${actions}`,
    );
  },
);

t.test('what was free so long ago that others may have taken what overlaps it is looked at again', async (t) => {
  const { world, provider, table } = await oneHost(t, {}, { judgedMs: 30 });
  world.sim.faults.fail('CreateRouteEntry', 'TaskConflict', { times: 1_000 });
  const claim = codeOf(provider.create(table, request, context()));
  await new Promise((resolve) => setTimeout(resolve, 100));
  world.sim.addRoute({ table, prefix: '10.64.3.128/25', target: world.instance(1).id });
  t.equal(await claim, 'PREFIX_OWNED');
  t.equal(world.sim.routes(table).length, 1);
});

t.test('nobody is sent away by a reading that was true a moment ago', async (t) => {
  const { world, provider, table } = await oneHost(t);
  world.sim.addRoute({ table, prefix, target: world.instance(1).id });
  await provider.read(context());
  world.sim.removeRoute({ table, prefix });
  await provider.create(table, request, context());
  t.match(world.sim.routes(table), [{ hop: { id: world.instance(0).id } }]);
});

t.test('in a table of many pages only the route that was written is looked for, until it is there', async (t) => {
  const { world, provider, table } = await oneHost(t, { timing: { settleMs: 400 } });
  for (let n = 0; n < 150; n += 1) {
    world.sim.addRoute({ table, prefix: `10.65.${n}.0/24`, target: world.instance(1).id });
  }
  await provider.read(context());
  world.sim.clearCalls();
  await provider.create(table, request, context());
  const reads = world.sim.calls({ action: 'DescribeRouteEntryList' });
  const whole = reads.filter(({ parameters }) => parameters.DestinationCidrBlock === undefined);
  t.equal(whole.length, 2, 'two pages, once, when it is there');
  t.ok(reads.length - whole.length > 2);
  t.same(
    new Set(reads.filter((one) => !whole.includes(one)).map((one) => one.parameters.DestinationCidrBlock)),
    new Set([prefix]),
  );
});

// What lies in the claimed prefix was made by another host at the same moment: Aliyun takes both, and reads show neither yet.
const OVERLAP = '10.64.3.128/25';

t.test('a claim whose answer was lost is taken back when another one came up in it', async (t) => {
  const { world, provider, table } = await oneHost(t, { lagMs: 150 }, { judgedMs: 30 });
  world.sim.addRoute({ table, prefix: OVERLAP, target: world.instance(1).id });
  world.sim.faults.loseReply('CreateRouteEntry');
  // Nor is it told by a second try.
  world.sim.faults.fail('CreateRouteEntry', 'TaskConflict', { nth: 2, times: 1_000 });
  t.equal(await codeOf(provider.create(table, request, context())), 'PREFIX_OWNED');
  // Reads that are late do not show that what Aliyun deletes is not gone yet.
  const standing = world.sim.routes(table).filter(({ status }) => status !== 'Deleting');
  t.same(
    standing.map((one) => one.prefix),
    [OVERLAP],
  );
});

t.test('claims of a batch whose answer was lost: the one that another came up in is taken back', async (t) => {
  const { world, provider, table } = await oneHost(t, { lagMs: 150 });
  world.sim.addRoute({ table, prefix: OVERLAP, target: world.instance(1).id });
  world.sim.faults.loseReply('CreateRouteEntries');
  const codes = await Promise.all(
    [prefix, '10.64.4.0/24'].map((one) => codeOf(provider.create(table, { ...request, prefix: one }, context()))),
  );
  t.same(codes, ['PREFIX_OWNED', 'none']);
  t.same(
    world.sim
      .routes(table)
      .map((one) => one.prefix)
      .sort(),
    [OVERLAP, '10.64.4.0/24'].sort(),
  );
});

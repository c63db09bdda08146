/** Batches, lists by page, repeated requests, throttling and lost replies, through the vendor's client. */
import t from 'tap';
import { ManualClock } from '../../sim/core/clock.ts';
import { callerOf, cloudFor, codeOf, entries } from './aliyun-client.ts';

interface Outcome {
  readonly SuccessCount: number;
  readonly FailedCount: number;
  readonly FailedRouteEntries: readonly { readonly DstCidrBlock: string; readonly FailedCode: string }[];
  readonly RouteEntryIds?: readonly string[];
}

const short = (outcome: Outcome): string[] => [
  `${outcome.SuccessCount} done, ${outcome.FailedCount} failed`,
  ...outcome.FailedRouteEntries.map(({ DstCidrBlock, FailedCode }) => `${DstCidrBlock} ${FailedCode}`),
];

t.test('a batch is done in part, with a result for each entry that failed', async (t) => {
  const clock = new ManualClock();
  const { table, hosts, call } = await cloudFor(t, { clock, timing: { settleMs: 1_000, conflictMs: 400 } });
  const [one, two] = hosts;
  const row = (prefix: string, hop = one?.id) => ({
    RouteTableId: table,
    DstCidrBlock: prefix,
    NextHop: hop,
    NextHopType: 'Instance',
  });
  const create = (...rows: readonly object[]) => call<Outcome>('CreateRouteEntries', { RouteEntries: rows });
  t.same(short(await create(row('10.64.1.0/24'), row('10.64.2.0/24'), row('10.64.2.0/24', two?.id))), [
    '2 done, 1 failed',
    '10.64.2.0/24 VPC_ROUTE_ENTRY_STATUS_ERROR',
  ]);
  t.equal(await codeOf(create(row('10.64.3.0/24'))), 'TaskConflict');
  clock.advance(400);
  const early = await create(row('10.64.1.0/24'), row('10.64.3.0/24'));
  t.same(
    short(early),
    ['0 done, 2 failed', '10.64.1.0/24 VPC_ROUTE_ENTRY_STATUS_ERROR', '10.64.3.0/24 VPC_ROUTE_ENTRY_STATUS_ERROR'],
    'while others of the table are on their way',
  );
  clock.advance(600);
  const mixed = await create(
    row('10.64.1.0/24'),
    row('10.64.3.0/24'),
    row('10.250.0.0/16'),
    row('100.64.7.0/24'),
    row('10.64.4.0/24', 'i-none'),
  );
  t.same(short(mixed), [
    '1 done, 4 failed',
    '10.64.1.0/24 VPC_ROUTE_ENTRY_CIDR_BLOCK_DUPLICATE',
    '10.250.0.0/16 InvalidCidrBlock',
    '100.64.7.0/24 InvalidCidrBlock',
    '10.64.4.0/24 InvalidNextHopId.NotFound',
  ]);
  t.equal(mixed.RouteEntryIds?.length, 1);
  clock.advance(1_000);
  t.equal((await entries(call, table)).length, 3);

  const gone = await call<Outcome>('DeleteRouteEntries', {
    RouteEntries: [
      { RouteTableId: table, DstCidrBlock: '10.64.1.0/24', NextHop: one?.id },
      { RouteTableId: table, DstCidrBlock: '10.64.2.0/24', NextHop: two?.id },
      { RouteTableId: table, RouteEntryId: mixed.RouteEntryIds?.[0] },
      { RouteTableId: table, DstCidrBlock: '10.64.9.0/24', NextHop: one?.id },
    ],
  });
  t.same(short(gone), [
    '2 done, 2 failed',
    '10.64.2.0/24 VPC_ROUTER_ENTRY_NOT_EXIST',
    '10.64.9.0/24 VPC_ROUTER_ENTRY_NOT_EXIST',
  ]);
  clock.advance(1_000);
  t.same(await entries(call, table), [`10.64.2.0/24 ${one?.id} Available`]);
});

t.test('a batch takes 50 entries, and none of one that is malformed', async (t) => {
  const { table, hosts, call } = await cloudFor(t);
  const rows = Array.from({ length: 51 }, (_, n) => ({
    ...{ RouteTableId: table, NextHop: hosts[0]?.id, NextHopType: 'Instance' },
    DstCidrBlock: `10.64.${n}.0/24`,
  }));
  const create = (some: readonly object[]) => codeOf(call('CreateRouteEntries', { RouteEntries: some }));
  t.equal(await create(rows), 'IllegalParam.RouteEntries');
  t.equal(await create([...rows.slice(0, 2), { ...rows[2], DstCidrBlock: 'nonsense' }]), 'InvalidCidrBlock.Malformed');
  t.same(await entries(call, table), []);
  t.equal(await create(rows.slice(0, 50)), 'none');
  t.equal((await entries(call, table)).length, 50);
});

t.test('a list comes page by page, system entries first, and survives deletions in between', async (t) => {
  interface Page {
    readonly NextToken: string;
    readonly RouteEntrys: { readonly RouteEntry: readonly { DestinationCidrBlock: string; Type: string }[] };
  }
  const { sim, table, hosts, call } = await cloudFor(t);
  for (let n = 0; n < 25; n += 1) sim.addRoute({ table, prefix: `10.64.${n}.0/24`, target: hosts[0]?.id ?? '' });
  const page = (NextToken: string, more = {}) =>
    call<Page>('DescribeRouteEntryList', {
      ...{ RouteTableId: table, ...(NextToken === '' ? {} : { NextToken }) },
      ...more,
    });
  const first = await page('');
  const seen = first.RouteEntrys.RouteEntry.map((one) => `${one.Type} ${one.DestinationCidrBlock}`);
  t.same(seen.slice(0, 3), ['System 10.250.0.0/24', 'System 100.64.0.0/10', 'Custom 10.64.0.0/24']);
  t.equal(seen.length, 10, 'ten by default');
  for (let n = 0; n < 8; n += 1) sim.removeRoute({ table, prefix: `10.64.${n}.0/24` });
  for (let { NextToken } = first; NextToken !== ''; ) {
    const next = await page(NextToken);
    seen.push(...next.RouteEntrys.RouteEntry.map((one) => `${one.Type} ${one.DestinationCidrBlock}`));
    NextToken = next.NextToken;
  }
  t.equal(seen.length, 27);
  t.equal(new Set(seen).size, 27);
  t.equal(await codeOf(page('stray')), 'IllegalParam.NextToken');
  const filtered = await page('', { NextHopId: hosts[0]?.id, DestinationCidrBlock: '10.64.20.0/24' });
  t.match(filtered, { NextToken: '', RouteEntrys: { RouteEntry: [{ DestinationCidrBlock: '10.64.20.0/24' }] } });
});

t.test('reads lag behind writes, as long as one asks for', async (t) => {
  const clock = new ManualClock();
  const { sim, table, hosts, call } = await cloudFor(t, { clock, lagMs: 2_000 });
  const at = { RouteTableId: table, DestinationCidrBlock: '10.64.1.0/24', NextHopId: hosts[0]?.id };
  await call('CreateRouteEntry', at);
  t.same(await entries(call, table), []);
  t.equal(await codeOf(call('CreateRouteEntry', at)), 'InvalidCIDRBlock.Duplicate');
  clock.advance(2_000);
  t.equal((await entries(call, table)).length, 1);
  sim.lagMs = 0;
  await call('DeleteRouteEntry', at);
  t.same(await entries(call, table), []);
});

t.test('a repeated ClientToken has no second effect', async (t) => {
  const clock = new ManualClock();
  const { sim, table, hosts, call } = await cloudFor(t, { clock, timing: { settleMs: 1_000, conflictMs: 400 } });
  const at = { RouteTableId: table, DestinationCidrBlock: '10.64.1.0/24', NextHopId: hosts[0]?.id, ClientToken: 'a-1' };
  const first = await call('CreateRouteEntry', at);
  t.equal(await codeOf(call('CreateRouteEntry', at)), 'LastTokenProcessing');
  clock.advance(1_000);
  t.equal((await call('CreateRouteEntry', at)).RouteEntryId, first.RouteEntryId);
  const other = { ...at, DestinationCidrBlock: '10.64.2.0/24' };
  t.equal(await codeOf(call('CreateRouteEntry', other)), 'IdempotentParameterMismatch');
  t.equal(await codeOf(callerOf(sim, sim.key())('CreateRouteEntry', other)), 'none', "another account's user's token");
  t.equal(await codeOf(call('CreateRouteEntry', { ...at, ClientToken: 'x'.repeat(65) })), 'InvalidClientToken');
  const rows = [{ ...{ RouteTableId: table, DstCidrBlock: '10.64.3.0/24' }, NextHop: 'x', NextHopType: 'Instance' }];
  const batch = codeOf(call('CreateRouteEntries', { RouteEntries: rows, ClientToken: 'b' }));
  t.equal(await batch, 'InvalidParameter', 'batches take no token');
});

t.test('API throttling: a burst, then a steady rate', async (t) => {
  const clock = new ManualClock();
  const { sim, call } = await cloudFor(t, {
    clock,
    rates: { 'Describe*': { burst: 3, perSecond: 1, bucket: 'reads' } },
  });
  const codes = await Promise.all(Array.from({ length: 5 }, () => codeOf(call('DescribeVpcs'))));
  t.same(codes.sort(), ['Throttling.User', 'Throttling.User', 'none', 'none', 'none']);
  clock.advance(1_000);
  t.same([await codeOf(call('DescribeVpcs')), await codeOf(call('DescribeVSwitches'))], ['none', 'Throttling.User']);
  sim.rates({});
  t.equal(await codeOf(call('DescribeVSwitches')), 'none');
  sim.faults.storm(60_000);
  const error = await call('DescribeVpcs').catch((thrown: unknown) => thrown);
  t.match(error, { code: 'ServiceUnavailable', data: { statusCode: 503 } });
});

t.test('a reply can be lost after the effect, a call cut before it', async (t) => {
  const { sim, table, hosts, call } = await cloudFor(t);
  const at = { RouteTableId: table, DestinationCidrBlock: '10.64.1.0/24', NextHopId: hosts[0]?.id };
  sim.faults.drop('CreateRouteEntry');
  t.not(await codeOf(call('CreateRouteEntry', at)), 'none');
  t.same(sim.routes(), []);
  sim.faults.loseReply('CreateRouteEntry');
  t.not(await codeOf(call('CreateRouteEntry', at)), 'none');
  t.equal(sim.routes().length, 1);
  t.same(
    sim.calls({ action: 'CreateRouteEntry' }).map(({ code, status, faults }) => [code, status, ...faults]),
    [
      ['drop', 0, 'drop'],
      ['OK', 0, 'lose-reply'],
    ],
  );
  sim.faults.fail('DeleteRouteEntry', 'SystemBusy', { nth: 2 });
  const remove = () => codeOf(call('DeleteRouteEntry', at));
  t.same([await remove(), await remove()], ['none', 'SystemBusy']);
  const session = callerOf(sim, sim.key({ ttlMs: 60_000 }));
  sim.faults.expireCredentials('DescribeVpcs', { nth: 2 });
  t.same(
    [
      await codeOf(session('DescribeVpcs')),
      await codeOf(session('DescribeVpcs')),
      await codeOf(session('DescribeVSwitches')),
    ],
    ['none', 'InvalidSecurityToken.Expired', 'InvalidSecurityToken.Expired'],
  );
});

t.test('a dry run changes nothing', async (t) => {
  const { table, hosts, call } = await cloudFor(t);
  const at = { RouteTableId: table, DestinationCidrBlock: '10.64.1.0/24', NextHopId: hosts[0]?.id };
  t.equal(await codeOf(call('CreateRouteEntry', { ...at, DryRun: true })), 'DryRunOperation');
  t.same(await entries(call, table), []);
});

/** Who may ask: both signatures, the clock, nonces, tokens and rights. */
import { createServer, request } from 'node:http';
import t from 'tap';
import type { AliyunSim } from '../../sim/aliyun/sim.ts';
import { ManualClock } from '../../sim/core/clock.ts';
import { callerOf, cloudFor, codeOf } from './aliyun-client.ts';

/** Sends what was recorded once more, byte for byte, or with changes. */
const send = (
  sim: AliyunSim,
  path: string,
  headers: Record<string, string>,
): Promise<{ status: number; body: string }> =>
  new Promise((resolve, reject) => {
    const sent = request(`${sim.endpoint}${path}`, { method: 'POST', headers }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        body += part;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    sent.on('error', reject);
    sent.end();
  });

for (const style of ['V1', 'V3'] as const) {
  t.test(`the vendor's client is understood with signature ${style}`, async (t) => {
    const { sim, vpc } = await cloudFor(t);
    const call = callerOf(sim, sim.key(), style);
    const answer = await call('DescribeVpcs', { VpcId: vpc });
    t.match(answer, { RequestId: /^[0-9a-f-]{36}$/, Vpcs: { Vpc: [{ VpcId: vpc }] } });
    // Characters that both sides have to encode alike.
    t.match(await call('DescribeVpcs', { VpcName: "a b+c*~d/é='(!)" }), { TotalCount: 0 });
  });

  t.test(`a wrong secret, an unknown key and a wrong token are refused with signature ${style}`, async (t) => {
    const { sim } = await cloudFor(t);
    const key = sim.key();
    const session = sim.key({ ttlMs: 60_000 });
    const code = (changed: typeof key) => codeOf(callerOf(sim, changed, style)('DescribeVpcs'));
    t.equal(await code({ ...key, secret: 'wrong' }), 'SignatureDoesNotMatch');
    t.equal(await code({ ...key, id: 'LTAI0000' }), 'InvalidAccessKeyId.NotFound');
    t.equal(await code({ ...session, token: 'wrong' }), 'InvalidSecurityToken.MismatchWithAccessKey');
    t.equal(
      await code({ id: session.id, secret: session.secret, principal: session.principal }),
      'MissingSecurityToken',
    );
    t.equal(await code({ ...key, token: 'stray' }), 'InvalidSecurityToken.MismatchWithAccessKey');
    t.equal(await code(session), 'none');
  });

  t.test(`temporary credentials end, and clocks may be 15 minutes off, with signature ${style}`, async (t) => {
    const clock = new ManualClock();
    const { sim } = await cloudFor(t, { clock });
    const session = callerOf(sim, sim.key({ ttlMs: 60_000 }), style);
    const lasting = callerOf(sim, sim.key(), style);
    t.equal(await codeOf(session('DescribeVpcs')), 'none');
    clock.advance(61_000);
    t.equal(await codeOf(session('DescribeVpcs')), 'InvalidSecurityToken.Expired');
    clock.advance(13 * 60_000);
    t.equal(await codeOf(lasting('DescribeVpcs')), 'none');
    clock.advance(2 * 60_000);
    t.equal(await codeOf(lasting('DescribeVpcs')), 'InvalidTimeStamp.Expired');
  });
}

t.test('a request sent twice is refused: its nonce was used', async (t) => {
  const { sim } = await cloudFor(t);
  const key = sim.key();
  const recorded: { path: string; headers: Record<string, string> }[] = [];
  const tape = createServer((message, response) => {
    const headers = Object.fromEntries(Object.entries(message.headers).map(([name, value]) => [name, String(value)]));
    recorded.push({ path: message.url ?? '/', headers });
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
  await new Promise<void>((resolve) => tape.listen(0, '127.0.0.1', resolve));
  t.teardown(() => tape.close());
  const address = tape.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const aside = { ...sim, endpoint: `http://127.0.0.1:${address.port}`, region: sim.region } as AliyunSim;
  await callerOf(aside, key, 'V3')('DescribeVpcs');
  const [taken] = recorded;
  if (taken === undefined) throw new Error('nothing was sent');
  const { path, headers } = taken;

  t.test('unchanged', async (t) => {
    t.match(await send(sim, path, headers), { status: 200 });
    const again = await send(sim, path, headers);
    t.equal(again.status, 400);
    t.match(JSON.parse(again.body), {
      Code: 'SignatureNonceUsed',
      Message: /nonce/,
      RequestId: String,
      HostId: String,
      Recommend: /SignatureNonceUsed/,
    });
  });
  t.test('with something changed on the way', async (t) => {
    const code = async (changed: Record<string, string>, at = path) =>
      (JSON.parse((await send(sim, at, { ...headers, ...changed })).body) as { Code?: string }).Code;
    t.equal(await code({ 'x-acs-action': 'DescribeVSwitches' }), 'SignatureDoesNotMatch');
    t.equal(await code({}, `${path}&VpcId=vpc-other`), 'SignatureDoesNotMatch');
    t.equal(await code({ 'x-acs-extra': 'unsigned' }), 'SignatureDoesNotMatch');
    t.equal(await code({ 'x-acs-content-sha256': '0'.repeat(64) }), 'SignatureDoesNotMatch');
    t.equal(await code({ 'x-acs-date': 'yesterday' }), 'InvalidTimeStamp.Format');
    t.equal(await code({ authorization: 'ACS3-HMAC-SHA256 nonsense' }), 'MissingAccessKeyId');
  });
});

t.test('a role without one permission is refused with 403, and told which', async (t) => {
  const { sim, table } = await cloudFor(t);
  const call = callerOf(sim, sim.key({ actions: ['vpc:Describe*', 'ecs:DescribeInstances'] }));
  t.equal(await codeOf(call('DescribeRouteEntryList', { RouteTableId: table })), 'none');
  t.equal(await codeOf(call('DescribeInstances', {}, 'ecs')), 'none');
  const error = await call('CreateRouteEntries', { RouteEntries: [{ RouteTableId: table }] }).catch(
    (thrown: unknown) => thrown,
  );
  t.match(error, {
    code: 'Forbidden.RAM',
    data: { statusCode: 403, AccessDeniedDetail: { AuthAction: 'vpc:CreateRouteEntries' } },
  });
  t.equal(sim.calls({ action: 'CreateRouteEntries' })[0]?.code, 'Forbidden.RAM');
});

t.test('what the API does not know is refused, not ignored', async (t) => {
  const { call, table } = await cloudFor(t);
  t.equal(await codeOf(call('DescribeUnicorns')), 'InvalidAction.NotFound');
  t.equal(await codeOf(call('DescribeVpcs', { VpcIds: 'vpc-1' })), 'InvalidParameter');
  t.equal(await codeOf(call('DescribeVpcs', { RegionId: 'mars-1' })), 'InvalidRegionId.NotFound');
  t.equal(await codeOf(call('DescribeRouteEntryList')), 'MissingRouteTableId');
  t.equal(await codeOf(call('DescribeVSwitches', { PageSize: 51 })), 'InvalidPageSize');
  t.equal(await codeOf(call('DescribeRouteEntryList', { RouteTableId: table, MaxResult: 0 })), 'InvalidMaxResult');
});

t.test('secrets and tokens stay out of the log of calls', async (t) => {
  const { sim } = await cloudFor(t);
  const session = sim.key({ ttlMs: 60_000 });
  await callerOf(sim, session, 'V1')('DescribeVpcs');
  await callerOf(sim, session, 'V3')('DescribeVpcs');
  const log = JSON.stringify(sim.calls());
  t.notOk(log.includes(session.secret));
  t.notOk(log.includes(session.token ?? 'none'));
  t.equal(sim.count({ caller: session.id, code: 'OK' }), 2);
});

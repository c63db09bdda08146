import t from 'tap';
import type { AliyunHosts } from '../../../../network-plugin/route/aliyun-hosts.ts';
import {
  hopOf,
  judge,
  readMark,
  routeOf,
  type Viewpoint,
  type Wanted,
  writeMark,
} from '../../../../network-plugin/route/aliyun-routes.ts';
import { parseCidr } from '../../../../shared/cidr.ts';
import type { Entry } from '../../../../shared/cloud/aliyun/answers.ts';

const gone = new Set<string>();
const view: Viewpoint = {
  self: { host: 'here', target: 'i-here' },
  pools: [parseCidr('10.64.0.0/12')],
  hosts: { info: () => undefined, isGone: (id: string) => gone.has(id) } as unknown as AliyunHosts,
};

const entry = (prefix: string, target: string, more: Partial<Entry> = {}): Entry => ({
  ...{ id: `rte-${prefix}`, table: 'vtb-1', prefix, status: 'Available', type: 'Custom', description: '' },
  hop: { id: target, type: target.startsWith('i-') ? 'Instance' : 'VpnGateway' },
  ...more,
});

const wanted = (prefix: string, via?: string): Wanted => ({
  ...{ table: 'vtb-1', prefix, description: '', gateway: via !== undefined },
  hop: { id: via ?? 'i-here', type: via === undefined ? 'Instance' : 'VpnGateway' },
});

const verdict = (entries: readonly Entry[], asked: Wanted): string => {
  const found = judge(entries, asked, view);
  return found.is === 'refused' ? found.why.code : found.is;
};

t.test('the kind of a next hop is known by its id', async (t) => {
  const kinds = {
    'i-bp1': 'Instance',
    'eni-bp1': 'NetworkInterface',
    'havip-bp1': 'HaVip',
    'vpn-bp1': 'VpnGateway',
    'ri-bp1': 'RouterInterface',
    'ngw-bp1': 'NatGateway',
    'tr-attach-bp1': 'Attachment',
    'pcc-bp1': 'VpcPeer',
  };
  for (const [id, type] of Object.entries(kinds)) t.same(hopOf(id), { id, type });
  t.throws(() => hopOf('vgw-0a1b2c3d'), { code: 'SETTING_INVALID', message: /vgw-0a1b2c3d/ });
});

t.test('an entry says who made it, and nobody else’s words are taken for that', async (t) => {
  const mark = { host: 'web-3', pool: '10.64.0.0/12' };
  t.same(readMark(writeMark(mark)), mark);
  t.same(readMark(writeMark({ pool: '10.64.0.0/12' })), { pool: '10.64.0.0/12' });
  for (const text of ['', 'drayages host=x', 'a drayage host=x']) t.equal(readMark(text), undefined, text);
});

t.test('the VPC’s own and default routes are no business of ours', async (t) => {
  t.equal(routeOf(entry('192.168.0.0/24', '', { type: 'System' }), view), undefined);
  t.equal(routeOf(entry('0.0.0.0/0', 'ngw-1'), view), undefined);
  t.match(routeOf(entry('10.96.0.0/12', 'vpn-1'), view), { gateway: true, nextHop: { target: 'vpn-1' } });
  t.match(routeOf(entry('10.1.0.0/16', 'tr-attach-1', { type: 'CEN' }), view), { gateway: true });
});

t.test('a marked route is a claim wherever it lies, another one only in the pool', async (t) => {
  const marked = { description: 'drayage host=web-3 pool=10.80.0.0/12' };
  t.match(routeOf(entry('10.80.1.0/24', 'i-3', marked), view), { nextHop: { host: 'web-3' }, pool: '10.80.0.0/12' });
  t.equal(routeOf(entry('10.80.1.0/24', 'i-3', marked), view)?.gateway, undefined);
  t.equal(routeOf(entry('10.80.1.0/24', 'i-3'), view)?.gateway, true);
  t.match(routeOf(entry('10.65.1.0/24', 'i-here'), view), { ours: true });
});

t.test('a blackhole is known as such', async (t) => {
  gone.add('i-dead');
  t.match(routeOf(entry('10.65.1.0/24', 'i-dead'), view), { state: 'blackhole' });
  const found = judge([entry('10.65.1.0/24', 'i-dead')], wanted('10.65.1.0/24'), view);
  t.match(found, { why: { code: 'PREFIX_OWNED', message: /blackhole.*i-dead/ } });
});

t.test('what a table says to a claim', async (t) => {
  const asked = wanted('10.65.1.0/24');
  const cases: readonly (readonly [string, readonly Entry[], string])[] = [
    ['nothing there', [], 'free'],
    ['beside others', [entry('10.65.2.0/24', 'i-2')], 'free'],
    ['ours', [entry('10.65.1.0/24', 'i-here')], 'there'],
    ['ours, on its way', [entry('10.65.1.0/24', 'i-here', { status: 'Pending' })], 'moving'],
    ['another’s', [entry('10.65.1.0/24', 'i-2')], 'PREFIX_OWNED'],
    ['another’s, on its way in', [entry('10.65.1.0/24', 'i-2', { status: 'Pending' })], 'PREFIX_OWNED'],
    ['another’s, on its way out', [entry('10.65.1.0/24', 'i-2', { status: 'Deleting' })], 'moving'],
    ['within another’s', [entry('10.65.0.0/16', 'i-2')], 'PREFIX_OWNED'],
    ['around another’s', [entry('10.65.1.128/25', 'i-2')], 'PREFIX_OWNED'],
    ['around an address', [entry('10.65.1.7/32', 'i-2')], 'PREFIX_OWNED'],
    ['within ours', [entry('10.65.0.0/16', 'i-here')], 'PREFIX_OVERLAP'],
    ['ours, and another’s around it', [entry('10.65.1.0/24', 'i-here'), entry('10.65.0.0/16', 'i-2')], 'PREFIX_OWNED'],
    ['within a gateway’s', [entry('10.64.0.0/12', 'vpn-1')], 'free'],
    ['a gateway’s', [entry('10.65.1.0/24', 'vpn-1')], 'ROUTE_CONFLICT'],
    ['around a gateway’s', [entry('10.65.1.0/28', 'vpn-1')], 'ROUTE_CONFLICT'],
    ['the VPC’s', [entry('10.65.1.0/24', '', { type: 'System' })], 'PREFIX_IS_LOCAL'],
    ['within a default route', [entry('0.0.0.0/0', 'ngw-1')], 'free'],
  ];
  for (const [what, entries, expected] of cases) t.equal(verdict(entries, asked), expected, what);
});

t.test('what a table says to a route to a gateway', async (t) => {
  const asked = wanted('10.72.0.0/14', 'vpn-1');
  t.equal(verdict([entry('10.72.0.0/14', 'vpn-1')], asked), 'there');
  t.equal(verdict([entry('10.72.0.0/14', 'vpn-2')], asked), 'ROUTE_CONFLICT');
  t.equal(verdict([entry('10.72.3.0/24', 'i-2'), entry('10.64.0.0/12', 'vpn-2')], asked), 'free');
  t.equal(verdict([entry('10.64.0.0/12', 'i-2')], asked), 'PREFIX_OWNED');
});

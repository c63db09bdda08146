import t from 'tap';
import {
  addressAt,
  type Cidr,
  compareCidrs,
  contains,
  first,
  formatAddress,
  hostCidr,
  last,
  nthSubnet,
  overlaps,
  parseAddress,
  parseCidr,
  parseInterfaceAddress,
  size,
  subnetCount,
  subnets,
  subtract,
} from '../../../shared/cidr.ts';

t.test(
  'a prefix with stray bits is refused however often it was cut off before, and a known one is the same',
  async (t) => {
    for (let i = 0; i < 2; i += 1) {
      t.equal(parseCidr('10.1.2.3/8', { strict: false }).text, '10.0.0.0/8');
      t.throws(() => parseCidr('10.1.2.3/8'), { code: 'CIDR_INVALID' });
      t.match(parseCidr('10.0.0.0/8'), { family: 4, base: 10n << 24n, length: 8, text: '10.0.0.0/8' });
      t.equal(parseCidr('FD64::/48').text, 'fd64::/48');
    }
    // More than are remembered.
    for (let n = 0; n < 1_000; n += 1) {
      const text = `10.${n >> 8}.${n & 255}.0/24`;
      t.equal(parseCidr(text).text, text);
    }
  },
);

const texts = (cidrs: Iterable<Cidr>): string[] => [...cidrs].map(({ text }) => text);

t.test('an address has one canonical text', async (t) => {
  const cases = {
    '10.0.0.1': '10.0.0.1',
    '0.0.0.0': '0.0.0.0',
    '255.255.255.255': '255.255.255.255',
    'FE80::0001': 'fe80::1',
    '2001:db8:0:0:1:0:0:1': '2001:db8::1:0:0:1',
    '2001:db8:0:1:1:1:1:1': '2001:db8:0:1:1:1:1:1',
    '64:ff9b::10.0.0.1': '64:ff9b::a00:1',
    '::': '::',
    '::1': '::1',
  };
  for (const [input, text] of Object.entries(cases)) {
    const address = parseAddress(input);
    t.equal(address.text, text, input);
    t.equal(formatAddress(address.family, address.value), text, `${input} back`);
  }
  t.equal(parseAddress('10.64.3.9').value, 0x0a400309n);
  t.equal(parseAddress('::ffff').value, 0xffffn);
});

t.test('what could be read in two ways is no address', async (t) => {
  const cases = {
    '': 'empty',
    '010.0.0.1': 'octal',
    '10.0.0.00': 'octal',
    '10.1': 'four decimal numbers',
    '167772161': 'four decimal numbers',
    '0x0a.0.0.1': 'four decimal numbers',
    '10.0.0.256': 'at most 255',
    ' 10.0.0.1': 'spaces',
    'fe80::1%eth0': 'zone',
    '::ffff:10.0.0.1': 'write the IPv4 address 10.0.0.1 itself',
    '::ffff:a00:1': 'write the IPv4 address 10.0.0.1 itself',
    '10.0.0.1/24': '/length',
    '1::2::3': 'not an IPv6 address',
    '12345::': 'not an IPv6 address',
    'host.example': 'four decimal numbers',
  };
  for (const [input, reason] of Object.entries(cases)) {
    t.throws(() => parseAddress(input), { code: 'ADDRESS_INVALID', message: reason }, `"${input}"`);
  }
});

t.test('a prefix with bits behind its length is refused with the prefix that was meant', async (t) => {
  t.throws(() => parseCidr('10.64.3.9/24'), {
    code: 'CIDR_INVALID',
    message: 'bits set behind /24',
    fix: 'Write it like 10.64.3.0/24, or like 10.64.3.0/24 or fd64:6472:7961::/64.',
  });
  t.equal(parseCidr('10.64.3.9/24', { strict: false }).text, '10.64.3.0/24');
  t.equal(parseCidr('fd64::1/64', { strict: false }).text, 'fd64::/64');
  t.equal(parseCidr('0.0.0.0/0').text, '0.0.0.0/0');
  for (const bad of [
    '10.0.0.0',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/08',
    '::/129',
    '10.0.0.0/-1',
    '/24',
    '1.2.3.4/2/4',
    '10/8',
  ]) {
    t.throws(() => parseCidr(bad), { code: 'CIDR_INVALID' }, bad);
  }
});

t.test('an interface address keeps its host part', async (t) => {
  const { address, subnet } = parseInterfaceAddress('10.70.1.2/24');
  t.equal(address.text, '10.70.1.2');
  t.equal(subnet.text, '10.70.1.0/24');
});

t.test('containment and overlap', async (t) => {
  const pool = parseCidr('10.64.0.0/12');
  t.ok(contains(pool, parseAddress('10.79.255.255')));
  t.notOk(contains(pool, parseAddress('10.80.0.0')));
  t.ok(contains(pool, pool));
  t.ok(contains(pool, parseCidr('10.70.0.0/24')));
  t.notOk(contains(pool, parseCidr('10.0.0.0/8')));
  t.ok(overlaps(pool, parseCidr('10.0.0.0/8')));
  t.notOk(overlaps(pool, parseCidr('10.80.0.0/12')));
  t.notOk(contains(parseCidr('::/0'), parseAddress('10.0.0.1')), 'families are apart');
  t.notOk(overlaps(parseCidr('0.0.0.0/0'), parseCidr('::/0')));
});

t.test('first, last, size and places', async (t) => {
  const cidr = parseCidr('10.64.3.0/24');
  t.equal(first(cidr).text, '10.64.3.0');
  t.equal(last(cidr).text, '10.64.3.255');
  t.equal(size(cidr), 256n);
  t.equal(size(parseCidr('fd64::/64')), 1n << 64n);
  t.equal(addressAt(cidr, 9).text, '10.64.3.9');
  t.equal(addressAt(cidr, -1).text, '10.64.3.255');
  t.throws(() => addressAt(cidr, 256), RangeError);
  t.throws(() => addressAt(cidr, -257), RangeError);
  t.equal(hostCidr(parseAddress('fd64::9')).text, 'fd64::9/128');
  t.throws(() => formatAddress(4, 1n << 32n), RangeError);
  t.throws(() => formatAddress(6, -1n), RangeError);
});

t.test('subnets are made as they are asked for', async (t) => {
  const pool = parseCidr('10.64.0.0/12');
  t.equal(subnetCount(pool, 24), 4096n);
  t.equal(nthSubnet(pool, 24, 0).text, '10.64.0.0/24');
  t.equal(nthSubnet(pool, 24, 4095).text, '10.79.255.0/24');
  t.throws(() => nthSubnet(pool, 24, 4096), RangeError);
  t.throws(() => nthSubnet(pool, 8, 0), { code: 'POOL_INVALID' });
  t.throws(() => nthSubnet(pool, 33, 0), { code: 'POOL_INVALID' });
  t.same(texts(subnets(parseCidr('10.0.0.0/30'), 32)), ['10.0.0.0/32', '10.0.0.1/32', '10.0.0.2/32', '10.0.0.3/32']);
  const huge = subnets(parseCidr('fd64::/16'), 64);
  t.equal(huge.next().value?.text, 'fd64::/64');
  t.equal(huge.next().value?.text, 'fd64:0:0:1::/64');
});

t.test('what is left without a hole covers all but the hole, once', async (t) => {
  t.same(texts(subtract(parseCidr('10.0.0.0/24'), parseCidr('10.0.0.128/26'))), ['10.0.0.0/25', '10.0.0.192/26']);
  t.same(texts(subtract(parseCidr('10.0.0.0/24'), parseCidr('11.0.0.0/24'))), ['10.0.0.0/24']);
  t.same(subtract(parseCidr('10.0.0.0/24'), parseCidr('10.0.0.0/8')), []);
  const from = parseCidr('10.0.0.0/20');
  const hole = parseCidr('10.0.5.16/28');
  const left = subtract(from, hole);
  t.equal(
    left.reduce((sum, part) => sum + size(part), size(hole)),
    size(from),
  );
  t.notOk(left.some((part) => overlaps(part, hole)));
});

t.test('prefixes sort by family, address and width', async (t) => {
  const list = ['fd00::/8', '10.1.0.0/16', '10.0.0.0/16', '10.0.0.0/8'].map((text) => parseCidr(text));
  t.same(texts(list.toSorted(compareCidrs)), ['10.0.0.0/8', '10.0.0.0/16', '10.1.0.0/16', 'fd00::/8']);
});

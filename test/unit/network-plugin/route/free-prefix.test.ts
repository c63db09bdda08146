import t from 'tap';
import { countFree, findFree } from '../../../../network-plugin/route/free-prefix.ts';
import { overlaps, parseCidr, subnets } from '../../../../shared/cidr.ts';

const free = (pool: string, length: number, ...taken: string[]): string | undefined =>
  findFree(
    parseCidr(pool),
    length,
    taken.map((text) => parseCidr(text)),
  )?.text;

t.test('the first prefix that overlaps nothing', async (t) => {
  t.equal(free('10.64.0.0/12', 24), '10.64.0.0/24');
  t.equal(free('10.64.0.0/12', 24, '10.64.1.0/24'), '10.64.0.0/24');
  t.equal(free('10.64.0.0/12', 24, '10.64.1.0/24', '10.64.0.0/24'), '10.64.2.0/24');
  t.equal(free('10.64.0.0/12', 24, '10.64.0.77/32'), '10.64.1.0/24', 'an address in it is in the way');
  t.equal(free('10.64.0.0/12', 24, '10.64.0.0/16', '10.64.3.0/24'), '10.65.0.0/24', 'a wider one too');
  t.equal(free('10.64.0.0/12', 24, '192.168.0.0/16', 'fd00::/8'), '10.64.0.0/24');
});

t.test('none when the pool is full or lies in something taken', async (t) => {
  t.equal(free('10.64.0.0/23', 24, '10.64.0.0/24', '10.64.1.128/25'), undefined);
  t.equal(free('10.64.0.0/12', 24, '10.0.0.0/8'), undefined);
  t.equal(free('10.64.0.0/24', 24), '10.64.0.0/24', 'a pool may be one prefix');
});

t.test('a pool of 2^80 prefixes is no matter', async (t) => {
  t.equal(free('fd00::/8', 88, 'fd00::/48', 'fd00:0:1::/88'), 'fd00:0:1::100:0:0/88');
});

t.test('agrees with trying all, on many small pools', async (t) => {
  let seed = 42;
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed % below;
  };
  const pool = parseCidr('10.64.0.0/24');
  for (let round = 0; round < 300; round += 1) {
    const taken = Array.from({ length: random(12) }, () => {
      const length = 25 + random(8);
      return parseCidr(`10.64.0.${random(256)}/${length}`, { strict: false });
    });
    const length = 25 + random(6);
    const slow = [...subnets(pool, length)].filter((one) => !taken.some((other) => overlaps(one, other)));
    t.equal(findFree(pool, length, taken)?.text, slow[0]?.text, taken.map((one) => one.text).join(' '));
    t.equal(countFree(pool, length, taken), BigInt(slow.length));
    const skip = random(slow.length + 2);
    t.equal(findFree(pool, length, taken, BigInt(skip))?.text, slow[skip]?.text);
  }
});

import t from 'tap';
import {
  familyOf,
  packAddress,
  packMac,
  packPrefix,
  unpackAddress,
  unpackMac,
} from '../../../../shared/kernel/inet.ts';

t.test('addresses go to bytes and come back in canonical text', async (t) => {
  for (const [text, hex, canonical] of [
    ['0.0.0.0', '00000000'],
    ['10.64.3.255', '0a4003ff'],
    ['::', '00'.repeat(16)],
    ['::1', `${'00'.repeat(15)}01`],
    ['fe80::1', `fe80${'00'.repeat(13)}01`],
    ['fd64:6472:7961::', `fd6464727961${'00'.repeat(10)}`],
    ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
    ['1:0:0:2:0:0:0:3', '00010000000000020000000000000003', '1:0:0:2::3'],
    ['2001:DB8:0:1:1:1:1:1', '20010db8000000010001000100010001', '2001:db8:0:1:1:1:1:1'],
    ['::ffff:10.0.0.1', `${'00'.repeat(10)}ffff0a000001`, '::ffff:a00:1'],
    ['1::', `0001${'00'.repeat(14)}`],
  ] as const) {
    t.equal(packAddress(text).toString('hex'), hex, text);
    t.equal(unpackAddress(Buffer.from(hex, 'hex')), canonical ?? text, `${text} back`);
  }
});

t.test('what is no address is refused', async (t) => {
  for (const text of ['', '10.0.0', '10.0.0.256', '10.0.0.1/8', 'fe80::1%eth0', ':::', 'eth0', '1:2:3']) {
    t.throws(() => packAddress(text), RangeError, text);
  }
  t.throws(() => unpackAddress(Buffer.alloc(5)), RangeError);
  t.throws(() => familyOf('host'), RangeError);
});

t.test('prefixes', async (t) => {
  t.match(packPrefix('10.0.0.0/8'), { family: 2, length: 8 });
  t.match(packPrefix('10.0.0.1'), { family: 2, length: 32 });
  t.match(packPrefix('::/0'), { family: 10, length: 0 });
  t.match(packPrefix('fd00::1'), { family: 10, length: 128 });
  for (const text of ['10.0.0.0/33', '::/129', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0.0/-1', '10.0.0.0/a', 'default']) {
    t.throws(() => packPrefix(text), RangeError, text);
  }
});

t.test('hardware addresses', async (t) => {
  t.equal(unpackMac(packMac('02:42:0A:40:03:09')), '02:42:0a:40:03:09');
  for (const text of ['', '02:42:0a:40:03', '02-42-0a-40-03-09', '02:42:0a:40:03:09:00', '0g:42:0a:40:03:09']) {
    t.throws(() => packMac(text), RangeError, text);
  }
});

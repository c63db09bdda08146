// Against the check values of the CRC catalogue, and against the definition, bit by bit.
import t from 'tap';
import { base64Crc, type CrcName, combineCrc, crcOf } from '../../../../volume-plugin/object/checksums.ts';
import { randomOf } from '../../../suites/random.ts';

/** CRCs of "123456789". */
const CHECKS: readonly (readonly [CrcName, bigint, string])[] = [
  ['crc32', 0xcbf43926n, 'y/Q5Jg=='],
  ['crc32c', 0xe3069283n, '4waSgw=='],
  ['crc64ecma', 0x995dc9bbdf1939fan, 'mV3Ju98ZOfo='],
  ['crc64nvme', 0xae8b14860a799888n, 'rosUhgp5mIg='],
];
const POLYNOMIALS: Readonly<Record<CrcName, readonly [bigint, bigint]>> = {
  crc32: [32n, 0xedb88320n],
  crc32c: [32n, 0x82f63b78n],
  crc64ecma: [64n, 0xc96c5795d7870f42n],
  crc64nvme: [64n, 0x9a6c9329ac4bc9b5n],
};

const bytes = (count: number, seed: number): Buffer => {
  const random = randomOf(seed);
  return Buffer.from(Array.from({ length: count }, () => Math.floor(random() * 256)));
};

/** As the definition says. */
const slow = (name: CrcName, data: Buffer): bigint => {
  const [width, polynomial] = POLYNOMIALS[name];
  const ones = (1n << width) - 1n;
  let crc = ones;
  for (const byte of data) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 1n) === 1n ? (crc >> 1n) ^ polynomial : crc >> 1n;
  }
  return crc ^ ones;
};

for (const [name, check, text] of CHECKS) {
  t.test(`${name} has its check value, also in pieces, and is written as S3 writes it`, async (t) => {
    t.equal(crcOf(name, [Buffer.from('123456789')]), check);
    t.equal(crcOf(name, [Buffer.from('1234'), Buffer.alloc(0), Buffer.from('56789')]), check);
    t.equal(crcOf(name, [Buffer.from('56789')], crcOf(name, [Buffer.from('1234')])), check);
    t.equal(crcOf(name, []), 0n);
    t.equal(base64Crc(name, check), text);
    t.equal(base64Crc(name, 1n).length, text.length, 'with its zeros');
  });

  t.test(`${name} of any length is what the definition says`, async (t) => {
    for (const length of [1, 7, 8, 9, 63, 64, 1001]) {
      const data = bytes(length + 3, length);
      t.equal(crcOf(name, [data.subarray(3)]), slow(name, data.subarray(3)), `${length} bytes`);
    }
  });

  t.test(`${name} of a long text is that of its parts, combined`, async (t) => {
    // Longer than what is brought into the machine's memory at once.
    const data = Buffer.concat(Array.from({ length: 3 }, () => bytes(100_003, 5)));
    const whole = crcOf(name, [data]);
    for (const at of [0, 1, 131_072, 200_000, data.length]) {
      const [a, b] = [crcOf(name, [data.subarray(0, at)]), crcOf(name, [data.subarray(at)])];
      t.equal(combineCrc(name, a, b, data.length - at), whole, `cut at ${at}`);
    }
  });
}

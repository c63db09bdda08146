// What the kernel sends and gets, byte by byte, without a kernel.
import t from 'tap';
import { changesOf } from '../../../../volume-plugin/fuse/changes.ts';
import { Errno } from '../../../../volume-plugin/fuse/file-system.ts';
import { negotiate } from '../../../../volume-plugin/fuse/negotiation.ts';
import { ReplyMemory } from '../../../../volume-plugin/fuse/reply-memory.ts';
import { Request, RequestMemory } from '../../../../volume-plugin/fuse/request.ts';
import { IN_HEADER, INIT_FLAG } from '../../../../volume-plugin/fuse/wire.ts';

/** A request with what is behind its header. */
const requestOf = (body: Buffer, unique = 4n, node = 1n): Request => {
  const memory = new RequestMemory(8192);
  memory.bytes.writeUInt32LE(IN_HEADER + body.length, 0);
  memory.bytes.writeUInt32LE(1, 4);
  memory.bytes.writeBigUInt64LE(unique, 8);
  memory.bytes.writeBigUInt64LE(node, 16);
  memory.bytes.writeUInt32LE(1000, 24);
  memory.bytes.writeUInt32LE(1001, 28);
  memory.bytes.writeUInt32LE(4242, 32);
  memory.bytes.writeUInt32LE(0, 36);
  body.copy(memory.bytes, IN_HEADER);
  return new Request(memory);
};

const wide = (...values: readonly bigint[]): Buffer => {
  const bytes = Buffer.alloc(values.length * 8);
  for (const [at, value] of values.entries()) bytes.writeBigInt64LE(value, at * 8);
  return bytes;
};

const codeOf = (call: () => unknown): string => {
  try {
    call();
    return 'none';
  } catch (error) {
    return error instanceof Errno ? error.code : String(error);
  }
};

t.test('a request says who asks for what', async (t) => {
  const request = requestOf(Buffer.from('name\0'), 6n, 0x1_2345_6789_abn);
  t.match(request, { opcode: 1, node: 0x1_2345_6789_ab, uid: 1000, gid: 1001, pid: 4242, resent: false });
  t.equal(request.unique, 6n);
  t.equal(request.name(0), 'name');
});

t.test('a request that is sent again has the number that it had before', async (t) => {
  const request = requestOf(Buffer.alloc(0), (1n << 63n) | 0x12_0000_0002n);
  t.equal(request.resent, true);
  t.equal(request.unique, 0x12_0000_0002n);
  t.same([request.low, request.high], [2, 0x8000_0012], 'the answer names it as it was sent');
});

t.test('whoever looks late is told that the caller was interrupted, too', async (t) => {
  const request = requestOf(Buffer.alloc(0));
  request.interrupt();
  t.equal(request.signal.aborted, true);
  const other = requestOf(Buffer.alloc(0));
  const { signal } = other;
  t.equal(signal.aborted, false);
  other.interrupt();
  t.equal(signal.aborted, true);
});

t.test('offsets and sizes beyond 2^31 and 2^32 come and go as they are', async (t) => {
  const values = [0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 7, Number.MAX_SAFE_INTEGER];
  const request = requestOf(wide(...values.map(BigInt)));
  const out = new ReplyMemory(4096);
  for (const [at, value] of values.entries()) {
    t.equal(request.u64(at * 8), value);
    out.u64(at * 8, value);
    t.equal(out.bytes.readBigUInt64LE(at * 8), BigInt(value));
  }
});

t.test('times are right to the nanosecond, before 1970 too', async (t) => {
  const out = new ReplyMemory(4096);
  const second = 1_000_000_000n;
  const times = [0n, 1n, second - 1n, second, -1n, -second, -second - 1n, 1_763_827_200n * second + 999_999_999n];
  // Where the halves of 64 bits are summed up in floating point: around whole seconds at many sizes.
  for (let bit = 30n; bit < 63n; bit += 1n)
    for (const off of [-2n, -1n, 0n, 1n, 2n]) times.push(((1n << bit) / second) * second + off);
  for (const time of times) {
    out.time(0, 8, time);
    const got = out.bytes.readBigInt64LE(0) * second + BigInt(out.bytes.readUInt32LE(8));
    t.equal(got, time);
    t.ok(out.bytes.readUInt32LE(8) < 1e9);
  }
});

t.test('validity has fractions, and may be for ever', async (t) => {
  const out = new ReplyMemory(64);
  out.validity(0, 8, 1500.25);
  t.equal(out.bytes.readBigUInt64LE(0), 1n);
  t.equal(out.bytes.readUInt32LE(8), 500_250_000);
  out.validity(0, 8, Number.POSITIVE_INFINITY);
  t.ok(out.bytes.readBigInt64LE(0) > 1_000_000_000n);
  out.validity(0, 8, -5);
  t.equal(out.bytes.readBigUInt64LE(0), 0n);
});

t.test('names that are too long or no UTF-8 are refused, others are not', async (t) => {
  t.equal(requestOf(Buffer.from('ü€𐍈\ufffd\0')).name(0), 'ü€𐍈\ufffd');
  t.equal(
    codeOf(() => requestOf(Buffer.from([0xff, 0x41, 0])).name(0)),
    'EILSEQ',
  );
  t.equal(
    codeOf(() => requestOf(Buffer.from(`${'a'.repeat(256)}\0`)).name(0)),
    'ENAMETOOLONG',
  );
  t.equal(requestOf(Buffer.from(`${'a'.repeat(255)}\0`)).name(0).length, 255);
  t.equal(
    codeOf(() => requestOf(Buffer.from(`${'€'.repeat(86)}\0`)).name(0)),
    'ENAMETOOLONG',
  );
});

t.test('only what is to be changed is in the changes', async (t) => {
  const body = Buffer.alloc(88);
  const set = (valid: number): Request => {
    body.writeUInt32LE(valid, 0);
    return requestOf(body);
  };
  body.writeBigUInt64LE(77n, 8);
  body.writeBigUInt64LE(5n * 2n ** 32n, 16);
  body.writeBigInt64LE(-2n, 32);
  body.writeBigInt64LE(1_763_827_200n, 40);
  body.writeUInt32LE(999_999_999, 56);
  body.writeUInt32LE(1, 60);
  body.writeUInt32LE(0o100600, 68);
  body.writeUInt32LE(7, 76);
  body.writeUInt32LE(8, 80);
  t.same(changesOf(set(0)), {});
  t.same(changesOf(set(1)), { mode: 0o100600 });
  t.same(changesOf(set(8 | 64)), { size: 5 * 2 ** 32, handle: 77 });
  t.same(changesOf(set(8 | 2048)), { size: 5 * 2 ** 32, dropSetId: true });
  t.same(changesOf(set(2 | 4)), { uid: 7, gid: 8, dropSetId: true });
  t.same(changesOf(set(16 | 32)), { atime: -1_000_000_001n, mtime: 1_763_827_200_000_000_001n });
  t.same(changesOf(set(16 | 32 | 128 | 256)), { atime: 'now', mtime: 'now' });
});

t.test('INIT is answered with what both have', async (t) => {
  const init = (minor: number, flags: bigint): Request => {
    const body = Buffer.alloc(64);
    body.writeUInt32LE(7, 0);
    body.writeUInt32LE(minor, 4);
    body.writeUInt32LE(Number(flags & 0xffffffffn), 12);
    body.writeUInt32LE(Number(flags >> 32n), 16);
    return requestOf(body);
  };
  const all = (1n << 64n) - 1n;
  const { agreed, answer } = negotiate(init(60, all), 8 << 20, 0n) ?? {};
  t.equal(agreed?.minor, 45);
  const flags = BigInt(agreed?.flags ?? 0);
  t.equal(answer?.readUInt32LE(12), Number(flags & 0xffffffffn));
  t.equal(answer?.readUInt32LE(32), Number(flags >> 32n));
  t.equal(
    answer?.readUInt32LE(36),
    1,
    'files that the kernel reads itself lie on no file system that lies on another one',
  );
  t.equal(flags & INIT_FLAG.HAS_RESEND, INIT_FLAG.HAS_RESEND);
  for (const bit of [1n, 10n, 12n, 16n, 17n]) t.equal(flags & (1n << bit), 0n, 'no locks, nor the cache of writes');

  const without = negotiate(init(45, all), 0, INIT_FLAG.PASSTHROUGH);
  t.equal(BigInt(without?.agreed.flags ?? 0) & INIT_FLAG.PASSTHROUGH, 0n);

  const old = negotiate(init(31, 0x3fffffffn), 0, 0n);
  t.equal(old?.agreed.minor, 31);
  t.equal(BigInt(old?.agreed.flags ?? 0) >> 32n, 0n, 'a kernel without INIT_EXT has no second word');
  t.equal(negotiate(init(30, all), 0, 0n), undefined);
});

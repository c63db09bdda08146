import t from 'tap';
import {
  demand,
  eachAttribute,
  eachMessage,
  MalformedMessage,
  MessageWriter,
  readText,
} from '../../../../shared/kernel/attribute.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');
const collect = (buffer: Buffer, start = 0): [number, string][] => {
  const found: [number, string][] = [];
  eachAttribute(buffer, start, (type, value) => found.push([type, value.toString('hex')]));
  return found;
};

t.test('attributes are aligned to four bytes, nested ones carry their whole length', async (t) => {
  const writer = new MessageWriter(16);
  writer.begin(24, 5, 7);
  writer.body(3, (buffer, at) => buffer.writeUInt8(9, at));
  writer.text(1, 'ab');
  writer.nest(2, () => {
    writer.u8(1, 255);
    writer.nest(2, () => writer.u16(3, 0x1234));
  });
  writer.u64(4, 1n);
  writer.flag(5);
  writer.finish();
  const expected = [
    '44000000 1800 0500 07000000 00000000',
    '09000000',
    '0700 0100 61620000',
    '1800 0280 0500 0100 ff000000 0c00 0280 0600 0300 34120000',
    '0c00 0400 0100000000000000',
    '0400 0500',
  ].join('');
  t.equal(writer.bytes.toString('hex'), bytes(expected).toString('hex'));
  t.equal(writer.bytes.length, 68);
});

t.test('messages stand one behind another and a reset starts anew', async (t) => {
  const writer = new MessageWriter(16);
  for (const type of [1, 2]) {
    writer.begin(type, 0, type);
    writer.text(1, 'x'.repeat(type * 30));
    writer.finish();
  }
  const seen: number[] = [];
  eachMessage(writer.bytes, ({ type, sequence, body }) => {
    seen.push(type, sequence);
    eachAttribute(body, 0, (_, value) => t.equal(readText(value).length, type * 30));
  });
  t.same(seen, [1, 1, 2, 2]);
  writer.reset();
  t.equal(writer.bytes.length, 0);
});

t.test('bytes of an earlier message do not shine through the padding of the next', async (t) => {
  const writer = new MessageWriter(64);
  writer.begin(1, 0, 1);
  writer.raw(1, Buffer.alloc(32, 0xff));
  writer.finish();
  writer.reset();
  writer.begin(1, 0, 1);
  writer.u8(1, 1);
  writer.finish();
  t.equal(writer.bytes.toString('hex').slice(32), '0500010001000000');
});

t.test('reading strips the flags of a type', async (t) => {
  t.same(collect(bytes('0500 0180 ff000000 0400 0240')), [
    [1, 'ff'],
    [2, ''],
  ]);
});

t.test('lengths that point outside are refused', async (t) => {
  for (const [what, hex] of [
    ['longer than the message', '0900 0100 00000000'],
    ['shorter than its own header', '0300 0100'],
    ['zero', '0000 0000'],
  ] as const) {
    t.throws(() => collect(bytes(hex)), MalformedMessage, what);
  }
  t.same(collect(bytes('0400 0100 000000')), [[1, '']], 'three bytes of padding at the end are no attribute');
  const message = (hex: string) => () => eachMessage(bytes(hex), () => undefined);
  t.throws(message('10000000 0000'), MalformedMessage, 'half a header');
  t.throws(message('0f000000 0000 0000 00000000 00000000'), MalformedMessage, 'shorter than a header');
  t.throws(message('20000000 0000 0000 00000000 00000000'), MalformedMessage, 'longer than the datagram');
  t.throws(() => demand(Buffer.alloc(3), 4), MalformedMessage);
});

t.test('values that cannot be expressed are refused', async (t) => {
  const writer = new MessageWriter();
  writer.begin(1, 0, 1);
  t.throws(() => writer.text(1, 'a\0b'), RangeError);
  t.throws(() => writer.raw(1, Buffer.alloc(0x10000)), RangeError);
  t.throws(() => writer.u8(1, 256), RangeError);
  t.throws(() => writer.u32(1, -1), RangeError);
  const half = Buffer.alloc(0x9000);
  const twice = (): void => {
    writer.raw(1, half);
    writer.raw(1, half);
  };
  t.throws(() => writer.nest(1, twice), RangeError);
});

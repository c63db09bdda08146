import t from 'tap';
import {
  decodeJournal,
  decodeSnapshot,
  encodeSnapshot,
  encodeWrite,
  type Write,
} from '../../../../shared/state/format.ts';

const WRITES: readonly Write[] = [
  { n: 7, changes: [{ collection: 'networks', id: 'a', record: { text: 'ü\n"\\', list: [1, null, -0.5] } }] },
  {
    n: 8,
    changes: [
      { collection: 'networks', id: '__proto__', record: { 2: 'b', 1: 'a' } },
      { collection: 'endpoints', id: 'b', record: undefined },
    ],
  },
  { n: 9, changes: [{ collection: 'endpoints', id: '', record: {} }] },
];
const BYTES = Buffer.from(WRITES.map(encodeWrite).join(''));
const LAST = BYTES.length - encodeWrite(WRITES[2] as Write).length;

t.test('what is written is read back', async (t) => {
  t.same(decodeJournal(BYTES), { writes: WRITES, length: BYTES.length, torn: 0 });
  t.same(decodeJournal(Buffer.alloc(0)), { writes: [], length: 0, torn: 0 });
  const snapshot = { version: 3, n: 9, records: { networks: [['a', { id: 'a' }]], endpoints: [] } } as const;
  t.same(decodeSnapshot(encodeSnapshot(snapshot)), snapshot);
  for (const line of BYTES.toString().trimEnd().split('\n')) t.type(JSON.parse(line), 'object', 'each line is JSON');
});

t.test('a journal cut off anywhere in its last write is read without it', async (t) => {
  for (let length = LAST; length < BYTES.length; length += 1) {
    const { writes, torn } = decodeJournal(BYTES.subarray(0, length));
    if (writes.length !== 2 || torn !== length - LAST) t.fail(`cut at ${length}`);
  }
  const hole = Buffer.from(BYTES);
  hole.fill(0, LAST + 10, LAST + 20);
  t.match(decodeJournal(hole), { length: LAST }, 'a hole that a power cut left');
  t.match(decodeJournal(Buffer.concat([BYTES, Buffer.alloc(512)])), { length: BYTES.length, torn: 512 });
});

t.test('after a power cut, what was not on the disk yet may have holes, and nothing else may', async (t) => {
  const change = (id: string): Write['changes'] => [{ collection: 'endpoints', id, record: { id } }];
  // 10 and 13 were made durable with all before them; 11 to 13 and 14, 15 were not on the disk when they were written.
  const writes: Write[] = [
    { n: 10, changes: change('a') },
    { n: 11, changes: change('b') },
    { n: 12, durable: 10, changes: change('c') },
    { n: 13, durable: 10, changes: change('d') },
    { n: 14, changes: change('e') },
    { n: 15, durable: 13, changes: change('f') },
  ];
  const lines = writes.map((write) => Buffer.from(encodeWrite(write)));
  const starts = lines.map((_, i) => Buffer.concat(lines.slice(0, i)).length);
  const whole = Buffer.concat(lines);
  t.same(decodeJournal(whole).writes, writes);
  const holed = (line: number, from: number, length: number, end = whole.length): Buffer => {
    const bytes = Buffer.from(whole.subarray(0, end));
    bytes.fill(0, (starts[line] ?? 0) + from, (starts[line] ?? 0) + from + length);
    return bytes;
  };
  const read = (bytes: Buffer): number[] => decodeJournal(bytes, 9).writes.map(({ n }) => n);
  t.same(read(holed(4, 20, 5)), [10, 11, 12, 13], 'in 14: what came behind it had not been on the disk either');
  t.same(read(holed(4, 20, (lines[4]?.length ?? 0) + 10)), [10, 11, 12, 13], 'across the end of a line');
  t.same(read(holed(1, 20, 5, starts[4])), [10], 'in 11, when the power went while 13 was being brought to the disk');
  for (const line of [0, 1, 2, 3]) {
    for (const length of [1, 5, lines[line]?.length ?? 0]) {
      t.ok(
        throws(() => read(holed(line, 20, length))),
        `in write ${writes[line]?.n}, which 15 knows to be on the disk`,
      );
    }
  }
  t.ok(
    throws(() => read(holed(0, 0, (starts[1] ?? 0) - 1, starts[3]))),
    'in the first one, which the next knows to be on the disk',
  );
});

t.test('any other changed byte is noticed', async (t) => {
  for (let place = 0; place < BYTES.length - 1; place += 1) {
    for (const value of [(BYTES[place] ?? 0) ^ 1, 0, 10, 32]) {
      if (value === BYTES[place]) continue;
      const damaged = Buffer.from(BYTES);
      damaged[place] = value;
      // A zero in the last line counts as torn; then the write is dropped, never misread.
      if (value === 0 && place >= LAST) t.equal(decodeJournal(damaged).writes.length, 2);
      else if (!throws(() => decodeJournal(damaged))) t.fail(`byte ${place} became ${value} unnoticed`);
    }
  }
  const lines = WRITES.map(encodeWrite);
  t.throws(() => decodeJournal(Buffer.from(`${lines[0]}${lines[2]}`)), { message: /a write is missing before line 2/ });
  t.throws(() => decodeJournal(Buffer.from(`${lines[1]}${lines[0]}`)), { message: /a write is missing/ });
  const text = encodeSnapshot({ version: 1, n: 1, records: { networks: [['a', { id: 'a' }]] } });
  for (let place = 0; place < text.length; place += 1) {
    const damaged = `${text.slice(0, place)}~${text.slice(place + 1)}`;
    if (!throws(() => decodeSnapshot(damaged))) t.fail(`snapshot byte ${place} became ~ unnoticed`);
    if (!throws(() => decodeSnapshot(text.slice(0, place)))) t.fail(`a snapshot of ${place} bytes was read`);
  }
});

const throws = (run: () => unknown): boolean => {
  try {
    run();
    return false;
  } catch (error) {
    if (error instanceof Error) return true;
    throw error;
  }
};

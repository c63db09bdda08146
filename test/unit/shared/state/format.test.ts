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

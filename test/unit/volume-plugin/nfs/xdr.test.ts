import t from 'tap';
import { MalformedXdr, XdrReader, XdrWriter } from '../../../../volume-plugin/nfs/xdr.ts';

t.test('values are big-endian and padded to words, as RFC 4506 shows them', async (t) => {
  const written = new XdrWriter()
    .u32(0xfffffffe)
    .text('sillyprog')
    .opaque(Buffer.of(1))
    .fixed(Buffer.of(1, 2, 3, 4, 5));
  const expected = 'fffffffe 00000009 73696c6c 7970726f 67000000 00000001 01000000 01020304 05000000';
  t.equal(written.bytes.toString('hex'), expected.replaceAll(' ', ''));
  const reader = new XdrReader(written.bytes);
  t.equal(reader.u32(), 0xfffffffe);
  t.equal(reader.text(9), 'sillyprog');
  t.same(reader.opaque(1), Buffer.of(1));
  t.same(reader.fixed(5), Buffer.of(1, 2, 3, 4, 5));
  t.throws(() => reader.u32(), MalformedXdr, 'nothing is left');
});

t.test('a chain is read to the word that says that nothing follows', async (t) => {
  const bytes = new XdrWriter().u32(1).u32(7).u32(1).u32(8).u32(0).bytes;
  t.same(
    new XdrReader(bytes).chain((one) => one.u32()),
    [7, 8],
  );
});

t.test('what is too long, cut off or neither true nor false is noticed', async (t) => {
  const reader = (...words: number[]): XdrReader => {
    const writer = new XdrWriter();
    for (const word of words) writer.u32(word);
    return new XdrReader(writer.bytes);
  };
  t.throws(() => reader(5, 0, 0).opaque(4), MalformedXdr, 'longer than may be');
  t.throws(() => reader(5, 0).opaque(8), MalformedXdr, 'cut off');
  t.throws(() => reader(0xffffffff).opaque(0xffffffff), MalformedXdr, 'an absurd length');
  t.throws(() => reader(2).bool(), MalformedXdr);
  t.throws(() => new XdrReader(Buffer.of(0, 0, 0, 1, 7)).opaque(1), MalformedXdr, 'without its padding');
});

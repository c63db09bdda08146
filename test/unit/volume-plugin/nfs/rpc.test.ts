import t from 'tap';
import { decodeReply, encodeCall, RecordReader, type RpcCall, RpcError } from '../../../../volume-plugin/nfs/rpc.ts';

const NULL_CALL: RpcCall<void> = { program: 100003, version: 4, procedure: 0, read: () => undefined };

const GARBAGE = { trouble: 'garbage', message: /no answer of NFS/ };

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

t.test('a call is the bytes that RFC 5531 says', async (t) => {
  const plain = '80000028 00000007 00000000 00000002 000186a3 00000004 00000000 00000000 00000000 00000000 00000000';
  t.same(encodeCall(7, NULL_CALL, 'host'), hex(plain));
  const call: RpcCall<void> = { ...NULL_CALL, procedure: 1, credentials: 'root', write: (args) => args.u32(9) };
  // The stamp, the name and its length, user, group, and the number of further groups.
  const credentials = '00000001 00000018 00000000 00000004 686f7374 00000000 00000000 00000000';
  const rest = `00000007 00000000 00000002 000186a3 00000004 00000001 ${credentials} 00000000 00000000 00000009`;
  t.same(encodeCall(7, call, 'host'), hex(`80000044 ${rest}`));
});

t.test('an answer says of which call it is, and what came of it', async (t) => {
  const reply = decodeReply(hex('00000007 00000001 00000000 00000000 00000000 00000000 0000002a'));
  t.equal(reply.xid, 7);
  t.equal(reply.results().u32(), 42);
});

t.test('an answer may come with a verifier', async (t) => {
  const reply = decodeReply(hex('00000007 00000001 00000000 00000001 00000003 abcdef00 00000000 0000002a'));
  t.equal(reply.results().u32(), 42);
});

t.test('each way of not carrying out a call is told apart', async (t) => {
  const trouble = (rest: string): string => {
    try {
      decodeReply(hex(`00000007 00000001 ${rest}`)).results();
    } catch (error) {
      if (error instanceof RpcError) return `${error.trouble}: ${error.message}`;
      throw error;
    }
    return 'none';
  };
  const accepted = '00000000 00000000 00000000';
  t.match(trouble(`${accepted} 00000001`), /^unavailable: .*no such program/);
  t.match(trouble(`${accepted} 00000002 00000002 00000003`), /^version: .*2 to 3/);
  t.match(trouble(`${accepted} 00000003`), /^unavailable: .*no such procedure/);
  t.match(trouble(`${accepted} 00000004`), /^unavailable: .*arguments/);
  t.match(trouble(`${accepted} 00000005`), /^unavailable: .*failed/);
  t.match(trouble(`${accepted} 00000063`), /^garbage/);
  t.match(trouble(accepted), /^garbage/, 'cut off');
  t.match(trouble('00000001 00000000 00000002 00000002'), /^unavailable: .*version of RPC/);
  t.match(trouble('00000001 00000001 00000005'), /^auth: .*Kerberos/);
  t.match(trouble('00000001 00000001 0000000d'), /^auth: .*13/);
});

t.test('a call in the place of an answer, or less than a word, is no answer', async (t) => {
  t.throws(() => decodeReply(hex('00000007 00000000 00000002')), GARBAGE);
  t.throws(() => decodeReply(hex('0007')), GARBAGE);
});

t.test('records are put together from fragments however the stream is cut', async (t) => {
  const stream = hex('00000002 aabb 00000000 80000001 cc 80000003 112233');
  for (let size = 1; size <= stream.length; size += 1) {
    const reader = new RecordReader();
    const records: Buffer[] = [];
    for (let at = 0; at < stream.length; at += size) records.push(...reader.add(stream.subarray(at, at + size)));
    t.same(records, [hex('aabbcc'), hex('112233')], `in pieces of ${size}`);
  }
});

t.test('a record that is too long is refused before it is there, in one fragment or in many', async (t) => {
  t.throws(() => new RecordReader().add(hex('ffffffff')), GARBAGE);
  t.throws(() => new RecordReader().add(Buffer.from('HTTP/1.1 400 Bad Request\r\n')), GARBAGE);
  const reader = new RecordReader();
  const half = Buffer.concat([hex('000a0000'), Buffer.alloc(0xa0000)]);
  t.same(reader.add(half), []);
  t.throws(() => reader.add(half), GARBAGE);
});

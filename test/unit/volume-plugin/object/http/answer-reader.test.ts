// Answers cut into pieces at every place, and answers that are none.
import t from 'tap';
import { AnswerReader } from '../../../../../volume-plugin/object/http/answer-reader.ts';
import type { HttpAnswer, HttpRequest } from '../../../../../volume-plugin/object/http/message.ts';

const GET: HttpRequest = { method: 'GET', target: '/', headers: {} };
const HEAD: HttpRequest = { ...GET, method: 'HEAD' };

/** Gives the bytes as a connection does: to their place when the reader has one. */
const feed = (reader: AnswerReader, bytes: Buffer): void => {
  for (let at = 0; at < bytes.length; ) {
    const place = reader.place;
    if (place === undefined) {
      reader.take(Buffer.from(bytes.subarray(at)));
      return;
    }
    const count = bytes.copy(place, 0, at);
    reader.placed(count);
    at += count;
  }
};

const read = (pieces: readonly (string | Buffer)[], request = GET): { answer: HttpAnswer; reader: AnswerReader } => {
  const reader = new AnswerReader(request);
  for (const piece of pieces) feed(reader, Buffer.from(piece));
  return { answer: reader.answer, reader };
};

const ANSWERS: readonly (readonly [name: string, text: string, body: string])[] = [
  ['with a length', 'HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-A: 1\r\n\r\nhello world', 'hello world'],
  [
    'of chunks',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n',
    'hello world',
  ],
  [
    'of chunks with extensions, zeros and trailers',
    'HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n0006;a="b;c"\r\nhello \r\n5 ;x\r\nworld\r\n000\r\nX-T: 1\r\nX-U: 2\r\n\r\n',
    'hello world',
  ],
  ['that is empty', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', ''],
  [
    'after 100 Continue and 103 Early Hints',
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
    'ok',
  ],
  ['that is an error', 'HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone', 'none'],
];

for (const [name, text, body] of ANSWERS) {
  t.test(`an answer ${name} is read alike wherever it is cut`, async (t) => {
    for (let cut = 0; cut <= text.length; cut += 1) {
      const { answer, reader } = read([text.slice(0, cut), text.slice(cut)]);
      if (answer.body.toString() !== body || !reader.keepAlive) t.fail(`cut at ${cut}: ${answer.body}`);
    }
    const { answer, reader } = read([...text]);
    t.equal(answer.body.toString(), body, 'byte by byte');
    t.ok(reader.isDone && reader.keepAlive);
  });
}

t.test('an answer to HEAD, a 204 and a 304 have no body, whatever their length says', async (t) => {
  for (const [request, status] of [
    [HEAD, '200 OK'],
    [GET, '204 No Content'],
    [GET, '304 Not Modified'],
  ] as const) {
    const { answer, reader } = read([`HTTP/1.1 ${status}\r\nContent-Length: 5\r\nETag: "e"\r\n\r\n`], request);
    t.equal(answer.length, 0);
    t.equal(answer.headers.get('content-length'), '5');
    t.ok(reader.keepAlive);
  }
});

t.test('headers have small letters, no spaces around, and are joined when they come twice', async (t) => {
  const { answer } = read([
    'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Amz-Meta-A:  b c \t\r\nVary: a\r\nvary: b\r\nX-Empty:\r\nX-Name: é中\r\n\r\n',
  ]);
  t.equal(answer.headers.get('x-amz-meta-a'), 'b c');
  t.equal(answer.headers.get('vary'), 'a, b');
  t.equal(answer.headers.get('x-empty'), '');
  t.equal(answer.headers.get('x-name'), 'é中');
});

t.test('a second answer that nobody asked for makes the connection useless', async (t) => {
  const text = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
  const { answer, reader } = read([text + text]);
  t.equal(answer.body.toString(), 'ok');
  t.notOk(reader.keepAlive);
});

t.test('whether a connection may be kept', async (t) => {
  for (const [text, kept] of [
    ['HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n', false],
    ['HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n', false],
    ['HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n', true],
    // What smuggles: a length beside chunks.
    ['HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', false],
  ] as const) {
    t.equal(read([text]).reader.keepAlive, kept, text.slice(0, 60));
  }
  t.equal(read(['HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=7, max=9\r\n\r\n']).reader.keptSeconds, 7);
});

t.test('a body goes into the memory that was given for it, and an error text too long for it does not', async (t) => {
  const into = Buffer.alloc(16, 0x2e);
  const { answer } = read(['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe', 'llo'], { ...GET, into: () => into });
  t.equal(answer.body.buffer, into.buffer);
  t.equal(into.toString(), 'hello...........');
  const chunks = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n';
  t.equal(read([chunks], { ...GET, into: () => into }).answer.body.buffer, into.buffer);
  t.equal(into.toString(), 'abcde...........');
  const small = { ...GET, into: () => Buffer.alloc(4) };
  t.throws(() => read(['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n'], small), {
    name: 'HttpError',
    trouble: 'too-large',
  });
  t.throws(() => read([chunks], small), { name: 'HttpError', trouble: 'too-large' });
});

const HEADER = 'HTTP/1.1 200 OK\r\n';
const CHUNKED = `${HEADER}Transfer-Encoding: chunked\r\n\r\n`;
const BAD: readonly (readonly [name: string, text: string, trouble: string])[] = [
  ['another protocol', 'SSH-2.0-OpenSSH_9.6\r\n', 'garbage'],
  ['TLS', '\x15\x03\x01\x00\x02\x02\x28', 'garbage'],
  ['HTTP/2', 'HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n', 'garbage'],
  ['no status', 'HTTP/1.1 OK\r\n\r\n', 'garbage'],
  ['another protocol, unasked', 'HTTP/1.1 101 Switching Protocols\r\n\r\n', 'garbage'],
  ['no end of provisional answers', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(30), 'garbage'],
  ['a header without a colon', `${HEADER}nothing\r\n\r\n`, 'garbage'],
  ['a header without a name', `${HEADER}: a\r\n\r\n`, 'garbage'],
  ['a header in two lines', `${HEADER}A: b\r\n c: d\r\n\r\n`, 'garbage'],
  ['a space before the colon', `${HEADER}Content-Length : 5\r\n\r\nhello`, 'garbage'],
  ['a length that is none', `${HEADER}Content-Length: -1\r\n\r\n`, 'garbage'],
  ['two lengths', `${HEADER}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`, 'garbage'],
  ['no length', `${HEADER}\r\nhello`, 'garbage'],
  ['a compressed transfer', `${HEADER}Transfer-Encoding: gzip, chunked\r\n\r\n`, 'garbage'],
  ['a head without end', `${HEADER}X: ${'a'.repeat(40_000)}`, 'too-large'],
  ['a chunk without size', `${CHUNKED}\r\n`, 'garbage'],
  ['a chunk of no size', `${CHUNKED}xyz\r\n`, 'garbage'],
  ['a chunk of negative size', `${CHUNKED}-5\r\n`, 'garbage'],
  ['a chunk that goes on', `${CHUNKED}2\r\nabc\r\n0\r\n\r\n`, 'garbage'],
  ['an extension without end', `${CHUNKED}2;${'x'.repeat(2000)}`, 'garbage'],
  ['trailers without end', `${CHUNKED}0\r\n${'X: yyyyyyyyyyyyyyyy\r\n'.repeat(3000)}`, 'garbage'],
  ['a body that is too long', `${HEADER}Content-Length: 2000\r\n\r\n`, 'too-large'],
  ['a chunk that is too long', `${CHUNKED}7d0\r\n`, 'too-large'],
  ['chunks that are too long together', `${CHUNKED}${`200\r\n${'a'.repeat(512)}\r\n`.repeat(3)}`, 'too-large'],
];

for (const [name, text, trouble] of BAD) {
  t.test(`${name} is refused, in one piece and byte by byte`, async (t) => {
    const request = { ...GET, longest: 1024 };
    t.throws(() => read([Buffer.from(text, 'latin1')], request), { name: 'HttpError', trouble });
    t.throws(
      () =>
        read(
          [...text].map((one) => Buffer.from(one, 'latin1')),
          request,
        ),
      { name: 'HttpError', trouble },
    );
  });
}

t.test('an end of the connection is told from an end of the answer', async (t) => {
  const ended = (text: string): { whole: boolean; reader: AnswerReader } => {
    const reader = new AnswerReader(GET);
    reader.take(Buffer.from(text));
    return { whole: reader.end(), reader };
  };
  for (const [text, trouble] of [
    ['HTTP/1.1 200', 'closed'],
    [`${HEADER}Content-Length: 5\r\n\r\nhell`, 'truncated'],
    [`${CHUNKED}5\r\nhello\r\n`, 'truncated'],
    [`${CHUNKED}5\r\nhello\r\n0\r\n`, 'truncated'],
  ] as const) {
    const { whole, reader } = ended(text);
    t.notOk(whole);
    t.equal(reader.missing.trouble, trouble, JSON.stringify(text.slice(-20)));
  }
  t.match(ended(`${HEADER}Content-Length: 5\r\n\r\nhell`).reader.missing.message, /after 4 of 5 bytes/);
  const { whole, reader } = ended('HTTP/1.1 503 Busy\r\n\r\nbusy');
  t.ok(whole, 'only errors may end with their connection');
  t.equal(reader.answer.body.toString(), 'busy');
  t.notOk(reader.keepAlive);
});

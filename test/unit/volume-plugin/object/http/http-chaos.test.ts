// Thousands of requests to a server of random manners: every answer is whole and belongs to its request, or there is none.
import type { Socket } from 'node:net';
import t from 'tap';
import { HttpError } from '../../../../../volume-plugin/object/http/http-error.ts';
import { randomOf } from '../../../../suites/random.ts';
import { ask, clientOf, contextOf, RawServer, type Received, until } from './raw-server.ts';

const REQUESTS = 3_000;
const AT_ONCE = 24;

/** What belongs to a request and to no other. */
const bodyOf = (id: number, size: number): Buffer => Buffer.alloc(size, `<${id}>`);

/** Answers of all forms, in pieces, with all that goes wrong on the way. */
class Chaos {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = randomOf(seed);
  }

  upTo(most: number): number {
    return Math.floor(this.#random() * most);
  }

  is(part: number): boolean {
    return this.#random() < part;
  }

  serve({ line, body }: Received, socket: Socket): void {
    const [, id = '0', size = '0'] = /\/(\d+)\/(\d+)$/.exec(line) ?? [];
    const content = line.startsWith('PUT') ? body : bodyOf(Number(id), Number(size));
    if (this.is(0.02)) {
      socket.resetAndDestroy();
      return;
    }
    const whole = this.#answer(line, content);
    const bytes = this.is(0.03) ? whole.subarray(0, this.upTo(whole.length)) : whole;
    const ends = bytes !== whole || this.is(0.03);
    void this.#write(socket, bytes, ends);
  }

  #answer(line: string, content: Buffer): Buffer {
    const before = this.is(0.1) ? 'HTTP/1.1 100 Continue\r\n\r\n' : '';
    const close = this.is(0.05) ? 'Connection: close\r\n' : '';
    const start = `${before}HTTP/1.1 200 OK\r\n${close}`;
    if (line.startsWith('HEAD')) return Buffer.from(`${start}Content-Length: ${content.length}\r\n\r\n`);
    if (this.is(0.5)) return Buffer.concat([Buffer.from(`${start}Content-Length: ${content.length}\r\n\r\n`), content]);
    const pieces: Buffer[] = [Buffer.from(`${start}Transfer-Encoding: chunked\r\n\r\n`)];
    for (let at = 0; at < content.length; ) {
      const chunk = content.subarray(at, at + 1 + this.upTo(40_000));
      pieces.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n'));
      at += chunk.length;
    }
    return Buffer.concat([...pieces, Buffer.from('0\r\n\r\n')]);
  }

  /** In some pieces, each in a turn of its own. */
  async #write(socket: Socket, bytes: Buffer, ends: boolean): Promise<void> {
    for (let at = 0; at < bytes.length && !socket.destroyed; ) {
      const end = this.is(0.5) ? bytes.length : at + 1 + this.upTo(bytes.length - at);
      socket.write(bytes.subarray(at, end));
      at = end;
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (ends) socket.end();
  }
}

for (const seed of [1, 20261122]) {
  t.test(`${REQUESTS} requests of seed ${seed}`, async (t) => {
    const chaos = new Chaos(seed);
    const server = await RawServer.listen(t, { serve: (request, socket) => chaos.serve(request, socket) });
    const client = clientOf(t, { connections: AT_ONCE });
    const c = contextOf(60_000);
    const troubles = new Map<string, number>();
    let wrong = 0;
    let right = 0;
    let next = 0;
    const one = async (id: number): Promise<void> => {
      const size = chaos.is(0.1) ? chaos.upTo(300_000) : chaos.upTo(3_000);
      const expected = bodyOf(id, size);
      const method = ['GET', 'PUT', 'HEAD'][chaos.upTo(3)] ?? 'GET';
      const into = Buffer.alloc(size + 1, 0x21);
      const answer = await ask(
        client,
        server,
        {
          ...{ method, target: `/${id}/${size}` },
          ...(method === 'PUT' && { body: [expected.subarray(0, size >> 1), expected.subarray(size >> 1)] }),
          ...(chaos.is(0.5) && { into: () => into }),
        },
        c,
      );
      if (answer.body.equals(method === 'HEAD' ? Buffer.alloc(0) : expected)) right += 1;
      else wrong += 1;
      if (into[size] !== 0x21) t.fail('more was written than the answer has');
    };
    const worker = async (): Promise<void> => {
      while (next < REQUESTS) {
        next += 1;
        try {
          await one(next);
        } catch (error) {
          if (!(error instanceof HttpError)) throw error;
          troubles.set(error.trouble, (troubles.get(error.trouble) ?? 0) + 1);
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    t.equal(wrong, 0);
    t.ok(right > 0.9 * REQUESTS, `${right} answers, without one: ${JSON.stringify(Object.fromEntries(troubles))}`);
    t.same(
      [...troubles.keys()].filter((trouble) => !['closed', 'truncated'].includes(trouble)),
      [],
    );
    t.ok(troubles.size === 2, 'and both were met');
    client.close();
    t.ok(await until(() => server.sockets.every((socket) => socket.destroyed)), 'no connection is left');
  });
}

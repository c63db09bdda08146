/**
 * A process inside a namespace that listens and asks on behalf of a test. Every server answers with its own name and
 * the address that it sees the asker under, so that a test knows where a packet went and what was translated.
 */
import { createSocket } from 'node:dgram';
import { connect, createServer, isIPv6, type Socket } from 'node:net';

export interface Listen {
  readonly op: 'listen';
  readonly protocol: 'tcp' | 'udp';
  readonly address: string;
  readonly port: number;
}

export interface Ask {
  /** `open` keeps the connection for further `say`. */
  readonly op: 'ask' | 'open';
  readonly protocol: 'tcp' | 'udp';
  readonly from?: string;
  readonly to: string;
  readonly port: number;
  readonly timeoutMs: number;
}

export interface Say {
  readonly op: 'say';
  readonly handle: number;
  readonly timeoutMs: number;
}

export type Command = Listen | Ask | Say;
/** `answer` is "name seen-address"; `error` is a code, TIMEOUT when nothing came back. */
export type Reply = { readonly answer: string; readonly handle: number } | { readonly error: string };

const name = process.argv[2] ?? 'agent';

interface Talk {
  say(timeoutMs: number): Promise<string>;
  close(): void;
}

const talks: Talk[] = [];

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error);

const timeout = (ms: number): { promise: Promise<never>; clear(): void } => {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(Object.assign(new Error('timeout'), { code: 'TIMEOUT' })), ms);
  return { promise, clear: () => clearTimeout(timer) };
};

const listen = ({ protocol, address, port }: Listen): Promise<void> =>
  new Promise((resolve, reject) => {
    if (protocol === 'tcp') {
      const server = createServer((socket) => {
        socket.on('error', () => socket.destroy());
        socket.on('data', () => socket.write(`${name} ${socket.remoteAddress}`));
      });
      server.once('error', reject);
      server.listen({ host: address, port, ipv6Only: true }, resolve);
      return;
    }
    const socket = createSocket({ type: isIPv6(address) ? 'udp6' : 'udp4', ipv6Only: isIPv6(address) });
    socket.once('error', reject);
    socket.on('message', (_, { address: peer, port: from }) => socket.send(`${name} ${peer}`, from, peer));
    socket.bind(port, address, resolve);
  });

const openTcp = ({ from, to, port }: Ask): Talk & { ready: Promise<void> } => {
  const socket: Socket = connect({ host: to, port, ...(from === undefined ? {} : { localAddress: from }) });
  const failed = new Promise<never>((_, reject) => {
    socket.once('error', reject);
  });
  failed.catch(() => undefined);
  return {
    ready: Promise.race([new Promise<void>((resolve) => socket.once('connect', resolve)), failed]),
    say: () => {
      socket.write('?');
      const ended = new Promise<never>((_, reject) => {
        socket.once('close', () => reject(Object.assign(new Error('closed'), { code: 'CLOSED' })));
      });
      return Promise.race([
        new Promise<string>((resolve) => socket.once('data', (data) => resolve(String(data)))),
        failed,
        ended,
      ]);
    },
    close: () => socket.destroy(),
  };
};

const openUdp = ({ from, to, port }: Ask): Talk & { ready: Promise<void> } => {
  const socket = createSocket(isIPv6(to) ? 'udp6' : 'udp4');
  const failed = new Promise<never>((_, reject) => {
    socket.on('error', reject);
  });
  failed.catch(() => undefined);
  const bound = new Promise<void>((resolve) => socket.bind(0, from, resolve));
  return {
    ready: Promise.race([bound.then(() => new Promise<void>((resolve) => socket.connect(port, to, resolve))), failed]),
    say: () => {
      socket.send('?');
      return Promise.race([
        new Promise<string>((resolve) => socket.once('message', (data) => resolve(String(data)))),
        failed,
      ]);
    },
    close: () => socket.close(),
  };
};

const run = async (command: Command): Promise<Reply> => {
  if (command.op === 'listen') {
    await listen(command);
    return { answer: name, handle: -1 };
  }
  const limit = timeout(command.timeoutMs);
  let talk: Talk | undefined;
  try {
    if (command.op === 'say') {
      const known = talks[command.handle];
      if (known === undefined) throw new Error('no such handle');
      return { answer: await Promise.race([known.say(command.timeoutMs), limit.promise]), handle: command.handle };
    }
    const opened = command.protocol === 'tcp' ? openTcp(command) : openUdp(command);
    talk = opened;
    await Promise.race([opened.ready, limit.promise]);
    const answer = await Promise.race([opened.say(command.timeoutMs), limit.promise]);
    if (command.op === 'ask') opened.close();
    return { answer, handle: command.op === 'open' ? talks.push(opened) - 1 : -1 };
  } catch (error) {
    if (command.op !== 'say') talk?.close();
    return { error: codeOf(error) };
  } finally {
    limit.clear();
  }
};

process.on('message', ({ id, command }: { id: number; command: Command }) => {
  run(command)
    .catch((error: unknown): Reply => ({ error: codeOf(error) }))
    .then((reply) => process.send?.({ id, reply }));
});
process.on('disconnect', () => process.exit(0));
process.send?.({ id: 0, reply: { answer: name, handle: -1 } });

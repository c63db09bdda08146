import { connect, createServer, type Socket } from 'node:net';

/** A way to a server that a test can cut: connections are dropped, or silently go nowhere. */
export interface TcpRelay {
  readonly endpoint: string;
  /** Ends all connections; new ones go through. */
  cut(): void;
  /** From now on nothing passes, in either direction, and nobody is told: a partition. */
  block(): void;
  unblock(): void;
  /** What is connected now silently goes nowhere for ever; new connections go through: a firewall that forgot them. */
  forget(): void;
  /** The next request with these words in it arrives, and from then on no answer comes over its connection. */
  loseAnswerTo(words: string): void;
  close(): Promise<void>;
}

export async function startRelay(target: string): Promise<TcpRelay> {
  const { hostname, port } = new URL(target);
  const pairs = new Set<readonly [Socket, Socket]>();
  let blocked = false;
  let fated: string | undefined;
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    const pair = [near, far] as const;
    pairs.add(pair);
    const end = (): void => {
      near.destroy();
      far.destroy();
      pairs.delete(pair);
    };
    for (const [from, to] of [pair, [far, near] as const]) {
      from.on('error', end);
      from.on('close', end);
      if (blocked) from.pause();
      from.on('data', (chunk: Buffer) => {
        if (from === near && fated !== undefined && chunk.includes(fated)) {
          fated = undefined;
          far.pause();
        }
        to.write(chunk);
      });
      if (blocked) from.pause();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  const cut = (): void => {
    for (const [near, far] of [...pairs]) {
      near.destroy();
      far.destroy();
    }
  };
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    cut,
    block: () => {
      blocked = true;
      for (const pair of pairs) for (const socket of pair) socket.pause();
    },
    unblock: () => {
      blocked = false;
      // What was on the way during a partition is lost with its connections.
      cut();
    },
    forget: () => {
      for (const pair of pairs) for (const socket of pair) socket.pause();
    },
    loseAnswerTo: (words) => {
      fated = words;
    },
    close: async () => {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

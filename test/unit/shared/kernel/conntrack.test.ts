import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import t from 'tap';
import { Conntrack } from '../../../../shared/kernel/conntrack.ts';
import { AF_INET, AF_INET6 } from '../../../../shared/kernel/inet.ts';
import { openNftables } from '../../../../shared/kernel/nftables.ts';
import { setNamespace } from '../../../../shared/kernel/syscalls.ts';
import { makeNamespace } from './namespaces.ts';

const UDP = 17;

t.test('connections of a port are found with both directions, and forgotten one by one', async (t) => {
  const namespace = makeNamespace(t);
  // Sockets of Node open late: this process stays in the namespace.
  setNamespace(namespace.fd, 0x40000000);
  using nft = openNftables();
  // A rule that asks for the state is what makes the kernel track.
  nft.run(
    `table inet here {
      chain out { type filter hook output priority 0; ct state new counter; }
      chain nat { type nat hook output priority -100; ip daddr 127.0.0.1 udp dport 53 dnat ip to 127.0.0.2:54; }
    }`.replaceAll('; }', ';\n}'),
    'to begin',
  );
  using table = Conntrack.open();
  const sockets: Socket[] = [];
  const send = async (family: 4 | 6, port: number, to: string): Promise<number> => {
    const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.send('x', port, to);
    await once(socket, 'listening');
    await new Promise((resolve) => setTimeout(resolve, 20));
    return socket.address().port;
  };
  const first = await send(4, 53, '127.0.0.1');
  const second = await send(4, 53, '127.0.0.1');
  await send(4, 55, '127.0.0.1');
  const third = await send(6, 53, '::1');

  const found = table.towards(AF_INET, UDP, [53]);
  t.same(found.map(({ original }) => original.sourcePort).sort(), [first, second].sort());
  t.match(
    found.find(({ original }) => original.sourcePort === first),
    {
      original: { source: '127.0.0.1', destination: '127.0.0.1', protocol: UDP, destinationPort: 53 },
      reply: { source: '127.0.0.2', sourcePort: 54, destinationPort: first },
    },
  );
  t.match(table.towards(AF_INET6, UDP, [53]), [{ original: { source: '::1', sourcePort: third } }]);
  for (const connection of found) {
    if (connection.original.sourcePort !== first) continue;
    table.forget(connection);
    t.doesNotThrow(() => table.forget(connection), 'what is gone already is fine');
  }
  t.same(
    table.towards(AF_INET, UDP, [53]).map(({ original }) => original.sourcePort),
    [second],
  );
  t.equal(table.towards(AF_INET, UDP, [55]).length, 1, 'others stay');
  t.equal(table.towards(AF_INET, UDP, [53, 55, 99]).length, 2);
  t.equal(table.towards(AF_INET, 6, [53]).length, 0);
  for (const socket of sockets) socket.close();
});

t.test('a handle can look into another namespace', (t) => {
  const namespace = makeNamespace(t);
  using table = Conntrack.open({ netns: namespace.fd });
  t.same(table.towards(AF_INET, UDP, [53]), []);
  t.end();
});

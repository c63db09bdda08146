// What a plugin costs that does nothing: in the image in the place of a plugin's own main.ts, it listens and answers whatever
// it is asked.
import { createServer } from 'node:http';

const ANSWER = JSON.stringify({
  Implements: ['NetworkDriver', 'IpamDriver', 'VolumeDriver'],
  ...{ Scope: 'local', ConnectivityScope: 'global', Capabilities: { Scope: 'local' } },
});

/** Both are in the image's folder of sockets, in which the engine looks for the one that its configuration names. */
const SOCKETS = ['/run/docker/plugins/vpc.sock', '/run/docker/plugins/cloudvol.sock'];

for (const socket of process.env['DRAYAGE_SOCKET'] === undefined ? SOCKETS : [process.env['DRAYAGE_SOCKET']]) {
  createServer((_request, response) => response.end(ANSWER)).listen(socket);
}
// Node writes its compile cache when it exits.
process.once('SIGTERM', () => process.exit(0));

/** Throw-away TLS files, for etcd and others: an authority, a server certificate and a client certificate, by openssl. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { must } from './command.ts';

/** Paths of PEM files. */
export interface Certificates {
  readonly ca: string;
  readonly serverCert: string;
  readonly serverKey: string;
  readonly clientCert: string;
  readonly clientKey: string;
}

/** Makes the files in `folder`. `addresses` and `hosts`: the IP addresses and the names that the server certificate is good for. */
export async function makeCertificates(
  folder: string,
  addresses: readonly string[],
  hosts: readonly string[] = [],
): Promise<Certificates> {
  mkdirSync(folder, { recursive: true });
  const file = (name: string): string => path.join(folder, name);
  const common = ['-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-days', '2', '-sha256'];
  const request = ['openssl', 'req', '-x509', ...common];
  await must([...request, '-subj', '/CN=drayage rig CA', '-keyout', file('ca.key'), '-out', file('ca.pem')]);
  const names = [...addresses.map((address) => `IP:${address}`), ...hosts.map((host) => `DNS:${host}`)].join(',');
  for (const [name, usage, subject] of [
    ['server', 'serverAuth,clientAuth', '/CN=rig-server'],
    // etcd's JSON gateway refuses a client certificate with a common name once users are switched on.
    ['client', 'clientAuth', '/O=rig-client'],
  ] as const) {
    await must([
      ...request,
      ...['-subj', subject, '-CA', file('ca.pem'), '-CAkey', file('ca.key')],
      ...[
        '-addext',
        `extendedKeyUsage=${usage}`,
        '-addext',
        `subjectAltName=${names}`,
        '-addext',
        'basicConstraints=critical,CA:FALSE',
      ],
      ...['-keyout', file(`${name}.key`), '-out', file(`${name}.pem`)],
    ]);
  }
  return {
    ca: file('ca.pem'),
    serverCert: file('server.pem'),
    serverKey: file('server.key'),
    clientCert: file('client.pem'),
    clientKey: file('client.key'),
  };
}

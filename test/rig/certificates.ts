/** Throw-away TLS files, for etcd and others: an authority, a server certificate and a client certificate, by openssl. */
import { mkdirSync, writeFileSync } from 'node:fs';
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

/** A further certificate of that authority for servers at these addresses, which ended yesterday. */
export async function expiredCertificate(
  folder: string,
  { ca }: Certificates,
  addresses: readonly string[] = ['127.0.0.1'],
): Promise<{ readonly cert: string; readonly key: string }> {
  const file = (name: string): string => path.join(folder, `expired.${name}`);
  const subject = ['-subj', '/CN=rig-server', '-keyout', file('key'), '-out', file('csr')];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
  await must(['openssl', 'req', '-new', '-nodes', ...kind, ...subject]);
  const names = addresses.map((address) => `IP:${address}`).join(',');
  writeFileSync(file('ext'), `subjectAltName=${names}\nbasicConstraints=critical,CA:FALSE\n`);
  const authority = ['-CA', ca, '-CAkey', ca.replace(/\.pem$/, '.key'), '-set_serial', '7'];
  // Of `openssl req` days are never negative.
  const times = ['-days', '-1', '-extfile', file('ext')];
  await must(['openssl', 'x509', '-req', '-in', file('csr'), ...authority, ...times, '-out', file('pem')]);
  return { cert: file('pem'), key: file('key') };
}

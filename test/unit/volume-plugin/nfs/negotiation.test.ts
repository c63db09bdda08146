// What mount(8) is started with, and what its answers mean, with a program in its place that writes down its arguments.
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { negotiate } from '../../../../volume-plugin/nfs/negotiation.ts';
import type { Looked } from '../../../../volume-plugin/nfs/preflight.ts';
import type { Share } from '../../../../volume-plugin/nfs/share.ts';
import { codeOf, context, messageOf } from '../block/scratch.ts';

const SHARE: Share = {
  ...{ id: '10.0.0.5:/export', server: '10.0.0.5', path: '/export', vendor: 'generic' },
  versions: ['4.2', '4.1', '4.0', '3'],
};
const LOOKED: Looked = {
  ...{ address: '10.0.0.5', ownAddress: '10.0.0.9', versions: ['4.2', '4.1', '3'], port: 2049, pathSeen: true },
  mountPort: 20_048,
};
const WISH = { options: {}, readonly: false };

const PATH = process.env['PATH'] ?? '';

/** A mount(8) that runs this piece of a shell script; answers the commands that it was given. */
const mountIs = (t: Test, script: string): (() => readonly string[]) => {
  const folder = mkdtempSync(join(tmpdir(), 'drayage-mount-'));
  const program = join(folder, 'mount');
  const seen = join(folder, 'seen');
  writeFileSync(seen, '');
  writeFileSync(program, `#!/bin/sh\necho "$*" >> ${seen}\n${script}\n`);
  chmodSync(program, 0o755);
  process.env['PATH'] = `${folder}:${PATH}`;
  t.teardown(() => {
    process.env['PATH'] = PATH;
    rmSync(folder, { recursive: true });
  });
  return () => readFileSync(seen, 'utf8').trim().split('\n').filter(Boolean);
};

const refusing = (version: string, text: string): string =>
  `case "$*" in *vers=${version},*) echo "mount: /x: ${text}" >&2; exit 32;; esac`;

const NOT_SPOKEN = 'mount(2) system call failed: Protocol not supported.';

t.test('a share is mounted by the kernel alone, which is told what a helper would find out', async (t) => {
  const seen = mountIs(t, '');
  t.equal(await negotiate(SHARE, WISH, LOOKED, '/x', context()), '4.2');
  t.same(seen(), [
    '-i -c -w -t nfs4 -o nodev,hard,timeo=600,retrans=2,proto=tcp,vers=4.2,addr=10.0.0.5,clientaddr=10.0.0.9 10.0.0.5:/export /x',
  ]);
});

t.test('version 3 is told where the MOUNT service is; locks stay on the host', async (t) => {
  const seen = mountIs(t, '');
  await negotiate(SHARE, { ...WISH, readonly: true }, { ...LOOKED, versions: ['3'], port: 20_490 }, '/x', context());
  t.match(seen()[0], /^-i -c -r -t nfs -o /);
  t.match(
    seen()[0],
    /nolock.*vers=3,port=20490,addr=10\.0\.0\.5,mountvers=3,mountproto=tcp,mountaddr=10\.0\.0\.5,mountport=20048 /,
  );
  t.notMatch(seen()[0], /clientaddr/);
  await negotiate(SHARE, WISH, { ...LOOKED, versions: ['3'] }, '/x', context());
  t.match(seen()[1], /,port=2049,/, 'the usual port, too: the kernel would ask the portmapper');
});

t.test('an address of version 6 has brackets in the source, and its own protocol', async (t) => {
  const seen = mountIs(t, '');
  const looked = { ...LOOKED, address: 'fd00::5', ownAddress: 'fd00::9' };
  await negotiate({ ...SHARE, server: 'fd00::5' }, WISH, looked, '/x', context());
  t.match(seen()[0], /proto=tcp6,vers=4\.2,addr=fd00::5,clientaddr=fd00::9 \[fd00::5\]:\/export \/x$/);
});

t.test(
  'options that people give go before what the vendor recommends, and before nothing that is found out',
  async (t) => {
    const seen = mountIs(t, '');
    const wish = { ...WISH, options: { soft: true, rsize: '65536' } } as const;
    await negotiate({ ...SHARE, vendor: 'efs' }, wish, LOOKED, '/x', context());
    t.match(seen()[0], /soft,rsize=65536/);
    t.match(seen()[0], /noresvport/);
    t.notMatch(seen()[0], /hard|rsize=1048576/);
  },
);

t.test('the best version that both sides have is taken: 4.2, 4.1, 3', async (t) => {
  const seen = mountIs(t, `${refusing('4.2', NOT_SPOKEN)}\n${refusing('4.1', NOT_SPOKEN)}`);
  t.equal(await negotiate(SHARE, WISH, LOOKED, '/x', context()), '3');
  t.same(
    seen().map((line) => /vers=([\d.]+)/.exec(line)?.[1]),
    ['4.2', '4.1', '3'],
  );
});

t.test('a kernel that does not know an option or a version leaves the others to be tried', async (t) => {
  mountIs(
    t,
    `${refusing('4.2', 'wrong fs type, bad option, bad superblock')}\n${refusing('4.1', "unknown filesystem type 'nfs4'")}`,
  );
  t.equal(await negotiate(SHARE, WISH, LOOKED, '/x', context()), '3');
  mountIs(t, 'echo "mount: /x: unknown filesystem type \'nfs4\'." >&2; exit 32');
  t.match(
    await messageOf(negotiate(SHARE, WISH, LOOKED, '/x', context())),
    /BACKEND_REFUSED: .*this host's kernel.* unknown filesystem type/,
  );
});

t.test('each refusal of the kernel has its own error', async (t) => {
  const outcomes = {
    'permission denied.': 'SHARE_REFUSED',
    'mount(2) system call failed: Operation not permitted': 'SHARE_REFUSED',
    '10.0.0.5:/export is write-protected but explicit read-write mode given.': 'SHARE_REFUSED',
    'special device 10.0.0.5:/export does not exist.': 'SHARE_MISSING',
    'mount(2) system call failed: No such file or directory': 'SHARE_MISSING',
    'mount(2) system call failed: Connection refused.': 'SHARE_UNREACHABLE',
    'mount(2) system call failed: No route to host.': 'SHARE_UNREACHABLE',
    'mount(2) system call failed: Connection timed out.': 'SHARE_SILENT',
    [NOT_SPOKEN]: 'SHARE_VERSION',
    'wrong fs type, bad option, bad superblock on 10.0.0.5:/export': 'BACKEND_REFUSED',
  };
  for (const [text, code] of Object.entries(outcomes)) {
    mountIs(t, `echo "mount: /x: ${text}" >&2; exit 32`);
    t.equal(await codeOf(negotiate(SHARE, WISH, LOOKED, '/x', context())), code, text);
  }
});

t.test('a server that refuses this host is not asked again in another version', async (t) => {
  const seen = mountIs(t, 'echo "mount: /x: permission denied." >&2; exit 32');
  await negotiate(SHARE, WISH, LOOKED, '/x', context()).catch(() => undefined);
  t.equal(seen().length, 1);
});

t.test('a mount that hangs is ended when time is up', async (t) => {
  mountIs(t, 'exec sleep 30');
  const begun = performance.now();
  t.equal(await codeOf(negotiate(SHARE, WISH, LOOKED, '/x', context(300))), 'DEADLINE');
  t.ok(performance.now() - begun < 5_000);
});

t.test('an option that one version does not have leaves that version out', async (t) => {
  const seen = mountIs(t, '');
  t.equal(await negotiate(SHARE, { ...WISH, options: { noacl: true } }, LOOKED, '/x', context()), '3');
  t.equal(seen().length, 1);
  const only = { ...LOOKED, versions: ['4.2'] } as const;
  await t.rejects(negotiate(SHARE, { ...WISH, options: { noacl: true } }, only, '/x', context()), {
    message:
      'OPTION_INVALID: The volume option mount-options=noacl is not valid: mounts of version 4.2 have no such option.',
    fix: /^Allowed: options of version 4\.2, or -o nfsvers=/,
  });
});

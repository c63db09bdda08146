import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import {
  mountAt,
  mountNamespace,
  mountNamespaces,
  parseMountTable,
  readMountTable,
} from '../../../../shared/kernel/mount-table.ts';

t.test('a line is read with its optional fields, escapes and options', async (t) => {
  const [entry] = parseMountTable(
    '36 35 98:0 /mnt1 /mnt/my\\040data rw,noatime master:1 shared:2 - ext3 /dev/my\\134root rw,errors=continue\n',
  );
  t.same(entry, {
    ...{ id: 36, parent: 35, device: '98:0', root: '/mnt1', target: '/mnt/my data' },
    ...{ options: ['rw', 'noatime'], type: 'ext3', source: '/dev/my\\root', superOptions: ['rw', 'errors=continue'] },
  });
});

t.test('lines that are none are left out', async (t) => {
  t.same(parseMountTable('\nnonsense\n1 2\n'), []);
});

t.test('of mounts on top of each other the last is seen', async (t) => {
  const line = (id: number, source: string): string => `${id} 1 0:5 / /mnt rw - tmpfs ${source} rw`;
  t.equal(mountAt(parseMountTable(`${line(1, 'under')}\n${line(2, 'over')}`), '/mnt')?.source, 'over');
  t.equal(mountAt(readMountTable(), '/proc')?.type, 'proc');
  t.equal(mountAt(readMountTable(), '/nowhere'), undefined);
});

t.test('a mount in another namespace is found there and not here', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'drayage-mounts-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const target = join(folder, 'a b');
  mkdirSync(target);
  const child = spawn(
    'unshare',
    ['-m', 'sh', '-c', 'mount -t tmpfs drayage-test "$0" && echo up && exec sleep 60', target],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  t.teardown(() => child.kill('SIGKILL'));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  t.equal(mountAt(readMountTable(), target), undefined);
  const having = mountNamespaces().filter(({ mounts }) => mountAt(mounts, target) !== undefined);
  t.equal(having.length, 1);
  t.equal(having[0]?.id, mountNamespace(child.pid ?? 0));
  t.not(having[0]?.id, mountNamespace('self'));
  t.match(mountAt(having[0]?.mounts ?? [], target), { type: 'tmpfs', source: 'drayage-test' });
});

t.test('each namespace is there once, and a process that is gone has none', async (t) => {
  const ids = mountNamespaces().map(({ id }) => id);
  t.equal(new Set(ids).size, ids.length);
  t.ok(ids.includes(mountNamespace('self') ?? ''));
  const pid = Number(execFileSync('sh', ['-c', 'echo $$'], { encoding: 'utf8' }));
  t.equal(mountNamespace(pid), undefined);
});

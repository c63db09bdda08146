import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Sysctl } from '../../../../shared/kernel/sysctl.ts';
import { makeNamespace } from './namespaces.ts';

t.test('a setting is read and written in the namespace that is meant', async (t) => {
  const { sysctl } = makeNamespace(t);
  const before = new Sysctl({ root: '/proc/sys/net' }).read('ipv4/conf/lo/forwarding');
  const value = before === '1' ? 0 : 1;
  sysctl.write('ipv4/conf/lo/forwarding', value);
  t.equal(sysctl.read('ipv4/conf/lo/forwarding'), String(value));
  t.equal(new Sysctl({ root: '/proc/sys/net' }).read('ipv4/conf/lo/forwarding'), before, 'not here');
});

t.test('what is right already is not written', async (t) => {
  const root = t.testdir({ ipv4: { ip_forward: '1\n' } });
  const sysctl = new Sysctl({ root });
  const file = join(root, 'ipv4/ip_forward');
  const { mtimeNs } = statSync(file, { bigint: true });
  t.equal(sysctl.write('ipv4/ip_forward', 1), false);
  t.equal(statSync(file, { bigint: true }).mtimeNs, mtimeNs);
  t.equal(sysctl.write('ipv4/ip_forward', 0), true);
  t.equal(readFileSync(file, 'utf8'), '0');
});

t.test('a setting that the kernel lacks is undefined when read and an error when written', async (t) => {
  const { sysctl } = makeNamespace(t);
  t.equal(sysctl.read('ipv4/conf/nothere/forwarding'), undefined);
  t.throws(() => sysctl.write('ipv4/conf/nothere/forwarding', 1), {
    code: 'KERNEL',
    errnoName: 'ENOENT',
    message: /net\/ipv4\/conf\/nothere\/forwarding/,
  });
  t.throws(() => sysctl.write('ipv4/conf/lo/forwarding', 'nonsense'), { code: 'KERNEL', errnoName: 'EINVAL' });
});

t.test('a read-only tree is told with what to do', async (t) => {
  const { run } = makeNamespace(t);
  const file = new URL('../../../../shared/kernel/sysctl.ts', import.meta.url).href;
  const script = `import { Sysctl } from '${file}';
    try { new Sysctl({ root: '/proc/sys/net' }).write('ipv4/conf/lo/forwarding', 1 - Number(new Sysctl({ root: '/proc/sys/net' }).read('ipv4/conf/lo/forwarding'))); console.log('written'); }
    catch (error) { console.log(error.errnoName, error.message); }`;
  const inside = [
    '-c',
    'mount -o bind,ro /proc/sys /proc/sys && exec "$0" --input-type=module -e "$1"',
    process.execPath,
    script,
  ];
  const { output } = await run('unshare', '--mount', 'sh', ...inside);
  t.match(output, /^EROFS .*read-only here: bind the host's to \/host\/sys-net/m);
});

t.test('keys cannot leave the tree', async (t) => {
  const root = t.testdir({ a: { b: '1' }, secret: 'x' });
  const sysctl = new Sysctl({ root: join(root, 'a') });
  for (const key of ['../secret', 'a/../../secret', '/etc/passwd', 'b', '', 'a//b', './b', 'a/b\n']) {
    t.throws(() => sysctl.read(key), RangeError, JSON.stringify(key));
  }
  mkdirSync(join(root, 'a/conf/eth0.100'), { recursive: true });
  writeFileSync(join(root, 'a/conf/eth0.100/forwarding'), '0\n');
  t.equal(sysctl.read('conf/eth0.100/forwarding'), '0', 'a link name with a dot');
});

// @exclusive
// `npm run demo` shows what it says, on a real engine, and leaves nothing behind.
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { run } from '../rig/command.ts';
import { demo } from '../rig/demo.ts';
import { records } from '../rig/record.ts';

t.setTimeout(240_000);

/** Folders that a demonstration builds in. */
function scratch(): string[] {
  return readdirSync('/tmp').filter((name) => name.startsWith('drayage-demo-'));
}

t.test('the demo shows routed containers and a volume that moves, and leaves nothing', async (t) => {
  const before = scratch();
  const lines: string[] = [];
  t.equal(await demo([], (line) => void lines.push(line)), 0);
  const text = lines.join('\n');
  t.match(text, /^ *1\. +\d+\.\d s {2}Look whether/, 'each step has its number and time');
  t.match(text, '10.64.1.0/24  via 10.250.0.12 (host2)', 'the route table is shown');
  t.match(text, /\[::ffff:10\.64\.0\.2\]:\d+: cgi response:200/, "the server's log has the client container's address");
  t.match(text, /[1-9]\d* packets from 10\.64\.0\.2 to 10\.64\.1\.2, as they are; 0 of VXLAN/, 'no tunnels');
  t.match(text, /[12] packets were dropped; then the route is put back/, 'without a route nothing arrives');
  t.match(text, /the Internet fetched http:\/\/10\.250\.0\.12:8080/, 'the published port answers');
  t.match(text, /host2 sees it, too: notes is in use on host1/, "the volumes are the cluster's");
  t.match(text, /VOLUME_BUSY: Volume notes is in use on host host1/, 'a disk has one writer');
  t.match(text, /host2 read "written on host1"; notes is mounted there/, 'the volume is read on the other host');
  t.match(text, /to stop the container, \d+\.\d s until host2 had read it/, 'with its time');
  t.match(text, 'no disk, no device and no mount of it');
  t.same(
    records().filter((record) => record.pid === process.pid),
    [],
    'the rig is gone',
  );
  t.same(scratch(), before, 'and so are the built plugins');
});

t.test('the demo says in a sentence that it needs root', async (t) => {
  const script = fileURLToPath(new URL('../rig/demo.ts', import.meta.url));
  // It may read a clone that only root may look into, and nothing else.
  const rights = ['--inh-caps', '+dac_read_search', '--ambient-caps', '+dac_read_search'];
  const argv = ['setpriv', '--reuid', '65534', '--clear-groups', ...rights, '--', process.execPath, script];
  const outcome = await run(argv);
  t.equal(outcome.code, 1);
  t.match(outcome.stderr, /^demo: .*only root may do: run it with sudo\.\n$/);
});

t.test('the demo refuses an engine that there is not, and names those that there are', async (t) => {
  await t.rejects(
    demo(['--engine', '19'], () => undefined),
    { message: '--engine 19: choose one of 20, 26, 28.' },
  );
});

// @timeout 4m
// The volume plugin dies at every step of its journal, before the step is begun and right after it is durable, while
// Docker creates, mounts, unmounts and removes volumes; the engine, the machine and the callers die, too. How many steps
// there are is found out: each command is repeated with a later death until it outlives them all. After each: the data is
// there, the count of holds is right, and nothing is left.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { NAME, VolumeHost } from '../integration/support/volume-host.ts';
import { type Outcome, run, until } from '../rig/command.ts';
import { clientEnvironment } from '../rig/host.ts';
import { InstalledPlugin } from '../rig/plugin.ts';
import { Rig } from '../rig/rig.ts';
import { mortalPlugin } from './support/image.ts';
import { armKill, disarmKill, type KillPoint } from './support/kill-point.ts';
import { BOOT_FILE, SLOW_FILE } from './support/volume-files.ts';
import { collect, starts, stateFolder, untilReady, untilRestarted } from './support/volume-holdings.ts';

t.setTimeout(240_000);

const IMAGE = 'drayage/box:1';
const SLEEP = ['sleep', 'infinity'];
/** More steps than any one command has: a loop that does not end is an error. */
const MOST_STEPS = 12;
const SIZE = ['-o', 'size=32MiB'];

/** A docker command, and how a person would go on when it has failed. */
interface Step {
  readonly name: string;
  readonly command: readonly string[];
  /** Before the command is repeated. */
  readonly clear?: readonly string[];
  /** What its repetition may say, beside nothing: it was done. */
  readonly done?: RegExp;
  /** Resolves when what the plugin does behind the answer is over. */
  readonly settled?: () => Promise<boolean>;
}

/** The plugin's own words, or the engine's about the plugin; no stack. */
const isClear = ({ stderr }: Outcome): boolean => /repeat|plugin|again/i.test(stderr) && !/\n\s+at /.test(stderr);

const phaseOf = async (one: VolumeHost, name: string): Promise<unknown> => (await one.volume(name)).Status['state'];

/** Runs the command with the plugin dying at step `at` of it. Resolves with whether it came to that. */
async function dieAt(t: Test, one: VolumeHost, step: Step, at: number, when: KillPoint['when']): Promise<boolean> {
  const what = `${step.name}, killed ${when} step ${at}`;
  const before = starts(one);
  armKill(stateFolder(one), at, when);
  const outcome = await one.host.docker(step.command);
  const isDead = (): boolean => !readdirSync(stateFolder(one)).includes('kill-point.json');
  // It may die while it is asked.
  const isOver = async (): Promise<boolean> => (await step.settled?.().catch(() => false)) === true;
  if (step.settled !== undefined) await until(what, async () => isDead() || (await isOver()));
  const died = !disarmKill(stateFolder(one));
  if (died) await untilRestarted(one, before);
  if (outcome.code !== 0) {
    t.ok(died && isClear(outcome), `${what}: the error says what is the matter: ${outcome.stderr.trim()}`);
    if (step.clear !== undefined) await one.must(...step.clear);
    const again = await one.host.docker(step.command);
    t.ok(again.code === 0 || step.done?.test(again.stderr), `${what}: repeated, it succeeds: ${again.stderr.trim()}`);
  }
  if (died) t.comment(`${what}: exit ${outcome.code} after ${Math.round(outcome.ms)} ms ${outcome.stderr.trim()}`);
  return died;
}

/** A command that is repeated with the plugin dying at each of its steps, and what belongs around it. */
interface Round {
  readonly step: Step;
  readonly prepare: readonly (readonly string[])[];
  /** What must hold when the plugin is there again; `last`: it has died at no step any more. */
  readonly check: (what: string, last: boolean) => Promise<void>;
  readonly undo: readonly (readonly string[])[];
}

async function dieEverywhere(t: Test, one: VolumeHost, round: Round, when: KillPoint['when']): Promise<void> {
  const { step, prepare, check, undo } = round;
  const started = performance.now();
  let died = true;
  let at = 0;
  while (died) {
    at += 1;
    if (at > MOST_STEPS) throw new Error(`${step.name} has more than ${MOST_STEPS} steps`);
    for (const command of prepare) await one.must(...command);
    died = await dieAt(t, one, step, at, when);
    const what = `${step.name}, killed ${when} step ${at}`;
    await check(what, !died);
    for (const command of undo) await one.must(...command);
    await nothingLeft(t, one, what);
  }
  t.comment(`${step.name}: ${at - 1} deaths in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  t.ok(at > 2, 'it has several steps');
}

/** Nobody has a volume on this host, and nothing of a mount is left. */
async function nothingLeft(t: Test, one: VolumeHost, what: string): Promise<void> {
  await collect(one);
  t.equal(await one.holds('data'), 0, `${what}: nobody holds it`);
  t.same(await one.loops(), [], `${what}: no disk is attached`);
  const files = readdirSync(join(one.host.stateFolder, 'loop')).map((name) => name.split('.').at(-1));
  // Its description was changed before and after it was formatted, and never since.
  const disk = ['change-1', 'change-2', 'img', 'json'];
  t.same(files.sort(), disk, `${what}: one disk, and no note of who has it`);
}

/** A call as the engine makes it, that is hung up on after `ms`. */
const hangUp = (one: VolumeHost, method: string, body: unknown, ms: number): Promise<void> =>
  new Promise((resolve) => {
    const call = request({ socketPath: one.plugin.socket(), path: `/${method}`, method: 'POST' });
    call.on('error', () => undefined);
    call.end(JSON.stringify(body));
    setTimeout(() => resolve(void call.destroy()), ms);
  });

/** `docker cp` that holds its container's volume until it is let go. */
function copying(rig: Rig, one: VolumeHost, container: string) {
  const env = clientEnvironment(one.host.machine.folder, rig.tools);
  const child = spawn(rig.tools.docker, ['cp', '-', `${container}:/d`], { env, stdio: ['pipe', 'ignore', 'ignore'] });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  child.stdin.on('error', () => undefined);
  // The head of a file of one megabyte, whose content does not come.
  const head = Buffer.alloc(1024);
  head.write('copied');
  for (const [at, text] of [
    [100, '0000644'],
    [108, '0000000'],
    [116, '0000000'],
    [124, '00004000000'],
    [136, '00000000000'],
    [156, '0'],
    [257, 'ustar'],
    [263, '00'],
  ] as const)
    head.write(text, at);
  head.write('        ', 148);
  const sum = head.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  child.stdin.write(head);
  return async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
  };
}

t.test('the cloudvol driver outlives its deaths', async (t) => {
  const folder = await mortalPlugin('volume');
  const rig = await Rig.up({ hosts: 1 });
  t.teardown(async () => await rig.down());
  const host = rig.host(1);
  // Nothing is written down but what the commands make it write.
  const plugin = await InstalledPlugin.install(host, folder, { name: NAME, env: { REFRESH_INTERVAL: '1h' } });
  const one = new VolumeHost(host, plugin);
  t.teardown(async () => {
    if (!t.passing()) t.comment(plugin.log().slice(-60).join('\n'));
  });
  await untilRestarted(one, 0);
  await one.must('volume', 'create', '-d', NAME, ...SIZE, 'data');
  await one.must('run', '--rm', '-v', 'data:/d', IMAGE, 'sh', '-c', 'echo kept > /d/kept && sync');
  await one.untilGone('data');
  const runIt = ['run', '-d', '--name', 'user', '-v', 'data:/d', IMAGE, ...SLEEP];
  const isThere = async (t: Test, what: string): Promise<void> =>
    void t.equal(await one.must('exec', 'user', 'cat', '/d/kept'), 'kept', `${what}: the data is there`);
  const gone = async (): Promise<boolean> => (await phaseOf(one, 'data')) === 'available';

  for (const when of ['before', 'after'] as const) {
    await t.test(`killed ${when} every step of Create and Remove`, async (t) => {
      const create = ['volume', 'create', '-d', NAME, ...SIZE, 'other'];
      const remove = ['volume', 'rm', 'other'];
      const exists = async (what: string): Promise<void> => {
        const read = await one.host.docker(['volume', 'inspect', '-f', '{{.Driver}}', 'other']);
        t.equal(read.stdout.trim(), `${NAME}:latest`, `${what}: it is ours`);
      };
      const isGone = async (what: string): Promise<void> =>
        void t.notMatch(await one.must('volume', 'ls', '-q'), /other/, `${what}: it is gone`);
      const made: Step = { name: 'create', command: create };
      await dieEverywhere(t, one, { step: made, prepare: [], check: exists, undo: [remove] }, when);
      const removed: Step = { name: 'rm', command: remove, done: /no such volume/i };
      await dieEverywhere(t, one, { step: removed, prepare: [create], check: isGone, undo: [] }, when);
    });

    await t.test(`killed ${when} every step of Mount and Unmount`, async (t) => {
      const rm = ['rm', '-f', 'user'];
      const isHeld = async (what: string, last: boolean): Promise<void> => {
        await isThere(t, what);
        // What is written down as held before Docker knows stays until nobody has the volume.
        const holds = await one.holds('data');
        t.ok(holds === 1 || (!last && when === 'after' && holds === 2), `${what}: held ${holds} times`);
        t.equal((await one.loops()).length, 1, `${what}: one disk`);
      };
      const mounted: Step = { name: 'run', command: runIt, clear: rm };
      await dieEverywhere(t, one, { step: mounted, prepare: [], check: isHeld, undo: [rm] }, when);
      const unmounted: Step = { name: 'rm -f', command: rm, settled: gone };
      const nobody = async (): Promise<void> => undefined;
      await dieEverywhere(t, one, { step: unmounted, prepare: [runIt], check: nobody, undo: [] }, when);
    });
  }

  await t.test('a caller that hangs up in a slow attach leaves nothing; the next one gets the volume', async (t) => {
    const slow = join(stateFolder(one), SLOW_FILE);
    writeFileSync(slow, '3000');
    t.teardown(() => rmSync(slow, { force: true }));
    await hangUp(one, 'VolumeDriver.Mount', { Name: 'data', ID: 'a'.repeat(64) }, 500);
    const outcome = await one.host.docker(runIt);
    t.equal(outcome.code, 0, outcome.stderr);
    t.ok(outcome.ms < 5_500, `it joined the work after ${Math.round(outcome.ms)} ms`);
    await isThere(t, 'after a caller has hung up');
    await until('the hold of whoever hung up is taken back', async () => (await one.holds('data')) === 1);
    rmSync(slow, { force: true });
    await one.must('rm', '-f', 'user');
    await one.untilGone('data');
    await nothingLeft(t, one, 'after a caller has hung up');
  });

  await t.test('plugin disable -f: its container goes on, and the count is right', async (t) => {
    await one.must(...runIt);
    t.equal((await plugin.disable()).code, 0);
    await isThere(t, 'while the plugin is disabled');
    const before = starts(one);
    await plugin.enable();
    await untilRestarted(one, before);
    t.equal(await one.holds('data'), 1);
    await one.must('restart', '-t', '0', 'user');
    t.equal(await one.holds('data'), 1, 'after a restart of the container');
    await isThere(t, 'when the plugin is there again');
    await one.must('rm', '-f', 'user');
    await nothingLeft(t, one, 'after plugin disable -f');
  });

  for (const liveRestore of [false, true]) {
    const how = liveRestore ? 'with live-restore' : 'without live-restore';
    await t.test(`dockerd is killed ${how} in the middle of docker cp`, async (t) => {
      await host.engine.restart({ liveRestore });
      await one.must(...runIt.slice(0, 2), '--restart', 'always', ...runIt.slice(2));
      const stop = copying(rig, one, 'user');
      // It holds the volume twice: for a look at the container first, which ends, and then for the copy, which has begun
      // when its file is there: looked at past the engine, which does nothing else with a container that it copies to.
      t.teardown(stop);
      const mounts = `/proc/${plugin.pid()}/root/var/lib/drayage-mounts`;
      await until('docker cp to copy', () => existsSync(join(mounts, 'data/data/copied')));
      t.equal(await one.holds('data'), 2, 'docker cp holds it, too');
      await host.engine.kill9();
      await stop();
      await host.engine.start();
      await one.untilRunning('user');
      await untilReady(one);
      await isThere(t, how);
      const holds = await one.holds('data');
      // Where the container goes on, nobody can tell the killed copy's hold from another one of its own.
      t.equal(holds, liveRestore ? 2 : 1, `held ${holds} times`);
      await one.must('exec', 'user', 'sh', '-c', 'echo more > /d/more && rm -f /d/copied && sync');
      await one.must('rm', '-f', 'user');
      await nothingLeft(t, one, how);
    });
  }

  await t.test('power cut: what was synced is there, and nothing of the time before is', async (t) => {
    await host.engine.restart({ liveRestore: false });
    await one.must(...runIt.slice(0, 2), '--restart', 'always', ...runIt.slice(2));
    await one.must('exec', 'user', 'sh', '-c', 'echo synced > /d/synced && sync');
    await host.powerOff();
    // With a machine's power its devices go, too.
    for (const line of await one.loops()) await run(['losetup', '--detach', line.split(':')[0] ?? '']);
    writeFileSync(join(stateFolder(one), BOOT_FILE), 'the boot after the power cut');
    await host.powerOn();
    await untilReady(one);
    await one.untilRunning('user');
    t.equal(await one.must('exec', 'user', 'cat', '/d/synced'), 'synced');
    await isThere(t, 'after a power cut');
    t.equal(await one.holds('data'), 1);
    await one.must('rm', '-f', 'user');
    await nothingLeft(t, one, 'after a power cut');
    const state = readFileSync(join(stateFolder(one), 'state/journal.jsonl'), 'utf8');
    t.match(state, /the boot after the power cut/, 'the plugin took the boot for another one');
  });
});

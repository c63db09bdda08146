#!/usr/bin/env node
// What `npm test`, `npm run demo` and the rest call first. It runs on whatever Node (18 or newer) the machine has,
// fetches what is missing (npm packages, Debian packages), and hands over to the Node 24 that package.json pins.
// When nothing is missing it costs a few milliseconds and writes nothing.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(import.meta.url);
const root = dirname(dirname(here));

/**
 * Debian packages that tests, demo and rig use from the machine itself. Docker engines, etcd and the image's programs
 * are not among them: the rig unpacks those into folders of its own, so that no service is installed.
 */
const tools = [
  'btrfs-progs',
  'ca-certificates',
  'e2fsprogs',
  'iproute2',
  'iptables',
  'iputils-ping',
  'mount',
  'nftables',
  'openssl',
  'procps',
  'tar',
  'util-linux',
  'xfsprogs',
];

/** Beside those: a second client of the simulated AWS, and what virtual machines run on. */
const testTools = [...tools, 'awscli', 'fio', 'git', 'qemu-system-x86', 'qemu-utils', 'rsync'];

/** Command → what to run on the pinned Node (one after the other), the Debian packages it needs, and whether as root. */
const commands = {
  test: { run: [['test/run.ts']], packages: testTools, root: true },
  // What takes hours; postgresql would bring a service along: its suite is left out where there is none.
  'test:long': {
    run: [['test/long/two-hosts.ts'], ['test/long/object-suites.ts'], ['test/long/object-engines.ts']],
    packages: testTools,
    root: true,
  },
  demo: { run: [['test/rig/demo.ts']], packages: tools, root: true },
  rig: { run: [['test/rig/main.ts']], packages: tools, root: true },
  'bench:net': {
    run: [['test/bench/net.ts']],
    packages: tools,
    root: true,
  },
  'bench:control': { run: [['test/bench/control.ts']], packages: tools, root: true },
  'bench:failover': { run: [['test/bench/failover.ts']], packages: tools, root: true },
  'bench:create': { run: [['test/bench/create.ts']], packages: tools, root: true },
  'bench:volume': { run: [['test/bench/volume.ts']], packages: [...tools, 'fio'], root: true },
  'bench:nfs': {
    run: [['test/bench/nfs.ts']],
    packages: [...tools, 'fio', 'qemu-system-x86', 'qemu-utils'],
    root: true,
  },
  // geesefs is in no registry of Debian's: it is measured, too, when its program is on the PATH.
  'bench:object': { run: [['test/bench/object.ts']], packages: [...tools, 's3fs', 'rclone'], root: true },
  sim: { run: [['test/sim/main.ts']], packages: [], root: false },
  'sim:scale': { run: [['test/bench/scale.ts']], packages: [], root: false },
  build: { run: [['plugin-configs/build.ts']], packages: [], root: false },
  lint: {
    run: [
      ['node_modules/@biomejs/biome/bin/biome', 'check', '.'],
      ['node_modules/typescript/bin/tsc', '-p', '.'],
    ],
    packages: [],
    root: false,
  },
  'check:types': { run: [['node_modules/typescript/bin/tsc', '-p', '.']], packages: [], root: false },
  docs: { run: [['bin/docs.ts']], packages: [], root: false },
  install: { run: [], packages: [], root: false },
};

/** Says what is wrong in a sentence and stops. */
function stop(sentence) {
  console.error(`drayage: ${sentence}`);
  process.exit(1);
}

/** Runs a program with its output on ours; answers whether it succeeded. */
function succeeds(program, args, env = {}) {
  console.error(`drayage: ${[program, ...args].join(' ')}`);
  const result = spawnSync(program, args, { cwd: root, stdio: ['ignore', 2, 2], env: { ...process.env, ...env } });
  if (result.error) stop(`${program} cannot be started: ${result.error.message}.`);
  return result.status === 0;
}

/** The pinned Node's binary. */
function pinnedNode() {
  if (process.arch !== 'x64' && process.arch !== 'arm64') {
    stop(`this machine is ${process.arch}; Drayage runs on x64 and arm64.`);
  }
  return join(root, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node');
}

/** True when node_modules holds what package-lock.json names (npm writes its own copy of the lock last of all). */
function npmPackagesPresent() {
  const installed = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(installed) || !existsSync(pinnedNode())) return false;
  const have = JSON.parse(readFileSync(installed, 'utf8')).packages;
  const want = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(want).every(([path, { version, optional }]) => {
    if (path === '') return true;
    return have[path] ? have[path].version === version : optional === true;
  });
}

/** Those of `names` that dpkg does not have installed. */
function missingDebianPackages(names) {
  if (names.length === 0) return [];
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query fills these in
  const format = '${Package} ${db:Status-Status}\n';
  const query = spawnSync('dpkg-query', ['-W', '-f', format, ...names], { encoding: 'utf8' });
  if (query.error) stop('dpkg-query is missing: Drayage is developed and tested on Debian and Ubuntu.');
  const installed = new Set(query.stdout.split('\n').filter((line) => line.endsWith(' installed')));
  return names.filter((name) => !installed.has(`${name} installed`));
}

/** Fetches what is missing. Only one process at a time runs this (see `ensure`). */
function install(packages) {
  if (!npmPackagesPresent()) {
    const flags = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    // Started by npm, we have its path; started by hand, there is one on the PATH.
    const npm = process.env.npm_execpath;
    const done = npm ? succeeds(process.execPath, [npm, ...flags]) : succeeds('npm', flags);
    if (!done) stop('npm could not install the packages of package-lock.json; its message is above.');
    if (!npmPackagesPresent()) stop(`npm ci left out node-linux-${process.arch}; run it without --omit=optional.`);
  }
  const missing = missingDebianPackages(packages);
  if (missing.length === 0) return;
  if (process.getuid() !== 0) stop(`these Debian packages are missing: ${missing.join(' ')}. Install them as root.`);
  console.error(`drayage: installing Debian packages: ${missing.join(' ')}`);
  const apt = (...args) =>
    succeeds('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=300', ...args], { DEBIAN_FRONTEND: 'noninteractive' });
  const get = () => apt('install', '-y', '--no-install-recommends', ...missing);
  // The package lists may be absent or old: refresh them only then.
  if (!get() && !(apt('update') && get()))
    stop(`apt-get could not install ${missing.join(' ')}; its message is above.`);
}

/** Installs what is missing, under a lock on package.json so that two commands at once do not race. */
function ensure(name, { packages }) {
  if (npmPackagesPresent() && missingDebianPackages(packages).length === 0) return;
  const locked = spawnSync('flock', [join(root, 'package.json'), process.execPath, here, '--install', name], {
    stdio: 'inherit',
  });
  if (locked.error) stop('flock is missing; install the Debian package util-linux.');
  if (locked.status !== 0) process.exit(locked.status ?? 1);
}

/** Runs one program on the pinned Node, hands signals on, and answers its exit code. */
function run(args) {
  const node = pinnedNode();
  const env = { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ''}` };
  const child = spawn(node, args, { stdio: 'inherit', env });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    // Ctrl-C reaches the child by itself: the terminal sends it to the whole foreground group.
    process.on(signal, () => (signal === 'SIGINT' && process.stdin.isTTY) || child.kill(signal));
  }
  return new Promise((resolve) => {
    child.on('error', (error) => stop(`${node} cannot be started: ${error.message}.`));
    child.on('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal]));
  });
}

const installing = process.argv[2] === '--install';
const [name, ...args] = process.argv.slice(installing ? 3 : 2);
const command = commands[name];
if (!command) stop(`usage: node bin/setup.mjs ${Object.keys(commands).join('|')} [arguments]`);
if (process.platform !== 'linux') stop(`Docker plugins run on Linux; this is ${process.platform}.`);
if (command.root && process.getuid() !== 0) {
  stop(`npm run ${name} makes network namespaces and starts Docker engines, which only root may do. Run it with sudo.`);
}
if (installing) {
  install(command.packages);
} else {
  ensure(name, command);
  let code = 0;
  for (const [script, ...fixed] of command.run) {
    code ||= await run([join(root, script), ...fixed, ...args]);
  }
  process.exitCode = code;
}

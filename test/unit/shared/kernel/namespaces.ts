import { execFile, execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { findLink, type Link } from '../../../../shared/kernel/link.ts';
import { setLink } from '../../../../shared/kernel/link-change.ts';
import { openNetns } from '../../../../shared/kernel/netns.ts';
import { Rtnetlink } from '../../../../shared/kernel/rtnetlink.ts';
import { Sysctl } from '../../../../shared/kernel/sysctl.ts';

/** Network namespaces of a test, named `drt<pid><suffix>` so that those of dead processes can be swept away. */
export interface Namespace {
  readonly name: string;
  readonly path: string;
  readonly fd: number;
  readonly rt: Rtnetlink;
  readonly sysctl: Sysctl;
  /** `ip` in the namespace, parsed from its JSON. */
  ip(...args: string[]): readonly Record<string, unknown>[];
  /** Runs a program in the namespace; its exit code and output, never a rejection. */
  run(program: string, ...args: string[]): Promise<{ readonly status: number; readonly output: string }>;
  link(name: string): Link;
}

interface Test {
  teardown(work: () => void): void;
}

const sweep = (): void => {
  for (const name of readdirSync('/run/netns')) {
    const pid = /^drt(\d+)[a-z]/.exec(name)?.[1];
    if (pid === undefined || alive(Number(pid))) continue;
    execFileSync('ip', ['netns', 'delete', name]);
  }
};

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
};

let swept = false;
let count = 0;

/** A fresh namespace with lo up, gone when the test ends. */
export const makeNamespace = (t: Test, suffix = 'n'): Namespace => {
  const name = `drt${process.pid}${suffix}${count++}`;
  execFileSync('ip', ['netns', 'add', name]);
  if (!swept) sweep();
  swept = true;
  const path = `/run/netns/${name}`;
  const namespace = openNetns(path);
  const rt = Rtnetlink.open({ netns: namespace.fd });
  t.teardown(() => {
    rt.close();
    namespace.close();
    execFileSync('ip', ['netns', 'delete', name]);
  });
  rt.run(setLink({ name: 'lo' }, { up: true }));
  return {
    name,
    path,
    fd: namespace.fd,
    rt,
    sysctl: new Sysctl({ root: '/proc/sys/net', netns: namespace.fd }),
    ip: (...args) => {
      const text = execFileSync('ip', ['-n', name, '-j', '-d', ...args], { encoding: 'utf8' });
      return text.trim() === '' ? [] : JSON.parse(text);
    },
    run: (program, ...args) =>
      new Promise((resolve) => {
        execFile(
          'nsenter',
          [`--net=${path}`, program, ...args],
          { timeout: 15_000, encoding: 'utf8' },
          (error, stdout, stderr) => {
            const status = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
            resolve({ status, output: stdout + stderr });
          },
        );
      }),
    link: (link) => {
      const found = findLink(rt, { name: link });
      if (found === undefined) throw new Error(`no link ${link} in ${name}`);
      return found;
    },
  };
};

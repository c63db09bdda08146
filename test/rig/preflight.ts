/** What the rig needs of a machine, each with the sentence that says what to do when it is missing. */
import { existsSync } from 'node:fs';
import { CommandError, run } from './command.ts';

/** True when the program can be run and succeeds. */
async function works(argv: readonly string[]): Promise<boolean> {
  try {
    return (await run(argv, { timeoutMs: 10_000 })).code === 0;
  } catch (error) {
    if (error instanceof CommandError) return false;
    throw error;
  }
}

/** @throws Error with one sentence about the first thing that is missing. Takes about 30 ms. */
export async function checkMachine(): Promise<void> {
  if (process.platform !== 'linux') throw new Error(`Docker engines run on Linux; this is ${process.platform}.`);
  if (process.getuid?.() !== 0) {
    throw new Error(
      'This makes network namespaces and starts Docker engines, which only root may do: run it with sudo.',
    );
  }
  if (!(await works(['dpkg-deb', '--version'])) || !(await works(['apt-get', '--version']))) {
    throw new Error(
      'The Docker engines come from Debian packages, and this machine has no apt-get: use Debian or Ubuntu.',
    );
  }
  if (!existsSync('/sys/fs/cgroup') || !existsSync('/proc/cgroups')) {
    throw new Error('There is no /sys/fs/cgroup: Docker needs a kernel with cgroups, and they must be mounted.');
  }
  const namespaces = ['unshare', '--net', '--mount', '--pid', '--uts', '--ipc', '--fork', '--mount-proc', '--'];
  if (!(await works([...namespaces, 'true']))) {
    throw new Error(
      'This machine does not let root make namespaces (unshare fails): a container needs --privileged, a VM works as it is.',
    );
  }
  if (!(await works(['grep', '-qw', 'overlay', '/proc/filesystems'])) && !(await works(['modprobe', 'overlay']))) {
    throw new Error('The kernel has no overlay file system, which the hosts are made with: load the module overlay.');
  }
  if (!(await works(['which', 'ip']))) return; // It is installed with the rest, and the kernel is asked then.
  const veth = ['ip', 'link', 'add', 'veth0', 'type', 'veth', 'peer', 'name', 'veth1'];
  if (!(await works([...namespaces, ...veth]))) {
    throw new Error('The kernel cannot make veth pairs, by which containers are connected: load the module veth.');
  }
}

/**
 * A virtual machine of a rig that is an NFS server: the kernel's own, of versions 3, 4.0, 4.1 and 4.2, on a disk that
 * outlives the machine.
 *
 *   const server = await NfsServer.start(vms, 3);
 *   await server.share('share');                    // 10.250.0.13:/srv/share
 *   await server.kill9(); await server.replace();   // power cut, and back with the same disk
 */
import { mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { until } from '../command.ts';
import type { VirtualMachine } from './machine.ts';
import { VmMedia } from './media.ts';
import type { Vms } from './rig.ts';

const DISK = { id: 'nfs', serial: 'nfs', bus: 'virtio', bytes: 2 * 2 ** 30 } as const;
/** Below it are the exports, and in `.nfs` what the server has to remember when it starts anew. */
const ROOT = '/srv';
/** Seconds: leases of version 4, and how long a server that has started anew waits for its clients to claim their locks. Linux: 90, and no less than 10. */
const LEASE_S = 10;

/** What every export has, unless it says otherwise. `insecure`: `noresvport` uses ports above 1023. */
const USUAL = 'rw,sync,no_subtree_check,no_root_squash,insecure';

/** What a server remembers is where its programs look for it; see nfsd(7), nfsdcld(8). */
const SERVE = `
mkdir -p ${ROOT}/.nfs/sm ${ROOT}/.nfs/nfsdcld /run/rpc_pipefs /run/rpcbind
touch ${ROOT}/.nfs/etab ${ROOT}/.nfs/rmtab ${ROOT}/.nfs/exports
rm -rf /var/lib/nfs
ln -s ${ROOT}/.nfs /var/lib/nfs
ln -sf ${ROOT}/.nfs/exports /etc/exports
modprobe nfsd
# Locks of version 3 are nobody's here, and would keep those of version 4 waiting for 50 s.
echo 3 > /proc/sys/fs/nfs/nlm_timeout
echo 1 > /proc/sys/fs/nfs/nlm_grace_period
mount -t nfsd nfsd /proc/fs/nfsd
mount -t rpc_pipefs rpc_pipefs /run/rpc_pipefs
rpcbind -w
nfsdcld -p /run/rpc_pipefs
exportfs -ra
rpc.mountd
`;

/** The script that starts the threads that answer. Times can be set while there are none. @param versions options of rpc.nfsd(8). */
const threads = (versions: string): string => `
echo ${LEASE_S} > /proc/fs/nfsd/nfsv4leasetime
echo ${LEASE_S} > /proc/fs/nfsd/nfsv4gracetime
rpc.nfsd -V 3 -V 4 -V 4.0 -V 4.1 -V 4.2 ${versions} 8
`;

export class NfsServer {
  readonly #vms: Vms;
  readonly #number: number;
  readonly #media: VmMedia;
  readonly #versions: string;

  private constructor(vms: Vms, n: number, media: VmMedia, versions: string) {
    this.#vms = vms;
    this.#number = n;
    this.#media = media;
    this.#versions = versions;
  }

  /**
   * Makes machine `n` a server that exports nothing yet. Its Docker engine is stopped.
   * @param versions options of rpc.nfsd(8), such as `-N 4.2`; all versions when left out.
   */
  static async start(vms: Vms, n: number, versions = ''): Promise<NfsServer> {
    const folder = path.join(vms.rig.folder, 'nfs');
    mkdirSync(path.join(folder, 'instances'), { recursive: true });
    symlinkSync(vms.machine(n).folder, path.join(folder, 'instances', String(n)));
    const server = new NfsServer(vms, n, new VmMedia(folder), versions);
    await server.#media.create(DISK);
    await server.#serve('mkfs.ext4 -q -m 0 $device');
    return server;
  }

  /** What hosts mount, of a machine that is or will be a server. */
  static idOf(machine: VirtualMachine, name: string): string {
    return `${machine.v4}:${ROOT}/${name}`;
  }

  get machine(): VirtualMachine {
    return this.#vms.machine(this.#number);
  }

  get address(): string {
    return this.machine.v4;
  }

  /** What hosts mount: the export of that name. */
  id(name: string): string {
    return NfsServer.idOf(this.machine, name);
  }

  /** Path of the export of that name in the server. */
  folder(name: string): string {
    return `${ROOT}/${name}`;
  }

  /**
   * Exports a folder, which is made, to these hosts (all when left out); one that is exported already is from now on as it
   * says here, also after a power cut. @param options such as `ro`, after the usual ones.
   */
  async share(name: string, options = '', clients: readonly string[] = ['*']): Promise<string> {
    const folder = this.folder(name);
    const all = options === '' ? USUAL : `${USUAL},${options}`;
    const line = `${folder} ${clients.map((client) => `${client}(${all})`).join(' ')}`;
    await this.sh(`mkdir -p ${folder}
      sed -i '\\,^${folder} ,d' ${ROOT}/.nfs/exports
      echo '${line}' >> ${ROOT}/.nfs/exports
      exportfs -ra
      sync -f ${ROOT}`);
    return this.id(name);
  }

  /** Takes an export away from all hosts, also from those that have it mounted. */
  async unshare(name: string): Promise<void> {
    await this.sh(
      `sed -i '\\,^${this.folder(name)} ,d' ${ROOT}/.nfs/exports; exportfs -ra; exportfs -f; sync -f ${ROOT}`,
    );
  }

  /** Stops serving, and serves again: clients have to claim what they have. */
  async restart(): Promise<void> {
    await this.sh(`rpc.nfsd 0\n${threads(this.#versions)}`);
  }

  /** It stands still, and answers nothing. */
  async freeze(): Promise<void> {
    await this.machine.freeze();
  }

  async thaw(): Promise<void> {
    await this.machine.thaw();
  }

  /** Its power is cut. */
  async kill9(): Promise<void> {
    await this.machine.kill9();
    await this.#media.stop(String(this.#number));
  }

  /** Another machine with the same address, disk and exports, in the place of the one that was killed. */
  async replace(): Promise<void> {
    await this.#vms.replace(this.#number);
    await this.#serve('true');
  }

  /** Runs a shell script there, whatever becomes of the network. Returns its output. */
  async sh(script: string, timeoutMs = 60_000): Promise<string> {
    return await this.machine.must(['sh', '-e', '-c', script], { timeoutMs });
  }

  async #serve(before: string): Promise<void> {
    await this.#media.attach(DISK, String(this.#number));
    const device = await until('the disk of the NFS server', () => this.machine.deviceOf(DISK.serial), {
      timeoutMs: 20_000,
      everyMs: 100,
    });
    await this.sh(`
      kill $(pgrep -x dockerd) $(pgrep -x containerd) || true
      device=/dev/${device}
      ${before}
      mkdir -p ${ROOT}
      mount -o noatime $device ${ROOT}`);
    await this.sh(`${SERVE}${threads(this.#versions)}`);
  }
}

/**
 * Debian packages without touching the machine's own apt: a private state folder per suite, the machine's mirror,
 * `apt-get download` and `dpkg -x`. Only `installMissing` changes the machine, and says so.
 */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { must, run } from './command.ts';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** The Debian suites that the engines come from. */
export type Suite = 'bookworm' | 'trixie' | 'sid';

/** The Debian mirror (a URI) and code name from the machine's own apt configuration. @throws when the machine has none. */
export async function machineMirror(): Promise<{ uri: string; suite: string }> {
  const text = await must([
    'apt-get',
    'indextargets',
    '--format',
    '$(REPO_URI) $(RELEASE) $(COMPONENT)',
    'Created-By: Packages',
  ]);
  const release = /^VERSION_CODENAME=(.*)$/m.exec(await readFile('/etc/os-release', 'utf8'))?.[1];
  for (const line of text.split('\n')) {
    const [uri, suite, component] = line.split(' ');
    if (uri && suite && suite === release && component === 'main') return { uri, suite };
  }
  throw new Error(
    `apt on this machine names no Debian mirror for "${release}": the rig needs Debian with a source for its own release in /etc/apt.`,
  );
}

/** apt-get for one suite, with every state file in `folder`. */
export class PrivateApt {
  readonly #folder: string;
  readonly #options: string[];

  private constructor(folder: string) {
    this.#folder = folder;
    this.#options = Object.entries({
      'Dir::State': path.join(folder, 'state'),
      'Dir::State::status': path.join(folder, 'status'),
      'Dir::Cache': path.join(folder, 'cache'),
      'Dir::Etc::sourcelist': path.join(folder, 'sources.list'),
      'Dir::Etc::sourceparts': '-',
      'Dir::Etc::preferencesparts': '-',
      'APT::Sandbox::User': 'root',
      'APT::Get::List-Cleanup': 'false',
      'APT::Update::Post-Invoke-Success::': 'true',
    }).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
  }

  /** Reads the suite's package list (about 3 s, 11 MB). */
  static async open(folder: string, suite: string): Promise<PrivateApt> {
    const { uri } = await machineMirror();
    await mkdir(path.join(folder, 'state/lists/partial'), { recursive: true });
    await mkdir(path.join(folder, 'cache/archives/partial'), { recursive: true });
    await writeFile(path.join(folder, 'status'), '');
    await writeFile(path.join(folder, 'sources.list'), `deb [signed-by=${KEYRING}] ${uri} ${suite} main\n`);
    const apt = new PrivateApt(folder);
    await must(['apt-get', ...apt.#options, '-q', 'update'], { timeoutMs: 180_000 });
    return apt;
  }

  /** Downloads the packages and unpacks them under `root`. Returns each package's version. */
  async unpack(packages: readonly string[], root: string): Promise<Record<string, string>> {
    const downloads = path.join(this.#folder, 'downloads');
    await rm(downloads, { recursive: true, force: true });
    await mkdir(downloads, { recursive: true });
    await must(['apt-get', ...this.#options, '-q', 'download', ...packages], { cwd: downloads, timeoutMs: 300_000 });
    const versions = await unpackFiles(downloads, root);
    await rm(downloads, { recursive: true, force: true });
    return versions;
  }

  /** Like `unpack`, with all that the packages depend on, down to the C library: a root file system, unconfigured. */
  async unpackTree(packages: readonly string[], root: string): Promise<Record<string, string>> {
    const install = ['install', '-q', '-y', '--download-only', '--no-install-recommends', ...packages];
    await must(['apt-get', ...this.#options, ...install], { timeoutMs: 300_000 });
    return await unpackFiles(path.join(this.#folder, 'cache/archives'), root);
  }
}

/** Unpacks every package of a folder. Returns each one's version. */
async function unpackFiles(folder: string, root: string): Promise<Record<string, string>> {
  const versions: Record<string, string> = {};
  for (const file of (await readdir(folder)).filter((name) => name.endsWith('.deb'))) {
    await must(['dpkg-deb', '-x', path.join(folder, file), root], { timeoutMs: 120_000 });
    const [name = '', version = ''] = file.split('_');
    versions[name] = decodeURIComponent(version);
  }
  return versions;
}

/** Installs those of the packages whose program is missing on the machine. `say` gets a sentence when something is installed. */
export async function installMissing(
  programs: Readonly<Record<string, string>>,
  say: (line: string) => void,
): Promise<void> {
  const missing = new Set<string>();
  for (const [program, debian] of Object.entries(programs)) {
    if ((await run(['which', program])).code !== 0) missing.add(debian);
  }
  if (missing.size === 0) return;
  say(`installing ${[...missing].join(', ')} with apt-get`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  await must(['apt-get', '-q', 'update'], { timeoutMs: 180_000, env });
  await must(['apt-get', '-q', '-y', '--no-install-recommends', 'install', ...missing], { timeoutMs: 300_000, env });
}

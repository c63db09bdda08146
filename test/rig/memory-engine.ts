// An engine of a keeper's (volume-plugin/fuse/keeper.sh) with a file system in memory: `memory-engine.ts [OPTIONS] FOLDER`,
// OPTIONS being those of MemoryFileSystem as JSON.
import { createLogger } from '../../shared/log.ts';
import { Session } from '../../volume-plugin/fuse/session.ts';
import { MemoryFileSystem, type MemoryOptions } from './memory-file-system.ts';

const run = async (folder: string, options: MemoryOptions): Promise<void> => {
  const log = createLogger({ level: 'warn' });
  const fs = new MemoryFileSystem(folder, options);
  const { passthrough = false, resend = true, xattrs = true } = options;
  const session = new Session(3, fs, { folder, readAheadKb: 8192, passthrough, resend, xattrs, log });
  await session.start();
  await session.ended;
  session.stop();
  await fs.close();
};

// As a bundle it cannot wait at its top level.
void run(process.argv.at(-1) ?? '', JSON.parse(process.argv[2] ?? '{}') as MemoryOptions);

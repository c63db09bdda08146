import { createLogger } from '../../shared/log.ts';
import { openStore } from '../object/registry.ts';
import { Engine } from './engine.ts';
import { openEngineLog } from './engine-log.ts';
import type { EngineOptions } from './wire.ts';

/**
 * The program of a volume's file system: `engine FOLDER`, started by a keeper, which holds the mount. What it is to be stands
 * in the folder. It ends with 0 when it is unmounted and everything is in the store, and is started again otherwise.
 */
const run = async (folder: string): Promise<void> => {
  const options = optionsIn(folder);
  if (options === undefined) return;
  const log = openEngineLog(folder, options.logLevel, { volume: options.volume });
  const fatal = (error: unknown): void => {
    log.error('an error that nothing handles: the engine ends and is started again', { error });
    process.exit(1);
  };
  process.on('uncaughtException', fatal);
  process.on('unhandledRejection', fatal);
  const store = openStore(options.store);
  const engine = new Engine(folder, options, store, log);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => engine.end());
  try {
    process.exit(await engine.run());
  } catch (error) {
    fatal(error);
  }
};

/** Undefined: it is said what is wrong with them, and this process ends with 1. */
const optionsIn = (folder: string): EngineOptions | undefined => {
  try {
    return Engine.readOptions(folder);
  } catch (error) {
    createLogger({ level: 'error' }).error('an engine is not told what to be', { folder, error });
    process.exitCode = 1;
    return undefined;
  }
};

// One CommonJS file is what ships, and it cannot wait at its top level.
void run(process.argv[2] ?? '');

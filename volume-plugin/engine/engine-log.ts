import { closeSync, constants, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createLogger, type LogFields, type Logger, type LogLevel } from '../../shared/log.ts';

/** The engine's own log in its folder: what it complained of last, for whoever starts it and for people. */
const FILE = 'engine.log';
const LONGEST = 256 * 1024;
const STDERR = 2;

/**
 * The plugin's log without ever waiting for its reader: while the Docker daemon is away nobody reads it, and what containers
 * do with the volume must go on. A pipe that is opened anew can be written to without waiting, whoever else has it.
 */
const openStderr = (): number => {
  try {
    return openSync(`/proc/self/fd/${STDERR}`, constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK);
  } catch {
    // A socket, which cannot be opened anew.
    return STDERR;
  }
};

const say = (fd: number, line: string): void => {
  try {
    writeSync(fd, line);
  } catch {
    // Nobody reads it, or the disk is full: what is logged is not worth an error.
  }
};

/** Logs to the plugin's log, and warnings and errors also to the folder. */
export const openEngineLog = (folder: string, level: LogLevel, fields: LogFields): Logger => {
  const stderr = openStderr();
  const file = openSync(join(folder, FILE), 'a', 0o600);
  const write = (line: string): void => {
    say(stderr, line);
    if (!line.includes('"level":"warn"') && !line.includes('"level":"error"')) return;
    if (fstatSync(file).size > LONGEST) ftruncateSync(file, 0);
    say(file, line);
  };
  process.on('exit', () => closeSync(file));
  return createLogger({ level, write, fields });
};
